//! What each part of a description is called in a checkpoint.

use std::fmt;

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
