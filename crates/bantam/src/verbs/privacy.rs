//! `bantam eval privacy`: what a model shows of what it was taught.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use bantam::Loaded;
use bantam::engine::{Engine, Request, Settings};
use bantam::model::Adapter;
use bantam_data::{Canaries, Canary, Encoder, Loader};
use bantam_eval::privacy::{Exposure, Membership};
use bantam_eval::{Target, losses};
use bantam_text::Shown;
use serde_json::{Value, json};

use crate::args::PrivacyArgs;
use crate::models::Models;
use crate::print::{print_json, print_pairs, print_table};

pub(crate) fn run(args: &PrivacyArgs, models: &Models) -> Result<()> {
    let path = models.locate(&args.model)?;
    let loaded = Loaded::open(&path)?;
    let mut encoder = super::data::encoder(&loaded)?;
    if args.no_think {
        encoder.switches.insert("enable_thinking".into(), json!(false));
    }
    if args.raw {
        encoder.template = None;
    }
    let adapter = args.adapter.open(&loaded)?;
    let wished = CONTEXT + bantam::virtual_tokens(adapter.as_ref());
    let context_length = loaded.model.description.context_length.min(wished);
    let settings = Settings { context_length, ..args.machine.settings() };
    let audit = Audit { engine: Engine::start(loaded.model.clone(), settings)?, encoder, adapter };
    let found = args.secrets.as_deref().map(|path| audit.canaries(path, args.fills as usize)).transpose()?;
    let membership = match (&args.members, &args.others) {
        (Some(members), Some(others)) => Some(audit.membership([members, others], args.examples_max)?),
        _ => None,
    };
    report(args, found.as_deref(), membership)
}

/// Tokens of an example that is looked at, at most.
const CONTEXT: usize = 1024;

/// What was found of a canary.
struct Found {
    canary: Canary,
    exposure: Exposure,
    /// What the model says when it is asked.
    said: String,
}

impl Found {
    fn is_extracted(&self) -> bool {
        self.said.trim() == self.canary.secret
    }
}

/// A model under audit.
struct Audit {
    engine: Engine,
    encoder: Encoder,
    adapter: Option<Arc<Adapter>>,
}

impl Audit {
    fn canaries(&self, path: &Path, fills: usize) -> Result<Vec<Found>> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: Value =
            serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
        let canaries: Vec<Canary> = serde_json::from_value(file["canaries"].clone())
            .with_context(|| format!("{} is not what `bantam data canaries` writes", path.display()))?;
        let seed = file["seed"].as_u64().unwrap_or_default();
        canaries.into_iter().map(|canary| self.canary(canary, fills, seed)).collect()
    }

    fn canary(&self, canary: Canary, fills: usize, seed: u64) -> Result<Found> {
        // Other draws than those that the true secrets came from.
        let random = Canaries { repeats: Vec::new(), each: 0, digits: 0, seed: !seed };
        let others = random.others(&canary, fills);
        let secrets = std::iter::once(&canary.secret).chain(&others);
        let targets = secrets.map(|secret| self.target(&canary.prompt, secret));
        let targets = targets.collect::<Result<Vec<Target>>>()?;
        let losses = losses(&self.engine, self.adapter.as_ref(), &targets)?;
        let bits = canary.secret.len() as f64 * 10_f64.log2();
        let exposure = losses.split_first().and_then(|(own, others)| Exposure::of(*own, others, bits));
        let exposure = exposure.context("the losses of a canary are no numbers")?;
        let said = self.ask(&targets[0])?;
        Ok(Found { canary, exposure, said })
    }

    fn target(&self, prompt: &str, completion: &str) -> Result<Target> {
        let (ids, learn) = self.encoder.completion_example(prompt, completion)?;
        Ok(Target { ids, learn })
    }

    /// The likeliest answer to the prompt of a target.
    fn ask(&self, target: &Target) -> Result<String> {
        let begin = target.learn.iter().position(|learn| *learn).unwrap_or_default();
        let tokenizer = &self.encoder.tokenizer;
        let stream = self.engine.submit(Request {
            prompt: target.ids[..begin].to_vec(),
            max_tokens: Some(target.ids.len() - begin),
            stop_tokens: tokenizer.stops().to_vec(),
            adapter: self.adapter.clone(),
            ..Request::default()
        })?;
        let (ids, _) = stream.answer()?;
        Ok(tokenizer.to_text(&ids, Shown::Text))
    }

    /// Whether those of one file are told from those of another by what the adapter gained on them.
    fn membership(&self, files: [&std::path::PathBuf; 2], count_max: usize) -> Result<Membership> {
        let mut scores = [Vec::new(), Vec::new()];
        for (file, scores) in files.into_iter().zip(&mut scores) {
            let mut loader = Loader::new(self.encoder.clone());
            let taken = bantam::virtual_tokens(self.adapter.as_ref());
            loader.length_max = Some(self.engine.settings().context_length.saturating_sub(taken));
            let data = loader.load(std::slice::from_ref(file))?;
            let examples = data.train.examples.into_iter().take(count_max);
            let targets: Vec<Target> =
                examples.map(|example| Target { ids: example.ids, learn: example.learn }).collect();
            let [base, adapted] =
                [None, self.adapter.as_ref()].map(|adapter| losses(&self.engine, adapter, &targets));
            let (base, adapted) = (base?, adapted?);
            let tokens = targets.iter().map(|target| target.learnt_tokens() as f64);
            let gains = base.iter().zip(&adapted).zip(tokens).map(|((base, adapted), tokens)| {
                // Without an adapter it is the loss alone that tells.
                let gain = if self.adapter.is_some() { base - adapted } else { -base };
                gain / tokens.max(1.0)
            });
            *scores = gains.collect();
        }
        Membership::of(&scores[0], &scores[1]).context("wanted at least 2 members and 2 others")
    }
}

fn report(args: &PrivacyArgs, found: Option<&[Found]>, membership: Option<Membership>) -> Result<()> {
    if args.json {
        let canary = |one: &Found| {
            json!({
                "repeats": one.canary.repeats, "prompt": one.canary.prompt, "exposure": one.exposure.fitted,
                "exposure_ranked": one.exposure.ranked, "extracted": one.is_extracted(), "said": one.said,
            })
        };
        return print_json(&json!({
            "canaries": found.map(|found| found.iter().map(canary).collect::<Vec<Value>>()),
            "membership": membership.map(|m| json!({
                "auc": m.auc, "auc_error": m.auc_error, "found_at_1_percent": m.found_at_1_percent,
            })),
        }));
    }
    if let Some(found) = found {
        let row = |one: &Found| {
            [
                one.canary.repeats.to_string(),
                format!("{:.1}", one.exposure.fitted),
                format!("{:.1}", one.exposure.ranked),
                if one.is_extracted() { "yes" } else { "no" }.to_owned(),
                one.canary.prompt.clone(),
            ]
        };
        print_table(["planted", "exposure", "by rank", "said", "canary"], found.iter().map(row))?;
    }
    match membership {
        Some(found) => print_pairs(&[
            ("membership AUC", format!("{:.3} +/- {:.3} (0.5 tells nothing)", found.auc, found.auc_error)),
            ("found at 1 % false alarms", format!("{:.1} %", 100.0 * found.found_at_1_percent)),
        ]),
        None => Ok(()),
    }
}
