//! What is known of all ports.

use std::time::Instant;

use super::channels::Channels;
use super::figures::Interval;
use super::reading::Reading;

/// A port, and what was read from it.
#[derive(Debug)]
pub(super) struct Port {
    /// The address as people write it.
    pub(super) label: String,
    before: Option<Reading>,
    after: Option<Reading>,
    /// Why it could not be read the last time.
    pub(super) problem: Option<String>,
    /// What passes on its channels, while they are watched.
    pub(super) channels: Channels,
    /// Why its channels cannot be watched.
    pub(super) unwatched: Option<String>,
}

impl Port {
    pub(super) fn new(label: String) -> Self {
        Self { label, before: None, after: None, problem: None, channels: Channels::default(), unwatched: None }
    }

    /// Takes what was read, or why nothing was.
    pub(super) fn update(&mut self, page: Result<String, String>, at: Instant) {
        match page.and_then(|page| Reading::parse(&page, at)) {
            Ok(reading) => {
                self.before = self.after.replace(reading);
                self.problem = None;
            }
            // Figures of a proxy that cannot be reached are no longer true.
            Err(problem) => (self.before, self.after, self.problem) = (None, None, Some(problem)),
        }
        self.channels.turn(at);
    }

    /// What was read last, with what was read before that.
    pub(super) fn interval(&self) -> Option<Interval<'_>> {
        Some(Interval::new(self.before.as_ref(), self.after.as_ref()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_cannot_be_read_has_no_figures_and_recovers() {
        let page = |commands: u32| {
            Ok(format!(
                "redistributed_build_info{{version=\"1\"}} 1\nredistributed_commands_total{{route=\"api\"}} {commands}\n"
            ))
        };
        let (mut port, now) = (Port::new("9127".to_owned()), Instant::now());
        let rate = |port: &Port| port.interval().and_then(|interval| interval.services()[0].commands);
        port.update(page(1), now);
        assert_eq!((port.interval().is_some(), rate(&port)), (true, None));
        port.update(page(4), now + std::time::Duration::from_secs(1));
        assert_eq!(rate(&port), Some(3.0));
        port.update(Err("refused".to_owned()), now);
        assert_eq!((port.interval().is_some(), port.problem.as_deref()), (false, Some("refused")));
        port.update(Ok("<html>".to_owned()), now);
        assert!(port.problem.as_deref().is_some_and(|problem| problem.contains("not those of a redistributed")));
        port.update(page(9), now);
        assert_eq!((port.problem.as_deref(), rate(&port)), (None, None));
    }
}
