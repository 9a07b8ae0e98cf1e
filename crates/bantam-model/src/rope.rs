//! Rotary positions resolved to angles: base, scaling and exceptions become a list of frequencies.

use std::f64::consts::PI;

use bantam_tensor::kernels::rope::Pairing;
use serde_json::Value;

use crate::{Config, Error};

/// How queries and keys are turned at a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Which numbers turn together.
    pub pairing: Pairing,
    /// Radians for each step of position.
    pub frequencies: Frequencies,
    /// Sine and cosine are multiplied with this; 1 for most.
    pub attention_factor: f32,
}

/// Radians for each step of position, one number for each pair.
#[derive(Clone, Debug, PartialEq)]
pub enum Frequencies {
    /// The same for all sequences.
    Fixed(Vec<f32>),
    /// One list for sequences within the original context, another beyond it (LongRoPE, arXiv 2402.13753).
    ByLength {
        /// Within.
        short: Vec<f32>,
        /// Beyond.
        long: Vec<f32>,
        /// The original context length.
        original: usize,
    },
    /// The base grows with the length of the sequence beyond the context ("dynamic NTK").
    Dynamic {
        /// Base within the context.
        base: f64,
        /// Growth.
        factor: f64,
        /// The context length.
        context: usize,
        /// How many numbers of a head turn.
        dims: usize,
    },
}

impl Rope {
    /// Frequencies for a sequence that will be at most `length` long.
    pub fn frequencies(&self, length: usize) -> Vec<f32> {
        match &self.frequencies {
            Frequencies::Fixed(list) => list.clone(),
            Frequencies::ByLength { short, long, original } => {
                if length > *original {
                    long.clone()
                } else {
                    short.clone()
                }
            }
            Frequencies::Dynamic { base, factor, context, dims } => {
                let length = length.max(*context) as f64;
                let grown = factor * length / *context as f64 - (factor - 1.0);
                let exponent = *dims as f64 / (*dims as f64 - 2.0);
                plain(base * grown.powf(exponent), *dims)
            }
        }
    }

    /// Appends cosines and sines of consecutive positions, `[positions][pairs]`.
    pub fn angles(
        &self,
        positions: std::ops::Range<usize>,
        length: usize,
        cos: &mut Vec<f32>,
        sin: &mut Vec<f32>,
    ) {
        let frequencies = self.frequencies(length);
        for position in positions {
            for frequency in &frequencies {
                // The angle is rounded to f32, as the models saw it in training; its functions are not.
                let angle = f64::from(position as f32 * frequency);
                cos.push(angle.cos() as f32 * self.attention_factor);
                sin.push(angle.sin() as f32 * self.attention_factor);
            }
        }
    }

    /// Whether the frequencies depend on how long the sequence will be.
    pub fn depends_on_length(&self) -> bool {
        !matches!(self.frequencies, Frequencies::Fixed(_))
    }
}

/// `base^(-2 i / dims)`
fn plain(base: f64, dims: usize) -> Vec<f32> {
    (0..dims / 2).map(|i| base.powf(-2.0 * i as f64 / dims as f64) as f32).collect()
}

/// What a config says about one kind of layer's rotary positions.
#[derive(Clone, Debug)]
pub(crate) struct RopeConfig<'a> {
    pub(crate) theta: f64,
    /// How many numbers of a head turn.
    pub(crate) dims: usize,
    pub(crate) pairing: Pairing,
    /// The object under `rope_scaling` or `rope_parameters`.
    pub(crate) scaling: Option<&'a Value>,
    /// `max_position_embeddings`
    pub(crate) context: usize,
    /// `original_max_position_embeddings` at the top level, which wins over the one within `scaling`.
    pub(crate) original: Option<usize>,
}

impl RopeConfig<'_> {
    /// Resolves the scaling. Formulas as in transformers' `modeling_rope_utils.py`.
    pub(crate) fn resolve(&self) -> Result<Rope, Error> {
        if self.dims < 2 || !self.dims.is_multiple_of(2) {
            return Err(self.refuse(&format!("{} numbers of a head turn, wanted an even number", self.dims)));
        }
        if !(self.theta > 1.0 && self.theta.is_finite()) {
            return Err(self.refuse(&format!("rope_theta is {}, wanted a number above 1", self.theta)));
        }
        let (frequencies, attention_factor) = match self.kind() {
            "default" => (Frequencies::Fixed(plain(self.theta, self.dims)), 1.0),
            "linear" => {
                let factor = self.positive("factor")?;
                let list = plain(self.theta, self.dims).iter().map(|f| f / factor as f32).collect();
                (Frequencies::Fixed(list), 1.0)
            }
            "dynamic" => {
                let (base, factor) = (self.theta, self.positive("factor")?);
                (Frequencies::Dynamic { base, factor, context: self.context, dims: self.dims }, 1.0)
            }
            "llama3" => (Frequencies::Fixed(self.three_bands()?), 1.0),
            "divisors" => (Frequencies::Fixed(self.divided("divisors")?), 1.0),
            "yarn" => (Frequencies::Fixed(self.yarn()?), self.yarn_attention_factor()?),
            "longrope" | "su" => self.longrope()?,
            other => return Err(self.refuse(&format!("rope scaling \"{other}\" is not known"))),
        };
        Ok(Rope { pairing: self.pairing, frequencies, attention_factor: attention_factor as f32 })
    }

    fn kind(&self) -> &str {
        let of = |key| self.scaling.and_then(|s| s.get(key)).and_then(Value::as_str);
        of("rope_type").or(of("type")).unwrap_or("default")
    }

    fn refuse(&self, reason: &str) -> Error {
        Error::Config { key: "rope_scaling".into(), reason: reason.into() }
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.scaling?.get(key)?.as_f64()
    }

    fn positive(&self, key: &str) -> Result<f64, Error> {
        let value = self.number(key).filter(|x| *x > 0.0 && x.is_finite());
        value.ok_or_else(|| self.refuse(&format!("wanted a positive number under \"{key}\"")))
    }

    fn original(&self) -> usize {
        let inside = self.number("original_max_position_embeddings").map(|x| x as usize);
        self.original.or(inside).unwrap_or(self.context).max(1)
    }

    /// How much longer the context is than the original one.
    fn extension(&self) -> f64 {
        self.number("factor").unwrap_or(self.context as f64 / self.original() as f64)
    }

    /// Llama 3.1: long waves are stretched, short ones kept, those between interpolated.
    fn three_bands(&self) -> Result<Vec<f32>, Error> {
        let factor = self.positive("factor")?;
        let (low, high) = (self.positive("low_freq_factor")?, self.positive("high_freq_factor")?);
        let original = self.original() as f64;
        let scaled = |frequency: f32| {
            let f = f64::from(frequency);
            let turns = original * f / (2.0 * PI);
            let smooth = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            ((1.0 - smooth) * f / factor + smooth * f) as f32
        };
        Ok(plain(self.theta, self.dims).into_iter().map(scaled).collect())
    }

    /// Frequencies divided by a list in the config.
    fn divided(&self, key: &str) -> Result<Vec<f32>, Error> {
        let list = self.scaling.and_then(|s| s.get(key)).and_then(Value::as_array);
        let list: Vec<f64> = list.map(|l| l.iter().filter_map(Value::as_f64).collect()).unwrap_or_default();
        let sound = list.iter().all(|x| *x > 0.0 && x.is_finite());
        if list.len() != self.dims / 2 || !sound {
            let found = list.len();
            return Err(self.refuse(&format!(
                "wanted {} positive numbers under \"{key}\", found {found}",
                self.dims / 2
            )));
        }
        let plain = plain(self.theta, self.dims);
        Ok(plain.iter().zip(list).map(|(f, d)| (f64::from(*f) / d) as f32).collect())
    }

    /// YaRN (arXiv 2309.00071): fast waves are kept, slow ones stretched, a ramp between.
    fn yarn(&self) -> Result<Vec<f32>, Error> {
        let (dims, factor, original) = (self.dims as f64, self.extension(), self.original() as f64);
        let (fast, slow) =
            (self.number("beta_fast").unwrap_or(32.0), self.number("beta_slow").unwrap_or(1.0));
        let truncate = self.scaling.and_then(|s| s.get("truncate")).and_then(Value::as_bool).unwrap_or(true);
        let turning = |turns: f64| dims * (original / (turns * 2.0 * PI)).ln() / (2.0 * self.theta.ln());
        let (mut low, mut high) = (turning(fast), turning(slow));
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(dims - 1.0));
        let width = if low == high { 0.001 } else { high - low };
        let scaled = |(i, f): (usize, f32)| {
            let stretched = ((i as f64 - low) / width).clamp(0.0, 1.0);
            let f = f64::from(f);
            (f / factor * stretched + f * (1.0 - stretched)) as f32
        };
        Ok(plain(self.theta, self.dims).into_iter().enumerate().map(scaled).collect())
    }

    fn yarn_attention_factor(&self) -> Result<f64, Error> {
        if let Some(factor) = self.number("attention_factor") {
            return Ok(factor);
        }
        let factor = self.extension();
        let magnitude = |m: f64| if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 };
        Ok(match (self.number("mscale"), self.number("mscale_all_dim")) {
            (Some(one), Some(all)) if one != 0.0 && all != 0.0 => magnitude(one) / magnitude(all),
            _ => magnitude(1.0),
        })
    }

    fn longrope(&self) -> Result<(Frequencies, f64), Error> {
        let original = self.original();
        let (short, long) = (self.divided("short_factor")?, self.divided("long_factor")?);
        // The ratio of the two lengths is meant here, whatever "factor" says.
        let extension = self.context as f64 / original as f64;
        let attention_factor = self.number("attention_factor").unwrap_or_else(|| {
            if extension <= 1.0 { 1.0 } else { (1.0 + extension.ln() / (original as f64).ln()).sqrt() }
        });
        Ok((Frequencies::ByLength { short, long, original }, attention_factor))
    }
}

impl Config {
    /// The rope of layers of one kind (`full_attention`, `sliding_attention`), where `dims` of a head turn.
    pub(crate) fn rope(&self, kind: &str, dims: usize, pairing: Pairing) -> Result<Rope, Error> {
        self.rope_with_theta(kind, dims, pairing, 10_000.0)
    }

    /// As [`Config::rope`], with the base where the config is silent.
    pub(crate) fn rope_with_theta(
        &self,
        kind: &str,
        dims: usize,
        pairing: Pairing,
        theta: f64,
    ) -> Result<Rope, Error> {
        let parameters = self.rope_parameters(kind);
        let inside = parameters.and_then(|p| p.get("rope_theta")).and_then(Value::as_f64);
        let theta = inside.or(self.number("rope_theta")?).unwrap_or(theta);
        let context = self.usize_or("max_position_embeddings", 2048)?;
        let original = self.optional_usize("original_max_position_embeddings")?;
        RopeConfig { theta, dims, pairing, scaling: parameters, context, original }.resolve()
    }

    /// `rope_scaling`, or else `rope_parameters`, there perhaps under the kind of layer.
    pub(crate) fn rope_parameters(&self, kind: &str) -> Option<&Value> {
        let v5 = self.value("rope_parameters");
        let v5 = v5.and_then(|p| p.get(kind)).or(v5);
        self.value("rope_scaling").or(v5)
    }
}
