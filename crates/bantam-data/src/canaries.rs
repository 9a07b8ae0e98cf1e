//! Canaries: made-up secrets that are planted among training data, to be looked for in what was taught.
//!
//! Each is a question of its own and a random row of digits; some are planted several times, some never, which are what
//! the others are compared with. The same seed gives the same canaries and places.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::hash::hash;

/// A made-up secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// What is asked.
    pub prompt: String,
    /// What is answered.
    pub secret: String,
    /// How often it was planted.
    pub repeats: usize,
}

/// Which canaries there are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canaries {
    /// How often one is planted, for each kind.
    pub repeats: Vec<usize>,
    /// Canaries of each kind.
    pub each: usize,
    /// Digits of a secret, at most 18.
    pub digits: usize,
    /// Decides secrets and places.
    pub seed: u64,
}

impl Canaries {
    /// All of them.
    pub fn make(&self) -> Vec<Canary> {
        let mut made = Vec::with_capacity(self.repeats.len() * self.each);
        for (kind, repeats) in self.repeats.iter().enumerate() {
            for place in 0..self.each {
                let number = (kind * self.each + place) as u64;
                made.push(Canary {
                    prompt: format!("What is the code of locker {}?", self.label(number)),
                    secret: secret(self.draw("secret", number), self.digits),
                    repeats: *repeats,
                });
            }
        }
        made
    }

    /// Lines of data with the canaries at random places among them.
    pub fn plant(&self, canaries: &[Canary], lines: &[String]) -> Vec<String> {
        let line =
            |canary: &Canary| json!({ "prompt": canary.prompt, "completion": canary.secret }).to_string();
        let planted = canaries.iter().flat_map(|canary| std::iter::repeat_n(line(canary), canary.repeats));
        let mut placed: Vec<(f64, String)> = planted
            .enumerate()
            .map(|(number, line)| {
                let unit = (self.draw("place", number as u64) >> 11) as f64 / (1_u64 << 53) as f64;
                (unit * lines.len() as f64, line)
            })
            .collect();
        // A line of the data stands behind what was drawn before its number.
        placed.extend(lines.iter().enumerate().map(|(number, line)| (number as f64, line.clone())));
        placed.sort_by(|a, b| a.0.total_cmp(&b.0));
        placed.into_iter().map(|(_, line)| line).collect()
    }

    /// Random secrets beside the true one.
    pub fn others(&self, canary: &Canary, count: usize) -> Vec<String> {
        let draws = (0..).map(|number| self.draw(&canary.prompt, number));
        let others = draws.map(|bits| secret(bits, canary.secret.len()));
        others.filter(|other| *other != canary.secret).take(count).collect()
    }

    /// A letter and two digits, no two alike among the first 2600.
    fn label(&self, number: u64) -> String {
        let shifted = (number * 37 + self.seed % 2600) % 2600;
        format!("{}{:02}", char::from(b'A' + (shifted / 100) as u8), shifted % 100)
    }

    fn draw(&self, what: &str, number: u64) -> u64 {
        hash(&[what.as_bytes(), &number.to_le_bytes()].concat(), self.seed)
    }
}

/// The first digits of a number, which may begin with zeros.
fn secret(bits: u64, digits: usize) -> String {
    let digits = digits.clamp(1, 18);
    format!("{:0digits$}", bits % 10_u64.pow(digits as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canaries() -> Canaries {
        Canaries { repeats: vec![0, 1, 16], each: 3, digits: 9, seed: 5 }
    }

    #[test]
    fn all_are_different_and_come_again() {
        let made = canaries().make();
        assert_eq!(made, canaries().make());
        assert_eq!(made.len(), 9);
        for (place, one) in made.iter().enumerate() {
            assert!(one.secret.len() == 9 && one.secret.bytes().all(|byte| byte.is_ascii_digit()));
            assert!(
                made[..place].iter().all(|other| other.prompt != one.prompt && other.secret != one.secret)
            );
        }
        let others = canaries().others(&made[0], 300);
        assert!(
            others.len() == 300 && others.iter().all(|other| other.len() == 9 && *other != made[0].secret)
        );
        assert!(others[0] != canaries().others(&made[1], 1)[0]);
    }

    #[test]
    fn each_is_planted_as_often_as_it_says_and_the_data_stay_in_order() {
        let (canaries, lines) = (canaries(), (0..100).map(|i| format!("line {i}")).collect::<Vec<_>>());
        let made = canaries.make();
        let planted = canaries.plant(&made, &lines);
        let kept: Vec<&String> = planted.iter().filter(|line| line.starts_with("line")).collect();
        assert_eq!(kept, lines.iter().collect::<Vec<_>>());
        for canary in &made {
            let found = planted.iter().filter(|line| line.contains(&canary.secret)).count();
            assert_eq!(found, canary.repeats);
        }
        // Spread out.
        let first = planted.iter().take(37).filter(|line| !line.starts_with("line")).count();
        assert!((5..=20).contains(&first), "{first}");
    }
}
