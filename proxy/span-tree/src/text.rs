//! Pieces of text on a terminal: their colour, their width, and figures in words.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Whether text is written with the colours of a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Text does not stand out: for pipes and files, and where the user asks for it (`NO_COLOR`).
    #[default]
    Plain,
    /// Text stands out by ANSI escape sequences.
    Ansi,
}

/// What a piece of text is, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// The text is a heading, or the name of a trace.
    Strong,
    /// The text only helps the eye: branches, times, rulers.
    Faint,
    /// The text belongs to a span of kind `SERVER`.
    Request,
    /// The text belongs to a span of kind `CLIENT`.
    Command,
    /// The text belongs to a span of kind `PRODUCER`.
    Publish,
    /// The text belongs to a span of kind `CONSUMER`.
    Delivery,
    /// The text says that something is as it should be.
    Good,
    /// The text says that something has failed.
    Bad,
}

impl Style {
    /// The style for an output: ANSI on a terminal, unless `NO_COLOR` is set and not empty, or `TERM` is `dumb` or not set.
    /// `variable` looks up an environment variable.
    pub fn of_output(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let unwanted = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        let able = variable("TERM").is_some_and(|term| term != "dumb");
        if is_terminal && able && !unwanted { Self::Ansi } else { Self::Plain }
    }

    /// `text` in its colour.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Request => "34",
            Tone::Command => "33",
            Tone::Publish => "35",
            Tone::Delivery => "36",
            Tone::Good => "32",
            Tone::Bad => "31",
        };
        match self {
            Self::Ansi if !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain | Self::Ansi => text.to_owned(),
        }
    }
}

/// The columns that `text` takes on a terminal. It must be fit to be shown, without escape sequences.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text`, or as much of it as `columns` have room for, with `…` at its end.
pub fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (mut taken, mut room) = (String::new(), columns.saturating_sub(1));
    for c in text.chars() {
        let Some(rest) = room.checked_sub(c.width().unwrap_or(0)) else { break };
        room = rest;
        taken.push(c);
    }
    if columns > 0 {
        taken.push('…');
    }
    taken
}

/// A time in nanoseconds as text, in milliseconds: with two decimals, from a second on with one.
pub fn milliseconds(nanoseconds: i64) -> String {
    let (sign, nanoseconds) = (if nanoseconds <= -5_000 { "-" } else { "" }, nanoseconds.unsigned_abs());
    if nanoseconds >= 999_995_000 {
        let tenths = nanoseconds.saturating_add(50_000) / 100_000;
        return format!("{sign}{}.{} ms", tenths / 10, tenths % 10);
    }
    let hundredths = (nanoseconds + 5_000) / 10_000;
    format!("{sign}{}.{:02} ms", hundredths / 100, hundredths % 100)
}

/// A number with the thing that is counted: `1 span`, `2 spans`.
pub fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_does_not_fit_ends_in_dots_and_never_takes_more_columns() {
        assert_eq!(
            [fit("orders", 6), fit("orders", 5), fit("orders", 1), fit("orders", 0)],
            ["orders", "orde…", "…", ""]
        );
        assert_eq!([fit("日本語", 6), fit("日本語", 5), fit("日本語", 4)], ["日本語", "日本…", "日…"]);
        assert_eq!(width("e\u{301}日"), 3);
    }

    #[test]
    fn times_are_rounded_and_may_be_negative() {
        for (time, shown) in [
            (0, "0.00 ms"),
            (4_999, "0.00 ms"),
            (-4_999, "0.00 ms"),
            (5_000, "0.01 ms"),
            (-1_200_000, "-1.20 ms"),
            (999_994_999, "999.99 ms"),
            (999_995_000, "1000.0 ms"),
            (1_234_567_890, "1234.6 ms"),
        ] {
            assert_eq!(milliseconds(time), shown);
        }
        assert!(milliseconds(i64::MIN).starts_with("-9223372036854."));
    }

    #[test]
    fn colour_is_for_terminals_that_can_and_users_who_want_it() {
        let style = |is_terminal, variables: &[(&str, &str)]| {
            let value =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            Style::of_output(is_terminal, value)
        };
        let able = ("TERM", "xterm");
        assert_eq!([style(true, &[able]), style(true, &[able, ("NO_COLOR", "")])], [Style::Ansi; 2]);
        for variables in [&[able, ("NO_COLOR", "1")][..], &[("TERM", "dumb")], &[]] {
            assert_eq!(style(true, variables), Style::Plain, "{variables:?}");
        }
        assert_eq!(style(false, &[able]), Style::Plain);
        assert_eq!([Style::Ansi.paint(Tone::Bad, "x"), Style::Ansi.paint(Tone::Bad, "")], ["\x1b[31mx\x1b[0m", ""]);
    }
}
