//! Memory that is used again: buffers come back and go out to whoever wants as many numbers next.

/// Buffers of `f32`, with a count of what is held.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    free: Vec<Vec<f32>>,
    /// Numbers in buffers that are out.
    out: usize,
    /// Numbers in buffers that are free.
    kept: usize,
    /// The most that was ever held.
    peak: usize,
}

impl Pool {
    /// A buffer of so many numbers, whatever they are.
    pub(crate) fn take(&mut self, len: usize) -> Vec<f32> {
        let fits = |buffer: &Vec<f32>| Pool::fits(buffer.capacity(), len);
        let candidates = self.free.iter().enumerate().filter(|(_, buffer)| fits(buffer));
        let found = candidates.min_by_key(|(_, buffer)| buffer.capacity()).map(|(place, _)| place);
        let mut buffer = match found {
            Some(place) => {
                let buffer = self.free.swap_remove(place);
                self.kept -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(len),
        };
        buffer.resize(len, 0.0);
        self.out += buffer.capacity();
        self.peak = self.peak.max(self.out + self.kept);
        buffer
    }

    /// Whether a buffer of this capacity is given to whoever wants so many numbers: half of it is used at least.
    pub(crate) fn fits(capacity: usize, len: usize) -> bool {
        capacity >= len && capacity / 2 <= len
    }

    /// A buffer of so many zeros.
    pub(crate) fn zeros(&mut self, len: usize) -> Vec<f32> {
        let mut buffer = self.take(len);
        buffer.fill(0.0);
        buffer
    }

    /// A buffer with these numbers.
    pub(crate) fn copy(&mut self, of: &[f32]) -> Vec<f32> {
        let mut buffer = self.take(of.len());
        buffer.copy_from_slice(of);
        buffer
    }

    /// Takes a buffer back.
    pub(crate) fn put(&mut self, buffer: Vec<f32>) {
        if buffer.capacity() > 0 {
            self.out = self.out.saturating_sub(buffer.capacity());
            self.kept += buffer.capacity();
            self.free.push(buffer);
        }
    }

    /// Gives what is free back to the system.
    pub(crate) fn shrink(&mut self) {
        self.free.clear();
        self.kept = 0;
    }

    /// Bytes held at most, so far.
    pub(crate) fn peak_bytes(&self) -> usize {
        self.peak * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::Pool;

    #[test]
    fn buffers_come_back() {
        let mut pool = Pool::default();
        let first = pool.take(100);
        let place = first.as_ptr();
        pool.put(first);
        let second = pool.zeros(80);
        assert_eq!(second.as_ptr(), place);
        assert_eq!(second, [0.0; 80]);
        pool.put(second);
        assert_eq!(pool.peak_bytes(), 400);
        // Far too large a buffer is left for others.
        let third = pool.take(10);
        assert_ne!(third.as_ptr(), place);
        assert_eq!(pool.peak_bytes(), 440);
    }
}
