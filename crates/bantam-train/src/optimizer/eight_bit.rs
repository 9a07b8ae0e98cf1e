//! Numbers in blocks of 8-bit codes, each block with the greatest magnitude as its scale.
//!
//! The codes stand for the dynamic tree of Dettmers et al. (2022): seven decades, the higher ones with more steps.

/// Numbers that share a scale.
pub(super) const BLOCK: usize = 256;

/// The numbers that codes stand for, ascending, from 1 (and -1) down to 1e-7 or so, with zero.
pub(super) type Table = [f32; 256];

/// A tensor's numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Codes {
    pub(crate) codes: Vec<u8>,
    /// One for each block.
    pub(crate) scales: Vec<f32>,
}

impl Codes {
    /// So many zeros, whatever their codes are, since all scales are zero.
    pub(super) fn zeros(len: usize) -> Self {
        Codes { codes: vec![0; len], scales: vec![0.0; len.div_ceil(BLOCK)] }
    }

    pub(super) fn decode(&self, block: usize, table: &Table, out: &mut [f32]) {
        let scale = self.scales[block];
        for (out, code) in out.iter_mut().zip(&self.codes[block * BLOCK..]) {
            *out = table[usize::from(*code)] * scale;
        }
    }

    pub(super) fn encode(&mut self, block: usize, table: &Table, numbers: &[f32]) {
        let scale = numbers.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        self.scales[block] = scale;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        for (code, x) in self.codes[block * BLOCK..].iter_mut().zip(numbers) {
            *code = nearest(table, x * inverse);
        }
    }
}

fn nearest(table: &Table, x: f32) -> u8 {
    let above = table.partition_point(|known| *known < x).min(table.len() - 1);
    let below = above.saturating_sub(1);
    let place = if x - table[below] < table[above] - x { below } else { above };
    place as u8
}

/// For numbers of both signs.
pub(super) fn signed_table() -> Table {
    table(|decade| 1 << decade, &[1.0, -1.0])
}

/// For numbers that are not negative.
pub(super) fn unsigned_table() -> Table {
    table(|decade| 2 << decade, &[1.0])
}

/// The middles of so many steps in each of seven decades, for each sign; zero and one.
fn table(steps: impl Fn(i32) -> usize, signs: &[f64]) -> Table {
    let mut numbers = vec![0.0_f64, 1.0];
    for decade in 0..7 {
        let steps = steps(decade);
        let width = 0.9 / steps as f64;
        for step in 0..steps {
            let middle = 0.1 + width * (step as f64 + 0.5);
            numbers.extend(signs.iter().map(|sign| sign * middle * 10_f64.powi(decade - 6)));
        }
    }
    numbers.sort_by(f64::total_cmp);
    let mut table = [0.0; 256];
    for (entry, number) in table.iter_mut().zip(numbers) {
        *entry = number as f32;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and last entries of `create_dynamic_map` of bitsandbytes, by its formula.
    #[test]
    fn tables_are_those_of_the_paper() {
        let (signed, unsigned) = (signed_table(), unsigned_table());
        assert!(signed.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(unsigned.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!((signed[255], unsigned[255], unsigned[0]), (1.0, 1.0, 0.0));
        assert!((signed[0] + 0.992_968_75).abs() < 1e-6, "{}", signed[0]);
        assert!((signed[128] - 5.5e-7).abs() < 1e-12, "{}", signed[128]);
        assert!((unsigned[254] - 0.996_484_4).abs() < 1e-6, "{}", unsigned[254]);
    }

    #[test]
    fn numbers_come_back_within_half_the_widest_step() {
        let numbers: Vec<f32> = (0..300).map(|i| (i as f32 - 150.0) * 0.01).collect();
        let mut codes = Codes::zeros(numbers.len());
        let table = signed_table();
        for (block, numbers) in numbers.chunks(BLOCK).enumerate() {
            codes.encode(block, &table, numbers);
            let mut back = vec![0.0; numbers.len()];
            codes.decode(block, &table, &mut back);
            // The highest decade has 64 steps between a tenth of the scale and the whole.
            let half = 0.5 * 0.9 / 64.0 * codes.scales[block] * 1.001;
            for (x, back) in numbers.iter().zip(back) {
                assert!((x - back).abs() <= half, "{x} {back}");
            }
        }
    }
}
