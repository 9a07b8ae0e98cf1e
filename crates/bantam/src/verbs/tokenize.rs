//! `bantam tokenize`: how a text becomes ids.

use std::io::{Read, Write};

use anyhow::{Context, Result};
use bantam_text::Special;
use serde_json::json;

use crate::args::TokenizeArgs;
use crate::models::Models;
use crate::print::print_json;

pub(crate) fn run(args: &TokenizeArgs, models: &Models) -> Result<()> {
    let tokenizer = bantam::open_tokenizer(&models.locate(&args.model)?)?;
    let mut text = args.text.clone();
    if text == "-" {
        text.clear();
        std::io::stdin().read_to_string(&mut text).context("standard input is not text in UTF-8")?;
    }
    let special = if args.special { Special::Parse } else { Special::AsText };
    let mut ids = tokenizer.to_ids(&text, special)?;
    if !args.no_bos {
        ids = tokenizer.frame(ids);
    }
    let pieces: Vec<String> =
        ids.iter().map(|id| tokenizer.piece(*id).map(|piece| piece.text()).unwrap_or_default()).collect();
    if args.json {
        return print_json(&json!({ "ids": ids, "pieces": pieces }));
    }
    let mut out = std::io::stdout().lock();
    for (id, piece) in ids.iter().zip(&pieces) {
        writeln!(out, "{id:>7}  {piece:?}")?;
    }
    Ok(())
}
