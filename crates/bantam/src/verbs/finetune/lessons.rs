//! From the arguments and the files to what is learnt.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, bail};
use bantam::Loaded;
use bantam_data::{Dataset, Key, Report, Split};
use bantam_model::description::{Description, Positions};
use bantam_text::Special;
use bantam_train::{Distillation, Divergence, Draws, Example, Pair, Preference};

use super::super::data::{encoder, logits};
use crate::args::{CourseArgs, DivergenceArg, FinetuneArgs, LossArg, LossArgs, MethodArg};
use crate::models::Models;
use crate::verbs::learning::{Lessons, Sides, Teacher, learnt};

/// Examples from which on some are kept for validation where nobody says how many.
const VALIDATED_FROM: usize = 40;
/// How many of them.
const VALIDATION: f64 = 0.05;
/// As many at least, or a fifth of all: by the loss of a few, a run would end, and an adapter be kept, by chance.
const VALIDATED_LEAST: usize = 20;
/// Tokens in an example where nobody says how many.
const LENGTH_MAX: usize = 1024;
/// Those of a prefix.
const VIRTUAL_TOKENS: usize = 32;

/// The files as examples and pairs.
pub(super) fn dataset(args: &FinetuneArgs, loaded: &Loaded) -> Result<Dataset> {
    let mut loader = args.source.loader(encoder(loaded)?)?;
    loader.length_max =
        Some(length_max(loader.length_max, &loaded.model.description, virtual_tokens(args, loaded)?)?);
    loader.validation = args.source.validation.unwrap_or(VALIDATION);
    if args.source.validation.is_none() {
        loader.validation_least = VALIDATED_LEAST;
    }
    if args.private.dp.is_some() {
        loader.split = Split::Alone;
    }
    let dataset = loader.load(&args.source.files)?;
    let is_small = dataset.report.examples < VALIDATED_FROM;
    Ok(if args.source.validation.is_none() && is_small { dataset.without_validation() } else { dataset })
}

/// How much is for validation, and why.
pub(super) fn validation(args: &FinetuneArgs, report: &Report) -> [String; 3] {
    let all = report.examples;
    let reason = match args.source.validation {
        Some(_) => "as asked".into(),
        None if all < VALIDATED_FROM => format!("fewer than {VALIDATED_FROM} examples: all are learnt"),
        None if args.private.dp.is_some() => "about one in twenty, each by its own content".into(),
        None if all < 5 * VALIDATED_LEAST => "a fifth: by fewer, stopping would be chance".into(),
        None if all as f64 * VALIDATION < VALIDATED_LEAST as f64 => {
            format!("{VALIDATED_LEAST} at least: by fewer, stopping would be chance")
        }
        None => "one in twenty".into(),
    };
    ["held out".into(), report.validation_examples.to_string(), reason]
}

/// Tokens in an example at most: as asked, but no more than there are positions behind the virtual tokens.
fn length_max(asked: Option<usize>, description: &Description, virtual_tokens: usize) -> Result<usize> {
    let behind = |positions: usize| positions.saturating_sub(virtual_tokens);
    let asked = asked.unwrap_or(LENGTH_MAX.min(behind(description.context_length)));
    let most = match description.embed.positions {
        // Rotations go on behind the context, a table of rows ends.
        Positions::Learned(rows) => asked.min(behind(rows)),
        Positions::None => asked,
    };
    if most < 2 && virtual_tokens > 0 {
        let context = description.context_length;
        bail!("{virtual_tokens} virtual tokens leave no room in a context of {context}: ask for fewer");
    }
    Ok(most)
}

/// How many there will be; 0 with another method than a prefix.
fn virtual_tokens(args: &FinetuneArgs, loaded: &Loaded) -> Result<usize> {
    if args.course.method != MethodArg::Prefix {
        return Ok(0);
    }
    let of_text = prefix_text(&args.course, loaded)?.map(|ids| ids.len());
    Ok(of_text.unwrap_or(args.course.virtual_tokens.map_or(VIRTUAL_TOKENS, usize::from)))
}

/// The tokens of `--prefix-text`.
fn prefix_text(args: &CourseArgs, loaded: &Loaded) -> Result<Option<Vec<u32>>> {
    let Some(text) = &args.prefix_text else { return Ok(None) };
    let tokenizer = loaded.tokenizer()?;
    let mut ids = tokenizer.begin(tokenizer.to_ids(text, Special::AsText)?);
    ids.truncate(args.virtual_tokens.map_or(usize::MAX, usize::from));
    Ok(Some(ids))
}

/// The tokens whose keys and values a prefix begins as; none with another method.
pub(super) fn begun(args: &FinetuneArgs, loaded: &Loaded, dataset: &Dataset) -> Result<Option<Vec<u32>>> {
    if args.course.method != MethodArg::Prefix {
        return Ok(None);
    }
    let ids = match prefix_text(&args.course, loaded)? {
        Some(ids) => ids,
        None => {
            let (examples, pairs) = (&dataset.train.examples, &dataset.train.pairs);
            let examples = examples.iter().chain(pairs.iter().map(|pair| &pair.chosen));
            let ids: Vec<u32> =
                examples.flat_map(|example| &example.ids).copied().take(usize::from(u16::MAX)).collect();
            ids.iter().copied().cycle().take(virtual_tokens(args, loaded)?).collect()
        }
    };
    if ids.is_empty() {
        bail!("there are no tokens for a prefix to begin as: give some data, or a longer --prefix-text");
    }
    Ok(Some(ids))
}

/// What is wanted of pairs; none where it is examples that are learnt.
pub(super) fn preference(args: &LossArgs, dataset: &Dataset) -> Option<Preference> {
    let only_pairs = dataset.train.examples.is_empty();
    let loss = args.loss.unwrap_or(if only_pairs { LossArg::Dpo } else { LossArg::NextToken });
    match loss {
        LossArg::NextToken | LossArg::Grpo => None,
        LossArg::Dpo => Some(Preference::Dpo { beta: args.beta }),
        LossArg::Orpo => Some(Preference::Orpo { lambda: args.beta }),
    }
}

/// What is learnt, with what it is ordered by.
pub(super) fn lessons(
    args: &FinetuneArgs,
    models: &Models,
    loaded: &Loaded,
    dataset: Dataset,
) -> Result<(Lessons, Vec<Key>)> {
    let how = &args.loss;
    if let Some(preference) = preference(how, &dataset) {
        if how.teacher.is_some() || how.logits.is_some() {
            bail!("--teacher and --logits are for examples, and it is pairs that are to be learnt");
        }
        return pairs(dataset, preference);
    }
    let keys = dataset.train.examples.iter().map(bantam_data::Example::key).collect();
    let [train, validation] = [dataset.train, dataset.validation].map(|part| learnt(part.examples));
    if train.is_empty() {
        bail!(
            "there are only pairs of answers in the data; wanted chats, completions or texts, or --loss dpo"
        );
    }
    let lessons = match (&how.teacher, &how.logits) {
        (Some(teacher), _) => {
            let teacher = Box::new(open_teacher(teacher, how, models, loaded)?);
            Lessons::Taught(Sides { train, validation }, teacher)
        }
        (None, Some(path)) => Lessons::Drawn(drawn(path, loaded, train, validation)?, how.hard_share),
        (None, None) => Lessons::Tokens(Sides { train, validation }),
    };
    Ok((lessons, keys))
}

fn pairs(dataset: Dataset, preference: Preference) -> Result<(Lessons, Vec<Key>)> {
    let keys = dataset.train.pairs.iter().map(|pair| pair.chosen.key()).collect();
    let pair = |pair: bantam_data::Pair| {
        let one = |example: bantam_data::Example| Example { ids: example.ids, learn: example.learn };
        Pair { chosen: one(pair.chosen), rejected: one(pair.rejected), reference: [0.0; 2] }
    };
    let [train, validation] =
        [dataset.train, dataset.validation].map(|part| part.pairs.into_iter().map(pair).collect::<Vec<_>>());
    if train.is_empty() {
        bail!("there are no pairs of answers in the data; wanted lines with `chosen` and `rejected`");
    }
    Ok((Lessons::Pairs(Sides { train, validation }, preference), keys))
}

fn open_teacher(name: &str, how: &LossArgs, models: &Models, student: &Loaded) -> Result<Teacher> {
    let teacher = Loaded::open(&models.locate(name)?)?;
    let same = match (teacher.tokenizer(), student.tokenizer()) {
        (Ok(theirs), Ok(ours)) => logits::vocabulary(&theirs) == logits::vocabulary(&ours),
        _ => teacher.model.description.vocab_size == student.model.description.vocab_size,
    };
    if !same {
        bail!(
            "{name} has another vocabulary, so that its predictions are of other tokens: let it write answers \
             (`bantam data answer {name} ..`) and learn these"
        );
    }
    let divergence = match how.divergence {
        DivergenceArg::Forward => Divergence::Forward,
        DivergenceArg::Reverse => Divergence::Reverse,
        DivergenceArg::Js => Divergence::JensenShannon { share: 0.5 },
    };
    let how = Distillation { divergence, temperature: how.temperature, hard_share: how.hard_share };
    Ok(Teacher { model: (*teacher.model).clone(), how })
}

/// Examples with what was drawn for them.
fn drawn(
    path: &Path,
    loaded: &Loaded,
    train: Vec<Example>,
    validation: Vec<Example>,
) -> Result<Sides<(Example, Draws), Example>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let vocabulary = logits::vocabulary(&loaded.tokenizer()?);
    let vocab_size = loaded.model.description.vocab_size;
    let found: BTreeMap<u64, Draws> = logits::read(&mut BufReader::new(file), vocabulary, vocab_size)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let all = train.len();
    let with_draws = train.into_iter().filter_map(|example| {
        let draws = found.get(&example.fingerprint())?;
        (draws.tokens() == example.learnt_tokens()).then(|| (example, draws.clone()))
    });
    let train: Vec<(Example, Draws)> = with_draws.collect();
    match (train.len(), all) {
        (0, all) => bail!(
            "{} holds none of the {all} examples: write it with the same files and options",
            path.display()
        ),
        (found, all) if found < all => {
            eprintln!("{} of {all} examples are not in {} and left out", all - found, path.display());
        }
        _ => {}
    }
    Ok(Sides { train, validation })
}
