//! Epsilons of private training, for `conformance/accountant.py`: reads lines of `q sigma steps delta`, and prints the
//! epsilon of each.
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::error::Error;
use std::io::{BufRead, stdin};

use bantam_train::Accountant;

fn main() -> Result<(), Box<dyn Error>> {
    for line in stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [rate, noise, steps, delta] = words[..] else { return Err("wanted q sigma steps delta".into()) };
        let accountant = Accountant {
            sampling_rate: rate.parse()?,
            noise_multiplier: noise.parse()?,
            steps: steps.parse()?,
        };
        println!("{:.9}", accountant.epsilon(delta.parse()?));
    }
    Ok(())
}
