//! safetensors files as other programs write them, and as hostile ones might.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use bantam_tensor::format::safetensors::{File, write};
use bantam_tensor::{Bytes, Storage, Tensor};
use common::{SMALL_SAFETENSORS, Scratch, mutants};

/// A file of this header and as many bytes of data.
fn file(header: &str, data_len: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data_len]].concat()
}

#[track_caller]
fn check_refused(bytes: Vec<u8>, reason: &str) {
    let error = File::parse(&Bytes::from(bytes)).unwrap_err().to_string();
    assert!(error.contains(reason), "wanted {reason:?} in: {error}");
    assert!(error.len() < 600, "too long: {error}");
}

/// A file of one tensor `w` with these properties.
fn one(dtype: &str, shape: &str, begin: &str, end: &str, data_len: usize) -> Vec<u8> {
    let header = format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}}}"#);
    file(&header, data_len)
}

#[test]
fn a_file_of_the_reference_reads_as_written() {
    let file = File::parse(&Bytes::from(SMALL_SAFETENSORS.to_vec())).unwrap();
    let tensors: Vec<_> = file.tensors().collect();
    // The reference sorts by width; position_ids, in I64, is no weight.
    assert_eq!(tensors.len(), 2);
    assert_eq!(
        (tensors[0].name(), tensors[0].shape(), tensors[0].storage()),
        ("matrix", &[3, 5][..], Storage::F32)
    );
    assert_eq!(tensors[0].to_f32(), (0..15_u8).map(f32::from).collect::<Vec<_>>());
    assert_eq!((tensors[1].storage(), tensors[1].to_f32()), (Storage::F16, vec![1.0, 0.5, -2.0]));
}

#[test]
fn what_was_written_reads_back_the_same() {
    let scratch = Scratch::new("safetensors-write");
    let path = scratch.path("model.safetensors");
    let tensors = [
        Tensor::new("b", vec![2], Storage::BF16, vec![0x80, 0x3f, 0, 0x40].into()).unwrap(),
        Tensor::from_f32("a", vec![1, 2], &[3.0, 4.0]).unwrap(),
        Tensor::from_f32("scalar", vec![], &[5.0]).unwrap(),
    ];
    write(&path, &tensors).unwrap();
    let read = File::parse(&Bytes::from(std::fs::read(&path).unwrap())).unwrap();
    for (read, written) in read.tensors().zip(&tensors) {
        assert_eq!(
            (read.name(), read.shape(), read.to_f32()),
            (written.name(), written.shape(), written.to_f32())
        );
    }
    assert_eq!(read.tensors().count(), 3);
    let blocks = Tensor::new("q", vec![32], Storage::Q8_0, vec![0; 34].into()).unwrap();
    assert!(write(&path, &[blocks]).unwrap_err().to_string().contains("has no storage Q8_0"));
    assert_eq!(scratch.names(), ["model.safetensors"]);
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for len in 0..SMALL_SAFETENSORS.len() {
        assert!(File::parse(&Bytes::from(SMALL_SAFETENSORS[..len].to_vec())).is_err(), "{len} bytes");
    }
}

#[test]
fn impossible_headers_are_refused() {
    check_refused(vec![], "0 bytes");
    check_refused(u64::MAX.to_le_bytes().to_vec(), "claims 18446744073709551615 bytes");
    check_refused(100_u64.to_le_bytes().to_vec(), "is it truncated?");
    check_refused(file("[]", 0), "an object with an entry per tensor");
    check_refused(file("", 0), "EOF");
    check_refused(file("{}x", 0), "trailing");
    check_refused(file(&format!(r#"{{"w":{}"#, "[".repeat(10_000)), 0), "invalid type");
    check_refused(file(&format!(r#"{{"__metadata__":{}"#, "[".repeat(10_000)), 0), "EOF");
    check_refused(file(&format!(r#"{{"{}":0}}"#, "n".repeat(600)), 0), "a name of more than 512 bytes");
}

#[test]
fn impossible_ranges_are_refused() {
    check_refused(one("F32", "[1]", "0", "8", 4), "not inside the data of 4 bytes");
    check_refused(one("F32", "[1]", "4", "0", 4), "not inside the data");
    check_refused(one("F32", "[1]", "0", "18446744073709551615", 4), "not inside the data");
    check_refused(
        one("F32", "[1]", "18446744073709551612", "18446744073709551615", 4),
        "not inside the data",
    );
    check_refused(one("F32", "[1]", "-4", "0", 4), "invalid value");
    check_refused(one("F32", "[1]", "0", "1e400", 4), "number out of range");
    check_refused(one("F32", "[2]", "0", "4", 4), "does not fit its 4 bytes");
    check_refused(one("F32", "[1]", "0", "4", 8), "cover 4 of 8 bytes");
    check_refused(one("F32", "[1]", "4", "8", 8), "cover 4 of 8 bytes");
}

#[test]
fn impossible_shapes_are_refused() {
    check_refused(one("F32", "[4294967296,4294967296]", "0", "4", 4), "larger than any memory");
    check_refused(one("F32", "[4611686018427387904]", "0", "4", 4), "does not fit");
    check_refused(one("F32", "[-1]", "0", "4", 4), "invalid value");
    check_refused(one("F32", "[1,1,1,1,1,1,1,1,1]", "0", "4", 4), "at most 8 lengths");
    check_refused(one("F32", "null", "0", "4", 4), "invalid type: null");
}

#[test]
fn tensors_that_share_bytes_or_names_are_refused() {
    let two = |first: &str, second: &str| {
        let entry = |range: &str| format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":[{range}]}}"#);
        format!(r#"{{"one":{},"{second}":{}}}"#, entry(first), entry("0,4"))
    };
    check_refused(file(&two("0,4", "two"), 4), "overlap");
    check_refused(file(&two("4,8", "one"), 8), "twice");
    assert!(File::parse(&Bytes::from(file(&two("4,8", "two"), 8))).is_ok());
}

#[test]
fn other_types_are_listed_but_are_no_weights() {
    for (dtype, shape, end) in
        [("I64", "[1]", "8"), ("F8_E4M3", "[3]", "3"), ("F4", "[7]", "5"), ("F32", "[0]", "0")]
    {
        let parsed = File::parse(&Bytes::from(one(dtype, shape, "0", end, end.parse().unwrap())));
        assert_eq!(parsed.unwrap().tensors().count(), 0, "{dtype}");
    }
    check_refused(one("I64", "[1]", "0", "4", 4), "does not fit its 4 bytes");
}

/// Whatever a damaged file says, reading it ends; and what it hands out can be used.
#[test]
fn no_damage_does_more_than_an_error() {
    let mut opened = 0;
    for bytes in mutants(SMALL_SAFETENSORS, 20_000) {
        let Ok(file) = File::parse(&Bytes::from(bytes)) else { continue };
        opened += 1;
        for tensor in file.tensors() {
            assert_eq!(tensor.to_f32().len(), tensor.elements());
        }
    }
    assert!(opened > 100, "damage to data should be survived; only {opened} were");
}
