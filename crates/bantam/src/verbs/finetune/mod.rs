//! `bantam finetune`: an adapter, or all weights, learnt from examples on the model's own file.

mod grpo;
mod lessons;
mod plan;
mod reward;
mod score;

use std::sync::Arc;

use anyhow::Result;
use bantam::Loaded;
use bantam_data::Report;
use bantam_model::{Adapter, Machine, Model};
use bantam_train::{AdamW, Lora, Pair, Precision, Recompute, Rule, Settings, Trainer, Wanted, prefix_of};
use serde_json::{Value, json};

use crate::args::{FinetuneArgs, LossArg, MethodArg};
use crate::interrupt::Interrupt;
use crate::models::Models;
use crate::print::{print_json, print_pairs};
use crate::progress::bar;
use crate::units;
use crate::verbs::bench::peak_rss_bytes;
use crate::verbs::learning::{
    Advice, BatchSize, Beginning, Course, End, Evaluated, Folder, Instead, Keep, Lessons, Page, Private,
    Sampler, Trial, beside_learning, best, table, validation_losses,
};
use plan::{Aim, Learner, Plan};
use score::{Questions, Score};

/// Tokens of a text that the model writes while it learns.
const SAMPLE_TOKENS: usize = 64;
/// Tokens that go through the model together where memory is short.
const FEW_TOKENS: [usize; 3] = [512, 256, 64];
/// Answers that the page shows.
const SHOWN_MAX: usize = 20;

pub(crate) fn run(args: &FinetuneArgs, models: &Models, interrupt: &Interrupt) -> Result<()> {
    args.check()?;
    if !args.dry_run {
        Folder::check(&args.output, args.resume)?;
    }
    let loaded = Loaded::open(&models.locate(&args.model)?)?;
    let dataset = lessons::dataset(args, &loaded)?;
    let report = dataset.report.clone();
    if args.loss.loss == Some(LossArg::Grpo) {
        return grpo::run(args, models, &loaded, &dataset, interrupt);
    }
    let aim = match lessons::preference(&args.loss, &dataset) {
        Some(preference) => Aim::Prefer(preference),
        None if args.private.dp.is_some() => Aim::Private,
        None => Aim::Predict,
    };
    let begun = lessons::begun(args, &loaded, &dataset)?;
    let (lessons, keys) = lessons::lessons(args, models, &loaded, dataset)?;
    let machine = args.machine.machine();
    let numerics = args.machine.numerics.into();
    let mut plan = Plan::new(&args.course, &loaded.model, lessons.count(), aim, begun, numerics);
    plan.route.seed = args.source.seed;
    let mut lessons = private(args, &plan, lessons)?;
    plan.choices.push(lessons::validation(args, &report));
    let start = start(args, models, &loaded, &plan, &machine)?;
    let beginning = Beginning { model: &loaded.model, adapter: start.as_ref(), settings: &plan.settings };
    tell(&plan, &report, beginning);
    let promise = told(&lessons);
    let advice = advice(args.course.method, &plan.settings);
    advice.check_sizes(beginning, &plan.route, &lessons)?;
    let first = trainer_from(start, &loaded, &plan)?;
    let trial = Trial::new(&machine, first, &plan.route, (&lessons, &keys), &advice)?;
    trial.tell();
    if args.dry_run {
        return Ok(());
    }
    let folder = Folder::open(&args.output, args.resume)?;
    folder.write_config(&config(args, &plan, &report, &promise))?;
    if let Lessons::Private(_, private) = &mut lessons {
        private.draw(&folder, args.resume)?;
    }
    let mut trainer = trainer(args, models, &loaded, &plan, &machine)?;
    let lessons = with_reference(lessons, &mut trainer, &machine)?;
    let mut course = Course {
        route: &plan.route,
        machine: &machine,
        folder: &folder,
        lessons: &lessons,
        keys: &keys,
        keep: keep(args, &loaded),
        sampler: sampler(args, &loaded)?,
        events: None,
        trainer,
        metrics: Vec::new(),
    };
    let end = course.complete(args.resume, args.tensorboard, interrupt)?;
    Private::forget(&folder);
    // Answers are given in the memory that steps no longer need.
    course.trainer.rest();
    finish(args, &plan, &loaded, &course, end, &trial)
}

/// The same examples, with little learnt of any one where that is asked.
fn private(args: &FinetuneArgs, plan: &Plan, lessons: Lessons) -> Result<Lessons> {
    match (plan.route.batch, lessons) {
        (BatchSize::Examples(batch), Lessons::Tokens(sides)) => {
            Ok(match Private::new(&args.private, sides.train.len(), batch, plan.route.steps)? {
                Some(private) => Lessons::Private(sides, private),
                None => Lessons::Tokens(sides),
            })
        }
        (_, lessons) => Ok(lessons),
    }
}

/// What is promised of a private run, also said.
fn told(lessons: &Lessons) -> Value {
    match lessons {
        Lessons::Private(_, private) => {
            private.tell();
            private.json()
        }
        _ => Value::Null,
    }
}

fn trainer(
    args: &FinetuneArgs,
    models: &Models,
    loaded: &Loaded,
    plan: &Plan,
    machine: &Machine,
) -> Result<Trainer> {
    trainer_from(start(args, models, loaded, plan, machine)?, loaded, plan)
}

fn trainer_from(start: Option<Adapter>, loaded: &Loaded, plan: &Plan) -> Result<Trainer> {
    Ok(Trainer::new((*loaded.model).clone(), start, plan.settings.clone())?)
}

/// The adapter at its beginning, if it is one that learns.
fn start(
    args: &FinetuneArgs,
    models: &Models,
    loaded: &Loaded,
    plan: &Plan,
    machine: &Machine,
) -> Result<Option<Adapter>> {
    Ok(match (&plan.learner, &args.course.original) {
        (Learner::Weights, _) => None,
        (Learner::Prefix(tokens), _) => Some(prefix_of(machine, &loaded.model, tokens)?),
        (Learner::Lora(lora), None) => Some(lora.start(&loaded.model)?),
        (Learner::Lora(lora), Some(original)) => {
            let original = Loaded::open(&models.locate(original)?)?;
            Some(lora.start_from(&loaded.model, &original.model)?)
        }
    })
}

fn keep<'a>(args: &'a FinetuneArgs, loaded: &'a Loaded) -> Keep<'a> {
    match args.course.method {
        MethodArg::Lora | MethodArg::Prefix => Keep::Adapter { base_name: &args.model },
        MethodArg::Full => Keep::Checkpoint { loaded, storage: args.storage },
    }
}

fn sampler(args: &FinetuneArgs, loaded: &Loaded) -> Result<Option<Sampler>> {
    if args.sample.is_empty() {
        return Ok(None);
    }
    Ok(Some(Sampler {
        tokenizer: loaded.tokenizer()?,
        prompts: args.sample.clone(),
        tokens: SAMPLE_TOKENS,
        temperature: 0.0,
        settings: beside_learning(args.machine.settings()),
    }))
}

/// What takes less memory, step by step.
fn advice(method: MethodArg, settings: &Settings) -> Advice {
    let mut way = Settings { recompute: Recompute::Layers, ..settings.clone() };
    way.micro_tokens = way.micro_tokens.min(FEW_TOKENS[0]);
    let mut ways = Vec::new();
    let mut add = |flags: &str, way: &Settings| {
        ways.push((format!("{flags}--recompute layers --micro-tokens {}", way.micro_tokens), way.clone()));
    };
    add("", &way);
    let flags = if method == MethodArg::Full { "--optimizer adamw8bit " } else { "" };
    if method == MethodArg::Full {
        way.rule = Rule::AdamW(AdamW { precision: Precision::EightBits, ..AdamW::default() });
        add(flags, &way);
    }
    for micro_tokens in FEW_TOKENS.into_iter().skip(1) {
        way.micro_tokens = micro_tokens.min(way.micro_tokens);
        add(flags, &way);
    }
    let otherwise = match method {
        MethodArg::Full => "choose --method lora",
        MethodArg::Lora | MethodArg::Prefix => "choose shorter examples (--max-length) or a smaller model",
    };
    let instead = match method {
        MethodArg::Full => Some(an_adapter_instead as Instead),
        MethodArg::Lora | MethodArg::Prefix => None,
    };
    Advice { ways, instead, otherwise }
}

/// What an adapter takes where all weights were to learn.
fn an_adapter_instead(model: &Model, settings: &Settings) -> Option<(&'static str, u64)> {
    let adapter = Lora::default().start(model).ok()?;
    let settings = Settings { wanted: Wanted::Adapter, ..settings.clone() };
    Some(("--method lora", bantam_train::Plan::new(model, Some(&adapter), &settings).bytes() as u64))
}

/// Pairs with what the model says of them before anything is learnt.
fn with_reference(lessons: Lessons, trainer: &mut Trainer, machine: &Machine) -> Result<Lessons> {
    let (mut sides, preference) = match lessons {
        Lessons::Pairs(sides, preference @ bantam_train::Preference::Dpo { .. }) => (sides, preference),
        lessons => return Ok(lessons),
    };
    let progress = bar((sides.train.len() + sides.validation.len()) as u64);
    for pair in sides.train.iter_mut().chain(&mut sides.validation) {
        progress.inc(1);
        let Pair { chosen, rejected, .. } = &*pair;
        let log_probs = trainer.log_probs(machine, &[chosen, rejected])?;
        pair.reference = [log_probs[0], log_probs[1]];
    }
    progress.finish_and_clear();
    Ok(Lessons::Pairs(sides, preference))
}

/// What will be done, and why.
fn tell(plan: &Plan, report: &Report, beginning: Beginning<'_>) {
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
    let numbers = beginning.numbers();
    eprintln!("{} numbers learn; the model's file stays as it is", units::grouped(numbers as u64));
}

fn config(args: &FinetuneArgs, plan: &Plan, report: &Report, promise: &Value) -> Value {
    let choices: Vec<Value> =
        plan.choices.iter().map(|[n, v, r]| json!({ "name": n, "value": v, "reason": r })).collect();
    let alpha = match &plan.learner {
        Learner::Lora(lora) => Some(lora.alpha),
        Learner::Prefix(_) | Learner::Weights => None,
    };
    json!({
        "bantam": env!("CARGO_PKG_VERSION"), "model": args.model, "files": args.source.files,
        "choices": choices, "alpha": alpha, "seed": args.source.seed,
        "data": report, "privacy": promise,
    })
}

/// Measures what was gained, and writes the page.
fn finish(
    args: &FinetuneArgs,
    plan: &Plan,
    loaded: &Loaded,
    course: &Course<'_>,
    end: End,
    trial: &Trial,
) -> Result<()> {
    let promise = match course.lessons {
        Lessons::Private(_, private) => private.json(),
        _ => Value::Null,
    };
    let [before, after] = scores(args, loaded, course)?;
    course.folder.write_page(&page(args, plan, course, [&before, &after]))?;
    let first = validation_losses(&course.metrics).next();
    let best = best(&course.metrics);
    if args.json {
        return print_json(&json!({
            "output": args.output, "steps": course.trainer.steps(), "stopped_early": end == End::NoGain,
            "validation_loss": [first.map(|found| found.loss), best.map(|best| best.loss)],
            "best_step": best.map(|best| best.step), "asked": after.asked(),
            "right": [before.right(), after.right()], "threads": course.machine.threads(),
            "promised_bytes": trial.bytes(), "peak_resident_bytes": peak_rss_bytes(), "privacy": promise,
        }));
    }
    if end == End::NoGain {
        eprintln!("stopped after step {}: the validation loss fell no more", course.trainer.steps());
    }
    let mut told = Vec::new();
    if let (Some(first), Some(Evaluated { step, loss })) = (first, best) {
        told.push((
            "validation loss",
            format!("{:.4} before, {loss:.4} at its best (step {step})", first.loss),
        ));
    }
    if after.asked() > 0 {
        let (asked, before, after) = (after.asked(), before.right(), after.right());
        told.push(("exact answers", format!("{before} of {asked} before, {after} of {asked} after")));
    }
    let output = args.output.display();
    told.push((
        "use it",
        match course.keep {
            Keep::Adapter { base_name } => format!("bantam run {base_name} --adapter {output}"),
            Keep::Checkpoint { .. } => format!("bantam run {}", course.folder.checkpoint(loaded).display()),
        },
    ));
    told.push(("look at it", format!("{output}/report.html")));
    print_pairs(&told)
}

/// Answers before and after.
fn scores(args: &FinetuneArgs, loaded: &Loaded, course: &Course<'_>) -> Result<[Score; 2]> {
    let questions =
        Questions::new(loaded, beside_learning(args.machine.settings()), course.lessons.validation())?;
    let before = questions.ask(&loaded.model, None)?;
    let after = match course.keep {
        Keep::Adapter { .. } => {
            let adapter = Arc::new(course.folder.read_adapter(course.trainer.model())?);
            questions.ask(&loaded.model, Some(&adapter))?
        }
        Keep::Checkpoint { .. } => {
            questions.ask(&Loaded::open(&course.folder.checkpoint(loaded))?.model, None)?
        }
    };
    Ok([before, after])
}

/// What a page is called.
fn title(args: &FinetuneArgs) -> String {
    let files = args.source.files.iter().map(|file| file.display().to_string());
    format!("{} learns {}", args.model, files.collect::<Vec<_>>().join(", "))
}

fn page(args: &FinetuneArgs, plan: &Plan, course: &Course<'_>, [before, after]: [&Score; 2]) -> String {
    let mut page = Page::new(&title(args), &course.metrics);
    page.choices(&plan.choices);
    page.texts(&course.metrics);
    if after.asked() > 0 {
        let text = format!(
            "{} of {} exactly as wanted before, {} after.",
            before.right(),
            after.asked(),
            after.right()
        );
        let rows = before.samples.iter().zip(&after.samples).take(SHOWN_MAX).map(|(before, after)| {
            let right = if after.is_right() { "right" } else { "" };
            [after.prompt.as_str(), &after.wanted, &before.found, &after.found, right]
        });
        page.section("Answers", &text, &table(["prompt", "wanted", "before", "after", ""], rows));
    }
    page.finish()
}
