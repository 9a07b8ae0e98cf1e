//! `bantam finetune`: an adapter learnt from examples, on the model's own file.

mod course;
mod folder;
mod grpo;
mod page;
mod plan;
mod private;
mod reward;
mod score;
mod show;
mod trial;

use std::sync::Arc;

use anyhow::{Result, bail};
use bantam::Loaded;
use bantam::model::{Adapter, LowRank};
use bantam_data::Dataset;
use bantam_model::Machine;
use bantam_train::{Example, Trainer};
use serde_json::{Value, json};

use crate::args::{FinetuneArgs, LossArg};
use crate::interrupt::{Interrupt, Stopped};
use crate::models::Models;
use crate::print::{print_json, print_pairs};
use crate::units;
use course::{Course, End};
use folder::Folder;
use plan::{Aim, Plan};
use private::Private;
use score::{Questions, Score};
use trial::Trial;

/// Examples from which on some are kept for validation where nobody says how many.
const VALIDATED_FROM: usize = 40;
/// How many of them.
const VALIDATION: f64 = 0.05;

pub(crate) fn run(args: &FinetuneArgs, models: &Models, interrupt: &Interrupt) -> Result<()> {
    args.check()?;
    let path = models.locate(&args.model)?;
    let loaded = Loaded::open(&path)?;
    let dataset = dataset(args, &loaded, &path)?;
    if args.loss == LossArg::Grpo {
        return grpo::run(args, models, &loaded, &dataset, interrupt);
    }
    let [examples, validation] = [&dataset.train, &dataset.validation].map(|part| learnt(&part.examples));
    if examples.is_empty() {
        bail!("there are only pairs of answers in the data; wanted chats, completions or texts");
    }
    let machine = args.machine.machine();
    let is_private = args.private.dp.is_some();
    let aim = if is_private { Aim::Private } else { Aim::Predict };
    let plan = Plan::new(&args.course, aim, &loaded.model, examples.len(), args.machine.numerics.into());
    let start = begin(args, models, &plan, &loaded)?;
    tell(&plan, &dataset, &start);
    let private = Private::new(&args.private, &plan, examples.len())?;
    private.iter().for_each(Private::tell);
    let trial = Trial::new(&machine, &loaded, &plan, &start, &examples, private.as_ref())?;
    trial.tell(&examples, &plan);
    trial.check()?;
    if args.dry_run {
        return Ok(());
    }
    let folder = Folder::open(&args.output, args.resume)?;
    folder.write_config(&config(args, &plan, &dataset, private.as_ref()))?;
    let private = match private {
        Some(private) => Some((private.noise(&folder, args.resume)?, private)),
        None => None,
    };
    let mut course = Course {
        plan: &plan,
        machine: &machine,
        folder: &folder,
        train: &dataset.train.examples,
        examples: &examples,
        validation: &validation,
        trainer: Trainer::new((*loaded.model).clone(), Some(start), plan.settings.clone())?,
        metrics: Vec::new(),
        // Which adapter is kept must not depend on the examples either.
        patience: if is_private { 0 } else { args.course.patience },
        private,
        seed: args.source.seed,
        base_name: &args.model,
    };
    if args.resume {
        folder.read_state(&mut course.trainer)?;
        course.metrics = folder.metrics(course.trainer.steps())?;
        eprintln!("going on behind step {} of {}", course.trainer.steps(), plan.steps);
    }
    let end = course.run(interrupt)?;
    if end == End::Stopped {
        return Err(Stopped("stopped; go on with the same arguments and --resume").into());
    }
    Private::forget(&folder);
    finish(args, &loaded, &course, end, &machine)
}

fn dataset(args: &FinetuneArgs, loaded: &Loaded, path: &std::path::Path) -> Result<Dataset> {
    let mut loader = args.source.loader(super::data::encoder(path)?)?;
    let context = loaded.model.description.context_length;
    loader.length_max = Some(loader.length_max.unwrap_or(context.min(1024)));
    let dataset = loader.load(&args.source.files)?;
    if args.source.validation.is_some() || dataset.train.examples.len() < VALIDATED_FROM {
        return Ok(dataset);
    }
    loader.validation = VALIDATION;
    Ok(loader.load(&args.source.files)?)
}

fn learnt(examples: &[bantam_data::Example]) -> Vec<Example> {
    let learnt =
        |example: &bantam_data::Example| Example { ids: example.ids.clone(), learn: example.learn.clone() };
    examples.iter().map(learnt).collect()
}

/// The adapter before its first step.
fn begin(args: &FinetuneArgs, models: &Models, plan: &Plan, loaded: &Loaded) -> Result<Adapter> {
    Ok(match &args.course.original {
        Some(original) => {
            let original = Loaded::open(&models.locate(original)?)?;
            plan.lora.start_from(&loaded.model, &original.model)?
        }
        None => plan.lora.start(&loaded.model)?,
    })
}

/// What will be done, and why.
fn tell(plan: &Plan, dataset: &Dataset, start: &Adapter) {
    let report = &dataset.report;
    eprintln!(
        "{} examples, {} of them for validation; {} tokens, {} learnt",
        units::grouped(report.examples as u64),
        units::grouped(report.validation_examples as u64),
        units::grouped(report.tokens as u64),
        units::grouped(report.learnt_tokens as u64),
    );
    if report.bad + report.duplicates + report.cut.ends + report.cut.dropped > 0 {
        eprintln!(
            "{} lines are bad, {} repeat another, {} are too long (`bantam data inspect` shows which)",
            report.bad,
            report.duplicates,
            report.cut.ends + report.cut.dropped
        );
    }
    for [name, value, reason] in &plan.choices {
        eprintln!("{name:>8}  {value:<8} {reason}");
    }
    eprintln!("{} numbers learn; the model's file stays as it is", units::grouped(parameters(start)));
}

fn parameters(adapter: &Adapter) -> u64 {
    let numbers = |matrix: &bantam_model::weights::Matrix| matrix.tensor.elements() as u64;
    let lengths = |site: &LowRank| site.magnitude.as_ref().map_or(0, |of| of.lengths.elements() as u64);
    adapter.sites.values().map(|site| numbers(&site.a) + numbers(&site.b) + lengths(site)).sum()
}

fn config(args: &FinetuneArgs, plan: &Plan, dataset: &Dataset, private: Option<&Private>) -> Value {
    let choices: Vec<Value> =
        plan.choices.iter().map(|[n, v, r]| json!({ "name": n, "value": v, "reason": r })).collect();
    json!({
        "bantam": env!("CARGO_PKG_VERSION"), "model": args.model, "files": args.source.files,
        "choices": choices, "alpha": plan.lora.alpha, "seed": args.source.seed, "data": dataset.report,
        "privacy": private.map(Private::json),
    })
}

/// Measures what was gained, and writes the page.
fn finish(
    args: &FinetuneArgs,
    loaded: &Loaded,
    course: &Course<'_>,
    end: End,
    machine: &Machine,
) -> Result<()> {
    let adapter = course.best()?;
    let [before, after] = scores(args, loaded, course.validation, &adapter)?;
    course.folder.write_page(&page::page(args, course, [&before, &after]))?;
    let losses: Vec<(u64, f64)> = course::validation_losses(&course.metrics).collect();
    let first = losses.first().map(|(_, loss)| *loss);
    let best = losses.iter().min_by(|a, b| a.1.total_cmp(&b.1)).copied();
    if args.json {
        return print_json(&json!({
            "output": args.output, "steps": course.trainer.steps(), "stopped_early": end == End::NoGain,
            "validation_loss": [first, best.map(|best| best.1)], "best_step": best.map(|best| best.0),
            "asked": after.asked(), "right": [before.right(), after.right()],
            "threads": machine.threads(), "privacy": course.private.as_ref().map(|(_, private)| private.json()),
        }));
    }
    if end == End::NoGain {
        eprintln!("stopped after step {}: the validation loss fell no more", course.trainer.steps());
    }
    let mut told = Vec::new();
    if let (Some(first), Some((step, best))) = (first, best) {
        told.push(("validation loss", format!("{first:.4} before, {best:.4} at its best (step {step})")));
    }
    if after.asked() > 0 {
        let (asked, before, after) = (after.asked(), before.right(), after.right());
        told.push(("exact answers", format!("{before} of {asked} before, {after} of {asked} after")));
    }
    let output = args.output.display();
    told.push(("use it", format!("bantam run {} --adapter {output}", args.model)));
    told.push(("look at it", format!("{output}/report.html")));
    print_pairs(&told)
}

/// Answers before and after.
fn scores(
    args: &FinetuneArgs,
    loaded: &Loaded,
    examples: &[Example],
    adapter: &Arc<Adapter>,
) -> Result<[Score; 2]> {
    let questions = Questions::new(loaded, args.machine.settings(), examples)?;
    Ok([questions.ask(None)?, questions.ask(Some(adapter))?])
}
