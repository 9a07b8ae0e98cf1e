//! Hugging Face folders: what is found in them, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use bantam_tensor::format::{Folder, json_number, safetensors};
use bantam_tensor::{Checkpoint, Metadata, Source, Tensor};
use common::{SMALL_SAFETENSORS, Scratch};

const INDEX: &str = "model.safetensors.index.json";

#[track_caller]
fn check_refused(scratch: &Scratch, reason: &str) {
    let error = Checkpoint::open(scratch.folder()).unwrap_err().to_string();
    assert!(error.contains(reason), "wanted {reason:?} in: {error}");
}

/// A folder with a config and two parts of a model, of which `a` and `b` are the tensors.
fn sharded(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    scratch.write("config.json", b"{}");
    for (file, tensor) in [("one.safetensors", "a"), ("two.safetensors", "b")] {
        let tensor = Tensor::from_f32(tensor, vec![2], &[1.0, 2.0]).unwrap();
        safetensors::write(&scratch.path(file), &[tensor]).unwrap();
    }
    write_index(&scratch, &[("a", "one.safetensors"), ("b", "two.safetensors")]);
    scratch
}

fn write_index(scratch: &Scratch, entries: &[(&str, &str)]) {
    let map: Vec<_> = entries.iter().map(|(tensor, file)| format!("{tensor:?}:{file:?}")).collect();
    scratch.write(INDEX, format!(r#"{{"metadata":{{}},"weight_map":{{{}}}}}"#, map.join(",")).as_bytes());
}

#[test]
fn a_folder_and_its_weights_file_open_alike() {
    let scratch = Scratch::new("folder-single");
    scratch.write("config.json", br#"{"model_type": "small", "b": 1, "a": 2}"#);
    scratch.write("generation_config.json", br#"{"temperature": 0.5}"#);
    let weights = scratch.write("model.safetensors", SMALL_SAFETENSORS);
    for path in [scratch.folder(), weights.as_path()] {
        let opened = Checkpoint::open(path).unwrap();
        assert_eq!((opened.source(), opened.file_bytes()), (Source::Folder, SMALL_SAFETENSORS.len() as u64));
        assert_eq!(opened.weight("halves").unwrap().to_f32(), [1.0, 0.5, -2.0]);
        let error = opened.weight("position_ids").unwrap_err().to_string();
        assert!(error.contains("\"position_ids\": storage I64 is not supported"), "{error}");
        let Metadata::Folder(folder) = &opened.metadata else { panic!("not a folder") };
        assert_eq!(folder.config.to_string(), r#"{"model_type":"small","b":1,"a":2}"#);
        assert_eq!(folder.generation_config.as_ref().unwrap()["temperature"], 0.5);
        assert!(folder.tokenizer_config.is_none() && folder.tokenizer_json().unwrap().is_none());
    }
}

#[test]
fn all_parts_of_an_index_open_from_the_folder_or_a_part() {
    let scratch = sharded("folder-sharded");
    for path in [scratch.folder().to_owned(), scratch.path("two.safetensors")] {
        let opened = Checkpoint::open(&path).unwrap();
        let names: Vec<_> = opened.tensors().map(Tensor::name).collect();
        assert_eq!(names, ["a", "b"]);
    }
}

#[test]
fn an_index_that_does_not_fit_its_parts_is_refused() {
    let scratch = sharded("folder-index");
    for (entries, reason) in [
        (
            &[("a", "one.safetensors"), ("b", "three.safetensors")][..],
            "the part \"three.safetensors\" is missing",
        ),
        (&[("a", "two.safetensors")], "tensor \"a\" is in it, but it is not"),
        (&[("a", "../one.safetensors")], "is not the name of a file beside it"),
        (&[("a", "/etc/one.safetensors")], "is not the name of a file beside it"),
        (&[("a", "sub\\one.safetensors")], "is not the name of a file beside it"),
        (&[("a", "..")], "is not the name of a file beside it"),
        (&[("a", "")], "is not the name of a file beside it"),
        (&[("a", "config.json")], "is not a .safetensors file"),
        (&[], "it lists 0 files"),
    ] {
        write_index(&scratch, entries);
        check_refused(&scratch, reason);
    }
    scratch.write(INDEX, br#"{"weight_map": 7}"#);
    check_refused(&scratch, "an object with an entry per tensor");
}

#[test]
fn parts_with_the_same_tensor_are_refused() {
    let scratch = sharded("folder-twice");
    std::fs::copy(scratch.path("one.safetensors"), scratch.path("two.safetensors")).unwrap();
    write_index(&scratch, &[("a", "one.safetensors"), ("a", "two.safetensors")]);
    check_refused(&scratch, "two.safetensors: tensor \"a\": the name is there twice");
}

#[test]
fn what_is_no_model_says_what_to_give() {
    let scratch = Scratch::new("folder-none");
    check_refused(&scratch, "has no config.json");
    scratch.write("model.gguf", b"GGUF");
    check_refused(&scratch, "give the path of one of them");
    scratch.write("config.json", b"{}");
    check_refused(&scratch, "neither model.safetensors nor");
    scratch.write("pytorch_model.bin", b"PK\x03\x04");
    check_refused(&scratch, "get the model as safetensors or GGUF");
    for (name, bytes, reason) in [
        ("pytorch_model.bin", &b"PK\x03\x04...."[..], "can run code when read"),
        ("model.pth", b"", "can run code when read"),
        ("ggml-model.bin", b"tjgg....", "before GGUF"),
        ("notes.txt", b"hello", "neither a GGUF file"),
        ("model.gguf", b"", "neither a GGUF file"),
    ] {
        let error = Checkpoint::open(&scratch.write(name, bytes)).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains(name), "{error}");
    }
    assert!(Checkpoint::open(&scratch.path("absent")).unwrap_err().to_string().contains("cannot open"));
}

#[test]
fn python_constants_in_json_become_strings_that_read_as_numbers() {
    let scratch = Scratch::new("folder-infinity");
    scratch.write(
        "config.json",
        br#"{"a": Infinity, "b": [-Infinity, NaN, 1.5], "c": "not \"Infinity, but text", "d": "NaN\\"}"#,
    );
    let config = Folder::open(scratch.folder()).unwrap().config;
    assert_eq!(json_number(&config["a"]), Some(f64::INFINITY));
    assert_eq!(json_number(&config["b"][0]), Some(f64::NEG_INFINITY));
    assert!(json_number(&config["b"][1]).unwrap().is_nan());
    assert_eq!(json_number(&config["b"][2]), Some(1.5));
    assert_eq!(config["c"], "not \"Infinity, but text");
    assert_eq!((&config["d"], json_number(&config["d"])), (&"NaN\\".into(), None));
}

#[test]
fn damaged_json_is_refused_with_its_file() {
    let scratch = Scratch::new("folder-json");
    for bytes in [&b"{"[..], b"", b"{\"a\": Inf}", b"\xff", b"{\"a\": \"", b"{\"a\": \"\\", b"-Infinit"] {
        scratch.write("config.json", bytes);
        check_refused(&scratch, "config.json: not a valid JSON file");
    }
    scratch.write("config.json", "[".repeat(100_000).as_bytes());
    check_refused(&scratch, "recursion limit");
    scratch.write("config.json", "{},".repeat(300_000).as_bytes());
    check_refused(&scratch, "the limit is 200000");
    scratch.write("config.json", &vec![b' '; (2 << 20) + 1]);
    check_refused(&scratch, "larger than the limit");
}

#[test]
fn the_chat_template_is_taken_from_the_newest_place() {
    let scratch = Scratch::new("folder-template");
    let template = |scratch: &Scratch| Folder::open(scratch.folder()).unwrap().chat_template;
    scratch.write("config.json", b"{}");
    assert_eq!(template(&scratch), None);
    scratch.write("tokenizer_config.json", br#"{"chat_template": "plain"}"#);
    assert_eq!(template(&scratch).unwrap(), "plain");
    let list =
        br#"{"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "first"}]}"#;
    scratch.write("tokenizer_config.json", list);
    assert_eq!(template(&scratch).unwrap(), "first");
    assert_eq!(Folder::open(scratch.folder()).unwrap().named_chat_templates["tool_use"], "tools");
    scratch.write("chat_template.json", br#"{"chat_template": "json"}"#);
    assert_eq!(template(&scratch).unwrap(), "json");
    scratch.write("chat_template.jinja", b"jinja");
    assert_eq!(template(&scratch).unwrap(), "jinja");
    scratch.write("chat_template.jinja", b"\xff");
    assert!(
        Folder::open(scratch.folder())
            .unwrap_err()
            .to_string()
            .contains("chat_template.jinja: not a valid UTF-8")
    );
}

#[test]
fn other_files_are_found_below_the_folder_only() {
    let scratch = Scratch::new("folder-files");
    scratch.write("config.json", b"{}");
    std::fs::create_dir(scratch.path("1_Pooling")).unwrap();
    scratch.write("1_Pooling/config.json", br#"{"mean": true}"#);
    scratch.write("vocab.txt", b"[PAD]\n");
    let folder = Folder::open(scratch.folder()).unwrap();
    assert_eq!(folder.json("1_Pooling/config.json").unwrap().unwrap()["mean"], true);
    assert_eq!(folder.file("vocab.txt").unwrap().unwrap().as_slice(), b"[PAD]\n");
    assert!(folder.file("absent").unwrap().is_none());
    for name in ["../config.json", "/etc/hostname", "a/../../b", ""] {
        assert!(folder.file(name).unwrap_err().to_string().contains("leads out of the folder"), "{name}");
    }
    // A folder in the place of a file is not read as one.
    assert!(folder.file("1_Pooling").unwrap_err().to_string().contains("not a regular file"));
}
