//! Times candle on a GGUF file as `../llama.cpp/driver.cpp` times llama.cpp; prints one JSON object.
//!
//! ```text
//! driver bench MODEL  [--prompt N] [--gen N] [--depth N]   speed of one round, after one that warms up
//! driver nll MODEL    < ids      mean negative log-likelihood of all ids but the first
//! driver say MODEL    --gen N < text                       the most likely text that follows, piece by piece
//! driver greedy MODEL --gen N < ids                        the ids that follow
//! driver system                                            what candle finds in the processor
//! ```
//!
//! and for all: `--threads N`, `--batch N` (tokens a call; default 512), `--widen 0|1` (weights to f32 when loaded, so
//! that candle's products round nothing to 8 bits). Ids are separated by white space.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::process::ExitCode;
use std::time::Instant;

use candle_core::quantized::gguf_file::Content;
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use candle_core::{utils, Device, Tensor, D};
use candle_transformers::models::{quantized_gemma3 as gemma3, quantized_llama as llama};
use tokenizers::Tokenizer;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// Of the ids whose likelihood is asked for, one in so many is predicted by a prompt, the others by a step.
const STEPS_PER_PROMPT: usize = 8;

/// The options after the model; every value is a whole number.
struct Options(HashMap<String, usize>);

impl Options {
    fn read(words: &[String]) -> Result<Self> {
        let defaults = [
            ("prompt", 512),
            ("gen", 64),
            ("depth", 0),
            ("threads", 2),
            ("batch", 512),
            ("sequences", 1),
            ("widen", 0),
        ];
        let mut values: HashMap<String, usize> =
            defaults.map(|(name, value)| (name.to_owned(), value)).into();
        for pair in words.chunks(2) {
            let name = pair[0].trim_start_matches("--");
            match (values.get_mut(name), pair.get(1)) {
                (Some(place), Some(value)) => *place = value.parse()?,
                _ => return Err(format!("unknown or empty option {}", pair[0]).into()),
            }
        }
        Ok(Self(values))
    }

    fn get(&self, name: &str) -> usize {
        self.0[name]
    }
}

/// The architectures that candle reads and that are known here.
enum Model {
    Llama(llama::ModelWeights),
    Gemma3(gemma3::ModelWeights),
}

/// A file whose header has been read.
struct Opened {
    begin: Instant,
    file: BufReader<File>,
    content: Content,
}

impl Opened {
    fn new(path: &str) -> Result<Self> {
        let begin = Instant::now();
        let file = File::open(path).map_err(|error| format!("cannot open {path}: {error}"))?;
        let mut file = BufReader::new(file);
        let content = Content::read(&mut file)?;
        Ok(Self { begin, file, content })
    }
}

struct Peer {
    model: Model,
    tokens_per_call: usize,
    vocab_size: usize,
    load_s: f64,
}

impl Peer {
    fn new(opened: Opened, options: &Options, context_length: usize) -> Result<Self> {
        let Opened { begin, mut file, content } = opened;
        let architecture =
            content.metadata.get("general.architecture").ok_or("the file names no architecture")?;
        let architecture = architecture.to_string()?.clone();
        let embeddings = content.tensor_infos.get("token_embd.weight");
        let vocab_size = embeddings.map_or(0, |tensor| tensor.shape.dims()[0]);
        let (model, tokens_per_call, context_max) = match architecture.as_str() {
            "llama" => (
                Model::Llama(llama::ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?),
                options.get("batch"),
                llama::MAX_SEQ_LEN,
            ),
            // Its mask knows a prompt at position 0 alone.
            "gemma3" => (
                Model::Gemma3(gemma3::ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?),
                usize::MAX,
                gemma3::MAX_SEQ_LEN,
            ),
            other => {
                return Err(format!(
                    "wanted a file of the architecture llama or gemma3, which candle reads; found {other}"
                )
                .into())
            }
        };
        if context_length > context_max {
            return Err(format!(
                "candle takes at most {context_max} tokens of this model, not {context_length}"
            )
            .into());
        }
        Ok(Self { model, tokens_per_call, vocab_size, load_s: begin.elapsed().as_secs_f64() })
    }

    /// Logits `[vocab_size]` behind the last of the ids. Position 0 forgets what was there before.
    fn forward(&mut self, ids: &[u32], position: usize) -> Result<Tensor> {
        let (ids, count) = (Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?, ids.len());
        let mut first = 0;
        loop {
            let size = self.tokens_per_call.min(count - first);
            let call = ids.narrow(1, first, size)?;
            let logits = match &mut self.model {
                Model::Llama(model) => model.forward(&call, position + first)?,
                Model::Gemma3(_) if size > 1 && position + first > 0 => {
                    return Err(
                        "candle's Gemma 3 takes a prompt at position 0 alone: --depth must be 0".into()
                    )
                }
                Model::Gemma3(model) => model.forward(&call, position + first)?,
            };
            first += size;
            if first == count {
                return Ok(logits.squeeze(0)?);
            }
        }
    }
}

fn most_likely(logits: &Tensor) -> Result<u32> {
    Ok(logits.argmax(D::Minus1)?.to_scalar()?)
}

/// Valid ids from a fixed generator, other ones for each round.
fn arbitrary_ids(count: usize, vocab_size: usize, mut state: u64) -> Vec<u32> {
    let next = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 33) % vocab_size as u64) as u32
    };
    (0..count).map(next).collect()
}

fn peak_rss_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    Ok(1024 * line.trim().trim_end_matches(" kB").parse::<u64>()?)
}

fn bench(path: &str, options: &Options) -> Result<()> {
    let (prompt, gen, depth) = (options.get("prompt"), options.get("gen"), options.get("depth"));
    if options.get("sequences") != 1 {
        return Err("candle takes the prompt of one sequence at a time: --sequences must be 1".into());
    }
    let mut peer = Peer::new(Opened::new(path)?, options, depth + prompt + gen)?;
    let (mut prefill_s, mut decode_s) = (0.0, 0.0);
    for round in 0..2 {
        // the first warms up
        let before = arbitrary_ids(depth, peer.vocab_size, 3 * round + 1);
        let asked = arbitrary_ids(prompt, peer.vocab_size, 3 * round + 2);
        if depth > 0 {
            peer.forward(&before, 0)?;
        }
        let begin = Instant::now();
        let mut next = most_likely(&peer.forward(&asked, depth)?)?;
        prefill_s = begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        for i in 0..gen {
            next = most_likely(&peer.forward(&[next], depth + prompt + i)?)?;
        }
        decode_s = begin.elapsed().as_secs_f64();
    }
    println!(
        r#"{{"prefill_tok_s": {}, "decode_tok_s": {}, "ttft_ms": {}, "load_ms": {}, "peak_rss_bytes": {}}}"#,
        prompt as f64 / prefill_s,
        gen as f64 / decode_s,
        1e3 * prefill_s,
        1e3 * peer.load_s,
        peak_rss_bytes()?
    );
    Ok(())
}

fn read_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn read_ids() -> Result<Vec<u32>> {
    let ids =
        read_stdin()?.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<u32>, _>>()?;
    if ids.len() < 2 {
        return Err("wanted at least two ids on standard input".into());
    }
    Ok(ids)
}

fn nll_of(row: &[f32], id: u32) -> f64 {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let sum: f64 = row.iter().map(|&value| (value as f64 - top).exp()).sum();
    top + sum.ln() - row[id as usize] as f64
}

/// candle gives the last position's logits alone, so each id takes a call of its own: a step behind the ids before it,
/// or, now and then, all of them as a prompt, so that both ways are looked at.
fn nll(path: &str, options: &Options) -> Result<()> {
    let ids = read_ids()?;
    let mut peer = Peer::new(Opened::new(path)?, options, ids.len())?;
    let mut total = 0.0;
    for position in 0..ids.len() - 1 {
        let first = if position % STEPS_PER_PROMPT == 0 { 0 } else { position };
        let logits = peer.forward(&ids[first..=position], first)?;
        total += nll_of(&logits.to_vec1()?, ids[position + 1]);
    }
    let counted = ids.len() - 1;
    let mean = total / counted as f64;
    println!(r#"{{"nll": {mean}, "perplexity": {}, "counted": {counted}}}"#, mean.exp());
    Ok(())
}

/// The most likely ids behind the given ones, each as soon as it is known.
fn follow(
    peer: &mut Peer,
    ids: Vec<u32>,
    gen: usize,
    mut found: impl FnMut(u32) -> Result<()>,
) -> Result<()> {
    let mut position = ids.len();
    let mut logits = peer.forward(&ids, 0)?;
    for i in 0..gen {
        let next = most_likely(&logits)?;
        found(next)?;
        if i + 1 < gen {
            logits = peer.forward(&[next], position)?;
            position += 1;
        }
    }
    Ok(())
}

fn greedy(path: &str, options: &Options) -> Result<()> {
    let (ids, gen) = (read_ids()?, options.get("gen"));
    let mut peer = Peer::new(Opened::new(path)?, options, ids.len() + gen)?;
    let mut following = Vec::new();
    follow(&mut peer, ids, gen, |id| {
        following.push(id);
        Ok(())
    })?;
    println!(r#"{{"ids": {following:?}}}"#);
    Ok(())
}

fn say(path: &str, options: &Options) -> Result<()> {
    let (text, gen) = (read_stdin()?, options.get("gen"));
    let opened = Opened::new(path)?;
    let tokenizer = Tokenizer::from_gguf(&opened.content)?;
    let ids = tokenizer.encode(text, true)?.get_ids().to_vec();
    let mut peer = Peer::new(opened, options, ids.len() + gen)?;
    follow(&mut peer, ids, gen, |id| {
        print!("{}", tokenizer.decode(&[id], false)?);
        Ok(std::io::stdout().flush()?)
    })
}

fn system() {
    println!(r#"{{"system": "AVX2 = {}, F16C = {}"}}"#, utils::with_avx(), utils::with_f16c());
}

fn answer() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (mode, path, rest) = match words.as_slice() {
        [mode] if mode == "system" => return Ok(system()),
        [mode, path, rest @ ..] => (mode.as_str(), path, rest),
        _ => return Err("usage: driver bench|nll|greedy|say MODEL [--option N]... | driver system".into()),
    };
    let options = Options::read(rest)?;
    // candle asks the environment when it first multiplies or loads.
    for name in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        std::env::set_var(name, options.get("threads").to_string());
    }
    std::env::set_var("CANDLE_DEQUANTIZE_ALL", options.get("widen").to_string());
    match mode {
        "bench" => bench(path, &options),
        "nll" => nll(path, &options),
        "greedy" => greedy(path, &options),
        "say" => say(path, &options),
        other => Err(format!("unknown mode {other}").into()),
    }
}

fn main() -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("driver: {error}");
            ExitCode::FAILURE
        }
    }
}
