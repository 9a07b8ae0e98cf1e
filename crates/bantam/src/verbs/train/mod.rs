//! `bantam train`: a model from nothing, as a config describes it.

mod begin;
mod config;
mod plan;
mod reference;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use bantam::tensor::Storage;
use bantam::{Loaded, export_gguf};
use bantam_data::{Columns, Dataset, Key, Loader};
use bantam_train::{Recompute, Settings, Trainer};
use serde_json::{Value, json};

use crate::args::{TrainArgs, parse_storage};
use crate::interrupt::Interrupt;
use crate::models::Models;
use crate::print::{print_json, print_pairs};
use crate::units;
use crate::verbs::bench::peak_rss_bytes;
use crate::verbs::data::encoder;
use crate::verbs::learning::{
    Advice, Beginning, Course, End, Folder, Keep, Lessons, Page, Sampler, Sides, Trial, beside_learning,
    best, learnt, validation_losses,
};
use config::{Config, OrderConfig};
use plan::Plan;

/// Nats between the losses of two files with the same weights.
const SAME: f64 = 1e-4;

pub(crate) fn run(args: &TrainArgs, models: &Models, interrupt: &Interrupt) -> Result<()> {
    let config = Config::read(&args.config)?;
    if args.dry_run {
        let folder = Scratch::beside(&args.output);
        return learn(args, &config, models, interrupt, &Folder::open(&folder.0, false)?);
    }
    let folder = Folder::open(&args.output, args.resume)?;
    learn(args, &config, models, interrupt, &folder)
}

fn learn(
    args: &TrainArgs,
    config: &Config,
    models: &Models,
    interrupt: &Interrupt,
    folder: &Folder,
) -> Result<()> {
    let checkpoint = folder.path().join("model");
    if !args.resume || args.dry_run {
        begin::begin(config, &checkpoint)?;
    }
    let loaded = Loaded::open(&checkpoint)?;
    let dataset = dataset(config, &loaded)?;
    let report = dataset.report.clone();
    let machine = args.machine.machine();
    let tokens: usize = dataset.train.examples.iter().map(|example| example.ids.len()).sum();
    let plan = Plan::new(config, &loaded.model, tokens as u64, args.machine.numerics.into());
    tell(&plan, &loaded, &report);
    let keys = keys(config, models, &loaded, &machine, folder, &dataset)?;
    let [train, validation] = [dataset.train, dataset.validation].map(|part| learnt(part.examples));
    let lessons = Lessons::Tokens(Sides { train, validation });
    let advice = advice(&plan.settings);
    let beginning = Beginning { model: &loaded.model, adapter: None, settings: &plan.settings };
    advice.check_sizes(beginning, &plan.route, &lessons)?;
    let trial = Trial::new(&machine, trainer(&loaded, &plan)?, &plan.route, (&lessons, &keys), &advice)?;
    trial.tell();
    if args.dry_run {
        return Ok(());
    }
    folder.write_config(&run_config(args, &plan, &report))?;
    let mut course = Course {
        route: &plan.route,
        machine: &machine,
        folder,
        lessons: &lessons,
        keys: &keys,
        keep: Keep::Checkpoint { loaded: &loaded, storage: None },
        sampler: Some(sampler(args, config, &loaded)?),
        events: None,
        trainer: trainer(&loaded, &plan)?,
        metrics: Vec::new(),
    };
    let end = course.complete(args.resume, args.tensorboard, interrupt)?;
    course.trainer.rest();
    let gguf = write_gguf(config, &loaded, &course)?;
    finish(args, &plan, &course, end, gguf, &trial)
}

/// The best weights as a GGUF file, if one is asked for.
fn write_gguf(config: &Config, loaded: &Loaded, course: &Course<'_>) -> Result<Option<PathBuf>> {
    let Some(storage) = &config.result.gguf else { return Ok(None) };
    let storage = parse_storage(storage).map_err(|error| anyhow!("result.gguf: {error}"))?;
    let best = Loaded::open(&course.folder.checkpoint(loaded))?;
    let path = course.folder.path().join("model.gguf");
    export_gguf(&best, storage, &path)?;
    // In f32 both have to say the same, whatever bits are asked for.
    let exact = course.folder.path().join(".model.gguf.exact");
    export_gguf(&best, Storage::F32, &exact)?;
    let ids: Vec<u32> = (0..best.model.description.vocab_size.min(32) as u32).collect();
    let losses = [&best, &Loaded::open(&exact)?]
        .map(|loaded| bantam_train::loss(course.machine, &loaded.model, std::slice::from_ref(&ids)));
    std::fs::remove_file(&exact)?;
    let [folder, file] = losses;
    if (folder? - file?).abs() > SAME {
        std::fs::remove_file(&path)?;
        bail!(
            "this family cannot be written as GGUF yet; {} has it",
            course.folder.path().join("model").display()
        );
    }
    Ok(Some(path))
}

/// A folder that is gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Scratch(path.with_file_name(format!(".{name}.{}.trial", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is hidden by its name, and there is nobody to tell.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn dataset(config: &Config, loaded: &Loaded) -> Result<Dataset> {
    let data = &config.data;
    let mut loader = Loader::new(encoder(loaded)?);
    loader.columns =
        Columns { text: data.text_column.clone(), rank: data.rank_column.clone(), ..Columns::default() };
    let context = loaded.model.description.context_length;
    if data.length > context {
        bail!("data.length: wanted at most the model's {context} positions, found {}", data.length);
    }
    loader.length_max = Some(data.length);
    (loader.validation, loader.seed) = (data.validation, config.course.seed);
    let mut dataset = loader.load(&data.files)?;
    if dataset.train.examples.is_empty() {
        bail!("there are only pairs of answers in the data; wanted texts");
    }
    if data.validation > 0.0 && dataset.validation.examples.is_empty() {
        // A single text is parted near its end.
        let train = &mut dataset.train.examples;
        let kept = (train.len() as f64 * (1.0 - data.validation)).round() as usize;
        dataset.validation.examples = train.split_off(kept.clamp(1, train.len()));
        dataset.report.validation_examples = dataset.validation.examples.len();
    }
    Ok(dataset)
}

fn trainer(loaded: &Loaded, plan: &Plan) -> Result<Trainer> {
    Ok(Trainer::new((*loaded.model).clone(), None, plan.settings.clone())?)
}

/// What takes less memory, step by step.
fn advice(settings: &Settings) -> Advice {
    let few = |micro_tokens: usize| Settings {
        micro_tokens: micro_tokens.min(settings.micro_tokens),
        recompute: Recompute::Layers,
        ..settings.clone()
    };
    let ways = [1024, 256].map(|tokens| {
        let way = few(tokens);
        (format!("course.micro_tokens = {} and no course.keep_activations", way.micro_tokens), way)
    });
    Advice {
        ways: ways.into(),
        instead: None,
        otherwise: "choose course.optimizer = \"adamw8bit\" or a smaller model",
    }
}

/// What the texts are ordered by.
fn keys(
    config: &Config,
    models: &Models,
    loaded: &Loaded,
    machine: &bantam_model::Machine,
    folder: &Folder,
    dataset: &Dataset,
) -> Result<Vec<Key>> {
    let mut keys: Vec<Key> = dataset.train.examples.iter().map(bantam_data::Example::key).collect();
    if config.data.order != OrderConfig::Loss {
        return Ok(keys);
    }
    let name = config.data.reference.as_ref().context("data.reference: wanted a model")?;
    let reference = Loaded::open(&models.locate(name)?)?;
    let losses = match folder.read_ranks(keys.len()) {
        Some(losses) => losses,
        None => reference::losses(machine, &reference, loaded, &dataset.train.examples)?,
    };
    folder.write_ranks(&losses)?;
    for (key, loss) in keys.iter_mut().zip(losses) {
        key.rank = Some(loss);
    }
    Ok(keys)
}

fn sampler(args: &TrainArgs, config: &Config, loaded: &Loaded) -> Result<Sampler> {
    Ok(Sampler {
        tokenizer: loaded.tokenizer()?,
        prompts: config.samples.prompts.clone(),
        tokens: config.samples.tokens,
        temperature: config.samples.temperature,
        settings: beside_learning(args.machine.settings()),
    })
}

/// What will be done, and why.
fn tell(plan: &Plan, loaded: &Loaded, report: &bantam_data::Report) {
    eprintln!(
        "{} parameters, {} ids; {} texts in {} examples, {} of them for validation; {} tokens",
        units::grouped(loaded.parameters()),
        units::grouped(loaded.model.description.vocab_size as u64),
        units::grouped(report.forms.values().sum::<usize>() as u64),
        units::grouped(report.examples as u64),
        units::grouped(report.validation_examples as u64),
        units::grouped(report.tokens as u64),
    );
    for [name, value, reason] in &plan.choices {
        eprintln!("{name:>8}  {value:<16} {reason}");
    }
}

fn run_config(args: &TrainArgs, plan: &Plan, report: &bantam_data::Report) -> Value {
    let text = std::fs::read_to_string(&args.config).unwrap_or_default();
    let choices: Vec<Value> =
        plan.choices.iter().map(|[n, v, r]| json!({ "name": n, "value": v, "reason": r })).collect();
    json!({ "bantam": env!("CARGO_PKG_VERSION"), "config": text, "choices": choices, "data": report })
}

fn finish(
    args: &TrainArgs,
    plan: &Plan,
    course: &Course<'_>,
    end: End,
    gguf: Option<PathBuf>,
    trial: &Trial,
) -> Result<()> {
    let mut page = Page::new(&format!("{} trained", args.config.display()), &course.metrics);
    page.choices(&plan.choices);
    page.texts(&course.metrics);
    course.folder.write_page(&page.finish())?;
    let (first, best) = (validation_losses(&course.metrics).next(), best(&course.metrics));
    let sum = |name: &str| -> f64 { course.metrics.iter().filter_map(|line| line[name].as_f64()).sum() };
    let tok_s = sum("tokens") / sum("seconds").max(1e-9);
    if args.json {
        return print_json(&json!({
            "output": args.output, "steps": course.trainer.steps(), "stopped_early": end == End::NoGain,
            "validation_loss": [first.map(|found| found.loss), best.map(|best| best.loss)],
            "best_step": best.map(|best| best.step), "tokens": sum("tokens"), "tok_s": tok_s,
            "promised_bytes": trial.bytes(), "peak_resident_bytes": peak_rss_bytes(), "threads": course.machine.threads(),
        }));
    }
    let mut told = vec![("tokens", format!("{} at {tok_s:.0} tok/s", units::grouped(sum("tokens") as u64)))];
    if let (Some(first), Some(best)) = (first, best) {
        let at = best.step;
        told.push((
            "validation loss",
            format!("{:.4} before, {:.4} at its best (step {at})", first.loss, best.loss),
        ));
    }
    let output = args.output.display();
    told.push(("use it", format!("bantam run {output}/model")));
    told.extend(gguf.map(|path| ("or", format!("bantam run {}", path.display()))));
    told.push(("look at it", format!("{output}/report.html")));
    print_pairs(&told)
}
