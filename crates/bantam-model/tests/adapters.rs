//! Adapters: what they add is what merged weights would give, in either form, for either kind of base, alone and among
//! others.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::sync::Arc;

use bantam_model::description::Mixer;
use bantam_model::{
    Adapter, BaseCheck, Batch, Error, Executor, Isa, KvStorage, Machine, Model, Numerics, Scratch, State,
    Want,
};
use bantam_tensor::Tensor;
use bantam_tensor::format::adapter::{AdapterFile, AdapterForm, AdapterPair};
use bantam_tensor::kernels::matmul::Layout;
use common::{
    Run, gguf_model, golden_dir, golden_model, golden_weights, greatest_difference, ids, open, read_json,
    tensors, write_folder,
};

/// A pair of made-up numbers for a projection.
fn pair(module: &str, [outputs, inputs]: [usize; 2], rank: usize, scale: f32) -> AdapterPair {
    let tensor = |half: &str, shape: [usize; 2]| {
        let name = format!("{module}.{half}");
        Tensor::from_f32(&name, shape.to_vec(), &golden_weights::tensor(&name, &shape)).unwrap()
    };
    AdapterPair {
        module: module.into(),
        a: tensor("a", [rank, inputs]),
        b: tensor("b", [outputs, rank]),
        scale,
        magnitude: None,
    }
}

fn file(pairs: Vec<AdapterPair>) -> AdapterFile {
    AdapterFile {
        form: AdapterForm::Peft,
        pairs,
        prefix: None,
        fingerprint: None,
        base_name: None,
        architecture: None,
        base_layout: Layout::OutIn,
    }
}

/// Pairs for all matrices of a golden model whose names hold one of these parts, ranks and scales all different.
fn pairs(family: &str, parts: &[&str], transposed: bool) -> Vec<AdapterPair> {
    let golden = read_json(&golden_dir().join(format!("{family}.json")));
    let mut pairs = Vec::new();
    for tensor in tensors(&golden) {
        let Some(module) = tensor.name().strip_suffix(".weight") else { continue };
        if tensor.shape().len() == 2 && parts.iter().any(|part| module.contains(part)) {
            let [rows, cols] = [tensor.rows(), tensor.cols()];
            let shape = if transposed { [cols, rows] } else { [rows, cols] };
            let place = pairs.len();
            pairs.push(pair(module, shape, 1 + place % 5, 0.5 + 0.25 * place as f32));
        }
    }
    pairs
}

/// The golden model with pairs added to its weights in plain loops.
fn merged(family: &str, pairs: &[AdapterPair], transposed: bool) -> Model {
    let golden = read_json(&golden_dir().join(format!("{family}.json")));
    let config = read_json(&golden_dir().join(format!("configs/{family}.json")));
    let added = tensors(&golden).into_iter().map(|tensor| {
        let of = |pair: &&AdapterPair| tensor.name() == format!("{}.weight", pair.module);
        let Some(pair) = pairs.iter().find(of) else { return tensor };
        let (mut w, a, b) = (tensor.to_f32(), pair.a.to_f32(), pair.b.to_f32());
        let (rank, inputs, outputs) = (pair.rank(), pair.a.cols(), pair.b.rows());
        for i in 0..outputs {
            for j in 0..inputs {
                let sum: f32 = (0..rank).map(|r| b[i * rank + r] * a[r * inputs + j]).sum();
                w[if transposed { j * outputs + i } else { i * inputs + j }] += pair.scale * sum;
            }
        }
        Tensor::from_f32(tensor.name(), tensor.shape().to_vec(), &w).unwrap()
    });
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &config, &added.collect::<Vec<_>>());
    open(folder.path()).unwrap()
}

fn bound(model: &Model, pairs: Vec<AdapterPair>) -> Arc<Adapter> {
    Arc::new(Adapter::bind(&file(pairs), model, BaseCheck::Fingerprint).unwrap())
}

fn near(a: &[Vec<f32>], b: &[Vec<f32>], bound: f32) {
    for (a, b) in a.iter().zip(b) {
        let difference = greatest_difference(a, b);
        assert!(difference < bound, "{difference}");
    }
}

const LLAMA: [&str; 8] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"];

#[test]
fn an_adapter_gives_what_merged_weights_give() {
    for (family, parts, transposed) in [
        ("tinyllama", &LLAMA[..], false),
        ("phi3", &["qkv_proj", "gate_up_proj", "down_proj"][..], false),
        ("gemma3", &["q_proj", "v_proj", "o_proj"][..], false),
        ("gpt2", &["c_attn", "c_proj", "c_fc"][..], true),
        ("phi", &["q_proj", "dense", "fc1", "fc2"][..], false),
    ] {
        let (model, golden) = golden_model(family);
        let (tokens, pairs) = (ids(&golden["tokens"]), pairs(family, parts, transposed));
        let truth = Run::default().whole(&merged(family, &pairs, transposed), &tokens);
        let adapter = bound(&model, pairs);
        let [found] = &Run::default().adapted(&model, &[(&tokens, Some(&adapter))])[..] else { panic!() };
        near(&truth, found, 2e-4);
        let plain = Run::default().whole(&model, &tokens);
        assert!(greatest_difference(&plain[3], &found[3]) > 1e-2, "{family}: the adapter does nothing");
    }
}

#[test]
fn merging_gives_the_same_as_plain_loops() {
    for (family, transposed) in [("tinyllama", false), ("gpt2", true)] {
        let (model, _) = golden_model(family);
        let pairs = pairs(family, &["q_proj", "c_attn", "c_fc", "down_proj"], transposed);
        let truth = merged(family, &pairs, transposed);
        let adapter = bound(&model, pairs);
        for (linear, wanted) in model.linears().zip(truth.linears()) {
            if let Some(low_rank) = adapter.sites.get(&linear.site) {
                let found = low_rank.added_to(&linear.matrix);
                let wanted = wanted.matrix.tensor.to_f32();
                assert!(greatest_difference(&found, &wanted) < 1e-5, "{}", linear.site);
            }
        }
    }
}

/// Rows of random lengths, in plain loops; alone, and merged.
#[test]
fn rows_get_the_lengths_that_dora_gives_them() {
    for (family, parts, transposed) in [
        ("tinyllama", &LLAMA[..], false),
        ("gpt2", &["c_attn", "c_proj", "c_fc"][..], true),
        ("phi", &["q_proj", "dense", "fc1", "fc2"][..], false),
    ] {
        let (model, golden) = golden_model(family);
        let (tokens, mut pairs) = (ids(&golden["tokens"]), pairs(family, parts, transposed));
        let plain = merged(family, &pairs, transposed);
        let mut lengths: std::collections::BTreeMap<String, Vec<f32>> = Default::default();
        for pair in &mut pairs {
            let name = format!("{}.lengths", pair.module);
            let values: Vec<f32> =
                golden_weights::tensor(&name, &[pair.b.rows()]).iter().map(|x| 1.0 + x.abs()).collect();
            pair.magnitude = Some(Tensor::from_f32(&name, vec![values.len()], &values).unwrap());
            lengths.insert(pair.module.clone(), values);
        }
        let mut truth = plain.clone();
        lengthen(&mut truth, &lengths);
        let truth = Run::default().whole(&truth, &tokens);
        let adapter = bound(&model, pairs);
        let [found] = &Run::default().adapted(&model, &[(&tokens, Some(&adapter))])[..] else { panic!() };
        near(&truth, found, 5e-4);
        for linear in model.linears() {
            let Some(low_rank) = adapter.sites.get(&linear.site) else { continue };
            let name = linear.matrix.tensor.name().trim_end_matches(".weight");
            let found = low_rank.added_to(&linear.matrix);
            for (output, wanted) in lengths[name].iter().enumerate() {
                let (outputs, inputs) = (linear.matrix.outputs, linear.matrix.inputs);
                let at =
                    |i: usize| found[if transposed { i * outputs + output } else { output * inputs + i }];
                let length = (0..inputs).map(|i| at(i).powi(2)).sum::<f32>().sqrt();
                assert!((length - wanted).abs() < 1e-4 * wanted, "{}: {length}, {wanted}", linear.site);
            }
        }
        let doubled = Adapter::sum(&[(&adapter, 2.0)]).unwrap_err().to_string();
        assert!(doubled.contains("DoRA"), "{doubled}");
        let folder = tempfile::tempdir().unwrap();
        let file = adapter.to_file(&model, AdapterForm::Peft).unwrap();
        file.write(folder.path()).unwrap();
        let read = AdapterFile::open(folder.path()).unwrap();
        let again = Arc::new(Adapter::bind(&read, &model, BaseCheck::Fingerprint).unwrap());
        assert_eq!(&Run::default().adapted(&model, &[(&tokens, Some(&again))])[0], found);
        let refused = adapter.to_file(&model, AdapterForm::Gguf).unwrap();
        let refused = refused.write(&folder.path().join("a.gguf")).unwrap_err().to_string();
        assert!(refused.contains("DoRA"), "{refused}");
    }
}

/// Gives the rows of projections these lengths, in plain loops.
fn lengthen(model: &mut Model, lengths: &std::collections::BTreeMap<String, Vec<f32>>) {
    use bantam_model::weights::{MlpWeights, QkvWeights};
    let mut all = vec![&mut model.weights.head];
    for layer in &mut model.weights.layers {
        match &mut layer.mixer.input {
            QkvWeights::Separate(three) => all.extend(three),
            QkvWeights::Fused(one) => all.push(one),
        }
        all.push(&mut layer.mixer.output);
        match &mut layer.mlp {
            MlpWeights::Gated(three) => all.extend(three),
            MlpWeights::GatedFused(two) | MlpWeights::Plain(two) => all.extend(two),
        }
    }
    for linear in all {
        let matrix = &mut linear.matrix;
        let Some(lengths) = lengths.get(matrix.tensor.name().trim_end_matches(".weight")) else { continue };
        let mut w = matrix.tensor.to_f32();
        for (output, length) in lengths.iter().enumerate() {
            let places: Vec<usize> = (0..matrix.inputs)
                .map(|i| match matrix.layout {
                    Layout::OutIn => output * matrix.inputs + i,
                    Layout::InOut => i * matrix.outputs + output,
                })
                .collect();
            let norm = places.iter().map(|i| w[*i].powi(2)).sum::<f32>().sqrt();
            places.iter().for_each(|i| w[*i] *= length / norm);
        }
        let (name, shape) = (matrix.tensor.name().to_owned(), matrix.tensor.shape().to_vec());
        matrix.tensor = Tensor::from_f32(name, shape, &w).unwrap();
    }
}

#[test]
fn rows_of_several_adapters_have_the_bits_that_they_have_alone() {
    let (model, golden) = golden_model("tinyllama");
    let tokens = ids(&golden["tokens"]);
    let all = bound(&model, pairs("tinyllama", &LLAMA, false));
    let some = bound(&model, pairs("tinyllama", &["k_proj", "up_proj"], false));
    for (isa, threads) in [(Isa::best(), 2), (Isa::SCALAR, 1)] {
        let run = Run { isa, threads, numerics: Numerics::Default };
        let alone = |adapter| run.adapted(&model, &[(&tokens, adapter)]).remove(0);
        let wanted = [alone(None), alone(Some(&all)), alone(Some(&some))];
        assert!(wanted[0] != wanted[1] && wanted[1] != wanted[2]);
        let orders: [&[usize]; 3] = [&[0, 1, 2], &[1, 1, 0, 2, 2, 1], &[2, 0, 0, 1]];
        for order in orders {
            let adapters = [None, Some(&all), Some(&some)];
            let sequences: Vec<_> = order.iter().map(|place| (&tokens[..], adapters[*place])).collect();
            let found = run.adapted(&model, &sequences);
            for (place, found) in order.iter().zip(&found) {
                assert_eq!(found, &wanted[*place], "{order:?} {place}");
            }
        }
    }
}

#[test]
fn an_adapter_for_running_gives_the_same_bits() {
    for (family, parts, transposed) in
        [("tinyllama", &LLAMA[..], false), ("gpt2", &["c_attn", "c_proj", "c_fc"][..], true)]
    {
        let (model, golden) = golden_model(family);
        let tokens = ids(&golden["tokens"]);
        let adapter = bound(&model, pairs(family, parts, transposed));
        let turned = Arc::new(Adapter::clone(&adapter).for_running().unwrap());
        let found = Run::default().adapted(&model, &[(&tokens, Some(&adapter)), (&tokens, Some(&turned))]);
        assert_eq!(found[0], found[1], "{family}");
        let bytes = |of: &Adapter| of.to_file(&model, AdapterForm::Gguf).unwrap().pairs;
        for (one, other) in bytes(&adapter).iter().zip(&bytes(&turned)) {
            assert_eq!(one.b.to_f32(), other.b.to_f32(), "{}", one.module);
        }
    }
}

#[test]
fn the_head_is_adapted_where_few_rows_are_wanted() {
    let (model, golden) = golden_model("tinyllama");
    let tokens = ids(&golden["tokens"]);
    let head = bound(&model, pairs("tinyllama", &["lm_head", "q_proj"], false));
    let whole = Run::default().adapted(&model, &[(&tokens, Some(&head))]).remove(0);
    let mut states = [0; 3].map(|_| State::new(&model.description, KvStorage::F32, tokens.len()));
    let mut batch = Batch::default();
    for (place, want) in [Want::Last, Want::Nothing, Want::Last].into_iter().enumerate() {
        batch.push(&tokens, 0, tokens.len(), want);
        if place != 1 {
            batch.adapt(&head);
        }
    }
    let machine = Machine::new(Isa::best(), 2);
    let mut taking: Vec<&mut State> = states.iter_mut().collect();
    let (numerics, mut scratch) = (Numerics::Exact, Scratch::default());
    let found = Executor::run(&machine, &model, numerics, &batch, &mut taking, &mut scratch).unwrap();
    let last = whole.last().unwrap();
    assert_eq!(found, [&last[..], &last[..]].concat());
}

/// The rows of each head of queries and keys as llama.cpp's converter puts them: `reshape(heads, 2, dim / 2)` with the
/// last two axes swapped.
fn permuted(tensor: Tensor, head_dim: usize) -> Tensor {
    let is_turned = tensor.name().contains("attn_q.") || tensor.name().contains("attn_k.");
    if !is_turned {
        return tensor;
    }
    let (from, width) = (tensor.to_f32(), tensor.cols());
    let mut to = Vec::new();
    for head in 0..tensor.rows() / head_dim {
        for pair in 0..head_dim / 2 {
            for half in 0..2 {
                let row = head * head_dim + half * head_dim / 2 + pair;
                to.extend_from_slice(&from[row * width..][..width]);
            }
        }
    }
    Tensor::from_f32(tensor.name(), tensor.shape().to_vec(), &to).unwrap()
}

#[test]
fn files_of_both_forms_bind_to_bases_of_both_forms() {
    let (folder_model, golden) = golden_model("tinyllama");
    let gguf_model = gguf_model(|tensor| permuted(tensor, 8));
    assert_eq!(folder_model.fingerprint(), gguf_model.fingerprint());
    let tokens = ids(&golden["tokens"]);
    let adapter = bound(&folder_model, pairs("tinyllama", &LLAMA, false));
    let truth = Run::default().adapted(&folder_model, &[(&tokens, Some(&adapter))]).remove(0);
    let folder = tempfile::tempdir().unwrap();
    for form in [AdapterForm::Peft, AdapterForm::Gguf] {
        let path = folder.path().join(if form == AdapterForm::Gguf { "a.gguf" } else { "a" });
        adapter.to_file(&folder_model, form).unwrap().write(&path).unwrap();
        let read = AdapterFile::open(&path).unwrap();
        assert!(AdapterFile::is_at(&path));
        assert_eq!(read.fingerprint, Some(folder_model.fingerprint()));
        for model in [&folder_model, &gguf_model] {
            let adapter = Arc::new(Adapter::bind(&read, model, BaseCheck::Fingerprint).unwrap());
            let found = Run::default().adapted(model, &[(&tokens, Some(&adapter))]).remove(0);
            near(&truth, &found, 1e-4);
            // And back again, from the other base's rows.
            let again = adapter.to_file(model, form).unwrap();
            for (again, read) in again.pairs.iter().zip(&read.pairs) {
                assert_eq!((&again.module, again.scale), (&read.module, read.scale));
                assert_eq!(again.b.to_f32(), read.b.to_f32(), "{}", read.module);
            }
        }
    }
}

/// As llama.cpp's converter leaves the pairs of a PEFT folder for GPT-2: `lora_a` is `Bᵀ` and `lora_b` `Aᵀ`.
#[test]
fn pairs_that_a_converter_transposed_are_turned_back() {
    let (model, golden) = golden_model("gpt2");
    let tokens = ids(&golden["tokens"]);
    let turn = |tensor: &Tensor| {
        let (values, width) = (tensor.to_f32(), tensor.cols());
        let turned: Vec<f32> =
            (0..width).flat_map(|col| values.iter().skip(col).step_by(width).copied()).collect();
        Tensor::from_f32(tensor.name(), vec![width, tensor.rows()], &turned).unwrap()
    };
    let read = |parts: &[&str]| {
        let adapter = bound(&model, pairs("gpt2", parts, true));
        let mut file = adapter.to_file(&model, AdapterForm::Gguf).unwrap();
        file.fingerprint = None;
        (adapter, file)
    };
    let converted = |mut file: AdapterFile| {
        for pair in &mut file.pairs {
            (pair.a, pair.b) = (turn(&pair.b), turn(&pair.a));
        }
        file
    };
    let (adapter, file) = read(&["c_attn", "c_proj", "c_fc"]);
    let truth = Run::default().adapted(&model, &[(&tokens, Some(&adapter))]);
    for file in [file.clone(), converted(file)] {
        let found = Arc::new(Adapter::bind(&file, &model, BaseCheck::Fingerprint).unwrap());
        assert_eq!(Run::default().adapted(&model, &[(&tokens, Some(&found))]), truth);
    }
    // Where all matrices are square nobody can tell.
    let (_, file) = read(&["attn.c_proj"]);
    let refused = Adapter::bind(&converted(file), &model, BaseCheck::Fingerprint).unwrap_err().to_string();
    assert!(refused.contains("square") && refused.contains("PEFT"), "{refused}");
}

#[test]
fn parts_of_a_fused_projection_are_put_together() {
    let (model, golden) = golden_model("phi3");
    let tokens = ids(&golden["tokens"]);
    let site = model.linears().next().unwrap();
    let (outputs, inputs) = (site.matrix.outputs, site.matrix.inputs);
    let Mixer::Attention(attention) = &model.description.layers[0].mixer;
    let (queries, kv) = (attention.query_width(), attention.kv_width());
    let keys = pair("model.layers.0.self_attn.k_proj", [kv, inputs], 2, 0.5);
    let found = Arc::new(Adapter::bind(&file(vec![keys.clone()]), &model, BaseCheck::Shapes).unwrap());
    let mut whole = vec![0.0; outputs * 2];
    whole[queries * 2..(queries + kv) * 2].copy_from_slice(&keys.b.to_f32());
    let b = Tensor::from_f32("b", vec![outputs, 2], &whole).unwrap();
    let fused = AdapterPair { module: "model.layers.0.self_attn.qkv_proj".into(), b, ..keys };
    let truth = bound(&model, vec![fused]);
    let run = |adapter| Run::default().adapted(&model, &[(&tokens, Some(adapter))]);
    assert_eq!(run(&truth), run(&found));
}

#[test]
fn sums_are_the_sums_of_both() {
    let (model, golden) = golden_model("tinyllama");
    let tokens = ids(&golden["tokens"]);
    let scaled = |pairs: Vec<AdapterPair>, factor: f32| -> Vec<AdapterPair> {
        pairs.into_iter().map(|pair| AdapterPair { scale: pair.scale * factor, ..pair }).collect()
    };
    let one = pairs("tinyllama", &["q_proj", "down_proj"], false);
    let other = pairs("tinyllama", &["up_proj", "lm_head"], false);
    let (both, half) = (bound(&model, one.clone()), bound(&model, other.clone()));
    let sum = Arc::new(Adapter::sum(&[(&both, 2.0), (&half, 0.5), (&both, -1.5)]).unwrap());
    let all = scaled(one, 0.5).into_iter().chain(scaled(other, 0.5)).collect();
    let truth = Run::default().adapted(&model, &[(&tokens, Some(&bound(&model, all)))]);
    let found = Run::default().adapted(&model, &[(&tokens, Some(&sum))]);
    near(&truth[0], &found[0], 1e-4);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let (model, _) = golden_model("tinyllama");
    let told = |file: &AdapterFile, check| Adapter::bind(file, &model, check).unwrap_err().to_string();
    let unknown = file(vec![pair("model.layers.7.self_attn.q_proj", [32, 32], 2, 1.0)]);
    assert!(told(&unknown, BaseCheck::Shapes).contains("model.layers.7.self_attn.q_proj"));
    let other = file(vec![pair("model.layers.0.self_attn.k_proj", [32, 32], 2, 1.0)]);
    assert!(told(&other, BaseCheck::Shapes).contains("32 inputs and 16 outputs"));
    let mut foreign = file(vec![pair("model.layers.0.self_attn.q_proj", [32, 32], 2, 1.0)]);
    foreign.fingerprint = Some("llama-2x32-0000000000000000".into());
    let refused = Adapter::bind(&foreign, &model, BaseCheck::Fingerprint);
    assert!(matches!(refused, Err(Error::OtherBase { .. })));
    assert!(Adapter::bind(&foreign, &model, BaseCheck::Shapes).is_ok());
    let (wide, _) = golden_model("phi3");
    assert!(bound(&model, pairs("tinyllama", &LLAMA, false)).check(&wide).is_err());
}
