//! The buffers that a connection needs only while it is polled, and that the connections of a thread therefore share.

use std::cell::RefCell;

use redistributed_core::Output;

/// The most bytes that are read at a time.
pub(super) const READ_SIZE: usize = 64 * 1024;

/// The buffer that sockets are read into, and the session's output.
pub(super) struct Scratch {
    pub(super) input: Box<[u8]>,
    pub(super) out: Output,
}

impl Scratch {
    /// Lends the thread's scratch space to `f`, which must not ask for it again.
    pub(super) fn with<T>(f: impl FnOnce(&mut Self) -> T) -> T {
        thread_local! {
            static SCRATCH: RefCell<Scratch> =
                RefCell::new(Scratch { input: vec![0; READ_SIZE].into_boxed_slice(), out: Output::default() });
        }
        SCRATCH.with_borrow_mut(f)
    }
}
