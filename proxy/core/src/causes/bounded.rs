//! A list with a bound that is kept in place.

/// At most `N` values.
#[derive(Clone, Copy)]
pub(super) struct Bounded<T, const N: usize> {
    values: [T; N],
    length: usize,
}

impl<T: Copy + Default, const N: usize> Bounded<T, N> {
    pub(super) fn new() -> Self {
        Self { values: [T::default(); N], length: 0 }
    }

    /// Adds a value at the end, and returns where it is unless there is no room.
    pub(super) fn push(&mut self, value: T) -> Option<usize> {
        let at = self.length;
        *self.values.get_mut(at)? = value;
        self.length += 1;
        Some(at)
    }

    pub(super) fn remove(&mut self, at: usize) {
        if at < self.length {
            self.values.copy_within(at + 1..self.length, at);
            self.length -= 1;
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.length == N
    }

    pub(super) fn as_slice(&self) -> &[T] {
        self.values.get(..self.length).unwrap_or_default()
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        self.values.get_mut(..self.length).unwrap_or_default()
    }

    pub(super) fn iter(&self) -> core::slice::Iter<'_, T> {
        self.as_slice().iter()
    }
}
