//! Tiny models and numbers for tests.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};

use bantam_model::{Isa, Machine, Model};
use bantam_tensor::format::safetensors;
use bantam_tensor::{Checkpoint, Tensor};
use bantam_train::{Example, Noise, Privacy, Trainer};
use serde_json::Value;

#[path = "../../../../testdata/golden/weights.rs"]
mod golden_weights;

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden")
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Every family that has a golden file.
pub(crate) fn families() -> Vec<String> {
    let entries = std::fs::read_dir(golden_dir()).unwrap();
    let names =
        entries.filter_map(|e| e.unwrap().file_name().to_str()?.strip_suffix(".json").map(str::to_owned));
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert!(names.len() >= 30, "golden files are missing");
    names
}

/// The tensors of a family's tiny checkpoint.
pub(crate) fn golden_tensors(family: &str) -> Vec<Tensor> {
    let golden = read_json(&golden_dir().join(format!("{family}.json")));
    let one = |(name, shape): (&String, &Value)| {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        Tensor::from_f32(name, shape.clone(), &golden_weights::tensor(name, &shape)).unwrap()
    };
    golden["tensors"].as_object().unwrap().iter().map(one).collect()
}

/// The tiny model of a family, with these tensors.
pub(crate) fn model_of(family: &str, tensors: &[Tensor]) -> Model {
    let folder = tempfile::tempdir().unwrap();
    let config = golden_dir().join(format!("configs/{family}.json"));
    std::fs::copy(config, folder.path().join("config.json")).unwrap();
    safetensors::write(&folder.path().join("model.safetensors"), tensors).unwrap();
    Model::bind(&Checkpoint::open(folder.path()).unwrap()).unwrap()
}

/// The tiny model of a family.
pub(crate) fn golden_model(family: &str) -> Model {
    model_of(family, &golden_tensors(family))
}

/// Two sequences of different lengths.
pub(crate) fn sequences() -> Vec<Vec<u32>> {
    vec![vec![17, 3, 58, 91, 4, 33, 33, 70, 12], vec![5, 80, 2, 61, 47]]
}

/// Numbers between -1 and 1, without a pattern.
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The derivative at 0 of a function of one number, by differences at four places: exact for polynomials of
/// the fourth degree.
pub(crate) fn slope(step: f64, mut f: impl FnMut(f64) -> f64) -> f64 {
    let mut central = |h: f64| (f(h) - f(-h)) / (2.0 * h);
    (4.0 * central(step) - central(2.0 * step)) / 3.0
}

pub(crate) fn machine() -> Machine {
    Machine::new(Isa::best(), 2)
}

/// [`sequences`], all of whose tokens are learnt.
pub(crate) fn examples() -> Vec<Example> {
    sequences().into_iter().map(Example::whole).collect()
}

/// Losses of some steps on the [`examples`].
pub(crate) fn learn(trainer: &mut Trainer, steps: usize) -> Vec<f64> {
    let examples = examples();
    let all: Vec<&Example> = examples.iter().collect();
    (0..steps).map(|_| trainer.step(&machine(), &all).unwrap().loss).collect()
}

pub(crate) fn state(trainer: &Trainer) -> Vec<u8> {
    let mut bytes = Vec::new();
    trainer.write_state(&mut bytes).unwrap();
    bytes
}

/// A run that is stopped half way goes on to the same bits, and a private step without noise or clipping is a plain one.
pub(crate) fn assert_resumed_and_private_runs_are_alike(begin: impl Fn() -> Trainer) {
    let mut whole = begin();
    learn(&mut whole, 3);
    let half = state(&whole);
    let expected = learn(&mut whole, 3);
    let mut resumed = begin();
    resumed.read_state(&mut half.as_slice()).unwrap();
    assert_eq!(learn(&mut resumed, 3), expected);
    assert_eq!(state(&resumed), state(&whole));
    // Examples of one length: means over tokens and over examples are the same.
    let examples: Vec<Example> = (0..3).map(|i| Example::whole(vec![3 + i, 9, 27 + i, 4, 50])).collect();
    let all: Vec<&Example> = examples.iter().collect();
    let privacy = Privacy { clip: 1e6, noise_multiplier: 0.0, sampling_rate: 1.0, examples: 3 };
    let (mut plain, mut private) = (begin(), begin());
    let wanted = plain.step(&machine(), &all).unwrap().grad_norm;
    let found = private.step_private(&machine(), &all, privacy, &Noise::new([0; 32])).unwrap().grad_norm;
    assert!((found / wanted - 1.0).abs() < 1e-4, "{found}, {wanted}");
}
