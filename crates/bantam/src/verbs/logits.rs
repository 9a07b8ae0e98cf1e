//! `bantam logits`: the logits of every position of a list of ids.

use std::io::Write;

use anyhow::Result;
use bantam::Loaded;
use bantam_model::{Batch, Executor, KvStorage, Scratch, State, Want};
use serde_json::json;

use crate::args::LogitsArgs;
use crate::models::Models;
use crate::print::print_json;

pub(crate) fn run(args: &LogitsArgs, models: &Models) -> Result<()> {
    let loaded = Loaded::open(&models.locate(&args.model)?)?;
    let model = &loaded.model;
    let adapter = args.adapter.open(&loaded)?;
    let ahead = bantam::virtual_tokens(adapter.as_ref());
    let length = ahead + args.tokens.len();
    let mut batch = Batch::default();
    batch.push(&args.tokens, ahead, length, Want::All);
    let mut state = State::new(&model.description, KvStorage::F32, length);
    if let Some(adapter) = &adapter {
        batch.adapt(adapter);
        adapter.prefix.iter().for_each(|prefix| state.begin(prefix));
    }
    let machine = args.machine.machine();
    let numerics = args.machine.numerics.into();
    let logits =
        Executor::run(&machine, model, numerics, &batch, &mut [&mut state], &mut Scratch::default())?;
    let rows: Vec<&[f32]> = logits.chunks_exact(model.description.vocab_size).collect();
    if args.json {
        return print_json(&json!({ "tokens": args.tokens, "logits": rows }));
    }
    let mut out = std::io::stdout().lock();
    for (token, row) in args.tokens.iter().zip(rows) {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
        let best: Vec<String> = order.iter().take(5).map(|id| format!("{id} ({:.4})", row[*id])).collect();
        writeln!(out, "after {token}: {}", best.join(", "))?;
    }
    Ok(())
}
