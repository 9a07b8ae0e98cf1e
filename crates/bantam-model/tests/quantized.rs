//! Weights in every storage that can be written here: near to what they were made from, and the same bits
//! however they are multiplied.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use bantam_model::{Isa, Model, Numerics};
use bantam_tensor::{Storage, Tensor, quant};
use common::{Run, gguf_model, golden_dir, greatest_difference, ids, read_json};

/// The golden Llama as a GGUF file with its matrices in a storage.
fn model(storage: Storage) -> Model {
    gguf_model(|tensor| {
        let fits = tensor.shape().len() == 2 && storage.bytes_of(tensor.cols()).is_some();
        let storage = if fits { storage } else { Storage::F32 };
        let bytes = quant::quantize(storage, &tensor.to_f32()).unwrap();
        Tensor::new(tensor.name(), tensor.shape().to_vec(), storage, bytes.into()).unwrap()
    })
}

#[test]
fn logits_of_quantised_weights_do_not_depend_on_how_they_are_computed() {
    let tokens = ids(&read_json(&golden_dir().join("tinyllama.json"))["tokens"]);
    for storage in [
        Storage::Q8_0,
        Storage::Q5_1,
        Storage::Q5_0,
        Storage::Q4_1,
        Storage::Q4_0,
        Storage::F16,
        Storage::BF16,
    ] {
        let model = model(storage);
        for numerics in [Numerics::Default, Numerics::Fastest, Numerics::Exact] {
            if numerics == Numerics::Fastest && Isa::best().has_bf16_tiles() {
                // Many rows are rounded to BF16 there, few ones are not.
                continue;
            }
            let run = Run { numerics, ..Run::default() };
            let whole = run.whole(&model, &tokens);
            assert_eq!(
                whole,
                run.in_parts(&model, &tokens, &vec![1; tokens.len()]),
                "{storage}: token by token"
            );
            assert_eq!(whole, run.in_parts(&model, &tokens, &[2, tokens.len() - 2]), "{storage}: in parts");
            // Weights of 16 bits go through tiles of BF16 where there are any: the same bits on all processors that have them.
            let own = matches!(storage, Storage::F16 | Storage::BF16) && numerics != Numerics::Exact;
            let alike = |isa: &Isa| !own || isa.has_bf16_tiles() == run.isa.has_bf16_tiles();
            for isa in Isa::available().into_iter().filter(alike) {
                assert_eq!(whole, Run { isa, threads: 1, ..run }.whole(&model, &tokens), "{storage}: {isa}");
            }
        }
    }
}

/// Activations of 16 bits change logits far less than weights of 8 bits do.
#[test]
fn the_default_arithmetic_is_near_to_the_exact_one() {
    let tokens = ids(&read_json(&golden_dir().join("tinyllama.json"))["tokens"]);
    let exact = |storage| Run::default().whole(&model(storage), &tokens);
    let default = Run { numerics: Numerics::Default, ..Run::default() }.whole(&model(Storage::Q8_0), &tokens);
    let apart = |a: &[Vec<f32>], b: &[Vec<f32>]| greatest_difference(&a.concat(), &b.concat());
    let (activations, weights) =
        (apart(&default, &exact(Storage::Q8_0)), apart(&exact(Storage::Q8_0), &exact(Storage::F32)));
    assert!(activations > 0.0 && activations < weights / 20.0, "{activations} beside {weights}");
}

/// Weights without blocks and what meets them may be rounded to BF16, where the processor multiplies pairs of these: logits
/// change about as much as by weights rounded so.
#[test]
fn the_arithmetic_of_weights_of_16_bits_is_as_near_as_weights_in_bf16() {
    let tokens = ids(&read_json(&golden_dir().join("tinyllama.json"))["tokens"]).repeat(2);
    let logits = |storage, numerics| Run { numerics, ..Run::default() }.whole(&model(storage), &tokens);
    let apart = |a: &[Vec<f32>], b: &[Vec<f32>]| greatest_difference(&a.concat(), &b.concat());
    let exact = logits(Storage::F16, Numerics::Exact);
    let bound = 4.0 * apart(&exact, &logits(Storage::BF16, Numerics::Exact));
    for numerics in [Numerics::Default, Numerics::Fastest] {
        let rounded = apart(&exact, &logits(Storage::F16, numerics));
        assert!(rounded < bound, "{numerics:?}: {rounded}, where {bound} is allowed");
    }
}
