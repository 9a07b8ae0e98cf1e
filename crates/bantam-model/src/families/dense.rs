//! The decoder that most families are: embeddings, layers of attention and mlp, norm, head.
//!
//! [`Dense::read`] takes what nearly all configs name alike; a family changes the fields that differ and
//! calls [`Dense::finish`].

use std::sync::Arc;

use bantam_tensor::Source;
use bantam_tensor::kernels::matmul::Layout;
use serde_json::Value;

use super::Described;
use crate::config::refuse;
use crate::description::*;
use crate::names::{GgufRows, Names, Naming, Role};
use crate::rope::Rope;
use crate::{Config, Error};

/// A dense decoder in the making.
pub(super) struct Dense {
    pub(super) hidden_size: usize,
    pub(super) vocab_size: usize,
    pub(super) context_length: usize,
    pub(super) embed: Embed,
    pub(super) head: Head,
    /// The norm that all layers and the head use.
    pub(super) norm: Norm,
    pub(super) wiring: Wiring,
    pub(super) residual_scale: f32,
    /// What all layers share; rope and window are those of `ropes` and `windows`.
    pub(super) attention: Attention,
    pub(super) mlp: Mlp,
    /// One for each layer.
    pub(super) ropes: Vec<Option<Arc<Rope>>>,
    /// One for each layer.
    pub(super) windows: Vec<Option<usize>>,
    names: &'static [(Role, &'static str)],
    gguf_rows: GgufRows,
    /// How Hugging Face checkpoints of this family store projections.
    pub(super) layout: Layout,
}

impl Dense {
    /// What nearly all configs name alike, as Llama would understand it: RMS norms before each branch, a
    /// gated mlp with SiLU, no biases, the same rope on each layer, windows where `layer_types` says so.
    pub(super) fn read(c: &Config, pairing: Pairing) -> Result<Self, Error> {
        let (hidden_size, layers) = (c.usize("hidden_size")?, c.usize("num_hidden_layers")?);
        if layers > LAYERS_MAX {
            return Err(refuse(
                "num_hidden_layers",
                &format!("{layers} layers, wanted at most {LAYERS_MAX}"),
            ));
        }
        let norm = Norm {
            kind: NormKind::Rms,
            eps: c.f32_or("rms_norm_eps", 1e-6)?,
            weight: NormWeight::Stored,
            bias: Bias::Absent,
        };
        let attention = attention(c, hidden_size)?;
        let windows = windows(c, layers)?;
        let rope = Arc::new(c.rope("full_attention", rotated(c, attention.head_dim)?, pairing)?);
        Ok(Dense {
            hidden_size,
            vocab_size: c.usize("vocab_size")?,
            context_length: c.usize_or("max_position_embeddings", 2048)?,
            embed: Embed { scale: 1.0, positions: Positions::None },
            head: Head { matrix: head_matrix(c, Bias::Absent)?, scale: 1.0, soft_cap: None },
            norm,
            wiring: before(norm),
            residual_scale: 1.0,
            attention,
            mlp: Mlp::Gated {
                activation: activation(c, "hidden_act", Activation::Silu)?,
                intermediate_size: c.usize_or("intermediate_size", 4 * hidden_size)?,
                projections: GateUp::Separate,
                bias: Bias::Absent,
            },
            ropes: vec![Some(rope); layers],
            windows,
            names: &[],
            gguf_rows: GgufRows::Same,
            layout: Layout::OutIn,
        })
    }

    /// [`Dense::read`] for a family whose query and key rows llama.cpp's converter re-orders.
    pub(super) fn read_permuted(c: &Config) -> Result<Self, Error> {
        let pairing = match c.source() {
            Source::Gguf => Pairing::Interleaved,
            Source::Folder => Pairing::HalfSplit,
        };
        Ok(Dense { gguf_rows: GgufRows::Interleaved, ..Dense::read(c, pairing)? })
    }

    /// Takes another norm, wired as the one before.
    pub(super) fn set_norm(&mut self, norm: Norm) {
        self.norm = norm;
        self.wiring = before(norm);
    }

    /// The same window on these layers.
    pub(super) fn window_where(&mut self, window: Option<usize>, slides: impl Fn(usize) -> bool) {
        for (layer, place) in self.windows.iter_mut().enumerate() {
            *place = window.filter(|_| slides(layer));
        }
    }

    /// The family's own names in Hugging Face checkpoints.
    pub(super) fn named(mut self, names: &'static [(Role, &'static str)]) -> Self {
        self.names = names;
        self
    }

    /// The description.
    pub(super) fn finish(self) -> Result<Described, Error> {
        let heads = (self.attention.num_heads, self.attention.num_kv_heads);
        if !heads.0.is_multiple_of(heads.1) {
            let reason = format!("{} heads of queries cannot share {} heads of keys", heads.0, heads.1);
            return Err(refuse("num_key_value_heads", &reason));
        }
        let layers = self.ropes.into_iter().zip(self.windows).map(|(rope, window)| Layer {
            mixer: Mixer::Attention(Attention { rope, window, ..self.attention.clone() }),
            mlp: self.mlp.clone(),
            wiring: self.wiring.clone(),
            residual_scale: self.residual_scale,
        });
        let description = Description {
            hidden_size: self.hidden_size,
            vocab_size: self.vocab_size,
            context_length: self.context_length,
            embed: self.embed,
            layers: layers.collect(),
            norm: self.norm,
            head: self.head,
        };
        let hugging_face = Names::hugging_face(self.names, self.layout);
        let naming = Naming { hugging_face, gguf: Names::gguf(), gguf_rows: self.gguf_rows };
        Ok(Described { description, naming })
    }
}

/// More layers than this are a damaged file.
const LAYERS_MAX: usize = 1024;

/// One norm before each branch.
pub(super) fn before(norm: Norm) -> Wiring {
    Wiring::Sequential { mixer: BranchNorms::Before(norm), mlp: BranchNorms::Before(norm) }
}

/// LayerNorm with weight and bias.
pub(super) fn layer_norm(eps: f32) -> Norm {
    Norm { kind: NormKind::Layer, eps, weight: NormWeight::Stored, bias: Bias::Present }
}

/// A bias that the config switches on.
pub(super) fn bias(present: bool) -> Bias {
    if present { Bias::Present } else { Bias::Absent }
}

/// A bias that a GGUF file has if it has the tensor, and a folder if its config says so.
pub(super) fn bias_of(c: &Config, gguf: &str, flag: &str) -> Result<Bias, Error> {
    Ok(bias(match c.source() {
        Source::Gguf => c.has_tensor(gguf),
        Source::Folder => c.flag(flag)?,
    }))
}

/// The activation under a key.
pub(super) fn activation(c: &Config, key: &str, default: Activation) -> Result<Activation, Error> {
    match c.string(key)? {
        None => Ok(default),
        Some("silu" | "swish") => Ok(Activation::Silu),
        Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Activation::GeluTanh),
        Some("gelu") => Ok(Activation::GeluErf),
        Some(other) => Err(refuse(key, &format!("activation \"{other}\" is not known"))),
    }
}

/// The head's matrix.
pub(super) fn head_matrix(c: &Config, bias: Bias) -> Result<HeadMatrix, Error> {
    Ok(if c.flag("tie_word_embeddings")? { HeadMatrix::Tied } else { HeadMatrix::Own(bias) })
}

/// How many numbers of a head turn.
pub(super) fn rotated(c: &Config, head_dim: usize) -> Result<usize, Error> {
    if let Some(dims) = c.optional_usize("rope_dims")? {
        return Ok(dims.min(head_dim));
    }
    let inside = c.rope_parameters("full_attention").and_then(|p| p.get("partial_rotary_factor"));
    let inside = inside.and_then(Value::as_f64);
    let share = inside.or(c.number("partial_rotary_factor")?).unwrap_or(1.0);
    Ok((head_dim as f64 * share) as usize)
}

fn attention(c: &Config, hidden_size: usize) -> Result<Attention, Error> {
    let num_heads = c.usize("num_attention_heads")?;
    let head_dim = match c.optional_usize("head_dim")? {
        Some(head_dim) => head_dim,
        None if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
        None => {
            let reason = format!("{hidden_size} channels cannot be shared by {num_heads} heads");
            return Err(refuse("num_attention_heads", &reason));
        }
    };
    if head_dim > HEAD_DIM_MAX {
        return Err(refuse("head_dim", &format!("{head_dim}, wanted at most {HEAD_DIM_MAX}")));
    }
    let values = c.usize_or("value_head_dim", head_dim)?;
    if values != head_dim {
        return Err(refuse(
            "value_head_dim",
            &format!("heads of values have {values} numbers, of keys {head_dim}"),
        ));
    }
    Ok(Attention {
        num_heads,
        num_kv_heads: c.usize_or("num_key_value_heads", num_heads)?,
        head_dim,
        projections: Projections::Separate,
        qkv_bias: Bias::Absent,
        output_bias: Bias::Absent,
        clip: None,
        qk_norm: None,
        rope: None,
        position_scale: None,
        window: None,
        scale: 1.0 / (head_dim as f32).sqrt(),
        soft_cap: None,
    })
}

/// Larger heads are a damaged file.
const HEAD_DIM_MAX: usize = 4096;

/// The window of each layer, where `layer_types` or GGUF's pattern of ones and zeros says so.
fn windows(c: &Config, layers: usize) -> Result<Vec<Option<usize>>, Error> {
    let window = c.optional_usize("sliding_window")?;
    let (key, types) = match c.per_layer("layer_types", layers)? {
        Some(types) => ("layer_types", Some(types)),
        None if c.source() == Source::Gguf
            && c.value("sliding_window_pattern").is_some_and(Value::is_array) =>
        {
            ("sliding_window_pattern", c.per_layer("sliding_window_pattern", layers)?)
        }
        None => ("layer_types", None),
    };
    let Some(types) = types else { return Ok(vec![None; layers]) };
    let one = |kind: &Value| match (kind.as_str(), kind.as_i64()) {
        (Some("full_attention"), _) | (_, Some(0)) => Ok(None),
        (Some("sliding_attention"), _) | (_, Some(1)) => match window {
            Some(window) => Ok(Some(window)),
            None => Err(refuse("sliding_window", "wanted a width, since some layers slide; found none")),
        },
        _ => Err(refuse(key, &format!("layers of kind {kind} are not known here"))),
    };
    types.iter().map(one).collect()
}
