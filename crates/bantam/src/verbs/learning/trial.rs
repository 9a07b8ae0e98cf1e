//! One step, thrown away: how fast this machine learns, and what memory it takes.

use std::time::Instant;

use anyhow::{Result, anyhow};
use bantam_data::Key;
use bantam_model::{Adapter, Machine, Model};
use bantam_train::{Plan, Settings, Trainer};

use super::{BatchSize, Batches, Lessons, Route};
use crate::units;
use crate::verbs::bench::{bytes_told, peak_rss_bytes, resident_bytes};

/// Steps among which the fullest is looked for.
pub(crate) const LOOKED_AT: u64 = 1000;

/// What a step of the fullest micro-batch says of the whole run.
pub(crate) struct Trial {
    /// Of all steps.
    seconds: f64,
    tok_s: f64,
    /// What is held at most.
    bytes: u64,
}

/// What to say where memory is short.
pub(crate) struct Advice {
    /// Settings that need less, by their names, the mildest first.
    pub(crate) ways: Vec<(String, Settings)>,
    /// Something else that needs far less, by its name, and how much; found where it is to be told.
    pub(crate) instead: Option<Instead>,
    /// Where none of them is enough.
    pub(crate) otherwise: &'static str,
}

/// What else could learn on a model, and what it takes with these settings.
pub(crate) type Instead = fn(&Model, &Settings) -> Option<(&'static str, u64)>;

/// What learns, before there is a trainer: the model in the bits of its file.
#[derive(Clone, Copy)]
pub(crate) struct Beginning<'a> {
    pub(crate) model: &'a Model,
    pub(crate) adapter: Option<&'a Adapter>,
    pub(crate) settings: &'a Settings,
}

impl<'a> Beginning<'a> {
    pub(crate) fn of(trainer: &'a Trainer) -> Self {
        let adapter = trainer.adapter().map(|adapter| &**adapter);
        Beginning { model: trainer.model(), adapter, settings: trainer.settings() }
    }

    /// The memory of a trainer with these settings whose largest micro-batch has so many tokens.
    pub(crate) fn planned(self, settings: &Settings, tokens: usize) -> Plan {
        let settings = Settings { micro_tokens: tokens, ..settings.clone() };
        Plan::new(self.model, self.adapter, &settings)
    }

    /// Numbers that learn.
    pub(crate) fn numbers(self) -> usize {
        self.planned(self.settings, 1).learning / size_of::<f32>()
    }

    /// The memory of a step with the longest examples of a run, and the tokens of the longest.
    fn largest(self, route: &Route, lessons: &Lessons) -> (Plan, usize) {
        let together = longest(lessons, self.settings.micro_tokens, route.batch);
        let tokens = |place: &usize| lessons.tokens(*place);
        let longest = together.first().map_or(0, tokens);
        (self.planned(self.settings, together.iter().map(tokens).sum()), longest)
    }
}

impl Trial {
    /// Takes the shortest step and the fullest; nobody should go on with this trainer.
    ///
    /// # Errors
    ///
    /// A step that fails, and memory that is not there after it.
    pub(crate) fn new(
        machine: &Machine,
        mut trainer: Trainer,
        route: &Route,
        (lessons, keys): (&Lessons, &[Key]),
        advice: &Advice,
    ) -> Result<Self> {
        let fullest = fullest_ahead(&trainer, route, lessons, keys);
        let (planned, longest) = Beginning::of(&trainer).largest(route, lessons);
        // What the optimiser remembers comes with the first step and is there in all others.
        let shortest = (0..lessons.count()).min_by_key(|place| lessons.tokens(*place));
        lessons.try_step(&mut trainer, machine, shortest.as_slice())?;
        let clock = Instant::now();
        let report = lessons.try_step(&mut trainer, machine, &fullest)?;
        let tok_s = report.tokens as f64 / clock.elapsed().as_secs_f64().max(1e-9);
        // Evaluations have no batches: theirs may be the fullest of all.
        let evaluated = lessons.fullest_evaluated(&trainer);
        lessons.evaluate(&mut trainer, machine, evaluated)?;
        // Not all examples fill a micro-batch, and what they begin with in common is there once.
        let apart = planned.gradients * trainer.examples_apart();
        let counted = planned.bytes() - planned.activations + trainer.activation_bytes() + apart;
        let trial =
            Trial::of(tokens_of_run(lessons, route) / tok_s, tok_s, counted as u64 + lessons.teacher_bytes());
        advice.check(Beginning::of(&trainer), longest, trial.bytes.saturating_sub(resident_bytes()))?;
        Ok(trial)
    }

    /// After a step: what it took by the system's word, or else what was counted.
    pub(crate) fn of(seconds: f64, tok_s: f64, counted: u64) -> Self {
        Trial { seconds, tok_s, bytes: peak_rss_bytes().unwrap_or(counted) }
    }

    /// Bytes that the run was said to need.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn tell(&self) {
        let (seconds, bytes) = (span(self.seconds), units::bytes(self.bytes));
        eprintln!("takes about {seconds} at {:.0} tok/s, and {bytes} of memory", self.tok_s);
    }
}

impl Advice {
    /// Refuses what cannot be by the sizes alone, before weights are widened.
    ///
    /// # Errors
    ///
    /// Memory that is not there.
    pub(crate) fn check_sizes(
        &self,
        beginning: Beginning<'_>,
        route: &Route,
        lessons: &Lessons,
    ) -> Result<()> {
        let (planned, longest) = beginning.largest(route, lessons);
        self.check(beginning, longest, planned.bytes() as u64 + lessons.teacher_bytes())
    }

    /// Refuses a run that takes so many bytes more, where examples have at most so many tokens.
    ///
    /// # Errors
    ///
    /// Memory that is not there.
    pub(crate) fn check(&self, beginning: Beginning<'_>, longest: usize, bytes: u64) -> Result<()> {
        match free_bytes() {
            Some(free) if free < bytes => Err(self.refusal(beginning, longest, [bytes, free])),
            _ => Ok(()),
        }
    }

    /// Why a run cannot be, and what fits.
    fn refusal(&self, beginning: Beginning<'_>, longest: usize, [bytes, free]: [u64; 2]) -> anyhow::Error {
        let fitting = |settings: &Settings| settings.micro_tokens.max(longest);
        let needs = |settings: &Settings| beginning.planned(settings, fitting(settings)).bytes() as u64;
        let ways = self.ways.iter().map(|(name, settings)| (name.as_str(), needs(settings)));
        let micro_tokens = fitting(beginning.settings);
        let settings = Settings { micro_tokens, ..beginning.settings.clone() };
        let instead = self.instead.and_then(|instead| instead(beginning.model, &settings));
        let way = what_fits(ways, instead, free).unwrap_or_else(|| self.otherwise.to_owned());
        anyhow!("this needs {} of memory and {} are free: {way}", units::bytes(bytes), units::bytes(free))
    }
}

/// The mildest way to need less than is free, and what is to be done instead.
fn what_fits<'a>(
    mut ways: impl Iterator<Item = (&'a str, u64)>,
    instead: Option<(&'a str, u64)>,
    free: u64,
) -> Option<String> {
    let fits = |(_, bytes): &(&str, u64)| *bytes < free;
    let both = [ways.find(fits), instead.filter(fits)].into_iter().flatten();
    let told = both.map(|(name, bytes)| format!("{name}, which takes about {}", units::bytes(bytes)));
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| format!("choose {}", told.join("; or ")))
}

fn tokens_of_run(lessons: &Lessons, route: &Route) -> f64 {
    let per_epoch: usize = (0..lessons.count()).map(|place| lessons.tokens(place)).sum();
    let per_step = match route.batch {
        BatchSize::Examples(count) => per_epoch as f64 / lessons.count().div_ceil(count) as f64,
        BatchSize::Tokens(tokens) => tokens as f64,
    };
    per_step * route.steps as f64
}

/// The micro-batch with the most rows among those that the run will have.
fn fullest_ahead(trainer: &Trainer, route: &Route, lessons: &Lessons, keys: &[Key]) -> Vec<usize> {
    let batches = Batches::new(keys, route.order, route.seed, route.batch, route.epochs);
    let ahead = batches.take(route.steps.min(LOOKED_AT) as usize);
    let with_rows = ahead.map(|batch| lessons.fullest(trainer, &batch));
    with_rows.max_by_key(|(rows, _)| *rows).map(|(_, places)| places).unwrap_or_default()
}

/// The longest examples, as many as a step has and as go through the model together.
fn longest(lessons: &Lessons, micro_tokens: usize, batch: BatchSize) -> Vec<usize> {
    let (count_max, tokens_max) = match batch {
        BatchSize::Examples(count) => (count, micro_tokens),
        BatchSize::Tokens(tokens) => (usize::MAX, micro_tokens.min(tokens)),
    };
    let mut sorted: Vec<usize> = (0..lessons.count()).collect();
    sorted.sort_by_key(|place| std::cmp::Reverse(lessons.tokens(*place)));
    let mut tokens = 0;
    let fit = sorted.iter().take(count_max).take_while(|place| {
        tokens += lessons.tokens(**place);
        tokens <= tokens_max
    });
    let count = fit.count().max(1);
    sorted.truncate(count);
    sorted
}

/// Memory that programs may still take, where the system says so.
fn free_bytes() -> Option<u64> {
    bytes_told("/proc/meminfo", "MemAvailable:")
}

/// `2 h 5 min`, `12 min`, `40 s`
fn span(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mildest_way_that_fits_is_named() {
        let ways = || [("--half", 500), ("--tenth", 100)].into_iter();
        let told = |free| what_fits(ways(), None, free);
        assert_eq!(told(600).as_deref(), Some("choose --half, which takes about 500 B"));
        assert_eq!(told(400).as_deref(), Some("choose --tenth, which takes about 100 B"));
        assert_eq!(told(50), None);
        let told = |free| what_fits(ways(), Some(("--other", 60)), free);
        let both = "choose --half, which takes about 500 B; or --other, which takes about 60 B";
        assert_eq!(told(600).as_deref(), Some(both));
        assert_eq!(told(80).as_deref(), Some("choose --other, which takes about 60 B"));
    }

    #[test]
    fn spans_are_told_in_what_people_count_in() {
        assert_eq!([40.4, 719.0, 7500.0].map(span), ["40 s", "11 min", "2 h 5 min"]);
    }
}
