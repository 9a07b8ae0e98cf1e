//! Files to a dataset: the one door of this crate.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use crate::columns::Columns;
use crate::duplicates::{Duplicates, Signature, Similarity, groups};
use crate::encode::{Encoded, Encoder, Lesson};
use crate::error::Error;
use crate::example::{Example, Origin, Pair};
use crate::fault::Fault;
use crate::files::{Files, WANTED};
use crate::fit::{Fitted, TooLong, fit};
use crate::form::{Form, Sample};
use crate::hash::hash;
use crate::read::{Record, read};
use crate::report::{Lengths, Report, SourceFile};
use crate::split::{self, Split};

/// Lines after which a file without any example is given up.
const HOPELESS_LINES: usize = 1000;

/// How files become a dataset.
///
/// ```
/// use bantam_data::{Encoder, Loader};
/// # fn load(tokenizer: bantam_text::Tokenizer) -> Result<(), bantam_data::Error> {
/// let mut loader = Loader::new(Encoder::new(tokenizer, None));
/// loader.length_max = Some(512);
/// loader.validation = 0.1;
/// let dataset = loader.load(&["train.jsonl".into()])?;
/// println!("{} bad lines", dataset.report.bad);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Loader {
    /// How text becomes ids.
    pub encoder: Encoder,
    /// What the lines are; found from their columns if `None`.
    pub form: Option<Form>,
    /// Names of columns, where they are not the usual ones.
    pub columns: Columns,
    /// The ranks of names in the column to order by, say of sources of data.
    pub weights: BTreeMap<String, f64>,
    /// Ids in an example at most.
    pub length_max: Option<usize>,
    /// What happens to longer ones. If `None`, texts are split and of all others the start is kept.
    pub too_long: Option<TooLong>,
    /// What becomes of samples that are there twice.
    pub duplicates: Duplicates,
    /// What is nearly the same.
    pub similarity: Similarity,
    /// How much of all samples is for validation, from 0 to below 1.
    pub validation: f64,
    /// Samples for validation at least, if any are, as far as they are no more than a fifth of all; with
    /// [`Split::Grouped`].
    pub validation_least: usize,
    /// What decides which.
    pub split: Split,
    /// Decides which samples these are.
    pub seed: u64,
}

/// What there is to learn.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// To learn from.
    pub train: Part,
    /// To measure with.
    pub validation: Part,
    /// What became of every line.
    pub report: Report,
}

impl Dataset {
    /// Puts what was kept for validation back, as if none had been asked for.
    pub fn without_validation(mut self) -> Self {
        let Part { examples, pairs } = std::mem::take(&mut self.validation);
        self.train.examples.extend(examples);
        self.train.examples.sort_by_key(|example| example.origin);
        self.train.pairs.extend(pairs);
        self.train.pairs.sort_by_key(|pair| pair.chosen.origin);
        self.report.validation_examples = 0;
        self
    }
}

/// One side of a dataset, in the order of the files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// Texts, completions and chats.
    pub examples: Vec<Example>,
    /// Preferences.
    pub pairs: Vec<Pair>,
}

impl Part {
    /// All examples, those of pairs too.
    pub fn all(&self) -> impl Iterator<Item = &Example> {
        self.examples.iter().chain(self.pairs.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]))
    }
}

impl Loader {
    /// A loader that learns everything that it finds, but nothing twice.
    pub fn new(encoder: Encoder) -> Self {
        Self {
            encoder,
            form: None,
            columns: Columns::default(),
            weights: BTreeMap::new(),
            length_max: None,
            too_long: None,
            duplicates: Duplicates::default(),
            similarity: Similarity::default(),
            validation: 0.0,
            validation_least: 0,
            split: Split::default(),
            seed: 0,
        }
    }

    /// Reads files and folders. Lines that are bad are in the report.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or of which no line gives an example; nothing to learn at all; options that
    /// make no sense.
    pub fn load(&self, paths: &[PathBuf]) -> Result<Dataset, Error> {
        self.check()?;
        let files = Files::of(paths)?;
        let mut loading = Loading::new(self);
        loading.report.skipped_files = files.skipped;
        for (path, format) in files.found {
            loading.report.files.push(SourceFile { path: path.clone(), format, lines: 0, bad: 0 });
            read(&path, format, &mut |line, record| loading.line(line, record))?;
            loading.end_file()?;
        }
        loading.finish()
    }

    fn check(&self) -> Result<(), Error> {
        if let Some(length) = self.length_max.filter(|length| *length < 2) {
            let (wanted, found) = ("at least 2 ids", length.to_string());
            return Err(Error::Option { option: "length_max", wanted, found });
        }
        if !(0.0..1.0).contains(&self.validation) {
            let (wanted, found) = ("a share from 0 to below 1", self.validation.to_string());
            return Err(Error::Option { option: "validation", wanted, found });
        }
        Ok(())
    }

    /// What the column to order by says.
    fn rank(&self, record: &Record) -> Option<f64> {
        let Record::Fields(fields) = record else { return None };
        let value = fields.get(self.columns.rank.as_ref()?)?;
        let text = value.as_str();
        let weight = text.and_then(|name| self.weights.get(name).copied());
        let number = weight.or(value.as_f64()).or_else(|| text?.trim().parse().ok());
        number.filter(|number| number.is_finite())
    }

    fn too_long(&self, form: Form) -> TooLong {
        let usual = if form == Form::Text { TooLong::Split } else { TooLong::KeepStart };
        self.too_long.unwrap_or(usual)
    }

    /// Whether samples have to be compared.
    fn compares(&self) -> bool {
        self.duplicates != Duplicates::Keep || self.validation > 0.0
    }
}

/// A line that gave examples.
struct Taught {
    origin: Origin,
    /// Of what people wrote: the same for every model.
    hash: u64,
    signature: Option<Signature>,
    part: Part,
}

/// A dataset on its way.
struct Loading<'l> {
    loader: &'l Loader,
    report: Report,
    taught: Vec<Taught>,
    /// The first line that gave this lesson, by its hash.
    seen: HashMap<u128, Origin>,
    /// The completion of a prompt.
    answered: HashMap<u64, u64>,
    /// Lines of the present file that held a sample.
    good: usize,
    first_fault: Option<(usize, Fault)>,
}

impl<'l> Loading<'l> {
    fn new(loader: &'l Loader) -> Self {
        Self {
            loader,
            report: Report::default(),
            taught: Vec::new(),
            seen: HashMap::new(),
            answered: HashMap::new(),
            good: 0,
            first_fault: None,
        }
    }

    fn line(&mut self, line: usize, record: Result<Record, Fault>) -> Result<(), Error> {
        let file = self.report.files.len() - 1;
        self.report.lines += 1;
        self.report.files[file].lines += 1;
        let origin = Origin { file, line };
        match record.and_then(|record| self.learn(origin, record)) {
            Ok(()) => self.good += 1,
            Err(fault) => {
                self.report.add_bad(origin, &fault);
                self.first_fault.get_or_insert((line, fault));
            }
        }
        self.check_hope(HOPELESS_LINES)
    }

    /// An error if the present file has this many lines and none was good.
    fn check_hope(&mut self, lines_min: usize) -> Result<(), Error> {
        let Some(SourceFile { path, lines, .. }) = self.report.files.last() else { return Ok(()) };
        if self.good > 0 || *lines < lines_min {
            return Ok(());
        }
        match self.first_fault.take() {
            Some((line, fault)) => Err(Error::NoExample { path: path.clone(), lines: *lines, line, fault }),
            None => Ok(()),
        }
    }

    fn end_file(&mut self) -> Result<(), Error> {
        self.check_hope(1)?;
        self.good = 0;
        self.first_fault = None;
        Ok(())
    }

    fn learn(&mut self, origin: Origin, record: Record) -> Result<(), Fault> {
        let rank = self.loader.rank(&record);
        let sample = Sample::of(record, self.loader.form, &self.loader.columns)?;
        let form = sample.form();
        let lesson = self.loader.encoder.lesson(&sample)?;
        let earlier = *self.seen.entry(lesson.hash()).or_insert(origin);
        if earlier != origin {
            self.report.duplicates += 1;
            self.report.add_repeated(origin, earlier);
            if self.loader.duplicates != Duplicates::Keep {
                return Ok(());
            }
        }
        *self.report.forms.entry(form).or_default() += 1;
        self.report.without_rank += usize::from(self.loader.columns.rank.is_some() && rank.is_none());
        self.note_contradiction(&sample);
        let part = self.part(lesson, form, origin, rank);
        if part != Part::default() {
            let content = sample.content();
            let signature = self.loader.compares().then(|| Signature::of(&content));
            self.taught.push(Taught { origin, hash: hash(content.as_bytes(), 0), signature, part });
        }
        Ok(())
    }

    fn note_contradiction(&mut self, sample: &Sample) {
        let Sample::Completion { prompt, completion } = sample else { return };
        let [prompt, completion] = [prompt, completion].map(|text| hash(text.trim().as_bytes(), 0));
        let earlier = *self.answered.entry(prompt).or_insert(completion);
        self.report.contradictions += usize::from(earlier != completion);
    }

    /// The examples of a lesson, as far as they fit.
    fn part(&mut self, lesson: Lesson, form: Form, origin: Origin, rank: Option<f64>) -> Part {
        let mut part = Part::default();
        let example = |encoded: Encoded| Example { ids: encoded.ids, learn: encoded.learn, rank, origin };
        match lesson {
            Lesson::Examples(lessons) => {
                self.report.turn_by_turn += usize::from(lessons.len() > 1);
                for encoded in lessons {
                    part.examples.extend(self.fit(encoded, form).into_iter().map(example));
                }
            }
            Lesson::Pair { chosen, rejected } => {
                let sides = [chosen, rejected].map(|side| self.fit(side, form));
                if let [[chosen], [rejected]] = sides.each_ref().map(Vec::as_slice) {
                    let [chosen, rejected] = [chosen, rejected].map(|side| example(side.clone()));
                    part.pairs.push(Pair { chosen, rejected });
                }
            }
        }
        part
    }

    fn fit(&mut self, encoded: Encoded, form: Form) -> Vec<Encoded> {
        self.report.unprompted_answers += encoded.unprompted;
        self.report.unended_answers += encoded.unended;
        self.report.empty_answers += encoded.empty;
        self.report.glued_completions += encoded.glued;
        let cut = &mut self.report.cut;
        let length = encoded.ids.len();
        let too_long = match self.loader.too_long(form) {
            // The pieces of a pair would not belong together.
            TooLong::Split if form == Form::Preference => TooLong::KeepStart,
            other => other,
        };
        match fit(encoded, self.loader.length_max.unwrap_or(usize::MAX), too_long) {
            Fitted::Whole(encoded) => vec![encoded],
            Fitted::Split(pieces) => {
                cut.split += 1;
                pieces
            }
            Fitted::Cut(encoded, tokens) => {
                let lost = if too_long == TooLong::KeepEnd { &mut cut.beginnings } else { &mut cut.ends };
                *lost += 1;
                cut.tokens += tokens;
                vec![encoded]
            }
            Fitted::Dropped => {
                cut.dropped += 1;
                cut.tokens += length;
                Vec::new()
            }
        }
    }

    fn finish(mut self) -> Result<Dataset, Error> {
        let groups = self.drop_near_duplicates();
        if self.taught.is_empty() {
            return Err(self.empty());
        }
        let hashes: Vec<u64> = self.taught.iter().map(|taught| taught.hash).collect();
        let Loader { validation, validation_least, seed, .. } = *self.loader;
        let is_validation = match self.loader.split {
            Split::Grouped => {
                let wanted = split::wanted(groups.len(), validation, validation_least);
                split::grouped(&groups, &hashes, wanted, seed)
            }
            Split::Alone => hashes.iter().map(|hash| split::alone(*hash, validation, seed)).collect(),
        };
        let mut sides = [Part::default(), Part::default()];
        for (taught, is_validation) in self.taught.into_iter().zip(is_validation) {
            let side = &mut sides[usize::from(is_validation)];
            side.examples.extend(taught.part.examples);
            side.pairs.extend(taught.part.pairs);
        }
        let [train, validation] = sides;
        let mut report = self.report;
        let all = || train.all().chain(validation.all());
        report.examples = all().count();
        report.validation_examples = validation.all().count();
        report.tokens = all().map(|example| example.ids.len()).sum();
        report.learnt_tokens = all().map(Example::learnt).sum();
        report.lengths = Lengths::of(all().map(|example| example.ids.len()).collect());
        Ok(Dataset { train, validation, report })
    }

    /// Counts what says nearly the same, leaves it out if it should be, and gives the group of each sample left.
    fn drop_near_duplicates(&mut self) -> Vec<usize> {
        let signatures: Vec<_> = self.taught.iter_mut().map(|taught| taught.signature.take()).collect();
        let groups = groups(&signatures, self.loader.similarity);
        let repeats = groups.iter().enumerate().filter(|(sample, first)| sample != *first);
        for (sample, &first) in repeats {
            let [sample, first] = [sample, first].map(|i| (self.taught[i].origin, self.taught[i].hash));
            if sample.1 != first.1 {
                self.report.near_duplicates += 1;
                self.report.add_repeated(sample.0, first.0);
            }
        }
        if self.loader.duplicates != Duplicates::Near {
            return groups;
        }
        let mut is_first = groups.iter().enumerate().map(|(sample, first)| sample == *first);
        self.taught.retain(|_| is_first.next().unwrap_or(true));
        (0..self.taught.len()).collect()
    }

    fn empty(&self) -> Error {
        let Report { lines, bad, cut, .. } = &self.report;
        let found = match lines {
            0 => "no line that is not blank".to_owned(),
            _ => format!("{lines} lines: {bad} bad, {} too long", cut.dropped),
        };
        Error::Empty { wanted: WANTED, found }
    }
}
