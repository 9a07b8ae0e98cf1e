//! GGUF files in several parts, and parts that do not belong together.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::PathBuf;

use bantam_tensor::format::gguf::Writer;
use bantam_tensor::{Checkpoint, Tensor};
use common::Scratch;

/// One part with one tensor, as `llama-gguf-split` would name and mark it.
struct Part {
    /// From 1, in the name.
    named: usize,
    /// From 0, in the metadata.
    no: u16,
    count: u16,
    tensor: &'static str,
    total: i32,
}

impl Part {
    fn write(&self, scratch: &Scratch) -> PathBuf {
        let mut writer = Writer::new();
        writer.set("general.architecture", "small");
        writer.set("split.no", self.no);
        writer.set("split.count", self.count);
        writer.set("split.tensors.count", self.total);
        writer.push(Tensor::from_f32(self.tensor, vec![1], &[f32::from(self.no)]).unwrap()).unwrap();
        let path = scratch.path(&format!("m-{:05}-of-00003.gguf", self.named));
        writer.write(&path).unwrap();
        path
    }
}

fn three_parts() -> [Part; 3] {
    let part = |named: usize, tensor| Part { named, no: named as u16 - 1, count: 3, tensor, total: 3 };
    [part(1, "a"), part(2, "b"), part(3, "c")]
}

/// Writes three parts, changed before by `change`, and opens the first.
#[track_caller]
fn check_refused(name: &str, change: impl Fn(&mut [Part; 3]), reason: &str) {
    let scratch = Scratch::new(name);
    let mut parts = three_parts();
    change(&mut parts);
    let paths: Vec<_> = parts.iter().map(|part| part.write(&scratch)).collect();
    let error = Checkpoint::open(&paths[0]).unwrap_err().to_string();
    assert!(error.contains(reason), "wanted {reason:?} in: {error}");
}

#[test]
fn any_part_opens_all() {
    let scratch = Scratch::new("split-any");
    let mut file_bytes = 0;
    for path in three_parts().map(|part| part.write(&scratch)) {
        file_bytes += std::fs::metadata(path).unwrap().len();
    }
    for part in 1..=3 {
        let opened = Checkpoint::open(&scratch.path(&format!("m-{part:05}-of-00003.gguf"))).unwrap();
        let names: Vec<_> = opened.tensors().map(Tensor::name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(opened.tensor("c").unwrap().to_f32(), [2.0]);
        assert_eq!(opened.file_bytes(), file_bytes);
    }
}

#[test]
fn parts_that_do_not_fit_are_named() {
    check_refused("split-number", |parts| parts[1].no = 2, "m-00002-of-00003.gguf: the parts");
    check_refused(
        "split-number-2",
        |parts| parts[1].no = 2,
        "should be part 2 of 3, but says that it is part 3",
    );
    check_refused("split-count", |parts| parts[2].count = 4, "m-00003-of-00003.gguf");
    check_refused("split-total", |parts| parts[0].total = 7, "should have 7 tensors, but have 3");
    check_refused(
        "split-negative",
        |parts| parts[0].total = -1,
        "wanted an integer, not negative, found i32 -1",
    );
    check_refused("split-twice", |parts| parts[2].tensor = "a", "m-00003-of-00003.gguf: tensor \"a\"");
    check_refused("split-first", |parts| parts[0].no = 1, "m-00001-of-00003.gguf");
    check_refused("split-many", |parts| parts[0].count = u16::MAX, "claims 65535 parts");
}

#[test]
fn a_missing_part_is_named() {
    let scratch = Scratch::new("split-missing");
    let paths = three_parts().map(|part| part.write(&scratch));
    std::fs::remove_file(&paths[1]).unwrap();
    let error = Checkpoint::open(&paths[2]).unwrap_err().to_string();
    assert!(error.contains("m-00002-of-00003.gguf"), "{error}");
}

#[test]
fn a_part_under_another_name_says_what_name_it_needs() {
    let scratch = Scratch::new("split-renamed");
    let [first, ..] = three_parts().map(|part| part.write(&scratch));
    let renamed = scratch.path("model.gguf");
    std::fs::rename(first, &renamed).unwrap();
    let error = Checkpoint::open(&renamed).unwrap_err().to_string();
    assert!(error.contains("should end in -00001-of-00003.gguf"), "{error}");
}

/// A part that is a link to another says the other's number.
#[cfg(unix)]
#[test]
fn parts_that_go_in_a_circle_are_refused() {
    let scratch = Scratch::new("split-circle");
    let paths = three_parts().map(|part| part.write(&scratch));
    std::fs::remove_file(&paths[2]).unwrap();
    std::os::unix::fs::symlink(&paths[0], &paths[2]).unwrap();
    let error = Checkpoint::open(&paths[0]).unwrap_err().to_string();
    assert!(error.contains("should be part 3 of 3, but says that it is part 1"), "{error}");
}
