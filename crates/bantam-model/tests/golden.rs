//! Every family against what transformers computes for its tiny checkpoint.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use common::{Run, golden_dir, golden_model, greatest_difference, ids};

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
