//! What stands on the screen: the state that keys change, and its lines.

use span_tree::{Style, Tone, fit, width};

use super::keys::Key;
use super::model::Port;
use super::reasons;
use super::table::Table;
use super::view::View;

/// The lines around a table: two above it, and the last of the screen.
const AROUND: usize = 3;

/// The help, which stands in the table's place.
const HELP: &str = "\
1 2 3 4, Tab   services, channels, skipped, proxies
s, r           sort by the next column; the other way round
/              show only rows with this text; Esc ends that
p              pause, and go on
up down, j k   scroll; also PgUp and PgDn
?, q           this help; end

cmd/s pub/s dlv/s  commands, publishes and deliveries a second, last interval
traced             the share of publishes with a context; of others see skipped
p50 p95 p99        from a publish to Redis's reply, in the last interval
errors             connections refused, failed or not understood; red if new
spans/s lost       spans exported a second; failed and dropped since the start
channels           from /tap, which is watched only while they are shown";

/// What keys have chosen.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) view: View,
    sort: [usize; View::ALL.len()],
    reversed: [bool; View::ALL.len()],
    filter: String,
    is_typing: bool,
    pub(super) is_paused: bool,
    shows_help: bool,
    scrolled: usize,
}

impl State {
    /// Sorts by what is greatest at first: by the rate of commands, of publishes, of skipped ones; proxies by name.
    pub(super) fn new() -> Self {
        Self { sort: [1, 2, 2, 0], ..Self::default() }
    }

    /// The column by which a view is sorted.
    pub(super) fn sort(&self, view: View) -> usize {
        self.sort[view as usize]
    }

    /// Does what a key asks for. Returns whether the program goes on.
    pub(super) fn press(&mut self, key: Key, ports: &[Port], height: usize) -> bool {
        if self.is_typing {
            return self.edit(key);
        }
        let page = height.saturating_sub(AROUND + 1).max(1);
        match key {
            Key::Char('q' | 'Q') | Key::Interrupt => return false,
            _ if self.shows_help => self.shows_help = false,
            Key::Char('?' | 'h') => self.shows_help = true,
            Key::Char(digit @ '1'..='4') => {
                let index = digit.to_digit(10).map_or(0, |digit| digit as usize - 1);
                self.show(View::ALL[index]);
            }
            Key::Tab => self.show(View::ALL[(self.view as usize + 1) % View::ALL.len()]),
            Key::Char('s') => {
                let columns = self.view.table(ports).columns();
                let sort = &mut self.sort[self.view as usize];
                *sort = (*sort + 1) % columns.max(1);
            }
            Key::Char('r') => self.reversed[self.view as usize] ^= true,
            Key::Char('/') => (self.is_typing, self.filter) = (true, String::new()),
            Key::Escape => self.filter.clear(),
            Key::Char('p' | ' ') => self.is_paused ^= true,
            Key::Up | Key::Char('k') => self.scrolled = self.scrolled.saturating_sub(1),
            Key::Down | Key::Char('j') => self.scrolled += 1,
            Key::PageUp => self.scrolled = self.scrolled.saturating_sub(page),
            Key::PageDown => self.scrolled += page,
            _ => {}
        }
        true
    }

    fn edit(&mut self, key: Key) -> bool {
        match key {
            Key::Interrupt => return false,
            Key::Enter => self.is_typing = false,
            Key::Escape => (self.is_typing, self.filter) = (false, String::new()),
            Key::Backspace => _ = self.filter.pop(),
            Key::Char(c) => self.filter.push(c),
            _ => {}
        }
        self.scrolled = 0;
        true
    }

    fn show(&mut self, view: View) {
        (self.view, self.scrolled, self.filter) = (view, 0, String::new());
    }

    /// The lines of a screen of this size, as many as it has.
    pub(super) fn lines(&mut self, ports: &[Port], size: (usize, usize), interval: &str, style: Style) -> Vec<String> {
        let (columns, height) = size;
        let mut lines = vec![fit_styled(&self.tabs(), columns, style), String::new()];
        let room = height.saturating_sub(AROUND);
        if self.shows_help {
            lines.extend(HELP.lines().take(room).map(|line| fit(line, columns)));
        } else {
            let index = self.view as usize;
            let mut table = self.view.table(ports).sorted(self.sort[index], self.reversed[index], &self.filter);
            let legend = if self.view == View::Skipped { legend(&mut table, columns) } else { Vec::new() };
            let notes = notes(self.view, ports);
            let mut rows = table.lines(Some(columns), style);
            let heading = rows.remove(0);
            let empty = if rows.is_empty() { self.nothing() } else { "" };
            let space = room.saturating_sub(1 + notes.len()).max(1);
            self.scrolled = self.scrolled.min(rows.len().saturating_sub(space));
            lines.push(heading);
            lines.extend(rows.into_iter().skip(self.scrolled).take(space));
            lines.extend((!empty.is_empty()).then(|| style.paint(Tone::Faint, &fit(empty, columns))));
            lines.extend(notes.into_iter().map(|note| style.paint(Tone::Bad, &fit(&note, columns))));
            lines.extend(legend.into_iter().map(|line| style.paint(Tone::Faint, &line)));
        }
        lines.truncate(height.saturating_sub(1));
        lines.resize(height.saturating_sub(1), String::new());
        lines.push(style.paint(Tone::Faint, &fit(&self.status(ports, interval), columns)));
        lines
    }

    fn tabs(&self) -> Vec<(String, Option<Tone>)> {
        let tab = |(index, view): (usize, View)| {
            let tone = if view == self.view { Tone::Strong } else { Tone::Faint };
            let name = if view == self.view { format!("[{}]", view.name()) } else { format!(" {} ", view.name()) };
            (format!("{} {name}  ", index + 1), Some(tone))
        };
        View::ALL.into_iter().enumerate().map(tab).collect()
    }

    fn status(&self, ports: &[Port], interval: &str) -> String {
        let reached = ports.iter().filter(|port| port.problem.is_none()).count();
        let mut parts = vec![format!("{reached} of {} reached, every {interval}", ports.len())];
        if self.is_paused {
            parts.push("PAUSED".to_owned());
        }
        if self.is_typing {
            parts.push(format!("/{}_", self.filter));
        } else if !self.filter.is_empty() {
            parts.push(format!("only /{}", self.filter));
        }
        parts.push("s sort  r reverse  / filter  p pause  ? help  q end".to_owned());
        parts.join("   ")
    }

    /// What is said where there are no rows.
    fn nothing(&self) -> &'static str {
        match self.view {
            _ if !self.filter.is_empty() => "nothing fits the filter",
            View::Services => "no service is known",
            View::Channels => "no message has passed since the channels are shown",
            View::Skipped => "every publish got a context, or there was none",
            View::Proxies => "there is no port",
        }
    }
}

/// Takes the explanations of reasons out of a table that is too wide for them. Returns them as lines, behind an empty one.
fn legend(table: &mut Table, columns: usize) -> Vec<String> {
    if table.width() <= columns {
        return Vec::new();
    }
    table.remove("what it means");
    table.remove("what to do");
    let reasons = table.columns.iter().position(|column| column.head == "reason");
    let reasons = table.rows.iter().filter_map(|row| Some(row.get(reasons?)?.0.as_str()));
    std::iter::once(String::new()).chain(reasons::legend(reasons, columns)).collect()
}

/// What has to be said of ports below a table: why there is nothing of them in it.
pub(super) fn notes(view: View, ports: &[Port]) -> Vec<String> {
    let of_port = |port: &Port| {
        let problem = port.problem.as_ref();
        let unwatched = port.unwatched.as_ref().filter(|_| view == View::Channels && problem.is_none());
        let mut notes: Vec<String> =
            problem.or(unwatched).map(|text| format!("{}: {text}", port.label)).into_iter().collect();
        if view == View::Channels {
            let more = [
                (port.channels.missed, "messages were too many to be shown"),
                (port.channels.others, "messages on further channels"),
            ];
            notes.extend(
                more.iter()
                    .filter(|(count, _)| *count > 0)
                    .map(|(count, what)| format!("{}: {count} {what}", port.label)),
            );
        }
        notes
    };
    ports.iter().flat_map(of_port).collect()
}

/// Pieces of text beside each other, cut to `columns`.
fn fit_styled(pieces: &[(String, Option<Tone>)], columns: usize, style: Style) -> String {
    let mut room = columns;
    let mut text = String::new();
    for (piece, tone) in pieces {
        let piece = fit(piece, room);
        room -= width(&piece);
        text += &tone.map_or(piece.clone(), |tone| style.paint(tone, &piece));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn ports() -> Vec<Port> {
        let page = |number: u32| {
            let mut page =
                "redistributed_build_info{version=\"0.1.0\"} 1\nredistributed_mode{mode=\"auto\"} 1\n".to_owned();
            for service in ["orders", "worker-with-a-long-name"] {
                page += &format!(
                    "redistributed_commands_total{{route=\"{service}\"}} {}\n\
                     redistributed_published_total{{route=\"{service}\"}} {number}\n\
                     redistributed_injected_total{{route=\"{service}\"}} {}\n\
                     redistributed_skipped_total{{route=\"{service}\",reason=\"auto_nobody\"}} {}\n",
                    number * 10,
                    number / 2,
                    number - number / 2,
                );
            }
            Ok(page)
        };
        let (mut reached, now) = (Port::new("127.0.0.1:9127".to_owned()), Instant::now());
        reached.update(page(0), now);
        reached.update(page(100), now + Duration::from_secs(1));
        let mut away = Port::new("127.0.0.1:1".to_owned());
        away.update(Err("cannot connect: Connection refused".to_owned()), now);
        vec![reached, away]
    }

    fn shown(state: &mut State, ports: &[Port], size: (usize, usize)) -> Vec<String> {
        let lines = state.lines(ports, size, "1s", Style::Plain);
        assert_eq!(lines.len(), size.1);
        assert!(lines.iter().all(|line| width(line) <= size.0), "{lines:#?}");
        lines
    }

    #[test]
    fn services_stand_with_their_rates_and_ports_with_their_problems() {
        let (mut state, ports) = (State::new(), ports());
        let lines = shown(&mut state, &ports, (80, 24));
        assert_eq!(lines[0], "1 [services]  2  channels   3  skipped   4  proxies");
        assert!(lines[2].starts_with("service                cmd/s▾  pub/s"), "{lines:#?}");
        assert!(lines[3].starts_with("orders                   1000    100     50%"), "{lines:#?}");
        assert_eq!(lines[5], "127.0.0.1:1: cannot connect: Connection refused");
        assert!(lines[23].starts_with("1 of 2 reached, every 1s   s sort"), "{lines:#?}");
    }

    #[test]
    fn every_size_of_a_terminal_is_kept_to_in_every_view() {
        let (mut state, ports) = (State::new(), ports());
        for view in ['1', '2', '3', '4', '?'] {
            state.press(Key::Char(view), &ports, 24);
            for size in [(1, 1), (10, 3), (40, 10), (80, 24), (160, 50), (300, 2)] {
                let lines = state.lines(&ports, size, "1s", Style::Plain);
                assert_eq!(lines.len(), size.1.max(1), "{view} {size:?}");
                // A table is not made narrower than its narrowest columns.
                assert!(lines.iter().all(|line| width(line) <= size.0.max(60)), "{view} {size:?}: {lines:#?}");
            }
        }
    }

    #[test]
    fn keys_change_the_view_the_order_and_the_filter() {
        let (mut state, ports) = (State::new(), ports());
        let mut press = |keys: &[Key]| {
            assert!(keys.iter().all(|key| state.press(*key, &ports, 24)));
            state.lines(&ports, (160, 24), "1s", Style::Plain).join("\n")
        };
        let skipped = press(&[Key::Char('3')]);
        assert!(skipped.contains("auto_nobody") && skipped.contains("nobody subscribes to the channel"), "{skipped}");
        let filtered = press(&[
            Key::Char('1'),
            Key::Char('/'),
            Key::Char('O'),
            Key::Char('r'),
            Key::Char('d'),
            Key::Char('q'),
            Key::Backspace,
            Key::Enter,
        ]);
        assert!(
            filtered.contains("orders") && !filtered.contains("worker") && filtered.contains("only /Ord"),
            "{filtered}"
        );
        let all = press(&[Key::Escape, Key::Char('p')]);
        assert!(all.contains("worker") && all.contains("PAUSED"), "{all}");
        let by_name = press(&[Key::Char('s'), Key::Char('s')]);
        assert!(by_name.contains("traced▾"), "{by_name}");
        let proxies = press(&[Key::Char('4')]);
        assert!(proxies.contains("cannot connect: Connection refused") && proxies.contains("reached"), "{proxies}");
        assert!(press(&[Key::Char('?')]).contains("Esc ends that"));
        assert!(HELP.lines().all(|line| width(line) <= 80), "it fits into a small terminal");
        assert!(!press(&[Key::Char('x')]).contains("Esc ends that"), "any key ends the help");
        assert!(!state.press(Key::Char('q'), &ports, 24) && !state.press(Key::Interrupt, &ports, 24));
    }

    #[test]
    fn reasons_are_explained_below_the_table_where_it_is_too_narrow_for_that() {
        let (mut state, ports) = (State::new(), ports());
        state.press(Key::Char('3'), &ports, 24);
        let lines = shown(&mut state, &ports, (80, 24));
        assert!(!lines[2].contains("what it means"), "{lines:#?}");
        assert_eq!(
            lines[6..9],
            [
                "",
                "auto_nobody: nobody subscribes to the channel",
                "  → nothing: there is nobody to follow the message to"
            ]
        );
        assert!(shown(&mut state, &ports, (200, 24))[2].contains("what it means"));
    }

    #[test]
    fn rows_that_do_not_fit_can_be_scrolled_to_and_no_further() {
        let (mut state, ports) = (State::new(), ports());
        // Room for the heading, a row and the note.
        let first = shown(&mut state, &ports, (80, 6));
        assert!(first[3].starts_with("orders"), "{first:#?}");
        for _ in 0..5 {
            state.press(Key::Down, &ports, 6);
        }
        let last = shown(&mut state, &ports, (80, 6));
        assert!(last[3].starts_with("worker"), "{last:#?}");
        state.press(Key::Up, &ports, 6);
        assert_eq!(shown(&mut state, &ports, (80, 6)), first);
    }
}
