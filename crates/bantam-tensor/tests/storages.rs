//! Every storage against the values that the Python package `gguf` reads and writes: equal bit for bit.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bantam_tensor::format::types;
use bantam_tensor::quant::{dequantize, quantize};
use bantam_tensor::{Error, Storage, Tensor};

const WEIGHTS: usize = 256;

/// Made by `testdata/storages/make.py`, which says what is in it.
const GOLDEN: &[u8] = include_bytes!("../../../testdata/storages/golden.bin");

fn values(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect()
}

/// A storage, blocks in it, and their values.
type Case = (Storage, &'static [u8], Vec<f32>);

/// The case of each storage, and what follows them.
fn dequantized() -> (Vec<Case>, &'static [u8]) {
    let (mut cases, mut rest) = (Vec::new(), GOLDEN);
    for storage in Storage::ALL {
        let (blocks, after) = rest.split_at(storage.bytes_of(WEIGHTS).unwrap());
        let (truth, after) = after.split_at(WEIGHTS * 4);
        cases.push((storage, blocks, values(truth)));
        rest = after;
    }
    (cases, rest)
}

#[test]
fn every_storage_reads_as_the_reference_does() {
    for (storage, blocks, truth) in dequantized().0 {
        let mut found = vec![0.0; WEIGHTS];
        dequantize(storage, blocks, &mut found);
        for (at, (found, truth)) in found.iter().zip(&truth).enumerate() {
            assert_eq!(found.to_bits(), truth.to_bits(), "{storage} weight {at}: {found} for {truth}");
        }
    }
}

#[test]
fn quantisers_write_as_the_reference_does() {
    let (weights, mut rest) = dequantized().1.split_at(WEIGHTS * 4);
    let weights = values(weights);
    for storage in [
        Storage::F16,
        Storage::BF16,
        Storage::Q4_0,
        Storage::Q4_1,
        Storage::Q5_0,
        Storage::Q5_1,
        Storage::Q8_0,
    ] {
        let truth;
        (truth, rest) = rest.split_at(storage.bytes_of(WEIGHTS).unwrap());
        assert_eq!(quantize(storage, &weights).unwrap(), truth, "{storage}");
    }
    assert!(rest.is_empty());
}

#[test]
fn storages_that_need_a_search_are_not_quantised_to() {
    let error = quantize(Storage::Q4K, &[0.0; WEIGHTS]).unwrap_err();
    assert!(matches!(error, Error::UnsupportedStorage { .. }), "{error}");
}

#[test]
fn a_row_is_the_same_alone_and_among_others() {
    for (storage, blocks, truth) in dequantized().0 {
        let cols = storage.block_len().max(64);
        let tensor = Tensor::new("w", vec![WEIGHTS / cols, cols], storage, blocks.to_vec().into()).unwrap();
        assert_eq!(tensor.to_f32(), truth, "{storage}");
        let last = tensor.rows() - 1;
        let mut row = vec![0.0; cols];
        tensor.row_to_f32(last, &mut row).unwrap();
        assert_eq!(row, truth[last * cols..], "{storage}");
        assert_eq!(tensor.slice_rows(last..last + 1).unwrap().to_f32(), row, "{storage}");
    }
}

#[test]
fn gguf_ids_and_storages_name_each_other() {
    for storage in Storage::ALL {
        assert_eq!(types::from_gguf_id(types::gguf_id(storage)).unwrap(), storage);
    }
}

#[test]
fn other_gguf_types_are_refused_by_their_own_names() {
    for (id, name) in
        [(16, "IQ2_XXS"), (34, "TQ1_0"), (39, "MXFP4"), (31, "Q4_0_4_4"), (9, "Q8_1"), (77, "77")]
    {
        let error = types::from_gguf_id(id).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("Q4_K"), "{error}");
    }
}

#[test]
fn a_tensor_whose_parts_disagree_cannot_be_made() {
    let make = |shape: &[usize], storage, bytes: usize| {
        Tensor::new("w", shape.to_vec(), storage, vec![0; bytes].into()).map_err(|error| error.to_string())
    };
    for (shape, storage, bytes, reason) in [
        (&[2, 3][..], Storage::F32, 20, "needs 24 bytes, found 20"),
        (&[4, 8], Storage::Q8_0, 34, "whole blocks of 32"),
        (&[0, 32], Storage::F32, 0, "length zero"),
        (&[usize::MAX, usize::MAX], Storage::F32, 4, "larger than any memory"),
        (&[usize::MAX / 2, 1], Storage::F32, 4, "larger than any memory"),
    ] {
        let error = make(shape, storage, bytes).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!(make(&[], Storage::F32, 4).unwrap().rows(), 1);
}
