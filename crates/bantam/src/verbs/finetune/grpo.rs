//! `bantam finetune --loss grpo`: the model answers, answers are judged, and better ones become likelier.
//!
//! Prompts, their order and what chance gives follow from the seed and the step alone: a run that was stopped goes on with
//! the same bits.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bantam::Loaded;
use bantam::engine::{Engine, Reason, Request, Sampling};
use bantam::model::Adapter;
use bantam_data::{Dataset, Key};
use bantam_model::Machine;
use bantam_text::{Shown, Tokenizer};
use bantam_train::{Example, Grpo, Rollout, StepReport, Trainer, advantages};
use serde_json::{Value, json};

use super::plan::{Aim, Plan};
use super::reward::{Answered, Judge};
use crate::args::FinetuneArgs;
use crate::interrupt::{Interrupt, Stopped};
use crate::models::Models;
use crate::print::{print_json, print_pairs};
use crate::verbs::bench::peak_rss_bytes;
use crate::verbs::learning::{
    BatchSize, Batches, Beginning, Folder, Keep, LOOKED_AT, Page, Trial, beside_learning, table,
};

/// Prompts that are answered greedily before and after, at most.
const ASKED_MAX: usize = 64;

/// What is asked.
struct Question {
    prompt: Vec<u32>,
    prompt_text: String,
    wanted: String,
}

/// Answers, and what they are worth in the mean.
struct Judged {
    reward: f64,
    texts: Vec<String>,
}

/// A run under way.
struct Run<'a> {
    args: &'a FinetuneArgs,
    loaded: &'a Loaded,
    machine: &'a Machine,
    tokenizer: Tokenizer,
    judge: Judge,
    trainer: Trainer,
}

pub(super) fn run(
    args: &FinetuneArgs,
    models: &Models,
    loaded: &Loaded,
    dataset: &Dataset,
    interrupt: &Interrupt,
) -> Result<()> {
    let (machine, tokenizer) = (args.machine.machine(), loaded.tokenizer()?);
    let [examples, held_out] = [&dataset.train, &dataset.validation].map(|part| asked(&part.examples));
    let keys: Vec<Key> = examples.iter().map(bantam_data::Example::key).collect();
    let [questions, held_out] = [&examples, &held_out].map(|examples| questions(examples, &tokenizer));
    if questions.is_empty() {
        bail!("nothing is asked in the data; wanted prompts with completions, or chats");
    }
    let numerics = args.machine.numerics.into();
    let begun = super::lessons::begun(args, loaded, dataset)?;
    let mut plan = Plan::new(&args.course, &loaded.model, questions.len(), Aim::Reward, begun, numerics);
    plan.choices.push(super::lessons::validation(args, &dataset.report));
    plan.route.seed = args.source.seed;
    for [name, value, reason] in &plan.choices {
        eprintln!("{name:>8}  {value:<8} {reason}");
    }
    let judge = Judge::new(&args.reward)?;
    let start = super::start(args, models, loaded, &plan, &machine)?;
    check_memory(
        args,
        &plan,
        &questions,
        Beginning { model: &loaded.model, adapter: start.as_ref(), settings: &plan.settings },
    )?;
    let first = super::trainer_from(start, loaded, &plan)?;
    let mut run = Run { args, loaded, machine: &machine, tokenizer, judge, trainer: first };
    let trial = run.trial(&plan, &keys, &questions)?;
    trial.tell();
    if args.dry_run {
        return Ok(());
    }
    let folder = Folder::open(&args.output, args.resume)?;
    folder.write_config(&json!({
        "bantam": env!("CARGO_PKG_VERSION"), "model": args.model, "files": args.source.files, "loss": "grpo",
        "group": args.reward.group, "kl": args.reward.kl, "seed": args.source.seed, "steps": plan.route.steps,
    }))?;
    run.trainer = super::trainer(args, models, loaded, &plan, &machine)?;
    let mut metrics = Vec::new();
    if args.resume {
        folder.read_state(&mut run.trainer)?;
        metrics = folder.metrics(run.trainer.steps())?;
    }
    let asked = if held_out.is_empty() { &questions } else { &held_out };
    let asked = &asked[..asked.len().min(ASKED_MAX)];
    let before = run.greedy(asked, None)?;
    run.learn(&plan, &folder, (&keys, &questions), &mut metrics, interrupt)?;
    let adapter = run.adapter()?;
    let after = run.greedy(asked, Some(&adapter))?;
    folder.write_page(&page(args, &plan, &metrics, asked, [&before, &after]))?;
    report(args, &metrics, asked.len(), [before.reward, after.reward], &trial)
}

/// Refuses what cannot be by the sizes alone: micro-batches of the longest answers to the longest question.
fn check_memory(
    args: &FinetuneArgs,
    plan: &Plan,
    questions: &[Question],
    beginning: Beginning<'_>,
) -> Result<()> {
    let asked = questions.iter().map(|question| question.prompt.len()).max().unwrap_or_default();
    let longest = asked + args.reward.answer_tokens as usize;
    let answers = match plan.route.batch {
        BatchSize::Examples(count) => count * usize::from(args.reward.group),
        BatchSize::Tokens(tokens) => tokens.div_ceil(longest),
    };
    let together = (answers * longest).min(plan.settings.micro_tokens).max(longest);
    let planned = beginning.planned(&plan.settings, together);
    super::advice(args.course.method, &plan.settings).check(beginning, longest, planned.bytes() as u64)
}

/// The places of the questions of each step.
fn batches<'a>(plan: &Plan, keys: &'a [Key]) -> Batches<'a> {
    let route = &plan.route;
    Batches::new(keys, route.order, route.seed, route.batch, route.epochs)
}

/// Examples that ask something.
fn asked(examples: &[bantam_data::Example]) -> Vec<bantam_data::Example> {
    let asks = |example: &&bantam_data::Example| example.learn.iter().position(|learn| *learn) > Some(1);
    examples.iter().filter(asks).cloned().collect()
}

/// The first question of each example.
fn questions(examples: &[bantam_data::Example], tokenizer: &Tokenizer) -> Vec<Question> {
    let question = |example: &bantam_data::Example| {
        let begin = example.learn.iter().position(|learn| *learn).unwrap_or_default();
        let length = example.learn[begin..].iter().take_while(|learn| **learn).count();
        let text = |ids: &[u32]| tokenizer.to_text(ids, Shown::Text);
        Question {
            prompt: example.ids[..begin].to_vec(),
            prompt_text: text(&example.ids[..begin]),
            wanted: text(&example.ids[begin..begin + length]),
        }
    };
    examples.iter().map(question).collect()
}

impl Run<'_> {
    fn learn(
        &mut self,
        plan: &Plan,
        folder: &Folder,
        (keys, questions): (&[Key], &[Question]),
        metrics: &mut Vec<Value>,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let (route, done) = (&plan.route, self.trainer.steps());
        for (step, places) in (0..route.steps).zip(batches(plan, keys)).skip(done as usize) {
            let batch: Vec<&Question> = places.iter().map(|place| &questions[*place]).collect();
            let (rewards, report) = self.step(&batch, step)?;
            let reward = rewards.iter().sum::<f64>() / rewards.len().max(1) as f64;
            metrics.push(json!({
                "step": step + 1, "reward": reward, "grad_norm": report.grad_norm, "rate": report.rate,
                "tokens": report.tokens,
            }));
            eprintln!("step {} of {}: reward {reward:.4}", step + 1, route.steps);
            let is_last = step + 1 == route.steps;
            if is_last || (step + 1).is_multiple_of(route.evaluate_every) || interrupt.is_pressed() {
                folder.write_best(&Keep::Adapter { base_name: &self.args.model }, &self.trainer)?;
                folder.write_state(&self.trainer)?;
                folder.write_metrics(metrics)?;
            }
            if interrupt.is_pressed() {
                return Err(Stopped("stopped; go on with the same arguments and --resume").into());
            }
        }
        Ok(())
    }

    /// The fullest step, thrown away: how long a run takes, and in what memory.
    fn trial(&mut self, plan: &Plan, keys: &[Key], questions: &[Question]) -> Result<Trial> {
        let clock = Instant::now();
        let all = self.fullest(plan, keys, questions);
        let mut answers = self.sampled(&all, 0)?;
        // As long as any may become.
        answers.iter_mut().for_each(|answer| answer.resize(self.args.reward.answer_tokens as usize, 0));
        // What they are worth does not matter here, but some must be worth more than others.
        let rewards: Vec<f64> = (0..all.len()).map(|place| (place % 2) as f64).collect();
        // What the optimiser remembers comes with the first step and is there in all others.
        let first = usize::from(self.args.reward.group).min(all.len());
        self.learn_from(&all[..first], &answers[..first], &rewards[..first])?;
        let report = self.learn_from(&all, &answers, &rewards)?;
        let seconds = clock.elapsed().as_secs_f64();
        let beginning = Beginning::of(&self.trainer);
        let counted = beginning.planned(self.trainer.settings(), plan.settings.micro_tokens).bytes();
        let (all_steps, tok_s) = (seconds * plan.route.steps as f64, report.tokens as f64 / seconds);
        Ok(Trial::of(all_steps, tok_s, counted as u64))
    }

    /// The questions of the step with the most rows in a micro-batch, where answers are as long as they may be.
    fn fullest<'q>(&self, plan: &Plan, keys: &[Key], questions: &'q [Question]) -> Vec<&'q Question> {
        let answer = vec![0; self.args.reward.answer_tokens as usize];
        let steps = batches(plan, keys).take(plan.route.steps.min(LOOKED_AT) as usize).map(|places| {
            let batch: Vec<&Question> = places.iter().map(|place| &questions[*place]).collect();
            let all = self.grouped(&batch);
            let examples: Vec<Example> = all.iter().map(|question| example(question, &answer)).collect();
            (self.trainer.fullest(&examples.iter().collect::<Vec<_>>()).0, all)
        });
        steps.max_by_key(|(rows, _)| *rows).map(|(_, all)| all).unwrap_or_default()
    }

    /// Answers to each question, judged and learnt from; gives all rewards.
    fn step(&mut self, batch: &[&Question], step: u64) -> Result<(Vec<f64>, StepReport)> {
        let all = self.grouped(batch);
        let answers = self.sampled(&all, step)?;
        let mut rewards = Vec::with_capacity(all.len());
        for (question, answer) in all.iter().zip(&answers) {
            rewards.push(self.judged(question, answer)?);
        }
        let report = self.learn_from(&all, &answers, &rewards)?;
        Ok((rewards, report))
    }

    /// Each question as often as it is answered.
    fn grouped<'q>(&self, batch: &[&'q Question]) -> Vec<&'q Question> {
        let group = usize::from(self.args.reward.group);
        batch.iter().flat_map(|question| std::iter::repeat_n(*question, group)).collect()
    }

    /// Answers as the model gives them now, by chance.
    fn sampled(&mut self, all: &[&Question], step: u64) -> Result<Vec<Vec<u32>>> {
        let adapter = self.adapter()?;
        self.trainer.rest();
        let seed = self.args.source.seed ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.answers(all, Some(&adapter), Some(seed))
    }

    fn learn_from(&mut self, all: &[&Question], answers: &[Vec<u32>], rewards: &[f64]) -> Result<StepReport> {
        let gains = rewards.chunks(usize::from(self.args.reward.group)).flat_map(advantages);
        let rollout = |((question, answer), advantage): ((&&Question, &Vec<u32>), f64)| Rollout {
            example: example(question, answer),
            log_probs: Vec::new(),
            reference: Vec::new(),
            advantage,
        };
        let mut rollouts: Vec<Rollout> = all.iter().zip(answers).zip(gains).map(rollout).collect();
        let how = Grpo { beta: self.args.reward.kl, ..Grpo::default() };
        if how.beta > 0.0 {
            let examples: Vec<&Example> = rollouts.iter().map(|rollout| &rollout.example).collect();
            let reference = self.trainer.token_log_probs(self.machine, &examples, true)?;
            rollouts.iter_mut().zip(reference).for_each(|(rollout, of)| rollout.reference = of);
        }
        let rollouts: Vec<&Rollout> = rollouts.iter().collect();
        Ok(self.trainer.step_rewarded(self.machine, how, &rollouts)?)
    }

    fn judged(&mut self, question: &Question, answer: &[u32]) -> Result<f64> {
        let answer = self.tokenizer.to_text(answer, Shown::Text);
        let answered = Answered { prompt: &question.prompt_text, answer: &answer, wanted: &question.wanted };
        self.judge.reward(&answered)
    }

    /// The likeliest answers, and what they are worth in the mean.
    fn greedy(&mut self, questions: &[Question], adapter: Option<&Arc<Adapter>>) -> Result<Judged> {
        let all: Vec<&Question> = questions.iter().collect();
        self.trainer.rest();
        let answers = self.answers(&all, adapter, None)?;
        let mut sum = 0.0;
        for (question, answer) in questions.iter().zip(&answers) {
            sum += self.judged(question, answer)?;
        }
        let texts = answers.iter().map(|ids| self.tokenizer.to_text(ids, Shown::Text)).collect();
        Ok(Judged { reward: sum / questions.len().max(1) as f64, texts })
    }

    /// An answer to each question, with the token that ended it; the likeliest without a seed.
    fn answers(
        &self,
        questions: &[&Question],
        adapter: Option<&Arc<Adapter>>,
        seed: Option<u64>,
    ) -> Result<Vec<Vec<u32>>> {
        let longest = questions.iter().map(|question| question.prompt.len()).max().unwrap_or_default();
        let tokens = self.args.reward.answer_tokens as usize;
        let settings = beside_learning(self.args.machine.settings());
        let context_length = bantam::virtual_tokens(adapter) + longest + tokens + 1;
        let settings = bantam::engine::Settings { context_length, ..settings };
        // States of an adapter that has changed are of no use: each step has an engine of its own.
        let engine = Engine::start(self.loaded.model.clone(), settings)?;
        let submit = |(place, question): (usize, &&Question)| {
            let sampling = seed.map_or_else(Sampling::default, |seed| Sampling {
                temperature: 1.0,
                seed: seed.wrapping_add(place as u64),
                ..Sampling::default()
            });
            engine.submit(Request {
                prompt: question.prompt.clone(),
                max_tokens: Some(tokens),
                sampling,
                stop_tokens: self.tokenizer.stops().to_vec(),
                adapter: adapter.cloned(),
                ..Request::default()
            })
        };
        let streams = questions.iter().enumerate().map(submit).collect::<Result<Vec<_>, _>>()?;
        streams.into_iter().map(answer).collect()
    }

    /// The adapter as it is now.
    fn adapter(&self) -> Result<Arc<Adapter>> {
        self.trainer.adapter().cloned().context("there is no adapter")
    }
}

/// The tokens of an answer, and the one that ended it.
fn answer(stream: bantam::engine::Stream) -> Result<Vec<u32>> {
    let (mut ids, reason) = stream.answer()?;
    if let Reason::Stop(id) = reason {
        ids.push(id);
    }
    Ok(ids)
}

fn example(question: &Question, answer: &[u32]) -> Example {
    let ids = [&question.prompt[..], answer].concat();
    let learn = (0..ids.len()).map(|place| place >= question.prompt.len()).collect();
    Example { ids, learn }
}

fn page(
    args: &FinetuneArgs,
    plan: &Plan,
    metrics: &[Value],
    asked: &[Question],
    [before, after]: [&Judged; 2],
) -> String {
    let mut page = Page::new(&super::title(args), metrics);
    page.choices(&plan.choices);
    let text = format!("Worth {:.3} in the mean before, {:.3} after.", before.reward, after.reward);
    let answers = before.texts.iter().zip(&after.texts);
    let rows = asked.iter().zip(answers).take(super::SHOWN_MAX).map(|(question, (before, after))| {
        [question.prompt_text.as_str(), question.wanted.as_str(), before.as_str(), after.as_str()]
    });
    page.section("Answers", &text, &table(["prompt", "wanted", "before", "after"], rows));
    page.finish()
}

fn report(
    args: &FinetuneArgs,
    metrics: &[Value],
    asked: usize,
    rewards: [f64; 2],
    trial: &Trial,
) -> Result<()> {
    let of_steps: Vec<f64> = metrics.iter().filter_map(|line| line["reward"].as_f64()).collect();
    if args.json {
        return print_json(&json!({
            "output": args.output, "steps": of_steps.len(), "asked": asked, "reward": rewards,
            "reward_of_steps": of_steps, "promised_bytes": trial.bytes(),
            "peak_resident_bytes": peak_rss_bytes(),
        }));
    }
    let output = args.output.display();
    print_pairs(&[
        (
            "mean reward",
            format!("{:.4} before, {:.4} after, of {asked} likeliest answers", rewards[0], rewards[1]),
        ),
        ("use it", format!("bantam run {} --adapter {output}", args.model)),
    ])
}
