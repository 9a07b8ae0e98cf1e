//! GPT-2: learned positions, LayerNorm, biases everywhere, matrices stored transposed.

use super::dense::{Dense, activation, layer_norm};
use super::{Described, Family};
use crate::config::refuse;
use crate::description::*;
use crate::names::Role;
use crate::{Config, Error};

pub(super) const FAMILY: Family = Family { architectures: &["gpt2"], keys: &KEYS, describe };

const KEYS: [(&str, &str); 7] = [
    ("n_embd", "hidden_size"),
    ("n_layer", "num_hidden_layers"),
    ("n_head", "num_attention_heads"),
    ("n_inner", "intermediate_size"),
    ("n_positions", "max_position_embeddings"),
    ("layer_norm_epsilon", "layer_norm_eps"),
    ("activation_function", "hidden_act"),
];

const NAMES: [(Role, &str); 9] = [
    (Role::Embed, "transformer.wte"),
    (Role::Positions, "transformer.wpe"),
    (Role::FinalNorm, "transformer.ln_f"),
    (Role::MixerNormBefore, "transformer.h.{}.ln_1"),
    (Role::MlpNormBefore, "transformer.h.{}.ln_2"),
    (Role::QueryKeyValue, "transformer.h.{}.attn.c_attn"),
    (Role::AttentionOutput, "transformer.h.{}.attn.c_proj"),
    (Role::Up, "transformer.h.{}.mlp.c_fc"),
    (Role::Down, "transformer.h.{}.mlp.c_proj"),
];

fn describe(c: &Config) -> Result<Described, Error> {
    if c.flag("scale_attn_by_inverse_layer_idx")? {
        return Err(refuse("scale_attn_by_inverse_layer_idx", "scores that shrink with depth are not known"));
    }
    let mut d = Dense::read(c, Pairing::HalfSplit)?.named(&NAMES);
    d.layout = bantam_tensor::kernels::matmul::Layout::InOut;
    d.set_norm(layer_norm(c.f32_or("layer_norm_eps", 1e-5)?));
    d.context_length = c.usize_or("max_position_embeddings", 1024)?;
    d.embed.positions = Positions::Learned(d.context_length);
    d.ropes.fill(None);
    if c.flag_or("tie_word_embeddings", true)? {
        d.head.matrix = HeadMatrix::Tied;
    }
    if !c.flag_or("scale_attn_weights", true)? {
        d.attention.scale = 1.0;
    }
    d.attention.projections = Projections::Fused;
    d.attention.qkv_bias = Bias::Present;
    d.attention.output_bias = Bias::Present;
    d.mlp = Mlp::Plain {
        activation: activation(c, "hidden_act", Activation::GeluTanh)?,
        intermediate_size: c.usize_or("intermediate_size", 4 * d.hidden_size)?,
        bias: Bias::Present,
    };
    d.finish()
}
