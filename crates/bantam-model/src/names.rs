//! What each part of a description is called in a checkpoint.

use std::fmt;

use bantam_tensor::Source;
use bantam_tensor::kernels::matmul::Layout;

/// A part of a description that has weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Role {
    Embed,
    Positions,
    FinalNorm,
    Head,
    MixerNormBefore,
    MixerNormAfter,
    MlpNormBefore,
    MlpNormAfter,
    Query,
    Key,
    Value,
    QueryKeyValue,
    AttentionOutput,
    QueryNorm,
    KeyNorm,
    Gate,
    Up,
    GateUp,
    Down,
}

/// Where a projection stands in a model, whatever its checkpoint calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// Counted from zero; zero for parts that a model has once.
    pub layer: usize,
    /// Which of the layer's projections.
    pub role: Role,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Embed => "table of tokens",
            Role::Positions => "table of positions",
            Role::FinalNorm => "norm before the head",
            Role::Head => "output matrix",
            Role::MixerNormBefore => "norm before attention",
            Role::MixerNormAfter => "norm after attention",
            Role::MlpNormBefore => "norm before the mlp",
            Role::MlpNormAfter => "norm after the mlp",
            Role::Query => "queries",
            Role::Key => "keys",
            Role::Value => "values",
            Role::QueryKeyValue => "queries, keys and values",
            Role::AttentionOutput => "output of attention",
            Role::QueryNorm => "norm of queries",
            Role::KeyNorm => "norm of keys",
            Role::Gate => "gate of the mlp",
            Role::Up => "up projection of the mlp",
            Role::GateUp => "gate and up projection of the mlp",
            Role::Down => "down projection of the mlp",
        })
    }
}

/// A table of names; `{}` stands for the layer, `#` for a head.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    own: &'static [(Role, &'static str)],
    common: &'static [(Role, &'static str)],
    layout: Layout,
}

impl Names {
    /// The names that most Hugging Face checkpoints use, but for a family's own.
    pub(crate) fn hugging_face(own: &'static [(Role, &'static str)], layout: Layout) -> Self {
        Names { own, common: &HUGGING_FACE, layout }
    }

    /// The names of GGUF files.
    pub(crate) fn gguf() -> Self {
        Names { own: &[], common: &GGUF, layout: Layout::OutIn }
    }

    /// How the matrices of projections lie.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The name of a part, without `.weight` or `.bias`; none where the scheme has no such part.
    pub(crate) fn of(&self, role: Role, layer: usize) -> Option<String> {
        let mut entries = self.own.iter().chain(self.common);
        let (_, pattern) = entries.find(|(of, _)| *of == role)?;
        Some(pattern.replace("{}", &layer.to_string()))
    }
}

/// What a family's parts are called in both kinds of checkpoints, and how their rows differ.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    pub(crate) hugging_face: Names,
    pub(crate) gguf: Names,
    /// How llama.cpp's converter leaves the rows of queries and keys.
    pub(crate) gguf_rows: GgufRows,
}

/// How the rows of queries and keys lie in GGUF files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GgufRows {
    /// As in Hugging Face checkpoints.
    Same,
    /// In each head, rows that turn together are neighbours instead of half a head apart.
    Interleaved,
}

impl Naming {
    /// The names of one kind of checkpoint.
    pub(crate) fn of(&self, source: Source) -> &Names {
        match source {
            Source::Gguf => &self.gguf,
            Source::Folder => &self.hugging_face,
        }
    }
}

/// How the names of a checkpoint differ from the scheme's: checkpoints of a part of a model, or of one with other parts
/// beside it, add to or take from the front.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Prefix {
    Same,
    Add(&'static str),
    /// `model.` becomes this.
    Model(&'static str),
    /// Everything up to the first dot goes.
    Strip,
}

impl Prefix {
    pub(crate) const ALL: [Prefix; 4] =
        [Prefix::Same, Prefix::Add("language_model."), Prefix::Model("model.language_model."), Prefix::Strip];

    pub(crate) fn apply(self, name: &str) -> String {
        match self {
            Prefix::Same => name.into(),
            Prefix::Add(prefix) => format!("{prefix}{name}"),
            Prefix::Model(prefix) => match name.strip_prefix("model.") {
                Some(rest) => format!("{prefix}{rest}"),
                None => name.into(),
            },
            Prefix::Strip => name.split_once('.').map_or(name, |(_, rest)| rest).into(),
        }
    }
}

/// As transformers' Llama names them.
const HUGGING_FACE: [(Role, &str); 19] = [
    (Role::Embed, "model.embed_tokens"),
    (Role::Positions, "model.embed_positions"),
    (Role::FinalNorm, "model.norm"),
    (Role::Head, "lm_head"),
    (Role::MixerNormBefore, "model.layers.{}.input_layernorm"),
    (Role::MixerNormAfter, "model.layers.{}.post_attention_layernorm"),
    (Role::MlpNormBefore, "model.layers.{}.post_attention_layernorm"),
    (Role::MlpNormAfter, "model.layers.{}.post_feedforward_layernorm"),
    (Role::Query, "model.layers.{}.self_attn.q_proj"),
    (Role::Key, "model.layers.{}.self_attn.k_proj"),
    (Role::Value, "model.layers.{}.self_attn.v_proj"),
    (Role::QueryKeyValue, "model.layers.{}.self_attn.qkv_proj"),
    (Role::AttentionOutput, "model.layers.{}.self_attn.o_proj"),
    (Role::QueryNorm, "model.layers.{}.self_attn.q_norm"),
    (Role::KeyNorm, "model.layers.{}.self_attn.k_norm"),
    (Role::Gate, "model.layers.{}.mlp.gate_proj"),
    (Role::Up, "model.layers.{}.mlp.up_proj"),
    (Role::GateUp, "model.layers.{}.mlp.gate_up_proj"),
    (Role::Down, "model.layers.{}.mlp.down_proj"),
];

/// As llama.cpp's converter names them; a fused gate and up go by the name of the latter.
const GGUF: [(Role, &str); 19] = [
    (Role::Embed, "token_embd"),
    (Role::Positions, "position_embd"),
    (Role::FinalNorm, "output_norm"),
    (Role::Head, "output"),
    (Role::MixerNormBefore, "blk.{}.attn_norm"),
    (Role::MixerNormAfter, "blk.{}.post_attention_norm"),
    (Role::MlpNormBefore, "blk.{}.ffn_norm"),
    (Role::MlpNormAfter, "blk.{}.post_ffw_norm"),
    (Role::Query, "blk.{}.attn_q"),
    (Role::Key, "blk.{}.attn_k"),
    (Role::Value, "blk.{}.attn_v"),
    (Role::QueryKeyValue, "blk.{}.attn_qkv"),
    (Role::AttentionOutput, "blk.{}.attn_output"),
    (Role::QueryNorm, "blk.{}.attn_q_norm"),
    (Role::KeyNorm, "blk.{}.attn_k_norm"),
    (Role::Gate, "blk.{}.ffn_gate"),
    (Role::Up, "blk.{}.ffn_up"),
    (Role::GateUp, "blk.{}.ffn_up"),
    (Role::Down, "blk.{}.ffn_down"),
];
