//! Brings models to this machine: `cargo run -p bantam-hub --example pull -- smollm2:135m ...`.
#![allow(clippy::print_stdout, reason = "a program, not the library")]

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bantam_hub::{Error, Event, Hub, Observer, Progress, Settings, Terms};

/// One line a second.
struct Lines {
    name: String,
    total_bytes: Option<u64>,
    done_bytes: u64,
    shown: Instant,
}

impl Lines {
    fn show(&self) {
        let total = self.total_bytes.map_or("?".into(), |bytes| format!("{:.1}", bytes as f64 / 1e6));
        println!("  {} {:.1} of {total} MB", self.name, self.done_bytes as f64 / 1e6);
    }
}

impl Progress for Lines {
    fn start(&mut self, name: &str, total_bytes: Option<u64>, done_bytes: u64) {
        *self = Lines { name: name.into(), total_bytes, done_bytes, shown: Instant::now() };
    }

    fn advance(&mut self, bytes: u64) {
        self.done_bytes += bytes;
        if self.shown.elapsed() > Duration::from_secs(1) {
            self.shown = Instant::now();
            self.show();
        }
    }

    fn finish(&mut self) {
        self.show();
    }
}

impl Observer for Lines {
    fn accept_terms(&mut self, terms: &Terms<'_>) -> bool {
        println!("{} is under the {}: {}\n{}", terms.model, terms.licence, terms.url, terms.notice);
        true
    }

    fn event(&mut self, event: &Event<'_>) {
        println!("  {event:?}");
    }
}

fn main() -> ExitCode {
    match pull_all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn pull_all() -> Result<(), Error> {
    let hub = Hub::new(Settings::from_env()?)?;
    let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut lines = Lines { name: String::new(), total_bytes: None, done_bytes: 0, shown: Instant::now() };
    for argument in std::env::args().skip(1) {
        let begun = Instant::now();
        let located = hub.pull(&argument.parse()?, now_unix_s, &mut lines)?;
        println!("{argument}: {} in {:.1} s", located.path.display(), begun.elapsed().as_secs_f64());
    }
    Ok(())
}
