//! What a connection needs only while it is being polled, and therefore shares with all others of its thread.

use std::cell::RefCell;

use redistributed_core::Output;

/// Bytes read at a time.
pub(super) const READ_SIZE: usize = 64 * 1024;

/// The buffer that sockets are read into, and the session's answer.
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
