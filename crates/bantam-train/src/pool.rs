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
    /// Rows of the pass that is under way.
    rows: usize,
    /// The most that a pass had.
    rows_most: usize,
    /// Whether no pass before it had as many.
    is_largest: bool,
}

impl Pool {
    /// A pass with so many rows begins. Its buffers get room for as many as the largest pass had, so that those of one
    /// pass fit the next: else what passes of different sizes leave behind would add up.
    pub(crate) fn begin(&mut self, rows: usize) {
        self.rows = rows;
        self.is_largest = rows > self.rows_most;
        if self.is_largest {
            self.rows_most = rows;
            self.shrink();
            // Else the allocator keeps what is too small now beside what takes its place.
            bantam_tensor::kernels::memory::give_back();
        }
    }

    /// A buffer of so many numbers, whatever they are.
    pub(crate) fn take(&mut self, len: usize) -> Vec<f32> {
        let room = self.room(len);
        let fits = |buffer: &Vec<f32>| Pool::fits(buffer.capacity(), room);
        let candidates = self.free.iter().enumerate().filter(|(_, buffer)| fits(buffer));
        let found = candidates.min_by_key(|(_, buffer)| buffer.capacity()).map(|(place, _)| place);
        let mut buffer = match found {
            Some(place) => self.free_at(place),
            None => self.fresh(room),
        };
        buffer.resize(len, 0.0);
        self.out += buffer.capacity();
        self.peak = self.peak.max(self.out + self.kept);
        buffer
    }

    /// Numbers that a buffer has room for where so many are wanted.
    fn room(&self, len: usize) -> usize {
        match len.checked_rem(self.rows) {
            Some(0) => len / self.rows * self.rows_most,
            _ => len,
        }
    }

    /// A new buffer. What is free goes back to the system before more is held than the largest pass held.
    fn fresh(&mut self, room: usize) -> Vec<f32> {
        while !self.is_largest && self.out + self.kept + room > self.peak && !self.free.is_empty() {
            let last = self.free.len() - 1;
            drop(self.free_at(last));
        }
        Vec::with_capacity(room)
    }

    fn free_at(&mut self, place: usize) -> Vec<f32> {
        let buffer = self.free.swap_remove(place);
        self.kept -= buffer.capacity();
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
        assert_eq!(third.capacity(), 10);
    }

    #[test]
    fn passes_of_different_sizes_hold_what_the_largest_holds() {
        let mut pool = Pool::default();
        let mut pass = |rows: usize| {
            pool.begin(rows);
            let mut held: Vec<Vec<f32>> = (1..20).map(|width| pool.take(rows * width)).collect();
            // Not of rows, and of another size each time.
            held.push(pool.take(rows * rows + 1));
            held.into_iter().for_each(|buffer| pool.put(buffer));
            pool.peak_bytes()
        };
        let largest = pass(64);
        for rows in [63, 10, 40, 1, 33, 64, 17] {
            assert_eq!(pass(rows), largest, "{rows} rows");
        }
    }
}
