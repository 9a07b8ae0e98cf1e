//! How a model begins that has learnt nothing.

use bantam_model::{BlankTensor, Start, fnv1a};
use bantam_tensor::Tensor;

use crate::Error;
use crate::random::Random;

/// The first numbers of a tensor in f32: those that are drawn are normal, with this standard deviation. They follow from
/// the seed and the tensor's name alone.
///
/// # Errors
///
/// A shape that is no tensor's.
pub fn start_of(blank: &BlankTensor, deviation: f32, seed: u64) -> Result<Tensor, Error> {
    let count = blank.shape.iter().product();
    let numbers: Vec<f32> = match blank.start {
        Start::Filled(number) => vec![number; count],
        Start::Drawn => {
            let mut random = Random::new(seed ^ fnv1a(blank.name.bytes()));
            (0..count).map(|_| random.normal() * deviation).collect()
        }
    };
    Ok(Tensor::from_f32(blank.name.as_str(), blank.shape.clone(), &numbers)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_wide_as_asked() {
        let blank = |start| BlankTensor { name: "a".into(), shape: vec![100, 100], start };
        let drawn = start_of(&blank(Start::Drawn), 0.02, 1).unwrap().to_f32();
        let mean = |of: &dyn Fn(f32) -> f32| drawn.iter().map(|x| of(*x)).sum::<f32>() / 1e4;
        assert!(mean(&|x| x).abs() < 1e-3 && (mean(&|x| x * x).sqrt() - 0.02).abs() < 5e-4);
        // The fourth moment tells a normal distribution from others.
        assert!((mean(&|x| (x / 0.02).powi(4)) - 3.0).abs() < 0.3);
        assert_eq!(drawn, start_of(&blank(Start::Drawn), 0.02, 1).unwrap().to_f32());
        assert_ne!(drawn, start_of(&blank(Start::Drawn), 0.02, 2).unwrap().to_f32());
        assert_eq!(start_of(&blank(Start::Filled(1.0)), 0.02, 1).unwrap().to_f32(), [1.0; 10_000]);
    }
}
