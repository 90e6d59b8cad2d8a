//! What the service manager that has started the process, such as systemd, is told of its state (`sd_notify(3)`).
//!
//! It listens at the socket that `NOTIFY_SOCKET` names, as it does for units of `Type=notify` and `Type=notify-reload`. Without
//! this variable nobody is told anything. That it cannot be told is worth a line in the log and changes nothing.

use std::io;

use sd_notify::NotifyState;

/// The process accepts clients.
pub fn ready() {
    tell(Ok(vec![NotifyState::Ready]));
}

/// The process reads its settings again. [`ready`] says when it has.
pub fn reloading() {
    tell(NotifyState::monotonic_usec_now().map(|now| vec![NotifyState::Reloading, now]));
}

/// The process has begun to stop.
pub fn stopping() {
    tell(Ok(vec![NotifyState::Stopping]));
}

fn tell(state: io::Result<Vec<NotifyState<'_>>>) {
    if let Err(error) = state.and_then(|state| sd_notify::notify(&state)) {
        tracing::warn!(%error, "the service manager cannot be told the state of this process (NOTIFY_SOCKET)");
    }
}
