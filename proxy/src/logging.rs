//! The proxy's own log: lines on standard error by `tracing`.
//!
//! Quiet by default: what happens at start and stop, warnings, nothing of a single connection that goes well. No line
//! ever holds a payload, a channel, a key or an argument, at any level: the places that log do not have them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redistributed_core::printable::{printable, printable_json};
use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt as lines, reload};

use crate::settings::{Log, LogFormat, LogLevel};

/// Target of the lines about start and stop, which are shown at every level but `off`.
pub const LIFECYCLE: &str = "redistributed::lifecycle";

/// Changes what is logged while the process runs.
#[derive(Clone, Debug)]
pub struct LevelHandle(reload::Handle<Targets, Registry>);

impl LevelHandle {
    /// Puts `level` in force.
    pub fn set(&self, level: LogLevel) {
        // Fails only if the subscriber is gone, and then nothing is logged anyway.
        let _ = self.0.reload(filter(level));
    }
}

/// Installs the subscriber of the process. A second call changes nothing.
pub fn start(log: Log) -> LevelHandle {
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let layer = match log.format {
        LogFormat::Text => lines::layer()
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .fmt_fields(debug_fn(write_field).delimited(" "))
            .with_writer(io::stderr)
            .boxed(),
        LogFormat::Json => lines::layer().json().flatten_event(true).with_writer(|| JsonLines(io::stderr())).boxed(),
    };
    let already_set = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().is_err();
    if already_set {
        tracing::debug!("a log subscriber was installed before");
    }
    LevelHandle(handle)
}

/// Writes a field of a line for people. Its value may be from elsewhere: an error holds what Redis or a collector said.
fn write_field(line: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => {}
        name if line.has_ansi_escapes() => write!(line, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?,
        name => write!(line, "{name}=")?,
    }
    write!(line, "{}", printable(format_args!("{value:?}")))
}

/// Writes lines of JSON, of which each call of [`write`](Write::write) gets one, fit for a person too.
struct JsonLines<W>(W);

impl<W: Write> Write for JsonLines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let json = printable_json(text.trim_end_matches('\n'));
        // In one piece, because other threads and processes may write to the same file.
        self.0.write_all(format!("{json}\n").as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Panics become a log line that says where, not what: some messages of the standard library quote the text they
/// stumbled over, which here could be a payload. Whoever has found a way to cause one may cause many, so each place has a
/// throttle.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        if let Some(more) = admit_panic(&place, Instant::now()) {
            tracing::error!(place, more, "panicked; this is a defect of the proxy");
        }
    }));
}

/// Whether a panic at `place` is to be logged, with the number of those left out since the last one.
fn admit_panic(place: &str, now: Instant) -> Option<u64> {
    /// There are no more of them than places in the program.
    static PLACES: Mutex<BTreeMap<String, Throttle>> = Mutex::new(BTreeMap::new());
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    places.entry(place.to_owned()).or_default().admit(now)
}

/// Libraries are heard only when something is wrong: at lower levels some of them print headers, which may hold a
/// collector's credentials.
fn filter(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Off => return Targets::new(),
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target("redistributed", own)
        .with_target(LIFECYCLE, own.max(LevelFilter::INFO))
}

/// Limits a warning that repeats: it lets the first line through, and then one for each [`Throttle::INTERVAL`], with the number
/// of lines that were left out.
pub struct Throttle {
    state: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    quiet_until: Option<Instant>,
    left_out: u64,
}

impl Throttle {
    /// How long one line stands for all that would repeat it.
    pub const INTERVAL: Duration = Duration::from_secs(10);

    /// A throttle that has let nothing through.
    pub const fn new() -> Self {
        Self { state: Mutex::new(Held { quiet_until: None, left_out: 0 }) }
    }

    /// Returns `Some` if the line is to be written, with the number of lines left out since the last one.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut held = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if held.quiet_until.is_some_and(|until| now < until) {
            held.left_out += 1;
            return None;
        }
        held.quiet_until = Some(now + Self::INTERVAL);
        Some(std::mem::take(&mut held.left_out))
    }

    /// Records that the problem did not occur this time. Returns `Some` once for each run of warnings, with the number of
    /// lines left out, and not before the last line has stood for its interval: a problem that comes and goes is still one
    /// line.
    pub fn settle(&self, now: Instant) -> Option<u64> {
        let mut held = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        held.quiet_until.take_if(|until| *until <= now)?;
        Some(std::mem::take(&mut held.left_out))
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn start_and_stop_are_shown_at_every_level_but_off() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Trace] {
            assert!(filter(level).would_enable(LIFECYCLE, &Level::INFO), "{level:?}");
        }
        assert!(!filter(LogLevel::Off).would_enable(LIFECYCLE, &Level::ERROR));
        assert!(!filter(LogLevel::Warn).would_enable("redistributed::server", &Level::INFO));
    }

    #[test]
    fn libraries_do_not_get_louder_with_us() {
        assert!(filter(LogLevel::Debug).would_enable("redistributed::relay", &Level::DEBUG));
        assert!(!filter(LogLevel::Trace).would_enable("h2::codec", &Level::INFO));
        assert!(filter(LogLevel::Trace).would_enable("h2::codec", &Level::WARN));
        assert!(!filter(LogLevel::Error).would_enable("h2::codec", &Level::WARN));
    }

    #[test]
    fn a_line_of_json_stays_one_line_that_nothing_obeys() {
        let mut written = Vec::new();
        JsonLines(&mut written).write_all("{\"a\":\"\u{9b}2J\u{202e}\"}\n".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), "{\"a\":\"\\u009b2J\\u202e\"}\n");
    }

    #[test]
    fn a_panic_is_logged_once_in_a_while_for_each_place() {
        let now = Instant::now();
        assert_eq!([admit_panic("a.rs:1", now), admit_panic("b.rs:2", now)], [Some(0), Some(0)]);
        assert_eq!(admit_panic("a.rs:1", now), None);
        assert_eq!(admit_panic("a.rs:1", now + Throttle::INTERVAL), Some(1));
    }

    #[test]
    fn a_throttle_lets_the_first_line_through_and_then_counts() {
        let (throttle, start) = (Throttle::new(), Instant::now());
        assert_eq!(throttle.admit(start), Some(0));
        assert_eq!(throttle.admit(start + Duration::from_secs(1)), None);
        assert_eq!(throttle.admit(start + Duration::from_secs(9)), None);
        assert_eq!(throttle.admit(start + Throttle::INTERVAL), Some(2));
        assert_eq!(throttle.admit(start + Throttle::INTERVAL), None);
    }

    #[test]
    fn a_throttle_says_once_that_it_is_over_and_not_too_soon() {
        let (throttle, start) = (Throttle::new(), Instant::now());
        assert_eq!(throttle.settle(start), None);
        assert_eq!(throttle.admit(start), Some(0));
        assert_eq!(throttle.settle(start + Duration::from_secs(1)), None);
        assert_eq!(throttle.admit(start + Duration::from_secs(2)), None);
        assert_eq!(throttle.settle(start + Throttle::INTERVAL), Some(1));
        assert_eq!(throttle.settle(start + Throttle::INTERVAL), None);
        assert_eq!(throttle.admit(start + Throttle::INTERVAL), Some(0));
    }
}
