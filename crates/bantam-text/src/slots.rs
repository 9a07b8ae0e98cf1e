//! A table that finds numbers again by a hash and a test: open addressing with linear probing.
//!
//! A slot holds a number plus one and, in the bits above it, a part of its hash, so that the test is hardly ever asked
//! about another number than the one wanted: what the numbers stand for stays out of the cache while a table is filled.
//! Invariant: at least half of the slots are zero, which means free. Hashes have to be keyed at random, so that no file
//! can choose what collides.

/// Numbers below a count, each at most once.
pub(crate) struct Slots {
    slots: Vec<u32>,
    /// The bits of a slot that hold a part of the hash.
    tag_mask: u32,
    /// The high bits of a hash choose the slot.
    shift: u32,
}

impl Slots {
    /// For the numbers below `count`, which fits 31 bits.
    pub(crate) fn with_capacity(count: usize) -> Self {
        let len = (count.max(4) * 2).next_power_of_two();
        let number_bits = usize::BITS - count.leading_zeros();
        Self {
            slots: vec![0; len],
            tag_mask: u32::MAX.checked_shl(number_bits).unwrap_or(0),
            shift: u64::BITS - len.trailing_zeros(),
        }
    }

    /// The number of this hash that `is_it`, or the free slot where it belongs.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Result<u32, usize> {
        let last = self.slots.len() - 1;
        let tag = hash as u32 & self.tag_mask;
        let mut slot = (hash >> self.shift) as usize;
        loop {
            let found = self.slots[slot];
            if found == 0 {
                return Err(slot);
            }
            let number = (found & !self.tag_mask) - 1;
            if found & self.tag_mask == tag && is_it(number) {
                return Ok(number);
            }
            slot = (slot + 1) & last;
        }
    }

    /// Takes a free slot, where [`Self::find`] has found that `number` belongs.
    pub(crate) fn fill(&mut self, slot: usize, hash: u64, number: u32) {
        self.slots[slot] = (number + 1) | (hash as u32 & self.tag_mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_again_whatever_collides() {
        // All bits used for the slot, for the tag or for neither collide for some numbers.
        for step in [0, 1, 1 << 20, 1 << 61, 0x9E37_79B9_7F4A_7C15] {
            let hash = |number: u32| u64::from(number / 2).wrapping_mul(step);
            let mut slots = Slots::with_capacity(100);
            for number in 0..100 {
                let slot = slots.find(hash(number), |n| n == number).unwrap_err();
                slots.fill(slot, hash(number), number);
            }
            for number in 0..100 {
                assert_eq!(slots.find(hash(number), |n| n == number), Ok(number), "{step}");
            }
            assert!(slots.find(hash(7), |_| false).is_err());
        }
    }
}
