//! Adapters on disk: PEFT folders, MLX folders and GGUF files, each read into the same low-rank pairs.
//!
//! A pair stands for `scale * B A`, added to the matrix of one projection; a prefix for keys and values before the first
//! token. Whatever a config says about ranks, alphas
//! and patterns has become the pair's `scale` here; what a pair cannot stand for (modules saved whole, biases) is refused by name and never left out silently. Names, and the order of rows that goes with them,
//! stay those of the form.

mod gguf;
mod mlx;
mod pattern;
mod peft;
mod prefix;

use std::collections::BTreeMap;
use std::path::Path;

use bantam_kernels::matmul::Layout;

use crate::error::{Error, Quoted};
use crate::format::{PICKLE_ADVICE, foreign, gguf as gguf_format, map, parent};
use crate::{Storage, Tensor};

pub use prefix::AdapterPrefix;

/// An adapter as a file holds it.
#[derive(Clone, Debug)]
pub struct AdapterFile {
    /// Which kind of file.
    pub form: AdapterForm,
    /// Sorted by their modules' names, each name once.
    pub pairs: Vec<AdapterPair>,
    /// What stands before the first token; a file that has it has no pairs.
    pub prefix: Option<AdapterPrefix>,
    /// The fingerprint of the base, where bantam wrote the file.
    pub fingerprint: Option<String>,
    /// What the base is called.
    pub base_name: Option<String>,
    /// The base's architecture; GGUF files say it.
    pub architecture: Option<String>,
    /// How the base's checkpoint stores projections (PEFT's `fan_in_fan_out`); the pairs are the same for both.
    pub base_layout: Layout,
}

/// The kinds of files that adapters come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterForm {
    /// `adapter_config.json` and `adapter_model.safetensors`, as Hugging Face's PEFT writes them.
    Peft,
    /// `adapter_config.json` and `adapters.safetensors`, as MLX-LM writes them. Read only.
    Mlx,
    /// One file, as llama.cpp reads it.
    Gguf,
}

/// What is added to one projection: `scale * B A`.
#[derive(Clone, Debug)]
pub struct AdapterPair {
    /// The projection as the base's checkpoint in the same form names it, without `.weight`.
    pub module: String,
    /// `[rank, inputs]`
    pub a: Tensor,
    /// `[outputs, rank]`
    pub b: Tensor,
    /// What the product is multiplied with.
    pub scale: f32,
    /// The lengths that the rows of the changed matrix are given, `[outputs]` (DoRA).
    pub magnitude: Option<Tensor>,
}

impl AdapterForm {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            AdapterForm::Peft => "PEFT",
            AdapterForm::Mlx => "MLX",
            AdapterForm::Gguf => "GGUF",
        }
    }
}

impl AdapterFile {
    /// Opens a folder in PEFT's or MLX's layout, a `.safetensors` file in such a folder, or a GGUF file.
    ///
    /// # Errors
    ///
    /// [`Error::Adapter`] for what is no low-rank adapter or changes a model otherwise; all errors of the formats.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let kind = std::fs::metadata(path).map_err(Error::io("open", path))?;
        if kind.is_dir() {
            return open_folder(path);
        }
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            return open_folder(parent(path));
        }
        let bytes = map::map(path)?;
        let start = &bytes[..bytes.len().min(4)];
        if start != gguf_format::MAGIC {
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            return Err(foreign(start, extension).in_file(path));
        }
        gguf::read(&bytes).map_err(|error| error.in_file(path))
    }

    /// Whether a path looks like an adapter rather than a model: a folder with an adapter's config, or a GGUF file that
    /// says so.
    pub fn is_at(path: &Path) -> bool {
        if path.is_dir() {
            return path.join(CONFIG).is_file();
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => parent(path).join(CONFIG).is_file(),
            Some("gguf") => gguf::is_at(path),
            _ => false,
        }
    }

    /// Writes a PEFT folder, which is made if it is not there, or a GGUF file; each file all or nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Adapter`] for the form of MLX, which is only read; [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        match self.form {
            AdapterForm::Peft => peft::write(self, path),
            AdapterForm::Gguf => gguf::write(self, path),
            AdapterForm::Mlx => Err(Error::adapter("adapters are written for PEFT or as GGUF, not for MLX")),
        }
    }

    /// Numbers of all pairs, and of the prefix.
    pub fn parameters(&self) -> u64 {
        let lengths = |pair: &AdapterPair| pair.magnitude.as_ref().map_or(0, Tensor::elements);
        let of_pairs = self.pairs.iter().map(|pair| pair.a.elements() + pair.b.elements() + lengths(pair));
        let of_prefix = self.prefix.as_ref().map(|prefix| prefix.rows.elements());
        of_pairs.chain(of_prefix).map(|count| count as u64).sum()
    }
}

impl AdapterPair {
    /// The inner width of the product.
    pub fn rank(&self) -> usize {
        self.b.cols()
    }

    /// `scale * rank`, which PEFT and llama.cpp call alpha.
    fn alpha(&self) -> f64 {
        f64::from(self.scale) * self.rank() as f64
    }
}

fn open_folder(path: &Path) -> Result<AdapterFile, Error> {
    let has = |name: &str| path.join(name).is_file();
    if !has(CONFIG) {
        return Err(no_adapter(&format!("the folder has no {CONFIG}")).in_file(path));
    }
    match (has(peft::WEIGHTS), has(mlx::WEIGHTS)) {
        (true, _) => peft::read(path),
        (false, true) => mlx::read(path),
        (false, false) if has("adapter_model.bin") => Err(no_adapter(PICKLE_ADVICE).in_file(path)),
        (false, false) => {
            let reason = format!("the folder has neither {} nor {}", peft::WEIGHTS, mlx::WEIGHTS);
            Err(no_adapter(&reason).in_file(path))
        }
    }
}

fn no_adapter(reason: &str) -> Error {
    Error::NoCheckpoint { reason: reason.to_owned() }
}

/// Which half of a pair a tensor is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    A,
    B,
}

/// Puts tensors together that belong to one module; `half_of` tells a tensor's module from its name.
fn pair_up<'a>(
    tensors: impl Iterator<Item = &'a Tensor>,
    half_of: impl Fn(&str) -> Result<(&str, Half), Error>,
) -> Result<Vec<(String, [Tensor; 2])>, Error> {
    let mut modules: BTreeMap<String, [Option<Tensor>; 2]> = BTreeMap::new();
    for tensor in tensors {
        let (module, half) = half_of(tensor.name())?;
        if tensor.shape().len() != 2 {
            let reason = format!("shape {:?}, wanted a matrix", tensor.shape());
            return Err(Error::tensor(tensor.name(), reason));
        }
        let place = &mut modules.entry(module.to_owned()).or_default()[half as usize];
        if place.replace(tensor.clone()).is_some() {
            return Err(Error::tensor(tensor.name(), "the module has this half twice"));
        }
    }
    if modules.is_empty() || modules.len() > PAIRS_MAX {
        let reason = format!("it changes {} modules; 1 to {PAIRS_MAX} are allowed", modules.len());
        return Err(Error::adapter(reason));
    }
    let whole = modules.into_iter().map(|(module, halves)| match halves {
        [Some(a), Some(b)] => Ok((module, [a, b])),
        [a, _] => {
            let (there, missing) = if a.is_some() { ("A", "B") } else { ("B", "A") };
            Err(Error::adapter(format!("module {} has {there} but no {missing}", Quoted(&module))))
        }
    });
    whole.collect()
}

/// A pair whose shapes agree and whose scale is a number.
fn pair(module: String, a: Tensor, b: Tensor, scale: f64) -> Result<AdapterPair, Error> {
    if a.rows() != b.cols() {
        let (a, b) = (a.shape(), b.shape());
        let reason = format!("A is {a:?} and B {b:?}; the rank must be the same in both");
        return Err(Error::tensor(&module, reason));
    }
    let scale = scale as f32;
    if !scale.is_finite() {
        return Err(Error::tensor(&module, format!("its scale is {scale}")));
    }
    Ok(AdapterPair { module, a, b, scale, magnitude: None })
}

/// The same numbers under another name, in a storage that safetensors and GGUF have for adapters.
fn renamed(tensor: &Tensor, name: String, quantized: Quantized) -> Result<Tensor, Error> {
    let storage = tensor.storage();
    let fits = !storage.is_quantized() || (quantized == Quantized::Q8_0 && storage == Storage::Q8_0);
    if fits {
        return Tensor::new(name, tensor.shape().to_vec(), storage, tensor.bytes().clone());
    }
    Tensor::from_f32(name, tensor.shape().to_vec(), &tensor.to_f32())
}

/// Which storages of blocks a form has for adapters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quantized {
    None,
    Q8_0,
}

/// The config's name in both kinds of folders.
const CONFIG: &str = "adapter_config.json";

/// More modules are refused: a mixture of 60 layers has fewer that are not experts.
const PAIRS_MAX: usize = 8192;

/// Where bantam keeps the base's fingerprint: in the metadata of both formats.
const FINGERPRINT: &str = "bantam.base";
