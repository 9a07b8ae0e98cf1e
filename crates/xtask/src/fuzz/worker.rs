//! The loop of a worker: make an input, run the reader on it, judge.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

use super::memory::Peak;
use super::targets::Target;
use super::{MEMORY_LIMIT, TIME_LIMIT, mutate};
use crate::{Error, Result};

/// Runs until the time is over or an input fails. The iteration is written to `progress` before it starts.
pub(crate) fn run(target: &Target, seed: u64, length: Duration, progress: &Path) -> Result<()> {
    let seeds = (target.seeds)();
    let mut file = File::create(progress).map_err(Error::io(progress))?;
    let end = Instant::now() + length;
    for iteration in 0.. {
        if Instant::now() >= end {
            break;
        }
        tell(&mut file, iteration).map_err(Error::io(progress))?;
        check(target, &mutate::input(&seeds, seed, iteration)).map_err(Error::Failed)?;
    }
    Ok(())
}

/// Whether the reader takes `input` as it should; what it makes of it does not matter.
pub(crate) fn check(target: &Target, input: &[u8]) -> std::result::Result<(), String> {
    let (elapsed, grown) = timed(target, input)?;
    if grown > MEMORY_LIMIT {
        return Err(format!("{} MiB of memory for {} bytes", grown >> 20, input.len()));
    }
    // A busy machine may stretch one run; two in a row are the reader's doing.
    if elapsed > TIME_LIMIT && timed(target, input)?.0 > TIME_LIMIT {
        return Err(format!("{:.1} s for {} bytes", elapsed.as_secs_f64(), input.len()));
    }
    Ok(())
}

fn timed(target: &Target, input: &[u8]) -> std::result::Result<(Duration, u64), String> {
    let peak = Peak::start();
    let start = Instant::now();
    catch_unwind(|| (target.run)(input)).map_err(|_| "a panic".to_owned())?;
    Ok((start.elapsed(), peak.grown()))
}

fn tell(file: &mut File, iteration: u64) -> std::io::Result<()> {
    file.rewind()?;
    file.write_all(&iteration.to_le_bytes())
}

/// The iteration a worker was at; 0 where it has not told.
pub(crate) fn read_progress(path: &Path) -> u64 {
    let bytes = fs::read(path).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(run: fn(&[u8]) -> bool) -> Target {
        Target { name: "test", seeds: || vec![b"seed".to_vec()], run }
    }

    #[test]
    fn a_panic_is_found() {
        assert!(check(&target(|_| true), b"x").is_ok());
        assert!(check(&target(|input| input[1] == 0), b"x").is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_measured() {
        let greedy = target(|_| std::hint::black_box(vec![1_u8; 2 * MEMORY_LIMIT as usize]).is_empty());
        assert!(check(&greedy, b"x").is_err_and(|why| why.contains("MiB")));
    }
}
