//! The loop: adapters on frozen weights, all weights, micro-batches, resumed runs, threads.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use bantam_model::{Isa, Machine, Model, Numerics, Role};
use bantam_tensor::{Storage, Tensor};
use bantam_train::{
    AdamW, Decay, Distillation, Divergence, Draws, Error, Example, Lora, Muon, Pair, Plan, Precision,
    Preference, Recompute, Rule, Scaling, Schedule, Settings, Trainer, Wanted, draw,
};
use common::{golden_model, golden_tensors, sequences, state};

fn settings(wanted: Wanted) -> Settings {
    Settings {
        wanted,
        rule: Rule::AdamW(AdamW::default()),
        schedule: Schedule { rate: 0.01, warmup_steps: 2, steps: 12, decay: Decay::Cosine { floor: 0.1 } },
        clip: Some(1.0),
        micro_tokens: 100,
        numerics: Numerics::Exact,
        recompute: Recompute::Layers,
    }
}

fn lora() -> Lora {
    Lora { rank: 4, alpha: 8.0, ..Lora::default() }
}

fn examples() -> Vec<Example> {
    let mut examples: Vec<Example> = sequences().into_iter().map(Example::whole).collect();
    // Prompts carry no loss.
    examples[0].learn[..4].fill(false);
    examples.push(Example::whole(vec![9, 8, 7, 6, 5, 4, 3]));
    examples
}

fn on_adapter(model: Model, lora: &Lora) -> Trainer {
    let adapter = lora.start(&model).unwrap();
    Trainer::new(model, Some(adapter), settings(Wanted::Adapter)).unwrap()
}

fn learn(trainer: &mut Trainer, machine: &Machine, steps: usize) -> Vec<f64> {
    let examples = examples();
    let all: Vec<&Example> = examples.iter().collect();
    (0..steps).map(|_| trainer.step(machine, &all).unwrap().loss).collect()
}

/// The tiny model of a family in a storage of 32 weights to a block, as far as its rows are whole blocks.
fn quantized(family: &str, storage: Storage) -> Model {
    let quantize = |tensor: &Tensor| {
        let whole = tensor.shape().len() == 2 && tensor.cols().is_multiple_of(storage.block_len());
        let storage = if whole { storage } else { Storage::F32 };
        let bytes = bantam_tensor::quant::quantize(storage, &tensor.to_f32()).unwrap();
        Tensor::new(tensor.name(), tensor.shape().to_vec(), storage, bytes.into()).unwrap()
    };
    let tensors: Vec<Tensor> = golden_tensors(family).iter().map(quantize).collect();
    // Straight from bytes: a checkpoint of safetensors has no blocks.
    let mut model = golden_model(family);
    let replace = |matrix: &mut bantam_model::weights::Matrix| {
        let found = tensors.iter().find(|tensor| tensor.name() == matrix.tensor.name());
        matrix.tensor = found.unwrap().clone();
    };
    for layer in &mut model.weights.layers {
        use bantam_model::weights::{MlpWeights, QkvWeights};
        match &mut layer.mixer.input {
            QkvWeights::Separate(three) => three.iter_mut().for_each(|one| replace(&mut one.matrix)),
            QkvWeights::Fused(one) => replace(&mut one.matrix),
        }
        replace(&mut layer.mixer.output.matrix);
        match &mut layer.mlp {
            MlpWeights::Gated(all) => all.iter_mut().for_each(|one| replace(&mut one.matrix)),
            MlpWeights::GatedFused(all) | MlpWeights::Plain(all) => {
                all.iter_mut().for_each(|one| replace(&mut one.matrix));
            }
        }
    }
    model
}

#[test]
fn an_adapter_learns_on_weights_in_any_storage() {
    let machine = Machine::new(Isa::best(), 2);
    for storage in [Storage::F32, Storage::Q8_0, Storage::Q4_1] {
        for numerics in [Numerics::Exact, Numerics::Default] {
            let model = quantized("llama3", storage);
            let before = model.weights.layers[0].mixer.output.matrix.tensor.bytes().to_vec();
            let adapter = lora().start(&model).unwrap();
            let settings = Settings { numerics, ..settings(Wanted::Adapter) };
            let mut trainer = Trainer::new(model, Some(adapter), settings).unwrap();
            let losses = learn(&mut trainer, &machine, 12);
            assert!(losses[11] < 0.9 * losses[0], "{storage} {numerics:?}: {losses:?}");
            let frozen = &trainer.model().weights.layers[0].mixer.output.matrix.tensor;
            assert_eq!(frozen.bytes().as_slice(), before, "{storage}");
        }
    }
}

#[test]
fn a_fresh_adapter_changes_nothing() {
    let machine = Machine::new(Isa::best(), 2);
    let examples = examples();
    let all: Vec<&Example> = examples.iter().collect();
    let mut plain = Trainer::new(golden_model("qwen3"), None, settings(Wanted::All)).unwrap();
    let mut adapted = on_adapter(golden_model("qwen3"), &lora());
    let [expected, found] =
        [&mut plain, &mut adapted].map(|trainer| trainer.evaluate(&machine, &all).unwrap());
    assert_eq!(found.loss, expected.loss);
    // 5 of the first (its last five), 4, and 6.
    assert_eq!(found.learnt_tokens, 15);
}

#[test]
fn all_weights_learn_with_every_rule() {
    let machine = Machine::new(Isa::best(), 2);
    let coded = AdamW { precision: Precision::EightBits, ..AdamW::default() };
    let rules = [Rule::AdamW(AdamW::default()), Rule::AdamW(coded), Rule::Muon(Muon::default())];
    for family in ["llama3.2", "gemma3", "phi3", "gpt2"] {
        for rule in rules {
            let settings = Settings { rule, ..settings(Wanted::All) };
            let mut trainer = Trainer::new(golden_model(family), None, settings).unwrap();
            let losses = learn(&mut trainer, &machine, 12);
            assert!(losses[11] < 0.8 * losses[0], "{family} {rule:?}: {losses:?}");
        }
    }
}

#[test]
fn only_named_tensors_move() {
    let machine = Machine::new(Isa::best(), 2);
    let model = golden_model("llama3");
    let name = "model.layers.1.mlp.up_proj.weight";
    let wanted = Wanted::Named([name.to_owned()].into());
    let mut trainer = Trainer::new(model.clone(), None, settings(wanted)).unwrap();
    learn(&mut trainer, &machine, 3);
    let after = trainer.model().tensors();
    for (other, before) in model.tensors() {
        let same = before.to_f32() == after[other].to_f32();
        assert_eq!(same, other != name, "{other}");
    }
}

/// To rounding: the sums over tokens are formed in parts.
#[test]
fn micro_batches_give_the_same_as_one() {
    let machine = Machine::new(Isa::best(), 2);
    let run = |micro_tokens| {
        let model = golden_model("llama3");
        let adapter = lora().start(&model).unwrap();
        let settings = Settings { micro_tokens, ..settings(Wanted::Adapter) };
        let mut trainer = Trainer::new(model, Some(adapter), settings).unwrap();
        learn(&mut trainer, &machine, 6)
    };
    let expected = run(1000);
    for micro_tokens in [1, 14] {
        for (found, expected) in run(micro_tokens).iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5, "{micro_tokens}: {found}, {expected}");
        }
    }
}

#[test]
fn a_resumed_run_has_the_bits_of_one_that_never_stopped() {
    let machine = Machine::new(Isa::best(), 2);
    let coded = AdamW { precision: Precision::EightBits, ..AdamW::default() };
    for rule in [Rule::AdamW(AdamW::default()), Rule::AdamW(coded), Rule::Muon(Muon::default())] {
        for wanted in [Wanted::Adapter, Wanted::All] {
            let begin = || {
                let model = golden_model("llama3.2");
                let adapter = (wanted == Wanted::Adapter).then(|| lora().start(&model).unwrap());
                Trainer::new(model, adapter, Settings { rule, ..settings(wanted.clone()) }).unwrap()
            };
            let mut whole = begin();
            learn(&mut whole, &machine, 3);
            let half = state(&whole);
            let expected = learn(&mut whole, &machine, 3);
            let mut resumed = begin();
            resumed.read_state(&mut half.as_slice()).unwrap();
            assert_eq!((resumed.steps(), resumed.examples()), (3, 9));
            assert_eq!(learn(&mut resumed, &machine, 3), expected, "{rule:?} {wanted:?}");
            assert_eq!(state(&resumed), state(&whole), "{rule:?} {wanted:?}");
        }
    }
}

#[test]
fn states_of_other_runs_are_refused() {
    let trainer = on_adapter(golden_model("llama3"), &lora());
    let bytes = state(&trainer);
    let mut other = on_adapter(golden_model("llama3"), &Lora { rank: 3, ..lora() });
    let refused = other.read_state(&mut bytes.as_slice()).unwrap_err();
    assert!(matches!(&refused, Error::State { reason } if reason.contains("fingerprint")), "{refused}");
    for damaged in [&bytes[..bytes.len() - 1], &bytes[..7], b"something else entirely, long enough"] {
        let mut same = on_adapter(golden_model("llama3"), &lora());
        assert!(matches!(same.read_state(&mut &*damaged), Err(Error::State { .. })));
    }
    let longer = [bytes.as_slice(), b"x"].concat();
    let mut same = on_adapter(golden_model("llama3"), &lora());
    assert!(matches!(same.read_state(&mut longer.as_slice()), Err(Error::State { .. })));
}

#[test]
fn steps_do_not_depend_on_threads_or_instructions() {
    for family in ["gemma2", "llama3"] {
        let run = |isa, threads| {
            let machine = Machine::new(isa, threads);
            let mut trainer = on_adapter(quantized(family, Storage::Q8_0), &lora());
            learn(&mut trainer, &machine, 3);
            state(&trainer)
        };
        let expected = run(Isa::best(), 1);
        assert_eq!(run(Isa::best(), 2), expected, "{family}");
        for isa in Isa::available() {
            assert_eq!(run(isa, 3), expected, "{family} {isa}");
        }
    }
}

#[test]
fn adapters_begin_as_asked() {
    let model = golden_model("llama3");
    let adapter =
        Lora { scaling: Scaling::RootOfRank, targets: vec![Role::Query], ..lora() }.start(&model).unwrap();
    assert_eq!(adapter.sites.len(), model.weights.layers.len());
    for (site, low_rank) in &adapter.sites {
        assert_eq!((site.role, low_rank.scale), (Role::Query, 4.0));
        let (a, b) = (low_rank.a.tensor.to_f32(), low_rank.b.tensor.to_f32());
        let bound = 1.0 / (low_rank.a.inputs as f32).sqrt();
        let mean = a.iter().sum::<f32>() / a.len() as f32;
        assert!(a.iter().all(|x| x.abs() <= bound) && mean.abs() < 0.2 * bound);
        assert!(a.iter().any(|x| x.abs() > 0.8 * bound));
        assert!(b.iter().all(|x| *x == 0.0));
    }
    let refused = Lora { rank: 0, ..lora() }.start(&model).unwrap_err();
    assert!(refused.to_string().contains("rank is 0"), "{refused}");
    let refused = Lora { targets: vec![Role::GateUp], ..lora() }.start(&model).unwrap_err();
    assert!(refused.to_string().contains("no projection of this model"), "{refused}");
}

#[test]
fn batches_without_loss_are_refused() {
    let machine = Machine::new(Isa::best(), 1);
    let mut trainer = on_adapter(golden_model("llama3"), &lora());
    let silent = Example { ids: vec![1, 2, 3], learn: vec![true, false, false] };
    let refused = trainer.step(&machine, &[&silent]).unwrap_err();
    assert!(matches!(refused, Error::NothingToLearn { examples: 1 }), "{refused}");
    let crooked = Example { ids: vec![1, 2, 3], learn: vec![true] };
    let refused = trainer.step(&machine, &[&crooked]).unwrap_err();
    assert!(matches!(refused, Error::Mask { example: 0, tokens: 3, learn: 1 }), "{refused}");
    assert!(matches!(trainer.step(&machine, &[]), Err(Error::EmptyBatch)));
    assert_eq!(trainer.steps(), 0);
}

#[test]
fn a_plan_tells_the_memory_within_a_tenth() {
    let machine = Machine::new(Isa::best(), 2);
    for family in ["llama3", "qwen3", "gemma3", "phi3", "phi", "gpt2"] {
        let all = [Recompute::Layers, Recompute::Nothing].map(|r| [(Wanted::Adapter, r), (Wanted::All, r)]);
        for (wanted, recompute) in all.into_iter().flatten() {
            let model = golden_model(family);
            let adapter = (wanted == Wanted::Adapter).then(|| lora().start(&model).unwrap());
            let settings = Settings { micro_tokens: 96, recompute, ..settings(wanted.clone()) };
            let planned = Plan::new(&model, adapter.as_ref(), &settings);
            let mut trainer = Trainer::new(model, adapter, settings).unwrap();
            let example = |first: u32| Example::whole((0..49).map(|i| (first + i * 7) % 60).collect());
            trainer.step(&machine, &[&example(0), &example(1)]).unwrap();
            let found = trainer.activation_bytes() as f64;
            let error = (planned.activations as f64 - found) / found;
            assert!(
                error.abs() < 0.1,
                "{family} {wanted:?} {recompute:?}: planned {}, found {found}",
                planned.activations
            );
            if recompute == Recompute::Nothing {
                let kept = Plan::kept_bytes(trainer.model(), 96) as f64;
                assert!((0.5 * found..found).contains(&kept), "{family} {wanted:?}: {kept} of {found}");
            }
            let parameters = trainer.parameters();
            let numbers: usize = parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum();
            assert_eq!((planned.learning, planned.optimizer), (4 * numbers, 8 * numbers), "{family}");
        }
    }
}

#[test]
fn preferences_are_learnt() {
    let machine = Machine::new(Isa::best(), 2);
    let answer = |tail: &[u32]| {
        let ids = [&[4, 8, 15], tail].concat();
        let learn = (0..ids.len()).map(|place| place >= 3).collect();
        Example { ids, learn }
    };
    for preference in [Preference::Dpo { beta: 0.5 }, Preference::Orpo { lambda: 0.5 }] {
        let mut trainer = on_adapter(golden_model("llama3"), &lora());
        let (chosen, rejected) = (answer(&[16, 23, 42]), answer(&[50, 51]));
        let before = trainer.log_probs(&machine, &[&chosen, &rejected]).unwrap();
        let reference = [before[0], before[1]];
        let pair = Pair { chosen: chosen.clone(), rejected: rejected.clone(), reference };
        let run =
            |trainer: &mut Trainer| trainer.step_pairs(&machine, preference, &[&pair, &pair]).unwrap().loss;
        let evaluated = trainer.evaluate_pairs(&machine, preference, &[&pair, &pair]).unwrap();
        let losses: Vec<f64> = (0..10).map(|_| run(&mut trainer)).collect();
        assert!((evaluated.loss - losses[0]).abs() < 1e-9, "{preference:?}");
        assert_eq!(trainer.evaluate_pairs(&machine, preference, &[&pair]).unwrap().won, 1.0);
        if let Preference::Dpo { .. } = preference {
            assert!((losses[0] - 2.0_f64.ln()).abs() < 1e-6, "{losses:?}");
        }
        assert!(losses[9] < 0.8 * losses[0], "{preference:?}: {losses:?}");
        let evaluate = |trainer: &mut Trainer, of: &Example| trainer.evaluate(&machine, &[of]).unwrap().loss;
        assert!(-3.0 * evaluate(&mut trainer, &chosen) > reference[0], "{preference:?}");
        // Without its adapter the model is what it was.
        assert_eq!(trainer.log_probs(&machine, &[&chosen, &rejected]).unwrap(), before);
    }
}

#[test]
fn a_student_comes_near_its_teacher() {
    let machine = Machine::new(Isa::best(), 2);
    let examples = examples();
    let all: Vec<&Example> = examples.iter().collect();
    let teacher = golden_model("qwen3");
    for divergence in [Divergence::Forward, Divergence::Reverse, Divergence::JensenShannon { share: 0.5 }] {
        let how = Distillation { divergence, temperature: 1.5, hard_share: 0.0 };
        let mut student = Trainer::new(golden_model("llama3"), None, settings(Wanted::All)).unwrap();
        let evaluated = student.evaluate_distill(&machine, &teacher, how, &all).unwrap().loss;
        let step = |student: &mut Trainer| student.step_distill(&machine, &teacher, how, &all).unwrap().loss;
        let losses: Vec<f64> = (0..10).map(|_| step(&mut student)).collect();
        assert!((evaluated - losses[0]).abs() < 1e-9, "{divergence:?}: {evaluated} {losses:?}");
        assert!(losses[9] < 0.7 * losses[0] && losses[9] > 0.0, "{divergence:?}: {losses:?}");
        let mut same = Trainer::new(teacher.clone(), None, settings(Wanted::All)).unwrap();
        let loss = same.step_distill(&machine, &teacher, how, &all).unwrap().loss;
        assert!(loss.abs() < 1e-6, "{divergence:?}: {loss}");
    }
}

#[test]
fn a_student_comes_near_a_teacher_that_drew() {
    let machine = Machine::new(Isa::best(), 2);
    let examples = examples();
    let all: Vec<&Example> = examples.iter().collect();
    let teacher = golden_model("qwen3");
    let draw = |example, seed| draw(&machine, &teacher, Numerics::Exact, example, 48, seed).unwrap();
    let how = Distillation { divergence: Divergence::Forward, temperature: 1.0, hard_share: 0.0 };
    let distance = |student: &mut Trainer| student.step_distill(&machine, &teacher, how, &all).unwrap().loss;
    let new = || Trainer::new(golden_model("llama3"), None, settings(Wanted::All)).unwrap();
    let (mut untaught, mut student) = (new(), new());
    for seed in 0..10 {
        let draws: Vec<Draws> = examples.iter().map(|example| draw(example, seed)).collect();
        let drawn: Vec<(&Example, &Draws)> = examples.iter().zip(&draws).collect();
        student.step_drawn(&machine, 0.0, &drawn).unwrap();
    }
    let (before, after) = (distance(&mut untaught), distance(&mut student));
    assert!(after < 0.8 * before, "{before} {after}");
}

#[test]
fn draws_that_do_not_count_change_nothing() {
    let machine = Machine::new(Isa::best(), 2);
    let examples = examples();
    let all: Vec<&Example> = examples.iter().collect();
    let model = golden_model("llama3");
    let draws: Vec<Draws> =
        all.iter().map(|example| draw(&machine, &model, Numerics::Exact, example, 4, 1).unwrap()).collect();
    let drawn: Vec<(&Example, &Draws)> = all.iter().copied().zip(&draws).collect();
    let new = || Trainer::new(golden_model("llama3"), None, settings(Wanted::All)).unwrap();
    let (mut plain, mut taught) = (new(), new());
    for _ in 0..2 {
        let losses = [plain.step(&machine, &all), taught.step_drawn(&machine, 1.0, &drawn)];
        let [one, other] = losses.map(|report| report.unwrap().loss);
        assert!((one - other).abs() < 1e-9, "{one} {other}");
    }
    let too_few: Vec<(&Example, &Draws)> = vec![(all[0], &draws[1])];
    assert!(matches!(taught.step_drawn(&machine, 1.0, &too_few), Err(Error::Setting { .. })));
}

#[test]
fn what_is_kept_or_computed_again_has_the_same_bits() {
    let machine = Machine::new(Isa::best(), 2);
    for family in ["llama3", "gemma2", "phi"] {
        for wanted in [Wanted::Adapter, Wanted::All] {
            let run = |recompute| {
                let model = golden_model(family);
                let adapter = (wanted == Wanted::Adapter).then(|| lora().start(&model).unwrap());
                let settings = Settings { recompute, ..settings(wanted.clone()) };
                let mut trainer = Trainer::new(model, adapter, settings).unwrap();
                (learn(&mut trainer, &machine, 3), state(&trainer))
            };
            assert_eq!(run(Recompute::Layers), run(Recompute::Nothing), "{family} {wanted:?}");
        }
    }
}
