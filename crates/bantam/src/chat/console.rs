//! An answer on the terminal, in a pipe, or as JSON lines; notes and speeds on stderr.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Result;
use bantam::tensor::kernels::{Machine, limits};
use bantam::{Chunk, Ended, Reply, Session, Summary, decode_bytes};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::screen::{Look, Screen};
use super::style::Style;
use crate::args::RunArgs;
use crate::interrupt::Interrupt;

/// Where answers go.
pub(crate) struct Console {
    form: Form,
    interrupt: Interrupt,
    /// Whether speeds are told after each answer.
    pub(crate) tells_speed: bool,
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
        let form = if args.json { Form::JsonLines } else { Form::Text(Screen::new(look, !args.hide_thinking)) };
        Console {
            form,
            interrupt,
            tells_speed: (args.verbose || err) && !args.json,
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
                crate::verbs::print_json(&line)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, session: &Session, summary: &Summary, seed: u64) -> Result<()> {
        match &mut self.form {
            Form::Text(screen) => screen.finish()?,
            Form::JsonLines => return crate::verbs::print_json(&done_json(session, summary, seed)),
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
        if self.tells_speed {
            let line = self.speed(session, summary);
            self.note(&line);
        }
        Ok(())
    }

    /// How fast it was, how fast the machine could be, and how full the context is.
    pub(crate) fn speed(&mut self, session: &Session, summary: &Summary) -> String {
        let (usage, timings) = (&summary.usage, &summary.timings);
        let (used, length) = session.context();
        let rate = |rate: Option<f64>| rate.map(|rate| format!(" at {rate:.1} tok/s")).unwrap_or_default();
        let reused = match usage.reused_tokens {
            0 => String::new(),
            reused => format!(", {reused} reused"),
        };
        format!(
            "[{} tokens{} (this machine: at most {:.0}) · prompt {} tokens{}{reused} · first after {:.2} s · context {used} of {length}, {} %]",
            usage.generated_tokens,
            rate(timings.decode_tok_s(usage)),
            self.decode_limit_tok_s(session),
            usage.prompt_tokens,
            rate(timings.prefill_tok_s(usage)),
            timings.first_token_ms / 1e3,
            used * 100 / length.max(1),
        )
    }

    /// What reading the weights and the state once for each token allows.
    fn decode_limit_tok_s(&mut self, session: &Session) -> f64 {
        let settings = session.engine().settings();
        let read_gb_s = *self.read_gb_s.get_or_insert_with(|| {
            let machine = Machine::new(settings.isa, settings.threads);
            measure_read_gb_s(&machine)
        });
        let bytes = decode_bytes(session.engine().model(), settings.kv, session.context().0);
        read_gb_s * 1e9 / bytes.max(1) as f64
    }
}

/// The best of a few passes over more memory than caches hold, as `bantam bench` measures it.
fn measure_read_gb_s(machine: &Machine) -> f64 {
    const NUMBERS: usize = 64 << 20;
    let buffer = vec![1.0f32; NUMBERS];
    let pass = |_| {
        let begun = std::time::Instant::now();
        limits::read_once(machine, &buffer);
        (NUMBERS * 4) as f64 / begun.elapsed().as_secs_f64() / 1e9
    };
    (0..3).map(pass).fold(0.0, f64::max)
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
    let spinner = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// <https://no-color.org>, and terminals that only type.
fn may_style() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
