//! The name that a client gives its connection, by `CLIENT SETNAME` or by the option `SETNAME` of `HELLO`.
//!
//! Only the name and the options are copied. The two arguments behind the option `AUTH` are passed over unread.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::commands::Naming;

/// Longest name that is kept, in bytes. The rest of a longer one is cut off.
const MAX_LEN: usize = 128;

/// Reads the arguments of one `CLIENT` or `HELLO`.
#[derive(Debug)]
pub(super) struct ClientNameReader {
    command: Naming,
    next: Argument,
    /// The option or the name that is being read.
    bytes: Vec<u8>,
    asked: Option<Vec<u8>>,
}

/// The meaning of the next argument.
#[derive(Debug)]
enum Argument {
    /// It and some more have no meaning here: this number in all.
    Unread(u8),
    /// It is a subcommand or an option.
    Option,
    Name,
    /// Nothing that follows is a name.
    Over,
}

impl ClientNameReader {
    /// A reader for the arguments of a command that can name a connection.
    pub(super) fn new(command: Naming) -> Self {
        let next = match command {
            Naming::Client => Argument::Option,
            Naming::Hello => Argument::Unread(1), // the protocol's version
        };
        Self { command, next, bytes: Vec::new(), asked: None }
    }

    /// Takes the next bytes of the argument that is being read.
    pub(super) fn copy(&mut self, piece: &[u8]) {
        if let Argument::Option | Argument::Name = self.next {
            let room = MAX_LEN.saturating_sub(self.bytes.len());
            self.bytes.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
    }

    /// Takes the end of an argument.
    pub(super) fn argument_ends(&mut self) {
        let bytes = core::mem::take(&mut self.bytes);
        self.next = match (&self.next, self.command) {
            (Argument::Unread(2..), _) => Argument::Unread(1),
            (Argument::Unread(_), _) => Argument::Option,
            (Argument::Option, _) if bytes.eq_ignore_ascii_case(b"SETNAME") => Argument::Name,
            (Argument::Option, Naming::Hello) if bytes.eq_ignore_ascii_case(b"AUTH") => Argument::Unread(2),
            (Argument::Name, command) => {
                self.asked = Some(bytes);
                if command == Naming::Hello { Argument::Option } else { Argument::Over }
            }
            (Argument::Option | Argument::Over, _) => Argument::Over,
        };
    }

    /// The name that the command asks for, if it does; an empty one takes the name away. A name with other characters than
    /// Redis takes, which are `!` to `~`, is none.
    pub(super) fn asked(self) -> Option<Option<Arc<str>>> {
        let name = self.asked.filter(|name| name.iter().all(u8::is_ascii_graphic))?;
        let name = core::str::from_utf8(&name).ok()?;
        Some((!name.is_empty()).then(|| name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Option<Option<Arc<str>>> {
        let (name, arguments) = words.split_first().unwrap();
        let mut reader = ClientNameReader::new(crate::commands::find(name.as_bytes())?.naming?);
        for argument in arguments {
            argument.as_bytes().chunks(3).for_each(|piece| reader.copy(piece));
            reader.argument_ends();
        }
        reader.asked()
    }

    #[test]
    fn the_name_is_found_where_redis_looks_for_it() {
        let named = |name: &str| Some(Some(Arc::from(name)));
        assert_eq!(asked(&["client", "setName", "worker-1"]), named("worker-1"));
        assert_eq!(asked(&["HELLO", "3", "SETNAME", "a"]), named("a"));
        assert_eq!(asked(&["HELLO", "3", "AUTH", "SETNAME", "pw", "SETNAME", "a"]), named("a"));
        assert_eq!(asked(&["HELLO", "3", "SETNAME", "a", "auth", "default", "pw"]), named("a"));
        assert_eq!(asked(&["HELLO", "3", "SETNAME", "a", "SETNAME", "b"]), named("b"));
        assert_eq!(asked(&["CLIENT", "SETNAME", ""]), Some(None));
        assert_eq!(asked(&["CLIENT", "SETNAME", &"x".repeat(5_000)]), named(&"x".repeat(MAX_LEN)));
        for words in [
            &["GET", "SETNAME", "a"][..],
            &["CLIENT", "SETINFO", "SETNAME", "a"],
            &["CLIENT", "REPLY", "ON"],
            &["CLIENT", "SETNAME", "two words"],
            &["CLIENT", "SETNAME", "a\u{e9}"],
            &["HELLO", "3"],
            &["HELLO", "SETNAME", "a"],
            &["HELLO", "3", "AUTH", "SETNAME", "secret"],
            &["HELLO", "3", "OTHER", "SETNAME", "a"],
        ] {
            assert_eq!(asked(words), None, "{words:?}");
        }
    }
}
