//! `bantam data answer`: a model's own answers to what is asked in files, for another model to learn.
//!
//! Learning a teacher's texts (Kim and Rush, 2016) needs no common vocabulary.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use bantam::Loaded;
use bantam_engine::{Engine, Reason, Request, Sampling, Settings, Stream};
use bantam_model::Adapter;
use bantam_tensor::format::atomic;
use bantam_text::{ChatTemplate, Conversation, Shown, Tokenizer};
use serde_json::{Value, json};

use crate::args::AnswerDataArgs;
use crate::chat::now;
use crate::interrupt::{Interrupt, Stopped};
use crate::models::Models;
use crate::print::print_pairs;
use crate::progress::bar;
use crate::units;

/// Questions that the engine has at a time.
const AT_ONCE: usize = 64;

pub(super) fn run(args: &AnswerDataArgs, models: &Models, interrupt: &Interrupt) -> Result<()> {
    let teacher = Answerer::open(args, models)?;
    let found = bantam_data::questions(&args.files, &args.columns.columns())?;
    let progress = bar(found.asked.len() as u64);
    let (mut lines, mut cut) = (Vec::new(), 0);
    for questions in found.asked.chunks(AT_ONCE) {
        let mut streams = Vec::new();
        for question in questions {
            let messages = teacher.messages(&question.messages);
            let request = teacher.request(&messages, lines.len() + streams.len())?;
            streams.push((messages, teacher.engine.submit(request)?));
        }
        for (mut messages, stream) in streams {
            let answer = teacher.answer(stream)?;
            if interrupt.is_pressed() {
                return Err(Stopped("stopped; nothing was written").into());
            }
            progress.inc(1);
            match answer {
                Some(text) => {
                    messages.push(json!({ "role": "assistant", "content": text }));
                    lines.push(json!({ "messages": messages }));
                }
                None => cut += 1,
            }
        }
    }
    progress.finish_and_clear();
    if lines.is_empty() {
        bail!("no answer came to its end: raise --max-tokens");
    }
    atomic::write(&args.output, |file| lines.iter().try_for_each(|line| writeln!(file, "{line}")))?;
    let number = |count: usize| units::grouped(count as u64);
    print_pairs(&[
        ("answers", format!("{}; {} came to no end and are left out", number(lines.len()), number(cut))),
        ("bad lines", number(found.bad.len())),
        ("learn them", format!("bantam finetune STUDENT {} -o ..", args.output.display())),
    ])
}

/// A model that answers.
struct Answerer<'a> {
    args: &'a AnswerDataArgs,
    engine: Engine,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    adapter: Option<Arc<Adapter>>,
}

impl<'a> Answerer<'a> {
    fn open(args: &'a AnswerDataArgs, models: &Models) -> Result<Self> {
        let loaded = Loaded::open(&models.locate(&args.model)?)?;
        let tokenizer = loaded.tokenizer()?;
        let template = loaded
            .template(&tokenizer)?
            .ok_or_else(|| anyhow!("{} has no chat template, so that nothing can be asked", args.model))?;
        let adapter = args.adapter.open(&loaded)?;
        let settings = args.machine.settings();
        let context_length = loaded.model.description.context_length.min(args.context);
        let engine = Engine::start(loaded.model.clone(), Settings { context_length, ..settings })?;
        Ok(Answerer { args, engine, tokenizer, template, adapter })
    }

    /// The messages of a question, with the system text if they have none.
    fn messages(&self, question: &[Value]) -> Vec<Value> {
        let has_system = question.first().is_some_and(|message| message["role"] == "system");
        let system = self.args.system.as_ref().filter(|_| !has_system);
        let system = system.map(|text| json!({ "role": "system", "content": text }));
        system.into_iter().chain(question.iter().cloned()).collect()
    }

    fn request(&self, messages: &[Value], number: usize) -> Result<Request> {
        let conversation = Conversation {
            messages,
            add_generation_prompt: true,
            now: Some(now()),
            ..Conversation::default()
        };
        let (temperature, seed) = (self.args.temperature, self.args.seed.wrapping_add(number as u64));
        Ok(Request {
            prompt: self.template.render_ids(&conversation, &self.tokenizer)?,
            max_tokens: Some(self.args.max_tokens),
            sampling: Sampling { temperature, seed, ..Sampling::default() },
            stop_tokens: self.tokenizer.stops().to_vec(),
            adapter: self.adapter.clone(),
            ..Request::default()
        })
    }

    /// The answer, if it came to its end.
    fn answer(&self, stream: Stream) -> Result<Option<String>> {
        let (ids, reason) = stream.answer()?;
        let text = self.tokenizer.to_text(&ids, Shown::Text);
        let ended = matches!(reason, Reason::Stop(_));
        Ok((ended && !text.trim().is_empty()).then(|| text.trim().to_owned()))
    }
}
