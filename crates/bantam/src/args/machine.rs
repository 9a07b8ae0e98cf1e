//! How to compute.

use bantam_engine::Settings;
use bantam_model::{Isa, KvStorage, Machine, Numerics};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

/// How to compute.
#[derive(Args, Debug, Clone)]
pub(crate) struct MachineArgs {
    /// How products are rounded
    #[arg(long, value_enum, default_value_t)]
    pub(crate) numerics: NumericsArg,
    /// Threads; 0 takes one for each processor that this process may use
    #[arg(long, short = 't', default_value_t = 0, env = "BANTAM_THREADS")]
    pub(crate) threads: usize,
    /// How keys and values are kept; the last two save memory at long contexts
    #[arg(long, value_parser = kv_parser(), default_value_t = KvStorage::F16)]
    pub(crate) kv: KvStorage,
    /// Instruction set, for tests: scalar, avx2, avx512, avx512bf16, amx, neon, neondot, neoni8mm
    #[arg(long, hide = true, env = "BANTAM_ISA")]
    pub(crate) isa: Option<Isa>,
}

impl MachineArgs {
    /// The machine that these arguments describe.
    pub(crate) fn machine(&self) -> Machine {
        Machine::new(self.isa.unwrap_or_else(Isa::best), self.threads)
    }

    /// An engine's settings; exact products come with exact keys and values.
    pub(crate) fn settings(&self) -> Settings {
        let exact = self.numerics == NumericsArg::Exact;
        Settings {
            isa: self.isa.unwrap_or_else(Isa::best),
            threads: self.threads,
            numerics: self.numerics.into(),
            kv: if exact { KvStorage::F32 } else { self.kv },
            ..Settings::default()
        }
    }
}

fn kv_parser() -> impl TypedValueParser<Value = KvStorage> {
    let names = KvStorage::ALL.map(KvStorage::name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<KvStorage>())
}

/// How products are rounded.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NumericsArg {
    /// Activations against quantised weights are 16-bit integers; weights of 16 bits, and what meets them,
    /// are BF16 where the processor has AMX
    #[default]
    Default,
    /// Prompts in tiles of BF16 where the processor has AMX; elsewhere activations are 8-bit integers, and those that meet weights of
    /// 16 bits BF16: faster, less precise (see docs/kernels.md)
    Fastest,
    /// All products in 32-bit floating point
    Exact,
}

impl From<NumericsArg> for Numerics {
    fn from(arg: NumericsArg) -> Self {
        match arg {
            NumericsArg::Default => Numerics::Default,
            NumericsArg::Fastest => Numerics::Fastest,
            NumericsArg::Exact => Numerics::Exact,
        }
    }
}
