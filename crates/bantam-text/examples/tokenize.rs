//! Tokenises a file with the vocabulary of a GGUF file or a `tokenizer.json`, and says how long that took.
//!
//!     cargo run --release -p bantam-text --example tokenize -- MODEL TEXT_FILE > ids.json

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use bantam_text::{Special, Tokenizer};

#[path = "../tests/gguf/mod.rs"]
mod gguf;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(model), Some(text)) = (args.next(), args.next()) else {
        return Err("usage: tokenize MODEL TEXT_FILE".into());
    };
    let bytes = std::fs::read(&model)?;
    let text = std::fs::read_to_string(text)?;
    let tokenizer = load(&model, &bytes)?;
    let start = Instant::now();
    let ids = tokenizer.to_ids(&text, Special::Parse)?;
    let seconds = start.elapsed().as_secs_f64();
    let rate = text.len() as f64 / seconds / 1e6;
    writeln!(std::io::stderr(), "{} ids in {:.1} ms, {rate:.2} MB/s", ids.len(), seconds * 1e3)?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&ids)?)?;
    Ok(())
}

fn load(name: &str, bytes: &[u8]) -> Result<Tokenizer, Box<dyn Error>> {
    if name.ends_with(".json") {
        let start = Instant::now();
        let tokenizer = Tokenizer::from_tokenizer_json(bytes, None)?;
        writeln!(std::io::stderr(), "built in {:.1} ms", start.elapsed().as_secs_f64() * 1e3)?;
        return Ok(tokenizer);
    }
    let metadata = gguf::Metadata::read(bytes);
    let mut charsmap = Vec::new();
    let vocab = metadata.vocab(&mut charsmap);
    let start = Instant::now();
    let tokenizer = Tokenizer::from_gguf(&vocab)?;
    writeln!(std::io::stderr(), "built in {:.1} ms", start.elapsed().as_secs_f64() * 1e3)?;
    Ok(tokenizer)
}
