//! An answer on the terminal, in a pipe, or as JSON lines; notes and speeds on stderr.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Result;
use bantam::tensor::kernels::Machine;
use bantam::{Chunk, Ended, Reply, Session, Summary, decode_bytes};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::screen::{Look, Screen};
use super::style::{Style, may_style};
use crate::args::RunArgs;
use crate::interrupt::Interrupt;
use crate::limits;

/// Where answers go.
pub(crate) struct Console {
    form: Form,
    interrupt: Interrupt,
    /// Whether the speed is told after each answer.
    tells_speed: bool,
    /// Whether all counts and times are.
    pub(crate) is_verbose: bool,
    shows_wait: bool,
    paints_notes: bool,
    /// Of this machine's memory, once measured.
    read_gb_s: Option<f64>,
}

enum Form {
    Text(Screen),
    JsonLines,
}

impl Console {
    pub(crate) fn new(args: &RunArgs, interrupt: Interrupt) -> Self {
        let [out, err] = [std::io::stdout().is_terminal(), std::io::stderr().is_terminal()];
        let look = match (out, args.plain || !may_style()) {
            (false, _) => Look::Raw,
            (true, true) => Look::Plain,
            (true, false) => Look::Styled,
        };
        let form =
            if args.json { Form::JsonLines } else { Form::Text(Screen::new(look, !args.hide_thinking)) };
        Console {
            form,
            interrupt,
            tells_speed: err && !args.json,
            is_verbose: args.verbose && !args.json,
            shows_wait: out && err && may_style() && !args.json,
            paints_notes: err && may_style() && !args.plain,
            read_gb_s: None,
        }
    }

    /// Whether the thinking is printed.
    pub(crate) fn show_thinking(&mut self, shows: bool) {
        if let Form::Text(screen) = &mut self.form {
            screen.shows_thinking = shows;
        }
    }

    /// A line for the person at the terminal, on stderr.
    pub(crate) fn note(&self, text: &str) {
        let line = if self.paints_notes { Style::DIM.painted(text) } else { text.to_owned() };
        eprintln!("{line}");
    }

    /// Asks, and shows the answer as it comes.
    pub(crate) fn answer(&mut self, session: &mut Session, text: &str) -> Result<Summary> {
        let wait = self.shows_wait.then(wait);
        let seed = session.options.sampling.seed;
        let mut answer = session.send(text)?;
        self.interrupt.on_press(answer.canceller());
        let mut summary = None;
        for reply in &mut answer {
            wait.iter().for_each(ProgressBar::finish_and_clear);
            match reply? {
                Reply::Chunk(chunk) => self.chunk(&chunk)?,
                Reply::Shifted(dropped) => {
                    self.note(&format!("[the context was full: the oldest {dropped} tokens are forgotten]"));
                }
                Reply::Done(done) => summary = Some(done),
            }
        }
        drop(answer);
        self.interrupt.serve();
        let summary = summary.ok_or(bantam::engine::Error::Stopped)?;
        self.end(session, &summary, seed)?;
        Ok(summary)
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<()> {
        match &mut self.form {
            Form::Text(screen) => screen.chunk(chunk)?,
            Form::JsonLines => {
                let mut line = json!({ "token": chunk.token, "text": chunk.text });
                if !chunk.thinking.is_empty() {
                    line["thinking"] = json!(chunk.thinking);
                }
                crate::print::print_json(&line)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, session: &Session, summary: &Summary, seed: u64) -> Result<()> {
        match &mut self.form {
            Form::Text(screen) => screen.finish()?,
            Form::JsonLines => return crate::print::print_json(&done_json(session, summary, seed)),
        }
        match &summary.ended {
            Ended::ContextFull => self.note(&format!(
                "[the context of {} tokens is full: choose a larger one (--ctx), or --overflow shift]",
                session.context().1
            )),
            Ended::Length => self.note("[as many tokens as were wanted]"),
            Ended::Cancelled => self.note("[stopped]"),
            Ended::Stop | Ended::StopString(_) => {}
        }
        if self.is_verbose {
            let lines = self.statistics(session, summary);
            self.note(&lines);
        } else if self.tells_speed {
            let line = self.speed(session, summary);
            self.note(&line);
        }
        Ok(())
    }

    /// How fast it was, how fast the machine could be, and how full the context is.
    fn speed(&mut self, session: &Session, summary: &Summary) -> String {
        let (used, length) = session.context();
        let rate = match summary.timings.decode_tok_s(&summary.usage) {
            Some(rate) => {
                format!(" at {rate:.1} tok/s, {:.0} at most here", self.decode_limit_tok_s(session))
            }
            None => String::new(),
        };
        let (usage, share) = (&summary.usage, used * 100 / length.max(1));
        let (generated, guessed) = (usage.generated_tokens, usage.guessed_tokens);
        let guesses = match guessed {
            0 => String::new(),
            _ => format!(" · {} of {guessed} guesses right", usage.accepted_tokens),
        };
        format!("[{generated} tokens{rate}{guesses} · context {used} of {length}, {share} %]")
    }

    /// Counts and times of the prompt and of the answer.
    pub(crate) fn statistics(&mut self, session: &Session, summary: &Summary) -> String {
        let (usage, timings) = (&summary.usage, &summary.timings);
        let rate = |rate: Option<f64>| rate.map(|rate| format!(" at {rate:.1} tok/s")).unwrap_or_default();
        format!(
            "[prompt {} tokens, {} of them reused, the others{} · first token after {:.2} s]\n{}",
            usage.prompt_tokens,
            usage.reused_tokens,
            rate(timings.prefill_tok_s(usage)),
            timings.first_token_ms / 1e3,
            self.speed(session, summary),
        )
    }

    /// What reading the weights and the state once for each token allows.
    fn decode_limit_tok_s(&mut self, session: &Session) -> f64 {
        let settings = session.engine().settings();
        let read_gb_s = *self.read_gb_s.get_or_insert_with(|| {
            let machine = Machine::new(settings.isa, settings.threads);
            limits::read_gb_s(&machine, session.engine().model())
        });
        let bytes = decode_bytes(session.engine().model(), settings.kv, session.context().0);
        read_gb_s * 1e9 / bytes.max(1) as f64
    }
}

fn done_json(session: &Session, summary: &Summary, seed: u64) -> Value {
    let (usage, timings) = (&summary.usage, &summary.timings);
    let (done, stop) = match &summary.ended {
        Ended::Stop => ("stop", None),
        Ended::StopString(stop) => ("stop_string", Some(stop)),
        Ended::Length => ("length", None),
        Ended::ContextFull => ("context_full", None),
        Ended::Cancelled => ("cancelled", None),
    };
    json!({
        "done": done,
        "stop_string": stop,
        "seed": seed,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "reused_tokens": usage.reused_tokens,
            "generated_tokens": usage.generated_tokens,
            "guessed_tokens": usage.guessed_tokens,
            "accepted_tokens": usage.accepted_tokens,
            "context_tokens": session.context().0,
            "context_length": session.context().1,
        },
        "timings": {
            "first_token_ms": timings.first_token_ms,
            "decode_ms": timings.decode_ms,
            "prefill_tok_s": timings.prefill_tok_s(usage),
            "decode_tok_s": timings.decode_tok_s(usage),
        },
    })
}

/// Until the first token comes.
fn wait() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner:.dim}");
    let spinner =
        ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
