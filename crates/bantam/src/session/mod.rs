//! A conversation with a model: the engine, the tokeniser, the template and what was said.
//!
//! A [`Session`] is what `bantam run` talks to, and the way to talk to a model from a program of one's own.

mod answer;
mod message;

use std::sync::Arc;
use std::time::Instant;

use bantam_engine::{Adapter, Constraint, Engine, Overflow, Request, Sampling, Settings};
use bantam_grammar::{Grammar, Spec, Start, ThinkingBudget, Vocabulary};
use bantam_text::{
    ChatTemplate, Conversation, DateTime, Dialect, Parser, Shown, Special, Thinking, Tokenizer,
};
use serde_json::Value;

use crate::{Defaults, LoadError, Loaded};

use answer::Question;
pub use answer::{Answer, Chunk, Ended, Reply, Summary, Timings};
pub use message::{Message, Role};

/// Why a session cannot answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The model's files.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The tokeniser or the template.
    #[error(transparent)]
    Text(#[from] bantam_text::Error),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] bantam_engine::Error),
    /// What the answer is to be.
    #[error(transparent)]
    Grammar(#[from] bantam_grammar::Error),
    /// What was said fills the context.
    #[error(
        "the conversation has {tokens} tokens and the context holds {context}: choose a larger context (--ctx), \
         let the oldest be forgotten (--overflow shift), or begin anew (/clear)"
    )]
    ContextFull {
        /// Of the conversation, with the new message.
        tokens: usize,
        /// That the context holds.
        context: usize,
    },
}

/// How a session answers.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the model is told before the conversation.
    pub system: Option<String>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens in an answer at most.
    pub max_tokens: Option<usize>,
    /// Texts that end an answer and are not part of it.
    pub stops: Vec<String>,
    /// Tokens that end an answer, besides those that the tokeniser knows.
    pub stop_tokens: Vec<u32>,
    /// What happens when the context is full.
    pub when_full: WhenFull,
    /// How much it may think.
    pub thinking: Thinking,
    /// The time that the template may tell the model.
    pub now: Option<DateTime>,
    /// What changes the model.
    pub adapter: Option<Arc<Adapter>>,
    /// What answers are held to, behind what the model thinks. One that is cut off before it is that ends with
    /// [`Ended::Length`] or [`Ended::ContextFull`].
    pub format: Option<Spec>,
}

impl Options {
    /// As the model's makers recommend.
    pub fn recommended(loaded: &Loaded) -> Self {
        let Defaults { sampling, stop_tokens, .. } = Defaults::of(loaded);
        Options {
            system: None,
            sampling,
            max_tokens: None,
            stops: Vec::new(),
            stop_tokens,
            when_full: WhenFull::default(),
            thinking: Thinking::default(),
            now: None,
            adapter: None,
            format: None,
        }
    }
}

/// What happens when the context is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The answer ends; a message that does not fit is refused.
    #[default]
    Stop,
    /// The oldest is forgotten, but for the system text.
    Shift,
}

/// How a text becomes a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Messages, through the model's chat template.
    Chat,
    /// The model goes on where the text ends.
    Continue,
}

/// A conversation with a model.
///
/// ```no_run
/// use bantam::{Loaded, Options, Reply, Session, engine::Settings};
///
/// let loaded = Loaded::open("model.gguf".as_ref())?;
/// let mut session = Session::new(&loaded, Settings::default(), Options::recommended(&loaded))?;
/// for reply in session.send("Why is the sky blue?")? {
///     if let Reply::Chunk(chunk) = reply? {
///         eprint!("{}", chunk.text);
///     }
/// }
/// # Ok::<(), bantam::SessionError>(())
/// ```
pub struct Session {
    engine: Engine,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    vocabulary: Vocabulary,
    dialect: Dialect,
    mode: Mode,
    /// How it answers; may be changed between messages.
    pub options: Options,
    messages: Vec<Message>,
    /// In [`Mode::Continue`], the text so far.
    continued: Vec<u32>,
    context_used: usize,
}

impl Session {
    /// A conversation that has not begun. A model without a chat template continues text.
    ///
    /// # Errors
    ///
    /// A tokeniser or template that cannot be used.
    pub fn new(loaded: &Loaded, settings: Settings, options: Options) -> Result<Self, SessionError> {
        let tokenizer = loaded.tokenizer()?;
        let template = loaded.template(&tokenizer)?;
        let mode = if template.is_some() { Mode::Chat } else { Mode::Continue };
        let stop_tokens = [options.stop_tokens.as_slice(), tokenizer.stops()].concat();
        let vocab_size = loaded.model.description.vocab_size;
        Ok(Session {
            vocabulary: Vocabulary::new(&tokenizer, vocab_size, &stop_tokens),
            engine: Engine::start(loaded.model.clone(), settings)?,
            tokenizer,
            dialect: template.as_ref().map(Dialect::of_text).unwrap_or_default(),
            template,
            mode,
            options,
            messages: Vec::new(),
            continued: Vec::new(),
            context_used: 0,
        })
    }

    /// How a text becomes a prompt.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// From now on the model continues text, without its template.
    pub fn continue_text(&mut self) {
        self.mode = Mode::Continue;
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Another engine for the same conversation, say with a larger context.
    ///
    /// # Errors
    ///
    /// As [`Engine::start`].
    pub fn restart(&mut self, settings: Settings) -> Result<(), SessionError> {
        self.engine = Engine::start(self.engine.model().clone(), settings)?;
        Ok(())
    }

    /// What was said, without the system text.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Goes on from another conversation.
    pub fn set_messages(&mut self, messages: Vec<Message>) {
        self.clear();
        self.messages = messages;
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.continued.clear();
        self.context_used = 0;
    }

    /// Tokens of the context in use after the last answer, and tokens that it holds.
    pub fn context(&self) -> (usize, usize) {
        (self.context_used, self.engine.settings().context_length)
    }

    /// Tokens that a prompt and its answer may have together.
    fn room(&self) -> usize {
        let taken = crate::virtual_tokens(self.options.adapter.as_ref());
        self.engine.settings().context_length.saturating_sub(taken)
    }

    /// Says something; gives the answer as it comes. What was said and answered becomes part of the conversation
    /// when the answer ends or is dropped.
    ///
    /// # Errors
    ///
    /// A template that fails on this conversation; a context that is full. The conversation is unchanged then.
    pub fn send(&mut self, text: &str) -> Result<Answer<'_>, SessionError> {
        let begun = Instant::now();
        let mut prompt = match self.mode {
            Mode::Chat => self.chat_prompt(text)?,
            Mode::Continue => self.continued_prompt(text)?,
        };
        let mut parser = self.parser(&prompt);
        // Where the template opens the thinking and has no switch for it, it is closed again.
        if let Some(close) = parser.thinking_close().filter(|_| self.options.thinking.budget == Some(0)) {
            prompt.extend(self.tokenizer.to_ids(&format!("\n{close}\n\n"), Special::Parse)?);
            parser = self.parser(&prompt);
        }
        let format = self.options.format.as_ref();
        let format = format.map(|spec| self.vocabulary.compile(spec)).transpose()?;
        let mut request = self.request(prompt.clone());
        request.constraint = self.held(format.as_ref(), &parser);
        let stream = self.engine.submit(request)?;
        // Special tokens that a grammar asks for are no text.
        let format = format.filter(|_| !matches!(self.options.format, Some(Spec::Lark(_))));
        let question = Question { prompt, text: text.to_owned(), parser, format, begun };
        Ok(Answer::new(self, stream, question))
    }

    /// What an answer that `parser` is to read is held to.
    fn held(&self, format: Option<&Grammar>, parser: &Parser) -> Option<Box<dyn Constraint>> {
        let budget = self.options.thinking.budget;
        let start = match budget {
            Some(0) => Start::behind(&parser.clone().begun(), &self.tokenizer),
            _ => Start::behind(parser, &self.tokenizer),
        };
        let held = format.map(|grammar| grammar.constraint(&start));
        match budget.filter(|_| self.dialect.thinking().is_some()) {
            Some(budget) => {
                Some(Box::new(ThinkingBudget::new(parser.clone(), &self.tokenizer, budget, held)))
            }
            None => held,
        }
    }

    /// What reads the answer to a prompt.
    fn parser(&self, prompt: &[u32]) -> Parser {
        let end = &prompt[prompt.len().saturating_sub(8)..];
        match self.mode {
            Mode::Chat => self.dialect.parser(&self.tokenizer.to_text(end, Shown::All), Arc::default()),
            Mode::Continue => Parser::none(),
        }
    }

    fn request(&self, prompt: Vec<u32>) -> Request {
        let options = &self.options;
        let mut stop_tokens = options.stop_tokens.clone();
        stop_tokens.extend(self.tokenizer.stops());
        let overflow = match options.when_full {
            WhenFull::Stop => Overflow::Stop,
            WhenFull::Shift => Overflow::Shift { keep: self.kept(&prompt) },
        };
        let (max_tokens, sampling) = (options.max_tokens, options.sampling.clone());
        let adapter = options.adapter.clone();
        Request { prompt, max_tokens, sampling, stop_tokens, overflow, adapter, ..Request::default() }
    }

    /// Tokens at the beginning that are not forgotten: those of the system text.
    fn kept(&self, prompt: &[u32]) -> usize {
        let head = match (self.mode, &self.options.system) {
            (Mode::Chat, Some(_)) => self.render(&[], false).unwrap_or_default(),
            _ => self.tokenizer.prefix().to_vec(),
        };
        prompt.iter().zip(&head).take_while(|(a, b)| a == b).count()
    }

    fn continued_prompt(&mut self, text: &str) -> Result<Vec<u32>, SessionError> {
        let new = self.tokenizer.to_ids(text, Special::AsText)?;
        let all = [self.continued.as_slice(), &new].concat();
        let mut prompt = self.tokenizer.begin(all);
        let context = self.room();
        if prompt.len() >= context {
            self.refuse_when_full(prompt.len())?;
            let kept = self.tokenizer.prefix().len();
            prompt.drain(kept..prompt.len() - context / 2);
        }
        Ok(prompt)
    }

    /// The ids of the conversation with a new message, which fit the context with some room for the answer.
    fn chat_prompt(&mut self, text: &str) -> Result<Vec<u32>, SessionError> {
        let mut messages = self.messages.clone();
        messages.push(Message::new(Role::User, text));
        loop {
            let prompt = self.render(&messages, true)?;
            if prompt.len() < self.room() {
                messages.pop();
                self.messages = messages;
                return Ok(prompt);
            }
            self.refuse_when_full(prompt.len())?;
            if messages.len() == 1 {
                return Err(self.full(prompt.len()));
            }
            // The oldest question and its answer.
            messages.drain(..2.min(messages.len() - 1));
        }
    }

    fn refuse_when_full(&self, tokens: usize) -> Result<(), SessionError> {
        match self.options.when_full {
            WhenFull::Stop => Err(self.full(tokens)),
            WhenFull::Shift => Ok(()),
        }
    }

    fn full(&self, tokens: usize) -> SessionError {
        SessionError::ContextFull { tokens, context: self.room() }
    }

    fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Vec<u32>, SessionError> {
        let Some(template) = &self.template else { return Ok(Vec::new()) };
        let system = self.options.system.as_ref().map(|text| Message::new(Role::System, text));
        let messages: Vec<Value> = system.iter().chain(messages).map(Message::to_json).collect();
        let (switches, now) = (self.options.thinking.switches.clone(), self.options.now);
        let conversation = Conversation {
            messages: &messages,
            add_generation_prompt,
            switches,
            now,
            ..Conversation::default()
        };
        Ok(template.render_ids(&conversation, &self.tokenizer)?)
    }
}
