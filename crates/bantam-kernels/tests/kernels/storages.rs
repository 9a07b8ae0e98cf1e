//! Widening against the layouts' definitions.

use bantam_kernels::matmul::dequantize;
use bantam_kernels::{Isa, Storage};

use crate::ggml;
use crate::random::Random;

/// Equal as numbers: a zero may have either sign, since some formats add a minimum and others subtract one.
fn assert_equal(what: &str, expected: &[f32], found: &[f32]) {
    for (i, (e, f)) in expected.iter().zip(found).enumerate() {
        assert!(e == f || e.is_nan() && f.is_nan(), "{what}: weight {i} is {f:e} and not {e:e}");
    }
}

#[test]
fn every_storage_widens_as_its_layout_says() {
    for storage in Storage::ALL {
        // One more and one fewer than the sixteen that scales are formed for together, and single ones.
        for count in [1, 2, 15, 16, 17, 33, 100] {
            let count = count * storage.block_len();
            let bytes = Random::new(count as u64).weights(storage, count);
            let expected = ggml::weights(storage, &bytes);
            for isa in Isa::available() {
                let mut found = vec![f32::NAN; count];
                dequantize(isa, storage, &bytes, &mut found);
                assert_equal(&format!("{count} of {storage} on {isa}"), &expected, &found);
            }
        }
    }
}

#[test]
fn every_pattern_of_bits_of_the_half_precisions() {
    let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for storage in [Storage::F16, Storage::BF16] {
        let expected = ggml::weights(storage, &bytes);
        for isa in Isa::available() {
            let mut found = vec![0.0; expected.len()];
            dequantize(isa, storage, &bytes, &mut found);
            assert_equal(&format!("{storage} on {isa}"), &expected, &found);
        }
    }
}

#[test]
fn blocks_of_any_bits_stay_within_bounds() {
    let mut random = Random::new(7);
    for storage in Storage::ALL {
        let count = 4 * storage.block_len();
        let size = storage.bytes_of(count).expect("whole blocks");
        for fill in [Some(0), Some(0xff), None] {
            let bytes: Vec<u8> = (0..size).map(|_| fill.unwrap_or(random.bits() as u8)).collect();
            let expected = ggml::weights(storage, &bytes);
            for isa in Isa::available() {
                let mut found = vec![0.0; count];
                dequantize(isa, storage, &bytes, &mut found);
                assert_equal(&format!("{storage} on {isa}"), &expected, &found);
            }
        }
    }
}
