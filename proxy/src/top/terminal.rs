//! The terminal: its raw mode, its size, its keys, and its screen.

use std::io::{self, Read, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

use super::keys::{Key, keys};

/// The other screen, without the cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The size of a terminal that does not tell it.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// The terminal in raw mode, on its other screen. Both end when this is dropped.
pub(super) struct Terminal {
    before: Termios,
}

impl Terminal {
    /// Takes the terminal of standard input and output.
    ///
    /// # Errors
    /// Standard input is no terminal, or standard output is closed.
    pub(super) fn take() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?;
        // From here on it is given back.
        let terminal = Self { before };
        write(ENTER)?;
        Ok(terminal)
    }

    /// The size of the terminal in columns and lines.
    pub(super) fn size(&self) -> (usize, usize) {
        let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or(USUAL_SIZE, |size| (usize::from(size.ws_col), usize::from(size.ws_row)))
    }

    /// Shows lines, of which there are as many as the terminal has.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(super) fn show(&self, lines: &[String]) -> io::Result<()> {
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
        write(&format!("\x1b[H{}\x1b[J", lines.join("\r\n")))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing can be done if the terminal is gone.
        let _ = write(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The keys that are pressed from now on, until standard input ends. They are read on a thread of their own, which ends with the
/// process.
///
/// # Errors
/// The system gives no thread.
pub(super) fn pressed() -> io::Result<mpsc::Receiver<Key>> {
    let (sender, receiver) = mpsc::channel(64);
    let read = move || {
        let mut bytes = [0; 256];
        while let Ok(read @ 1..) = io::stdin().lock().read(&mut bytes) {
            for key in keys(&bytes[..read]) {
                if sender.blocking_send(key).is_err() {
                    return;
                }
            }
        }
    };
    std::thread::Builder::new().name("keys".to_owned()).spawn(read)?;
    Ok(receiver)
}
