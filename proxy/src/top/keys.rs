//! The keys of a terminal, from the bytes that it sends.

/// A key of the keyboard that `top` reacts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Tab,
    Up,
    Down,
    PageUp,
    PageDown,
    /// Ctrl-C, which a terminal in raw mode sends as a byte.
    Interrupt,
}

/// The keys in what was read at once. A terminal sends an escape sequence in one piece, so an escape alone is the key.
pub(super) fn keys(bytes: &[u8]) -> Vec<Key> {
    const SEQUENCES: [(&str, Key); 6] = [
        ("\x1b[A", Key::Up),
        ("\x1bOA", Key::Up),
        ("\x1b[B", Key::Down),
        ("\x1bOB", Key::Down),
        ("\x1b[5~", Key::PageUp),
        ("\x1b[6~", Key::PageDown),
    ];
    let text = String::from_utf8_lossy(bytes);
    let mut rest = &*text;
    let mut keys = Vec::new();
    while let Some(c) = rest.chars().next() {
        if let Some((sequence, key)) = SEQUENCES.iter().find(|(sequence, _)| rest.starts_with(sequence)) {
            keys.push(*key);
            rest = &rest[sequence.len()..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            // Another sequence: it ends with a letter or a tilde.
            '\x1b' if rest.starts_with(['[', 'O']) => {
                let end = rest[1..].find(|c: char| c.is_ascii_alphabetic() || c == '~');
                rest = end.map_or("", |end| &rest[end + 2..]);
            }
            '\x1b' => keys.push(Key::Escape),
            '\r' | '\n' => keys.push(Key::Enter),
            '\x7f' | '\x08' => keys.push(Key::Backspace),
            '\t' => keys.push(Key::Tab),
            '\x03' => keys.push(Key::Interrupt),
            c if !c.is_control() => keys.push(Key::Char(c)),
            _ => {}
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_each_other_however_many_come_at_once() {
        assert_eq!(keys(b"q"), [Key::Char('q')]);
        assert_eq!(keys(b"\x1b"), [Key::Escape]);
        assert_eq!(keys(b"\x1b[A\x1bOB/"), [Key::Up, Key::Down, Key::Char('/')]);
        assert_eq!(
            keys("é\x7f\r\t\x03".as_bytes()),
            [Key::Char('é'), Key::Backspace, Key::Enter, Key::Tab, Key::Interrupt]
        );
        assert_eq!(keys(b"\x1b[1;5Cx\x1b[5~\x1b[6~"), [Key::Char('x'), Key::PageUp, Key::PageDown]);
        assert_eq!(keys(b"\x1b["), []);
    }
}
