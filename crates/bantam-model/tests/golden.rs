//! Every family against what transformers computes for its tiny checkpoint.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::collections::BTreeMap;

use bantam_model::{Model, Start};
use common::{Run, golden_dir, golden_model, greatest_difference, ids, read_json, tensors};

fn families() -> Vec<String> {
    let entries = std::fs::read_dir(golden_dir()).unwrap();
    let names = entries
        .filter_map(|e| e.unwrap().file_name().to_str().unwrap().strip_suffix(".json").map(str::to_owned));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn logits_agree_with_transformers() {
    let families = families();
    assert!(families.len() >= 30, "golden files are missing");
    for family in families {
        let (model, golden) = golden_model(&family);
        let found = Run::default().whole(&model, &ids(&golden["tokens"]));
        for (row, expected) in
            golden["rows"].as_array().unwrap().iter().zip(golden["logits"].as_array().unwrap())
        {
            let expected: Vec<f32> = serde_json::from_value(expected.clone()).unwrap();
            let difference = greatest_difference(&found[row.as_u64().unwrap() as usize], &expected);
            assert!(difference <= 2e-4, "{family}, position {row}: off by {difference}");
        }
        let found = Run::default().whole(&model, &ids(&golden["short_tokens"]));
        let expected: Vec<f32> = serde_json::from_value(golden["short_logits"].clone()).unwrap();
        let difference = greatest_difference(found.last().unwrap(), &expected);
        assert!(difference <= 2e-4, "{family}, short sequence: off by {difference}");
    }
}

/// The same bits at once, token by token, in uneven parts, among others in a batch, on any number of
/// threads, and on every instruction set of this processor.
#[test]
fn logits_do_not_depend_on_how_they_are_computed() {
    for family in families() {
        let (model, golden) = golden_model(&family);
        let tokens = ids(&golden["tokens"]);
        let run = Run::default();
        let whole = run.whole(&model, &tokens);
        let one_by_one = vec![1; tokens.len()];
        assert_eq!(whole, run.in_parts(&model, &tokens, &one_by_one), "{family}: token by token");
        let uneven = [tokens.len() - 5, 1, 4];
        assert_eq!(whole, run.in_parts(&model, &tokens, &uneven), "{family}: in parts");
        let (short, other): (Vec<u32>, Vec<u32>) =
            (ids(&golden["short_tokens"]), tokens.iter().rev().copied().collect());
        assert_eq!(whole, run.among_others(&model, &[&tokens, &short, &other]), "{family}: in a batch");
        for isa in bantam_model::Isa::available() {
            for threads in [1, 3] {
                assert_eq!(
                    whole,
                    Run { isa, threads, ..run }.whole(&model, &tokens),
                    "{family}: {isa}, {threads}"
                );
            }
        }
    }
}

#[test]
fn a_new_model_has_the_tensors_of_a_checkpoint() {
    let mut alike = 0;
    for family in families() {
        let golden = read_json(&golden_dir().join(format!("{family}.json")));
        let config = read_json(&golden_dir().join(format!("configs/{family}.json")));
        let Ok(blank) = Model::blank(config.as_object().unwrap().clone()) else {
            assert!(config["qk_layernorm"] == true || config.get("text_config").is_some(), "{family}");
            continue;
        };
        let drawn = blank.iter().filter(|one| one.start == Start::Drawn);
        assert!(drawn.clone().count() > 0 && drawn.clone().all(|one| one.shape.len() == 2), "{family}");
        let found: BTreeMap<String, Vec<usize>> =
            blank.into_iter().map(|one| (one.name, one.shape)).collect();
        let stored = tensors(&golden);
        let stored = stored.iter().map(|tensor| (tensor.name().to_owned(), tensor.shape().to_vec()));
        let is_tied = config["tie_word_embeddings"] == true;
        let wanted: BTreeMap<_, _> =
            stored.filter(|(name, _)| !(is_tied && name == "lm_head.weight")).collect();
        assert_eq!(found, wanted, "{family}");
        alike += 1;
    }
    assert!(alike >= 25, "{alike}");
}

#[test]
fn vectors_go_back_as_they_came() {
    for family in families() {
        let (model, golden) = golden_model(&family);
        let vectors: BTreeMap<String, Vec<f32>> = model.stored_vectors().into_iter().collect();
        let matrices = model.tensors();
        for tensor in tensors(&golden) {
            match vectors.get(tensor.name()) {
                Some(found) => {
                    let difference = greatest_difference(found, &tensor.to_f32());
                    assert!(difference <= 2e-7, "{family}, {}: off by {difference}", tensor.name());
                }
                None => {
                    let known = matrices.contains_key(tensor.name()) || tensor.name() == "lm_head.weight";
                    assert!(known, "{family}, {}", tensor.name());
                }
            }
        }
    }
}
