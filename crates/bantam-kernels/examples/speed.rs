//! Times the kernels at shapes of SmolLM2-135M, Gemma 3 270M and Llama 3.2 1B beside what the machine could do.
//!
//! `cargo run --release -p bantam-kernels --example speed -- [threads] [part of a line's name] [MiB of weights, 256]`
//!
//! Few rows are to read their weights from memory: these have to take more than the last cache holds. With 0 they are one matrix, in the cache.
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::time::Instant;

use bantam_kernels::attention::{AttendSpec, KvShape, KvStorage, PAGE, Page, QueryRow, attend};
use bantam_kernels::matmul::{Codes, Input, Layout, PairRows, Rounding, Weights, multiply};
use bantam_kernels::{Isa, Machine, Storage, limits};

/// Name, outputs, inputs and storages of the matrices.
const SHAPES: [(&str, usize, usize, &[Storage]); 10] = [
    ("smollm2 q/o", 576, 576, &[Storage::Q4_1, Storage::Q8_0]),
    ("smollm2 k/v", 192, 576, &[Storage::Q4_1]),
    ("smollm2 gate/up", 1536, 576, &[Storage::Q4_0, Storage::Q4_1, Storage::Q8_0]),
    ("smollm2 down", 576, 1536, &[Storage::Q4_1, Storage::Q6K]),
    ("smollm2 head", 49152, 576, &[Storage::Q4_1, Storage::Q8_0]),
    ("gemma3 q", 1024, 640, &[Storage::Q5_0]),
    ("gemma3 down", 640, 2048, &[Storage::Q4K, Storage::Q6K]),
    ("gemma3 gate/up", 2048, 640, &[Storage::Q5_0]),
    ("gemma3 head", 262_144, 640, &[Storage::Q8_0]),
    (
        "llama 1b q/o",
        2048,
        2048,
        &[Storage::Q4K, Storage::Q5K, Storage::Q6K, Storage::Q8_0, Storage::F16, Storage::BF16],
    ),
];

/// Rows of activations.
const ROWS: [usize; 6] = [1, 4, 8, 16, 128, 512];
const ROUNDINGS: [Rounding; 2] = [Rounding::Bits16, Rounding::Bits8];

/// Least and median seconds of some runs.
fn time(mut work: impl FnMut()) -> (f64, f64) {
    let (begin, mut seconds) = (Instant::now(), Vec::new());
    while seconds.len() < 7 || begin.elapsed().as_secs_f64() < 0.3 {
        let one = Instant::now();
        work();
        seconds.push(one.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    (seconds[0], seconds[seconds.len() / 2])
}

/// Bytes that are no special numbers in any storage, so that no line is slow by denormals.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| 0x28 + (i.wrapping_mul(2_654_435_761) >> 13) as u8 % 16).collect()
}

fn activations(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.37).sin()).collect()
}

fn time_product(
    machine: &Machine,
    storage: Storage,
    (outputs, inputs): (usize, usize),
    (rows, rounding): (usize, Rounding),
    weights_min: usize,
) -> (f64, f64) {
    let size = storage.bytes_of(inputs).map_or(0, |row| row * outputs);
    // Copies, so that a small matrix is not read from the cache, as in a model it is not.
    let copies = if rows > 16 { 1 } else { weights_min.div_ceil(size).max(1) };
    let bytes = bytes(size * copies);
    let x = activations(rows * inputs);
    let mut codes = Codes::new();
    codes.fill(machine, &x, inputs, rounding);
    let mut pairs = PairRows::new();
    let input = if machine.isa().has_bf16_tiles() && rounding == Rounding::Bits8 {
        pairs.fill(machine, &x, inputs);
        Input::Pairs(&pairs)
    } else if storage.is_quantized() {
        Input::Coded(&codes)
    } else {
        Input::Exact(&x)
    };
    let mut y = vec![0.0; rows * outputs];
    let mut next = bytes.chunks_exact(size).cycle();
    time(|| {
        if let Some(bytes) = next.next() {
            let weights = Weights { storage, layout: Layout::OutIn, outputs, inputs, bytes };
            multiply(machine, weights, input, &mut y);
        }
    })
}

/// Query heads, and the shape of keys and values.
const HEADS: [(&str, usize, KvShape); 2] = [
    ("smollm2", 9, KvShape { num_kv_heads: 3, head_dim: 64 }),
    ("gemma3", 4, KvShape { num_kv_heads: 1, head_dim: 256 }),
];

fn time_attention(
    machine: &Machine,
    (num_heads, kv): (usize, KvShape),
    storage: KvStorage,
    (depth, rows): (usize, usize),
    state_min: usize,
) -> (f64, f64) {
    let spec =
        AttendSpec { kv, num_heads, scale: 0.125, window: None, soft_cap: None, sinks: None, rounded: true };
    let page = |_| {
        let mut page = Page::new(kv, storage);
        for slot in 0..PAGE {
            let numbers = activations(kv.num_kv_heads * kv.head_dim);
            page.put(slot, &numbers, &numbers);
        }
        page
    };
    // As many layers as keep one row from finding its state in the cache.
    let layer = depth / PAGE * kv.page_bytes(storage);
    let layers = if rows > 1 { 1 } else { state_min.div_ceil(layer).max(1) };
    let layers: Vec<Vec<Page>> = (0..layers).map(|_| (0..depth / PAGE).map(page).collect()).collect();
    let queries = activations(rows * num_heads * kv.head_dim);
    let mut out = vec![0.0; queries.len()];
    let mut next = layers.iter().cycle();
    time(|| {
        if let Some(pages) = next.next() {
            let rows: Vec<_> = (depth - rows..depth).map(|position| QueryRow { pages, position }).collect();
            attend(machine, &spec, &rows, &queries, &mut out);
        }
    })
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = arguments.first().and_then(|count| count.parse().ok()).unwrap_or(0);
    let wanted = arguments.get(1).map_or("", String::as_str);
    let mebibytes: usize = arguments.get(2).and_then(|count| count.parse().ok()).unwrap_or(256);
    let isa = std::env::var("BANTAM_ISA").ok().and_then(|name| name.parse().ok());
    let machine = Machine::new(isa.unwrap_or_else(Isa::best), threads);
    println!(
        "{} on {} threads; each figure from the least and from the median time",
        machine.isa(),
        machine.threads()
    );

    let buffer = bytes(mebibytes.max(1) << 20);
    let (least, median) = time(|| limits::read_once(&machine, &buffer));
    let gigabytes = buffer.len() as f64 * 1e-9;
    println!("{:34} {:7.1} {:7.1} GB/s", "read limit", gigabytes / least, gigabytes / median);
    let (least, median) = time(|| _ = limits::multiply_codes(&machine, 1_000_000));
    let operations = limits::multiply_codes(&machine, 1_000_000) as f64 / 2.0 * 1e-9;
    println!("{:34} {:7.1} {:7.1} G MAC/s", "code limit", operations / least, operations / median);

    for (name, outputs, inputs, storages) in SHAPES {
        for storage in storages {
            for (rows, rounding) in
                ROWS.into_iter().flat_map(|rows| ROUNDINGS.map(|rounding| (rows, rounding)))
            {
                let fastest = if rounding == Rounding::Bits8 { " fastest" } else { "" };
                let line = format!("{name} {storage} M={rows}{fastest}");
                if !line.contains(wanted) || rows * outputs > 1 << 21 {
                    continue;
                }
                let (least, median) =
                    time_product(&machine, *storage, (outputs, inputs), (rows, rounding), mebibytes << 20);
                let gigabytes = storage.bytes_of(inputs).map_or(0, |row| row * outputs) as f64 * 1e-9;
                let products = (rows * outputs * inputs) as f64 * 1e-9;
                print!("{line:34} {:7.1} {:7.1} GB/s", gigabytes / least, gigabytes / median);
                println!("  {:7.1} {:7.1} G MAC/s", products / least, products / median);
            }
        }
    }
    for (model, num_heads, kv) in HEADS {
        for storage in KvStorage::ALL {
            for (depth, rows) in [(512, 1), (4096, 1), (128, 128), (1024, 128), (4096, 64)] {
                let line = format!("{model} attention {storage} depth {depth} M={rows}");
                if line.contains(wanted) {
                    let (least, median) =
                        time_attention(&machine, (num_heads, kv), storage, (depth, rows), mebibytes << 20);
                    let products = 2e-9 * (rows * num_heads * kv.head_dim * (depth - rows / 2)) as f64;
                    print!("{line:42} {:9.1} {:9.1} us", least * 1e6, median * 1e6);
                    println!("  {:7.1} {:7.1} G MAC/s", products / least, products / median);
                }
            }
        }
    }
}
