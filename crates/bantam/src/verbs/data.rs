//! `bantam data inspect`: what a model would learn from files.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::{Result, anyhow};
use bantam::Loaded;
use bantam_data::{Dataset, Encoder, Example, Origin, Report};
use bantam_text::{Shown, Tokenizer};
use serde_json::{Value, json};

use crate::args::{DataArgs, DataVerb, InspectDataArgs};
use crate::chat::now;
use crate::chat::style::{Painter, Style, may_style, visible};
use crate::models::Models;
use crate::print::{print_json, print_pairs};
use crate::units::grouped;

/// Widest bar of the histogram.
const BAR_WIDTH: usize = 40;
/// Bad lines and duplicates that are printed; JSON has more.
const LISTED_MAX: usize = 10;

pub(crate) fn run(args: &DataArgs, models: &Models) -> Result<()> {
    let DataVerb::Inspect(args) = &args.verb;
    let encoder = encoder(&models.locate(&args.model)?)?;
    let tokenizer = encoder.tokenizer.clone();
    let dataset = args.source.loader(encoder)?.load(&args.source.files)?;
    let count = dataset.report.examples;
    let wanted = args.example.checked_sub(1);
    let mut all = dataset.train.all().chain(dataset.validation.all());
    let example = wanted
        .and_then(|place| all.nth(place))
        .ok_or_else(|| anyhow!("--example: wanted a number from 1 to {count}, found {}", args.example))?;
    if args.json {
        let example = example_json(&dataset.report, example, &tokenizer);
        return print_json(&json!({ "report": dataset.report, "example": example }));
    }
    print_report(&dataset)?;
    print_example(args, &dataset.report, example, &tokenizer)
}

/// Text to ids as the model at this path reads it.
pub(crate) fn encoder(path: &Path) -> Result<Encoder> {
    let loaded = Loaded::open(path)?;
    let tokenizer = loaded.tokenizer()?;
    let template = loaded.template(&tokenizer)?;
    let mut encoder = Encoder::new(tokenizer, template);
    encoder.now = Some(now());
    Ok(encoder)
}

fn example_json(report: &Report, example: &Example, tokenizer: &Tokenizer) -> Value {
    let pieces: Vec<String> = pieces(example, tokenizer);
    json!({
        "file": file(report, example.origin), "line": example.origin.line, "rank": example.rank,
        "ids": example.ids, "learn": example.learn, "pieces": pieces,
    })
}

fn file(report: &Report, origin: Origin) -> String {
    report.files.get(origin.file).map_or_else(String::new, |file| file.path.display().to_string())
}

fn print_report(dataset: &Dataset) -> Result<()> {
    let report = &dataset.report;
    let number = |count: usize| grouped(count as u64);
    let forms: Vec<String> =
        report.forms.iter().map(|(form, lines)| format!("{} {}", number(*lines), form.name())).collect();
    let share = 100.0 * report.learnt_tokens as f64 / report.tokens.max(1) as f64;
    let mut pairs = vec![
        ("files", format!("{}, {} lines", number(report.files.len()), number(report.lines))),
        ("forms", forms.join(", ")),
        ("examples", number(report.examples)),
        (
            "tokens",
            format!(
                "{}, of which {} ({share:.1} %) are learnt",
                number(report.tokens),
                number(report.learnt_tokens)
            ),
        ),
    ];
    if report.validation_examples > 0 {
        pairs.push(("validation", format!("{} of the examples", number(report.validation_examples))));
    }
    pairs.extend(
        notes(report)
            .into_iter()
            .filter(|(_, count, _)| *count > 0)
            .map(|(name, count, note)| (name, format!("{} {note}", number(count)))),
    );
    print_pairs(&pairs)?;
    let mut out = std::io::stdout().lock();
    print_listed(&mut out, report)?;
    print_lengths(&mut out, report)
}

/// What is worth a line if it happened.
fn notes(report: &Report) -> [(&'static str, usize, &'static str); 14] {
    let cut = &report.cut;
    [
        ("bad", report.bad, "lines give no example"),
        ("duplicates", report.duplicates, "lines equal an earlier one"),
        (
            "near",
            report.near_duplicates,
            "lines say nearly the same as an earlier one (--duplicates near leaves them out)",
        ),
        (
            "contradicting",
            report.contradictions,
            "lines have another completion for the prompt of an earlier one",
        ),
        ("split", cut.split, "texts are longer than --max-length and learnt in pieces"),
        (
            "cut",
            cut.ends + cut.beginnings,
            "examples are longer than --max-length and lost their end or beginning",
        ),
        (
            "dropped",
            cut.dropped,
            "examples are longer than --max-length, with nothing left to learn or --too-long drop",
        ),
        ("lost", cut.tokens, "tokens of these"),
        (
            "turn by turn",
            report.turn_by_turn,
            "chats became an example for each answer: the template rewrites earlier turns",
        ),
        (
            "unprompted",
            report.unprompted_answers,
            "answers do not continue what the template gives a model that is to answer",
        ),
        ("unended", report.unended_answers, "answers have no token that ends them"),
        ("glued", report.glued_completions, "completions follow their prompt without a space between them"),
        (
            "empty",
            report.empty_answers,
            "answers are not learnt: the template writes nothing of them (tool calls?)",
        ),
        ("skipped", report.skipped_files.len(), "files in the folders are of no known kind"),
    ]
}

fn print_listed(out: &mut impl Write, report: &Report) -> Result<()> {
    if report.bad > 0 {
        writeln!(out, "\nbad lines")?;
        for (reason, count) in &report.bad_by_reason {
            writeln!(out, "{count:>8}  {reason}")?;
        }
    }
    for bad in report.bad_lines.iter().take(LISTED_MAX) {
        writeln!(out, "          {}:{}: {}", bad.path.display(), bad.line, visible(&bad.reason))?;
    }
    if !report.duplicate_lines.is_empty() {
        writeln!(out, "\nduplicates")?;
    }
    for [line, earlier] in report.duplicate_lines.iter().take(LISTED_MAX) {
        let [at, of] = [line, earlier].map(|origin| format!("{}:{}", file(report, *origin), origin.line));
        writeln!(out, "          {at} repeats {of}")?;
    }
    Ok(())
}

fn print_lengths(out: &mut impl Write, report: &Report) -> Result<()> {
    let lengths = &report.lengths;
    writeln!(
        out,
        "\nlengths   shortest {}, median {}, mean {:.1}, 95 % at most {}, longest {}",
        lengths.shortest, lengths.median, lengths.mean, lengths.percentile_95, lengths.longest
    )?;
    let most = lengths.histogram.iter().map(|bucket| bucket.examples).max().unwrap_or(0);
    for bucket in &lengths.histogram {
        let bar = "█".repeat((bucket.examples * BAR_WIDTH).div_ceil(most.max(1)));
        let range = format!("{} to {}", bucket.from, bucket.to);
        writeln!(out, "{range:>16}  {bar} {}", grouped(bucket.examples as u64))?;
    }
    Ok(())
}

/// What each id adds to the text; an id that leaves a character incomplete adds nothing.
fn pieces(example: &Example, tokenizer: &Tokenizer) -> Vec<String> {
    let mut stream = tokenizer.stream(Shown::All);
    example.ids.iter().map(|id| stream.push(*id)).collect()
}

fn print_example(
    args: &InspectDataArgs,
    report: &Report,
    example: &Example,
    tokenizer: &Tokenizer,
) -> Result<()> {
    let may_paint = !args.plain && std::io::stdout().is_terminal() && may_style();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\nexample {} of {}: {}:{}, {} tokens, {} learnt ({})\n",
        args.example,
        grouped(report.examples as u64),
        file(report, example.origin),
        example.origin.line,
        example.ids.len(),
        example.learnt(),
        if may_paint { "in colour" } else { "in brackets" }
    )?;
    let pieces = pieces(example, tokenizer).into_iter().map(|piece| visible(&piece));
    let marked = pieces.zip(example.learn.iter().copied());
    writeln!(out, "{}", if may_paint { painted(marked) } else { bracketed(marked) })?;
    Ok(())
}

/// What is learnt in two colours in turn, so that tokens can be told apart.
fn painted(pieces: impl Iterator<Item = (String, bool)>) -> String {
    let colours = [Style::BOLD.and(Style::CYAN), Style::BOLD.and(Style::YELLOW)];
    let mut painter = Painter::default();
    for (i, (piece, is_learnt)) in pieces.enumerate() {
        if is_learnt {
            // A line end has no colour of its own.
            painter.paint(&piece.replace('\n', "↵\n"), colours[i % 2]);
        } else {
            painter.paint(&piece, Style::DIM);
        }
    }
    painter.reset();
    painter.take()
}

/// Each token that is learnt in brackets of its own.
fn bracketed(pieces: impl Iterator<Item = (String, bool)>) -> String {
    pieces.map(|(piece, is_learnt)| if is_learnt { format!("⟦{piece}⟧") } else { piece }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces() -> impl Iterator<Item = (String, bool)> {
        [("a", false), ("b", true), ("\n", true), ("c", false)]
            .map(|(text, learn)| (text.to_owned(), learn))
            .into_iter()
    }

    #[test]
    fn what_is_learnt_is_marked_token_by_token() {
        assert_eq!(bracketed(pieces()), "a⟦b⟧⟦\n⟧c");
        assert_eq!(painted(pieces()), "\x1b[0;2ma\x1b[0;1;33mb\x1b[0;1;36m↵\n\x1b[0;2mc\x1b[0m");
    }
}
