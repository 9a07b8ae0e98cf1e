//! Descent on a tiny model, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use bantam_model::{Batch, Isa, Machine, Want};
use bantam_tensor::{Storage, Tensor};
use bantam_train::{Error, Tape, Wanted, gradients, loss, sgd};
use common::{golden_model, golden_tensors, model_of, sequences};

#[test]
fn descent_lowers_the_loss() {
    let machine = Machine::new(Isa::best(), 2);
    // With a tied head, with biases and norms that add one, and with fused projections.
    for family in ["llama3.2", "gemma3", "phi3", "llama_bias"] {
        let mut model = sgd::trainable(&golden_model(family)).unwrap();
        let first = loss(&machine, &model, &sequences()).unwrap();
        for _ in 0..10 {
            let gradients = gradients(&machine, &model, &sequences()).unwrap();
            sgd::descend(&mut model, &gradients, 0.05).unwrap();
        }
        let last = loss(&machine, &model, &sequences()).unwrap();
        assert!(last < 0.8 * first, "{family}: {first} to {last}");
    }
}

#[test]
fn a_tied_head_stays_tied() {
    let machine = Machine::new(Isa::best(), 1);
    let mut model = golden_model("llama3.2");
    let before = model.weights.embed.tensor.to_f32();
    let gradients = gradients(&machine, &model, &sequences()).unwrap();
    sgd::descend(&mut model, &gradients, 0.5).unwrap();
    let (embed, head) = (&model.weights.embed.tensor, &model.weights.head.matrix.tensor);
    assert_eq!(embed.to_f32(), head.to_f32());
    let moved = before.iter().zip(&gradients.of[embed.name()]).map(|(w, g)| w - 0.5 * g);
    assert_eq!(embed.to_f32(), moved.collect::<Vec<f32>>());
}

#[test]
fn weights_in_half_precision_learn_as_their_f32_copy() {
    let machine = Machine::new(Isa::best(), 2);
    let half = |tensor: &Tensor| {
        let bytes = bantam_tensor::quant::quantize(Storage::BF16, &tensor.to_f32()).unwrap();
        Tensor::new(tensor.name(), tensor.shape().to_vec(), Storage::BF16, bytes.into()).unwrap()
    };
    let tensors: Vec<Tensor> = golden_tensors("qwen3").iter().map(half).collect();
    let model = model_of("qwen3", &tensors);
    let copy = sgd::trainable(&model).unwrap();
    assert_eq!(model.weights.embed.tensor.storage(), Storage::BF16);
    assert_eq!(copy.weights.embed.tensor.storage(), Storage::F32);
    let [found, expected] = [model, copy].map(|model| gradients(&machine, &model, &sequences()).unwrap());
    assert_eq!(found.of, expected.of);
}

#[test]
fn batches_without_anything_to_predict_are_refused() {
    let (machine, model) = (Machine::new(Isa::best(), 1), golden_model("llama3"));
    let refused = |batch: &[Vec<u32>]| gradients(&machine, &model, batch).unwrap_err();
    assert!(matches!(refused(&[]), Error::EmptyBatch));
    let short = refused(&[vec![1, 2], vec![3]]);
    assert!(matches!(short, Error::ShortSequence { sequence: 1, tokens: 1 }));
    assert!(matches!(refused(&[vec![1, 2], vec![]]), Error::ShortSequence { sequence: 1, tokens: 0 }));
    let foreign = refused(&[vec![1, 4_000_000_000]]).to_string();
    assert!(foreign.contains("4000000000"), "{foreign}");
}

#[test]
fn spans_that_need_a_state_are_refused() {
    let machine = Machine::new(Isa::best(), 1);
    let mut batch = Batch::default();
    batch.push(&[1, 2], 0, 2, Want::All);
    batch.push(&[3], 7, 8, Want::All);
    let refused = Tape::new(&machine, &batch, &Wanted::All).err();
    assert!(matches!(refused, Some(Error::Continued { span: 1, position: 7, wanted: 0 })));
}

#[test]
fn weights_that_are_no_numbers_are_named_by_layer() {
    let machine = Machine::new(Isa::best(), 2);
    let spoil = |tensor: &Tensor| {
        let mut values = tensor.to_f32();
        if tensor.name() == "model.layers.1.mlp.up_proj.weight" {
            values[7] = f32::NAN;
        }
        Tensor::from_f32(tensor.name(), tensor.shape().to_vec(), &values).unwrap()
    };
    let tensors: Vec<Tensor> = golden_tensors("llama3").iter().map(spoil).collect();
    let message = gradients(&machine, &model_of("llama3", &tensors), &sequences()).unwrap_err().to_string();
    assert!(message.contains("layer 1"), "{message}");
}

#[test]
fn gradients_of_another_model_are_refused() {
    let machine = Machine::new(Isa::best(), 1);
    let other = gradients(&machine, &golden_model("llama3"), &sequences()).unwrap();
    let mut model = golden_model("qwen2");
    let before = loss(&machine, &model, &sequences()).unwrap();
    let refused = sgd::descend(&mut model, &other, 0.1).unwrap_err();
    assert!(matches!(refused, Error::MissingGradient { .. }), "{refused}");
    assert_eq!(loss(&machine, &model, &sequences()).unwrap(), before);
}
