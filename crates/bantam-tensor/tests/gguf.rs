//! GGUF files as other programs write them, and as hostile ones might.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use bantam_tensor::format::gguf::{Array, File, Strings, Value, Writer};
use bantam_tensor::{Bytes, Checkpoint, Metadata, Source, Storage, Tensor};
use common::{SMALL_GGUF, Scratch, mutants};

/// Says why a file is refused.
fn refusal(bytes: Vec<u8>) -> String {
    File::parse(&Bytes::from(bytes)).unwrap_err().to_string()
}

#[track_caller]
fn check_refused(bytes: Vec<u8>, reason: &str) {
    let error = refusal(bytes);
    assert!(error.contains(reason), "wanted {reason:?} in: {error}");
    assert!(error.len() < 600, "too long: {error}");
}

/// Magic, version, counts.
fn header(version: u32, tensors: u64, pairs: u64) -> Vec<u8> {
    [b"GGUF".as_slice(), &version.to_le_bytes(), &tensors.to_le_bytes(), &pairs.to_le_bytes()].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn pair(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&string(key), kind.to_le_bytes().as_slice(), value].concat()
}

fn info(name: &str, axes: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let axes_bytes: Vec<u8> = axes.iter().flat_map(|axis| axis.to_le_bytes()).collect();
    let count = (axes.len() as u32).to_le_bytes();
    [&string(name), count.as_slice(), &axes_bytes, &kind.to_le_bytes(), &offset.to_le_bytes()].concat()
}

/// A file of these infos, with enough data behind that only the infos can be at fault.
fn with_infos(infos: &[Vec<u8>]) -> Vec<u8> {
    [header(3, infos.len() as u64, 0), infos.concat(), vec![0; 4096]].concat()
}

/// A file of this one pair.
fn with_pair(pair: Vec<u8>) -> Vec<u8> {
    [header(3, 0, 1), pair, vec![0; 64]].concat()
}

#[test]
fn every_kind_of_value_reads_as_the_reference_wrote_it() {
    let file = File::parse(&Bytes::from(SMALL_GGUF.to_vec())).unwrap();
    let metadata = &file.metadata;
    assert_eq!(metadata.string("general.architecture").unwrap(), "small");
    assert_eq!(metadata.u64("a.u8").unwrap(), 200);
    assert_eq!(metadata.read::<i64>("a.i8").unwrap(), -100);
    assert_eq!(metadata.u64("a.u16").unwrap(), 60_000);
    assert_eq!(metadata.read::<i64>("a.i16").unwrap(), -30_000);
    assert_eq!(metadata.u64("a.u32").unwrap(), 4_000_000_000);
    assert_eq!(metadata.read::<i64>("a.i32").unwrap(), -2_000_000_000);
    assert_eq!(metadata.u64("a.u64").unwrap(), 1 << 63);
    assert_eq!(metadata.read::<i64>("a.i64").unwrap(), -(1 << 62));
    assert_eq!(metadata.f32("a.f32").unwrap(), 0.1);
    assert_eq!(metadata.read::<f64>("a.f64").unwrap(), 0.1);
    assert!(metadata.bool("a.bool").unwrap());
    assert_eq!(metadata.read::<Vec<i64>>("a.i32s").unwrap(), [1, -2, 3]);
    assert_eq!(metadata.read::<Vec<f32>>("a.f32s").unwrap(), [0.5, -1.5]);
    assert_eq!(metadata.read::<Vec<bool>>("a.bools").unwrap(), [true, false]);
    let strings: Vec<_> = metadata.read::<Strings>("a.strings").unwrap().collect();
    assert_eq!(strings, ["", "a", "\u{2581}word"].map(str::as_bytes));
    assert_eq!(metadata.iter().next().unwrap().0, "general.architecture");
}

#[test]
fn tensors_have_the_slowest_axis_first() {
    let file = File::parse(&Bytes::from(SMALL_GGUF.to_vec())).unwrap();
    let tensors: Vec<_> = file.tensors().collect();
    assert_eq!(tensors[0].name(), "matrix");
    assert_eq!((tensors[0].rows(), tensors[0].cols(), tensors[0].storage()), (3, 5, Storage::F32));
    assert_eq!(tensors[0].to_f32(), (0..15_u8).map(f32::from).collect::<Vec<_>>());
    assert_eq!(tensors[1].to_f32(), [1.0, 0.5, -2.0]);
    assert_eq!((tensors[2].shape(), tensors[2].storage()), (&[2, 32][..], Storage::Q8_0));
}

#[test]
fn a_value_of_another_type_is_named() {
    let metadata = File::parse(&Bytes::from(SMALL_GGUF.to_vec())).unwrap().metadata;
    let error = metadata.u64("general.architecture").unwrap_err().to_string();
    assert_eq!(
        error,
        "metadata key \"general.architecture\": wanted an integer, not negative, found string of 5 bytes"
    );
    assert!(metadata.u64("a.i8").unwrap_err().to_string().contains("found i8 -100"));
    assert!(metadata.string("a.strings").unwrap_err().to_string().contains("found array of 3 strings"));
    assert!(metadata.string("absent").unwrap_err().to_string().contains("no such key"));
    assert_eq!(metadata.find::<u64>("absent").unwrap(), None);
    assert!(metadata.find::<u64>("general.architecture").is_err());
}

#[test]
fn what_the_writer_wrote_reads_back_the_same() {
    let scratch = Scratch::new("gguf-writer");
    let path = scratch.path("model.gguf");
    let blocks: Vec<u8> = (0..144).collect();
    let tensor = Tensor::new("w", vec![1, 256], Storage::Q4K, blocks.clone().into()).unwrap();
    let mut writer = Writer::new();
    writer.set("general.architecture", "small");
    writer.set("general.alignment", 64_u32);
    writer.set("tokens", Array::from_strings(["a", "", "b"]));
    writer.push(Tensor::from_f32("norm", vec![3], &[1.0, 2.0, 3.0]).unwrap()).unwrap();
    writer.push(tensor.clone()).unwrap();
    assert!(writer.push(tensor).unwrap_err().to_string().contains("twice"));
    writer.write(&path).unwrap();
    // Writing over a file that is open leaves the open one as it was.
    let opened = Checkpoint::open(&path).unwrap();
    Writer::new().write(&path).unwrap();
    assert_eq!((opened.source(), opened.file_bytes() % 64), (Source::Gguf, 0));
    assert_eq!(opened.weight("w").unwrap().bytes().as_slice(), blocks);
    assert!(opened.weight("w").unwrap().bytes().is_mapped());
    assert_eq!(opened.tensor("norm").unwrap().to_f32(), [1.0, 2.0, 3.0]);
    assert!(opened.weight("other").unwrap_err().to_string().contains("\"other\" is missing from"));
    let Metadata::Gguf(metadata) = &opened.metadata else { panic!("not GGUF") };
    assert_eq!(metadata.read::<Strings>("tokens").unwrap().len(), 3);
    assert_eq!(scratch.names(), ["model.gguf"]);
}

#[test]
fn versions_two_and_three_open_and_others_are_named() {
    let versioned = |version: u32| {
        let mut bytes = SMALL_GGUF.to_vec();
        bytes[4..8].copy_from_slice(&version.to_le_bytes());
        bytes
    };
    assert!(File::parse(&Bytes::from(versioned(2))).is_ok());
    assert!(File::parse(&Bytes::from(versioned(3))).is_ok());
    check_refused(versioned(1), "version 1");
    check_refused(versioned(4), "version 4; versions 2 and 3");
    check_refused(versioned(0), "version 0");
    check_refused(versioned(3_u32.swap_bytes()), "big endian");
    check_refused(b"GGML....".to_vec(), "does not start with");
}

#[test]
fn a_vocabulary_without_tensors_or_padding_opens() {
    let bytes = [header(3, 0, 1), pair("k", 10, &7_u64.to_le_bytes())].concat();
    let file = File::parse(&Bytes::from(bytes)).unwrap();
    assert!(matches!(file.metadata.get("k"), Some(Value::U64(7))));
}

#[test]
fn a_file_cut_anywhere_is_refused_or_has_lost_only_padding() {
    let whole = SMALL_GGUF.len();
    for len in 0..whole {
        if let Ok(file) = File::parse(&Bytes::from(SMALL_GGUF[..len].to_vec())) {
            assert!(whole - len < 32, "{len} of {whole} bytes");
            assert_eq!(file.tensors().count(), 3);
        }
    }
}

#[test]
fn giant_counts_are_refused_before_memory_is_taken() {
    for count in [u64::MAX, u64::MAX / 2, 1 << 32, 1 << 20] {
        check_refused([header(3, count, 0), vec![0; 64]].concat(), "tensors");
        check_refused([header(3, 0, count), vec![0; 64]].concat(), "metadata pairs");
    }
}

/// Sizes of strings and arrays near 2^64, whose sums wrap (as in CVE-2025-53630 and CVE-2026-27940).
#[test]
fn giant_lengths_are_refused() {
    for len in [u64::MAX, u64::MAX - 7, 1 << 63, 1 << 61, 1 << 40, 4096] {
        check_refused(with_pair(pair("k", 8, &len.to_le_bytes())), "a string at byte");
        check_refused([header(3, 0, 1), len.to_le_bytes().to_vec(), vec![0; 64]].concat(), "a metadata key");
        check_refused([header(3, 1, 0), len.to_le_bytes().to_vec(), vec![0; 64]].concat(), "a tensor name");
        for kind in [0_u32, 4, 7, 8, 9, 10] {
            let array = [&kind.to_le_bytes()[..], &len.to_le_bytes()].concat();
            check_refused(with_pair(pair("k", 9, &array)), "an array at byte");
        }
    }
}

/// Null, zero and empty metadata, over which another server fell (CVE-2025-0312, CVE-2025-0315).
#[test]
fn empty_and_zero_metadata_is_refused_or_read() {
    check_refused(with_pair(pair("", 4, &[0; 4])), "1 to 512 are allowed");
    check_refused(with_pair([string("k"), vec![0xff; 8]].concat()), "value type 4294967295");
    check_refused(with_pair(pair("general.alignment", 4, &[0; 4])), "alignment is 0");
    check_refused(with_pair(pair("general.alignment", 4, &48_u32.to_le_bytes())), "alignment is 48");
    check_refused(with_pair(pair("general.alignment", 8, &string("32"))), "wanted an integer");
    let file = File::parse(&Bytes::from(with_pair(pair("tokens", 9, &[8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))));
    assert_eq!(file.unwrap().metadata.array("tokens").unwrap().len(), 0);
}

#[test]
fn odd_bools_and_repeated_or_unreadable_keys_are_refused() {
    check_refused(with_pair(pair("k", 7, &[2])), "bool at byte");
    check_refused(with_pair(pair("k", 9, &[7, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 9])), "neither 0 nor 1");
    let twice = [header(3, 0, 2), pair("k", 0, &[1]), pair("k", 0, &[2]), vec![0; 64]].concat();
    check_refused(twice, "\"k\" is there twice");
    let mut key = pair("kk", 0, &[1]);
    key[8] = 0xff;
    check_refused(with_pair(key), "not UTF-8");
}

#[test]
fn nested_arrays_are_walked_only_so_deep() {
    let nested = |depth: usize| {
        let mut value = [&0_u32.to_le_bytes()[..], &1_u64.to_le_bytes(), &[7]].concat();
        for _ in 1..depth {
            value = [&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes(), &value].concat();
        }
        with_pair(pair("k", 9, &value))
    };
    assert!(File::parse(&Bytes::from(nested(4))).is_ok());
    check_refused(nested(5), "nested");
    check_refused(nested(1000), "nested");
}

/// Offsets and sizes beyond the file (as in CVE-2026-7482), also where their sum wraps.
#[test]
fn tensors_outside_the_file_are_refused() {
    for offset in [4096 + 32, 1 << 40, u64::MAX - 31] {
        check_refused(with_infos(&[info("w", &[8], 0, offset)]), "pass the end of the file");
    }
    check_refused(with_infos(&[info("w", &[1 << 20], 0, 0)]), "pass the end of the file");
    check_refused(with_infos(&[info("w", &[8], 0, 4)]), "not a multiple of the alignment");
    for axes in [[1 << 32, 1 << 32], [u64::MAX, 1], [1 << 62, 4], [u64::MAX, u64::MAX]] {
        check_refused(with_infos(&[info("w", &axes, 0, 0)]), "larger than any memory");
        check_refused(with_infos(&[info("w", &axes, 26, 0)]), "larger than any memory");
    }
}

#[test]
fn impossible_shapes_and_types_are_refused() {
    check_refused(with_infos(&[info("w", &[0], 0, 0)]), "length zero");
    check_refused(with_infos(&[info("w", &[4, 0], 0, 0)]), "length zero");
    check_refused(with_infos(&[info("w", &[1; 5], 0, 0)]), "5 axes");
    check_refused(with_infos(&[info("w", &[33, 2], 8, 0)]), "whole blocks of 32");
    check_refused(with_infos(&[info("w", &[256], 16, 0)]), "IQ2_XXS is not supported");
    check_refused(with_infos(&[info("w", &[256], 4, 0)]), "Q4_2 (retired)");
    check_refused(with_infos(&[info("w", &[256], u32::MAX, 0)]), "unknown GGUF type id");
    check_refused(with_infos(&[info(&"n".repeat(513), &[1], 0, 0)]), "1 to 512 are allowed");
}

#[test]
fn tensors_that_share_bytes_or_names_are_refused() {
    let overlap = [info("one", &[64], 0, 0), info("two", &[8], 0, 32)];
    check_refused(with_infos(&overlap), "overlap");
    let same = [info("w", &[8], 0, 0), info("w", &[8], 0, 32)];
    check_refused(with_infos(&same), "twice");
    assert!(
        File::parse(&Bytes::from(with_infos(&[info("one", &[8], 0, 32), info("two", &[8], 0, 0)]))).is_ok()
    );
}

#[test]
fn integer_tensors_are_listed_but_are_no_weights() {
    let scratch = Scratch::new("gguf-integers");
    let path = scratch.write("model.gguf", &with_infos(&[info("table", &[4, 2], 26, 0)]));
    let opened = Checkpoint::open(&path).unwrap();
    assert_eq!(opened.unreadable()[0].shape, [2, 4]);
    assert!(opened.tensor("table").is_none());
    assert!(opened.weight("table").unwrap_err().to_string().contains("storage I32 is not supported"));
}

/// Whatever a damaged file says, reading it ends; and what it hands out can be used.
#[test]
fn no_damage_does_more_than_an_error() {
    let mut opened = 0;
    for bytes in mutants(SMALL_GGUF, 20_000) {
        let Ok(file) = File::parse(&Bytes::from(bytes)) else { continue };
        opened += 1;
        for tensor in file.tensors() {
            assert_eq!(tensor.to_f32().len(), tensor.elements());
        }
        for (key, value) in file.metadata.iter() {
            let Value::Array(array) = value else { continue };
            let strings = array.strings().map_or(array.len(), |strings| strings.count());
            assert_eq!(strings, array.len(), "{key}");
        }
    }
    assert!(opened > 100, "damage to values and data should be survived; only {opened} were");
}
