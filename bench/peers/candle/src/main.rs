//! Times candle's quantised models; prints one JSON object. The same commands as the driver of llama.cpp beside it.
//!
//!   candle-driver bench MODEL [--prompt N] [--gen N] [--depth N]   speed of one round, after one that warms up
//!   candle-driver nll MODEL < ids                                   perplexity of a window, an id at a time
//!   candle-driver system                                            the instruction sets it was built for
//!
//! Threads: `RAYON_NUM_THREADS`. One sequence, keys and values in 32 bits: it has no others.
use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::time::Instant;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_gemma3, quantized_llama, quantized_qwen2};

type Outcome<T> = Result<T, Box<dyn Error>>;

enum Model {
    Llama(quantized_llama::ModelWeights),
    Gemma3(quantized_gemma3::ModelWeights),
    Qwen2(quantized_qwen2::ModelWeights),
}

struct Peer {
    model: Model,
    vocab_size: usize,
    load_s: f64,
}

impl Peer {
    fn load(path: &str) -> Outcome<Self> {
        let begin = Instant::now();
        let mut file = File::open(path)?;
        let content = Content::read(&mut file)?;
        let architecture = content.metadata.get("general.architecture").ok_or("no architecture")?.to_string()?.clone();
        let embedding = content.tensor_infos.get("token_embd.weight").ok_or("no embedding")?;
        let vocab_size = embedding.shape.dims()[0];
        let device = Device::Cpu;
        let model = match architecture.as_str() {
            "llama" => Model::Llama(quantized_llama::ModelWeights::from_gguf(content, &mut file, &device)?),
            "gemma3" => Model::Gemma3(quantized_gemma3::ModelWeights::from_gguf(content, &mut file, &device)?),
            "qwen2" => Model::Qwen2(quantized_qwen2::ModelWeights::from_gguf(content, &mut file, &device)?),
            other => return Err(format!("wanted llama, gemma3 or qwen2, found {other}").into()),
        };
        Ok(Peer { model, vocab_size, load_s: begin.elapsed().as_secs_f64() })
    }

    /// Logits behind the last id. A position of zero starts anew.
    fn logits(&mut self, ids: &[u32], position: usize) -> Outcome<Vec<f32>> {
        let x = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
        let logits = match &mut self.model {
            Model::Llama(model) => model.forward(&x, position)?,
            Model::Gemma3(model) => model.forward(&x, position)?,
            Model::Qwen2(model) => model.forward(&x, position)?,
        };
        Ok(logits.flatten_all()?.to_vec1()?)
    }
}

fn most_likely(logits: &[f32]) -> u32 {
    let greatest = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    greatest.map_or(0, |(id, _)| id as u32)
}

fn arbitrary_ids(count: usize, below: usize, seed: u64) -> Vec<u32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 33) % below as u64) as u32
    };
    (0..count).map(|_| next()).collect()
}

fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

fn bench(path: &str, options: &HashMap<String, usize>) -> Outcome<()> {
    let (prompt, gen, depth) = (options["prompt"], options["gen"], options["depth"]);
    let mut peer = Peer::load(path)?;
    let (mut prefill_s, mut decode_s) = (0.0, 0.0);
    for round in 0..2 {
        if depth > 0 {
            peer.logits(&arbitrary_ids(depth, peer.vocab_size, 3 * round + 1), 0)?;
        }
        let begin = Instant::now();
        let mut next = most_likely(&peer.logits(&arbitrary_ids(prompt, peer.vocab_size, 3 * round + 2), depth)?);
        prefill_s = begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        for i in 0..gen {
            next = most_likely(&peer.logits(&[next], depth + prompt + i)?);
        }
        decode_s = begin.elapsed().as_secs_f64();
    }
    let speeds = serde_json::json!({
        "prefill_tok_s": prompt as f64 / prefill_s, "decode_tok_s": gen as f64 / decode_s, "ttft_ms": 1e3 * prefill_s,
        "load_ms": 1e3 * peer.load_s, "peak_rss_bytes": peak_rss_bytes(),
    });
    println!("{speeds}");
    Ok(())
}

fn nll(path: &str) -> Outcome<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let ids = text.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    let mut peer = Peer::load(path)?;
    let mut total = 0.0;
    for (position, pair) in ids.windows(2).enumerate() {
        let logits = peer.logits(&pair[..1], position)?;
        let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - top).exp()).sum();
        total += top + sum.ln() - f64::from(logits[pair[1] as usize]);
    }
    let mean = total / (ids.len() - 1) as f64;
    println!("{}", serde_json::json!({ "nll": mean, "perplexity": mean.exp(), "counted": ids.len() - 1 }));
    Ok(())
}

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut options = HashMap::from([("prompt", 512), ("gen", 64), ("depth", 0)].map(|(name, n)| (name.to_owned(), n)));
    for pair in words.get(2..).unwrap_or_default().chunks(2) {
        options.insert(pair[0].trim_start_matches("--").to_owned(), pair.get(1).ok_or("an empty option")?.parse()?);
    }
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["system"] => {
            let system = format!(
                "avx {}, f16c {}",
                candle_core::utils::with_avx(),
                candle_core::utils::with_f16c()
            );
            println!("{}", serde_json::json!({ "system": system }));
            Ok(())
        }
        ["bench", path, ..] => bench(path, &options),
        ["nll", path, ..] => nll(path),
        _ => Err("usage: candle-driver bench|nll MODEL [--option N].. | candle-driver system".into()),
    }
}
