//! What a person sees while a model is fetched: bars on a terminal, a few lines elsewhere; always on stderr.

use std::io::{BufRead, IsTerminal, Write};
use std::time::{Duration, Instant};

use bantam_hub::{Event, Observer, Progress, Terms};
use indicatif::{ProgressBar, ProgressStyle};

use crate::interrupt::Interrupt;
use crate::units::bytes;

/// Without a terminal, one line in this time.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
const BAR: &str = "{msg:.dim} [{bar:28}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
const SPINNER: &str = "{msg:.dim} {binary_bytes} {binary_bytes_per_sec}";

/// A bar over so many things; nothing where there is no terminal.
pub(crate) fn bar(count: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    ProgressBar::new(count).with_style(style("[{bar:28}] {pos}/{len} {eta}"))
}

/// Watches a pull on stderr.
pub(crate) struct Watch {
    show: Show,
    interrupt: Interrupt,
    accept_terms: bool,
}

enum Show {
    Bars { bar: Option<ProgressBar> },
    Lines { name: String, total_bytes: Option<u64>, done_bytes: u64, last: Instant },
}

impl Watch {
    /// `accept_terms` answers all questions about terms with yes.
    pub(crate) fn new(interrupt: Interrupt, accept_terms: bool) -> Self {
        let lines =
            || Show::Lines { name: String::new(), total_bytes: None, done_bytes: 0, last: Instant::now() };
        let show = if std::io::stderr().is_terminal() { Show::Bars { bar: None } } else { lines() };
        Watch { show, interrupt, accept_terms }
    }

    /// A line that does not tear the bar.
    fn line(&self, text: &str) {
        match &self.show {
            Show::Bars { bar: Some(bar) } => bar.suspend(|| eprintln!("{text}")),
            Show::Bars { bar: None } | Show::Lines { .. } => eprintln!("{text}"),
        }
    }
}

impl Progress for Watch {
    fn start(&mut self, name: &str, total_bytes: Option<u64>, done_bytes: u64) {
        match &mut self.show {
            Show::Bars { bar } => {
                let new = match total_bytes {
                    Some(total) => ProgressBar::new(total).with_style(style(BAR)),
                    None => ProgressBar::new_spinner().with_style(style(SPINNER)),
                };
                *bar = Some(new.with_message(name.to_owned()).with_position(done_bytes));
            }
            Show::Lines { name: shown, total_bytes: total, done_bytes: done, last } => {
                (*total, *done, *last) = (total_bytes, done_bytes, Instant::now());
                name.clone_into(shown);
                eprintln!("{name}: {}", total_bytes.map_or("size unknown".into(), bytes));
            }
        }
    }

    fn advance(&mut self, more: u64) {
        match &mut self.show {
            Show::Bars { bar } => bar.iter().for_each(|bar| bar.inc(more)),
            Show::Lines { name, total_bytes, done_bytes, last } => {
                *done_bytes += more;
                if last.elapsed() > LINE_INTERVAL {
                    *last = Instant::now();
                    let of = total_bytes.map(|total| format!(" of {}", bytes(total))).unwrap_or_default();
                    eprintln!("{name}: {}{of}", bytes(*done_bytes));
                }
            }
        }
    }

    fn finish(&mut self) {
        if let Show::Bars { bar } = &mut self.show {
            bar.take().iter().for_each(ProgressBar::finish_and_clear);
        }
    }
}

impl Observer for Watch {
    fn accept_terms(&mut self, terms: &Terms<'_>) -> bool {
        eprintln!("{} is under the {} ({}).\n{}", terms.model, terms.licence, terms.url, terms.notice);
        if self.accept_terms {
            return true;
        }
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            eprintln!("To accept them without being asked, say --accept-terms.");
            return false;
        }
        eprint!("Accept these terms and download? [y/N] ");
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        read.is_ok() && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Trying { mirror } => self.line(&format!("fetching from {mirror}")),
            Event::MirrorFailed { mirror, reason } => self.line(&format!("{mirror}: {reason}")),
            Event::Waiting { name } => self.line(&format!("waiting for another process that fetches {name}")),
            Event::Verifying { name } => self.line(&format!("checking {name}")),
            Event::Resuming { name, done_bytes, why } => {
                self.line(&format!("{name}: going on at {} ({why})", bytes(*done_bytes)));
            }
            _ => {}
        }
    }

    fn is_cancelled(&self) -> bool {
        self.interrupt.is_pressed()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
