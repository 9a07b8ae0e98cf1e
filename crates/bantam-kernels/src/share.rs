//! One output slice written by several threads at places that do not overlap.

use std::marker::PhantomData;

/// A mutable slice whose disjoint parts different threads write.
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: the only access is `slice_mut`, whose callers promise that no two ranges overlap.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Shared { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The `count` items from `begin` on.
    ///
    /// # Safety
    ///
    /// No other slice handed out that is still in use may overlap this one.
    #[allow(
        clippy::mut_from_ref,
        reason = "this is the purpose of the type; the caller promises disjointness"
    )]
    #[inline(always)]
    pub(crate) unsafe fn slice_mut(&self, begin: usize, count: usize) -> &mut [T] {
        assert!(begin <= self.len && count <= self.len - begin);
        // SAFETY: inside the slice by the assertion, unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(begin), count) }
    }

    /// Where some rows of `count` items lie, the first one from `begin` on, each `apart` behind the one before. Reading or
    /// writing them takes what [`Shared::slice_mut`] asks for.
    #[inline(always)]
    pub(crate) fn rows(&self, begin: usize, rows: usize, count: usize, apart: usize) -> *mut T {
        let last = rows.saturating_sub(1).checked_mul(apart).and_then(|rows| rows.checked_add(count));
        assert!(begin <= self.len && last.is_some_and(|last| last <= self.len - begin));
        // SAFETY: inside the slice by the assertion.
        unsafe { self.start.add(begin) }
    }
}
