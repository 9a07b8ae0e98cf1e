//! Calls on their way: from the marker that begins them to the text behind them.

use super::call::{Call, Extent, Head};
use super::forms::{Body, Form, Series};
use super::parser::Part;
use super::scan::{Brackets, Found, Quotes, expect};
use super::tool::Tool;

impl Form {
    /// What tells that a call begins; empty where nothing does.
    pub(super) fn start(&self) -> &'static str {
        let inside = match &self.body {
            Body::Tagged(tags) => tags.name.0,
            Body::Named { before, .. } => before,
            _ => "",
        };
        [self.open.trim(), self.before.trim(), inside]
            .into_iter()
            .find(|start| !start.is_empty())
            .unwrap_or("")
    }

    /// Whether the start is part of a call's body.
    fn starts_inside(&self) -> bool {
        self.open.is_empty() && self.before.is_empty()
    }

    /// All texts that frame what a call consists of.
    pub(super) fn markers(&self) -> impl Iterator<Item = &'static str> {
        let inside = match &self.body {
            Body::Object { .. } | Body::Keyed | Body::Python => [""; 7],
            Body::Named { before, id, between } => [before, id.unwrap_or(""), between, "", "", "", ""],
            Body::Braces { quote } => [quote, "", "", "", "", "", ""],
            Body::Tagged(tags) => {
                let (name, key, value) = (tags.name, tags.key, tags.value);
                [name.0, name.1, key.0, key.1, value.0, value.1, tags.end]
            }
        };
        [self.open, self.before, self.behind, self.close].into_iter().chain(inside)
    }

    /// Whether calls begin at `at`, behind the start.
    fn fits(&self, text: &str, at: usize) -> Found {
        if self.series == Series::List && expect(text, at, "[") != Found::Never {
            return expect(text, at, "[");
        }
        self.call_fits(text, at)
    }

    /// Whether one more call begins at `at`.
    fn call_fits(&self, text: &str, at: usize) -> Found {
        if !self.open.is_empty() && !self.before.is_empty() {
            return expect(text, at, self.before);
        }
        match self.head(text, at) {
            Head::Open => Found::Open,
            Head::Never => Found::Never,
            Head::Read(_, end) => Found::At(end),
        }
    }
}

/// What is known after some more text.
#[derive(Debug)]
pub(super) enum Step {
    /// More must come.
    Wait,
    /// A call is complete, and ends here.
    Call(Call, usize),
    /// There are no more calls; the text goes on here.
    Over(usize),
    /// This is no call.
    Broken,
}

/// Calls on their way, in a text whose beginning may be taken away behind each call.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// The forms that it may be.
    forms: Vec<&'static Form>,
    /// The place behind what began the calls; once one is complete, behind all that is certainly theirs.
    opened: usize,
    at: usize,
    has_called: bool,
    phase: Phase,
    is_list: bool,
    told: Option<Told>,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Behind what began the calls.
    Open,
    /// Before what begins a call.
    Before,
    /// Before a call's body.
    Head,
    Body {
        name: Option<String>,
        from: usize,
        extent: Extent,
    },
    /// Before what ends a call.
    Behind,
    /// Before another call, or the end.
    Next,
    /// Before what ends the calls.
    Close,
}

/// Arguments that are told as they come.
#[derive(Clone, Debug)]
struct Told {
    extent: Brackets,
    from: usize,
    /// Up to here.
    to: usize,
}

impl Reading {
    /// Calls in one of these forms, which have the same start. It begins at `begin` and ends at `opened`.
    pub(super) fn new(forms: Vec<&'static Form>, begin: usize, opened: usize) -> Self {
        let is_inside = forms.iter().any(|form| form.starts_inside());
        let at = if is_inside { begin } else { opened };
        Reading { forms, opened, at, has_called: false, phase: Phase::Open, is_list: false, told: None }
    }

    /// The place behind what was understood, if it goes on otherwise.
    pub(super) fn opened(&self) -> usize {
        self.told.as_ref().map_or(self.opened, |told| told.to)
    }

    /// Whether what was understood is a call's, and no text.
    pub(super) fn has_called(&self) -> bool {
        self.has_called || self.told.is_some()
    }

    /// Whether a call was begun to be told that is not complete.
    pub(super) fn has_told(&self) -> bool {
        self.told.is_some()
    }

    /// Whether a text that is over leaves nothing behind calls but a part of what separates or ends them, or what was
    /// not told yet of a call that is told as it comes.
    pub(super) fn is_ending(&self, text: &str) -> bool {
        let is_all = |marker: &str| expect(text, self.at, marker) == Found::Open;
        match self.phase {
            _ if self.has_told() => true,
            _ if !self.has_called => false,
            Phase::Behind => is_all(self.forms[0].behind),
            Phase::Next | Phase::Close => is_all(self.forms[0].close),
            Phase::Before | Phase::Head => text[self.at..].trim().is_empty(),
            Phase::Open | Phase::Body { .. } => false,
        }
    }

    /// Whether this text may begin with calls.
    pub(super) fn may_begin(&self, text: &str) -> bool {
        self.forms.iter().any(|form| form.fits(text, self.at) != Found::Never)
    }

    /// Reads on. Behind [`Step::Call`], the text up to its end must be taken away.
    pub(super) fn read(&mut self, text: &str, tools: &[Tool]) -> Step {
        loop {
            let found = match &mut self.phase {
                Phase::Open => self.choose(text),
                Phase::Before => self.past(text, self.forms[0].before, Phase::Head),
                Phase::Head => self.head(text, tools),
                Phase::Body { extent, .. } => {
                    let found = extent.read(text);
                    if let Found::At(end) = found {
                        return self.body(text, end, tools);
                    }
                    found
                }
                Phase::Behind => match expect(text, self.at, self.forms[0].behind) {
                    Found::Open => Found::Open,
                    // Some leave it out.
                    Found::Never => self.go(self.at, Phase::Next),
                    Found::At(at) => {
                        self.opened = at;
                        self.go(at, Phase::Next)
                    }
                },
                Phase::Next => self.next(text),
                Phase::Close => match expect(text, self.at, self.forms[0].close) {
                    Found::Open => Found::Open,
                    Found::Never => return Step::Over(self.at),
                    Found::At(at) => return Step::Over(at),
                },
            };
            match found {
                Found::At(at) => self.at = at,
                Found::Open => return Step::Wait,
                Found::Never if self.has_called => return Step::Over(self.opened),
                Found::Never => return Step::Broken,
            }
            if let Phase::Next = self.phase
                && self.is_over_behind_one()
            {
                return Step::Over(self.at);
            }
        }
    }

    fn go(&mut self, at: usize, phase: Phase) -> Found {
        self.phase = phase;
        Found::At(at)
    }

    fn past(&mut self, text: &str, marker: &str, then: Phase) -> Found {
        let found = expect(text, self.at, marker);
        if let Found::At(_) = found {
            self.phase = then;
        }
        found
    }

    /// Settles on a form.
    fn choose(&mut self, text: &str) -> Found {
        for &form in &self.forms {
            match form.fits(text, self.at) {
                Found::Never => {}
                Found::Open => return Found::Open,
                Found::At(behind) => {
                    self.forms = vec![form];
                    self.is_list =
                        form.series == Series::List && expect(text, self.at, "[") == Found::At(behind);
                    let at = if self.is_list { behind } else { self.at };
                    return self.go(at, self.before_call());
                }
            }
        }
        Found::Never
    }

    fn before_call(&self) -> Phase {
        let form = self.forms[0];
        if form.open.is_empty() || form.before.is_empty() { Phase::Head } else { Phase::Before }
    }

    fn head(&mut self, text: &str, tools: &[Tool]) -> Found {
        match self.forms[0].head(text, self.at) {
            Head::Open => Found::Open,
            Head::Never => Found::Never,
            Head::Read(Some(name), _) if tools.iter().all(|tool| tool.name != name) => Found::Never,
            Head::Read(name, from) => {
                let extent = self.forms[0].extent(from);
                self.go(from, Phase::Body { name, from, extent })
            }
        }
    }

    fn body(&mut self, text: &str, end: usize, tools: &[Tool]) -> Step {
        let form = self.forms[0];
        let Phase::Body { name, from, .. } = &self.phase else { return Step::Broken };
        let Some(call) = form.call(name.as_deref(), &text[*from..end], tools) else {
            return if self.has_called { Step::Over(self.opened) } else { Step::Broken };
        };
        let end = match &form.body {
            Body::Tagged(tags) if !tags.end.is_empty() => match expect(text, end, tags.end) {
                Found::At(end) => end,
                Found::Open | Found::Never => end,
            },
            _ => end,
        };
        (self.at, self.opened, self.has_called, self.phase) = (0, 0, true, Phase::Behind);
        Step::Call(call, end)
    }

    /// Calls that have no marker around all of them are over behind each.
    fn is_over_behind_one(&self) -> bool {
        self.forms[0].open.is_empty() && !self.is_list
    }

    fn next(&mut self, text: &str) -> Found {
        let form = self.forms[0];
        let ways: [(&str, Phase); 2] = match form.series {
            Series::List if self.is_list => [(",", self.before_call()), ("]", Phase::Close)],
            // A list may come without brackets.
            Series::Repeated(_) | Series::List => {
                if let Found::Open = expect(text, self.at, form.close) {
                    return Found::Open;
                }
                match form.call_fits(text, self.at) {
                    Found::At(_) => return self.go(self.at, self.before_call()),
                    Found::Open => return Found::Open,
                    Found::Never => return self.go(self.at, Phase::Close),
                }
            }
            Series::One => return self.go(self.at, Phase::Close),
        };
        for (marker, phase) in ways {
            match expect(text, self.at, marker) {
                Found::Never => {}
                Found::Open => return Found::Open,
                Found::At(at) => {
                    if let Phase::Close = phase {
                        self.opened = at;
                    }
                    return self.go(at, phase);
                }
            }
        }
        Found::Never
    }

    /// Tells what is certain of a call that is not complete.
    pub(super) fn tell(&mut self, text: &str, index: usize, parts: &mut Vec<Part>) {
        let Phase::Body { name, from, .. } = &self.phase else { return };
        if self.told.is_none() {
            let Some((name, at)) = self.forms[0].begun(name.as_deref(), &text[*from..]) else { return };
            let from = from + at;
            self.told = Some(Told { extent: Brackets::new(Quotes::Json, from), from, to: from });
            parts.push(Part::CallBegin { index, name });
        }
        let Some(told) = &mut self.told else { return };
        let to = match told.extent.read(text) {
            Found::At(end) => end,
            Found::Open | Found::Never => told.extent.at(),
        };
        if to > told.to {
            parts.push(Part::CallArguments(text[told.to..to].to_owned()));
            told.to = to;
        }
    }

    /// Tells what was not told of a call that is complete.
    pub(super) fn finish(&mut self, call: Call, index: usize, parts: &mut Vec<Part>) {
        let told = self.told.take().map(|told| told.to - told.from);
        if told.is_none() {
            parts.push(Part::CallBegin { index, name: call.name });
        }
        let rest = call.arguments.get(told.unwrap_or(0)..).unwrap_or_default();
        if !rest.is_empty() {
            parts.push(Part::CallArguments(rest.to_owned()));
        }
        parts.push(Part::CallEnd);
    }
}
