//! Standard output, where spans are printed.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use span_tree::{Look, Style};

/// The standard output of the process. Cheap to clone.
#[derive(Clone)]
pub(in crate::telemetry) struct Output {
    out: Arc<Mutex<dyn Write + Send>>,
    style: Style,
    /// Asks for the width in columns, which changes with the terminal's window.
    width: fn() -> Option<usize>,
}

impl Output {
    /// Takes the standard output of the process.
    pub(super) fn stdout() -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self {
            out: Arc::new(Mutex::new(io::stdout())),
            style: Style::of_output(is_terminal, |name| std::env::var(name).ok()),
            width: if is_terminal { terminal_width } else { || None },
        }
    }

    /// An output that a test reads.
    #[cfg(test)]
    pub(super) fn to(out: Arc<Mutex<dyn Write + Send>>) -> Self {
        Self { out, style: Style::Plain, width: || None }
    }

    /// The form in which trees are drawn on this output, at its present width.
    pub(super) fn look(&self) -> Look {
        Look { style: self.style, width: (self.width)() }
    }

    /// Writes `text`. The write is done on a thread for blocking work: a terminal may be stopped.
    ///
    /// # Errors
    /// Standard output is closed, or it has not taken what was written before.
    pub(super) async fn write(&self, text: String) -> io::Result<()> {
        let out = Arc::clone(&self.out);
        let write = move || {
            let mut out = match out.try_lock() {
                Ok(out) => out,
                Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
                // A write that nobody waits for any longer. More threads would wait with it for ever.
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, "it takes nothing"));
                }
            };
            out.write_all(text.as_bytes())?;
            out.flush()
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }
}

fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}
