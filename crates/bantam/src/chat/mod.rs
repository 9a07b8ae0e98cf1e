//! A chat in the terminal.

mod command;
mod console;
mod input;
mod markdown;
mod open;
mod parameter;
mod screen;
mod show;
mod store;
pub(crate) mod style;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use bantam::engine::Settings;
use bantam::text::Thinking;
use bantam::{Loaded, Session, Summary};

use crate::args::{RunArgs, parse_adapter, random_seed};
use crate::models::Models;
use crate::print::told;
use command::{COMMANDS, Command};
pub(crate) use console::Console;
use input::{Input, Line};
pub(crate) use open::{now, open};

/// A chat: what is typed goes to the model or changes how it answers.
pub(crate) struct Chat<'a> {
    args: &'a RunArgs,
    models: &'a Models,
    console: Console,
    model: String,
    loaded: Loaded,
    session: Session,
    last: Option<Summary>,
    /// Whether each answer has a seed of its own.
    is_seed_free: bool,
}

/// Whether the chat goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    Leave,
}

impl<'a> Chat<'a> {
    pub(crate) fn new(
        args: &'a RunArgs,
        models: &'a Models,
        console: Console,
        model: String,
        loaded: Loaded,
        session: Session,
    ) -> Self {
        let is_seed_free = args.sampling.seed.is_none();
        Chat { args, models, console, model, loaded, session, last: None, is_seed_free }
    }

    /// Until the user leaves.
    pub(crate) fn run(mut self) -> Result<()> {
        let history = (!self.args.no_history).then(|| self.history());
        let mut input = Input::new(history)?;
        self.console.note(&format!("{} (/help for commands, /bye or Ctrl-D to leave)", self.model));
        loop {
            let line = match input.read()? {
                Line::Text(line) => line,
                Line::Interrupted => {
                    self.console.note("Ctrl-D or /bye to leave");
                    continue;
                }
                Line::End => return Ok(()),
            };
            match self.act(Command::parse(&line), &mut input) {
                Ok(Next::GoOn) => {}
                Ok(Next::Leave) => return Ok(()),
                Err(error) => eprintln!("error: {}", told(&error)),
            }
        }
    }

    fn history(&self) -> PathBuf {
        self.models.home.join("history")
    }

    fn act(&mut self, command: Command, input: &mut Input) -> Result<Next> {
        match command {
            Command::Nothing => {}
            Command::Bye => return Ok(Next::Leave),
            Command::Say(text) => self.say(&text)?,
            Command::Help => self.help()?,
            Command::Set(name, value) => self.set(&name, &value, input)?,
            Command::Show(topic) => show::show(&topic, &self.loaded, &self.session)?,
            Command::Save(name) => self.save(&name)?,
            Command::Load(name) => self.load(&name)?,
            Command::Adapter(text) => self.set_adapter(&text)?,
            Command::Stats => self.stats(),
            Command::Clear => {
                self.session.clear();
                self.console.note("a new conversation");
            }
            Command::Unknown(why) => self.console.note(&why),
        }
        Ok(Next::GoOn)
    }

    fn say(&mut self, text: &str) -> Result<()> {
        if self.is_seed_free {
            self.session.options.sampling.seed = random_seed();
        }
        self.last = Some(self.console.answer(&mut self.session, text)?);
        Ok(())
    }

    fn help(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        for (command, what) in COMMANDS {
            writeln!(out, "  {command:18} {what}")?;
        }
        writeln!(out, "  {:18} a message of many lines", "\"\"\" ... \"\"\"")?;
        writeln!(out, "  {:18} stop the answer", "Ctrl-C")?;
        Ok(())
    }

    fn stats(&mut self) {
        let line = match &self.last {
            Some(summary) => self.console.statistics(&self.session, summary),
            None => "nothing was answered yet".into(),
        };
        self.console.note(&line);
    }

    fn set(&mut self, name: &str, value: &str, input: &mut Input) -> Result<()> {
        let name = parameter::canonical(name);
        let done = match name.as_str() {
            "" => return show::settings(),
            "system" => {
                self.session.options.system = Some(value.to_owned()).filter(|text| !text.is_empty());
                Ok(())
            }
            "verbose" | "quiet" => {
                self.console.is_verbose = name == "verbose";
                Ok(())
            }
            "think" | "nothink" => {
                let how = if name == "nothink" { "false" } else { value };
                self.session.options.thinking = Thinking::of(how);
                Ok(())
            }
            "showthinking" | "hidethinking" => {
                self.console.show_thinking(name == "showthinking");
                Ok(())
            }
            "history" | "nohistory" => {
                input.keep_history((name == "history").then(|| self.history()));
                Ok(())
            }
            "num_ctx" => self.set_context(value),
            "seed" if value == "random" => {
                self.is_seed_free = true;
                Ok(())
            }
            _ => {
                self.is_seed_free &= name != "seed";
                parameter::set(&mut self.session.options, &name, value)
            }
        };
        match done {
            Ok(()) => self.console.note(&format!("set {name} {value}")),
            Err(why) => self.console.note(&format!("{name}: {why}")),
        }
        Ok(())
    }

    /// The engine starts again; the conversation stays.
    fn set_context(&mut self, value: &str) -> Result<(), String> {
        let wanted = parameter::count(value)?.filter(|count| *count > 0).ok_or("wanted a number above 0")?;
        let settings = Settings { context_length: wanted, ..self.session.engine().settings().clone() };
        self.session.restart(settings).map_err(|error| error.to_string())
    }

    /// The conversation stays; its next answer comes from the changed model.
    fn set_adapter(&mut self, text: &str) -> Result<()> {
        if text == "off" {
            self.session.options.adapter = None;
            self.console.note("the model as it is");
            return Ok(());
        }
        let wanted = parse_adapter(text).map_err(anyhow::Error::msg)?;
        self.session.options.adapter = self.loaded.adapter(&[wanted], self.args.adapter.check())?;
        self.console.note(&format!("adapter {text}"));
        Ok(())
    }

    fn save(&self, name: &str) -> Result<()> {
        let path = store::path(&self.models.home, name);
        store::save(&path, &self.model, &self.session)?;
        self.console.note(&format!("kept in {}", path.display()));
        Ok(())
    }

    /// A kept conversation of this name, else a model.
    fn load(&mut self, name: &str) -> Result<()> {
        let path = store::path(&self.models.home, name);
        if path.is_file() {
            let kept = store::load(&path)?;
            self.console.note(&format!("{} messages", kept.messages.len()));
            self.session.options.system = kept.system;
            self.session.set_messages(kept.messages);
            return Ok(());
        }
        let loaded = self.models.open(name)?;
        self.session = open(self.args, self.models, &loaded)?;
        self.loaded = loaded;
        self.last = None;
        name.clone_into(&mut self.model);
        self.console.note(&format!("{name}: a new conversation"));
        Ok(())
    }
}
