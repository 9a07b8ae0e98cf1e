//! The weights of the golden checkpoints: a pure function of a tensor's name and shape.
//!
//! The golden files hold expected numbers only; whoever checks against them makes the weights with
//! [`tensor`], bit for bit the same on every machine: integer hashing, then at most two roundings per value.

/// The values of a tensor in row-major order.
///
/// Matrices have standard deviation `gain / sqrt(fan_in)`. Vectors of scales stay around 0.7 and biases around
/// 0, both with noise, so that a forgotten bias or a swapped norm cannot pass.
pub(crate) fn tensor(name: &str, shape: &[usize]) -> Vec<f32> {
    let (mean, deviation) = distribution(name, shape);
    let seed = fnv1a(name.as_bytes());
    let count: usize = shape.iter().product();
    (0..count as u64).map(|index| (mean + deviation * normal(seed, index)) as f32).collect()
}

/// Mean and standard deviation.
fn distribution(name: &str, shape: &[usize]) -> (f64, f64) {
    let holds = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    match shape {
        _ if name.ends_with("bias") => (0.0, 0.3),
        _ if holds(&["embed_tokens", "wte", "wpe"]) => (0.0, 0.3),
        [rows, columns] => {
            // GPT-2 stores its matrices input first.
            let fan_in = if holds(&["c_attn", "c_proj", "c_fc"]) { rows } else { columns };
            let gain = if holds(&["q_proj", "k_proj", "qkv_proj", "c_attn"]) { 1.6 } else { 1.0 };
            (0.0, gain / (*fan_in as f64).sqrt())
        }
        _ => (0.7, 0.2),
    }
}

/// Near enough to a standard normal: the sum of four uniform numbers of 16 bits, brought to deviation 1.
fn normal(seed: u64, index: u64) -> f64 {
    let bits = splitmix64(seed ^ splitmix64(index));
    let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
    // The mean of the sum is 4 * 65535 / 2, its variance 4 * (65536^2 - 1) / 12.
    (sum as f64 - 131_070.0) / 37_837.23
}

fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn splitmix64(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
