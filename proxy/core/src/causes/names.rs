//! The templates of names: of keys, channels and paths.
//!
//! `order:17` and `order:18` are one template, `order:*`. A part of a name varies if it has a digit or 20 letters, or if more
//! than a few values have been seen at its place. Parts that do not vary are kept as keyed hashes as long as the service is
//! known; what varies is not kept.

use super::hash::{HashKey, KeyedHasher};
use super::table::{Id, Table, id};

/// The longest beginning of a name, in bytes, that is looked at.
const LOOKED_AT: usize = 200;

/// The parts of a name that are told apart. What follows them belongs to the same template.
const PARTS: usize = 6;

/// A part that has this many letters or more varies.
const LONG: usize = 20;

/// The values of a first part, and of another, above which the part varies.
const FIRST_VALUES: u8 = 32;
const VALUES: u8 = 8;

id! {
    /// A place of the table of parts.
    Place < 1024
}

id! {
    /// A place of the table of values.
    Value < 4096
}

/// Where a part stands: behind which other part, of what kind of name.
#[derive(Clone, Copy)]
struct Part {
    hash: u64,
    /// The different values that it had.
    values: u8,
}

/// The parts of names that have been seen.
pub(super) struct Names {
    parts: Table<Place, Part>,
    values: Table<Value, u64>,
    parts_left: usize,
    values_left: usize,
}

impl Names {
    pub(super) fn new() -> Self {
        Self {
            parts: Table::new(Part { hash: 0, values: 0 }),
            values: Table::new(0),
            parts_left: Place::COUNT / 4 * 3,
            values_left: Value::COUNT / 4 * 3,
        }
    }

    /// The hash of the template of `name`, which belongs to `kind`: a command, a method, or messages.
    pub(super) fn template(&mut self, key: HashKey, kind: &[u8], name: &[u8]) -> u64 {
        let name = name.get(..LOOKED_AT).unwrap_or(name);
        let mut template = KeyedHasher::new(key);
        for byte in kind {
            template.byte(byte.to_ascii_uppercase());
        }
        template.byte(b' ');
        let kind = template.finish();
        let (mut rest, mut before, mut number) = (name, 0, 0);
        while let Some((&byte, others)) = rest.split_first() {
            if !is_of_part(byte) {
                template.byte(byte);
                rest = others;
                continue;
            }
            let length = rest.iter().take_while(|byte| is_of_part(**byte)).count();
            let (part, behind) = rest.split_at(length);
            rest = behind;
            let value = key.hash(part);
            let obvious = length >= LONG || part.iter().any(u8::is_ascii_digit);
            if obvious || self.varies(kind, before, number, value) {
                template.byte(b'*');
                before = 1;
            } else {
                template.write(part);
                before = value;
            }
            number += 1;
            if number == PARTS {
                break;
            }
        }
        template.finish()
    }

    /// Remembers the value of a part, and returns whether more than a few have been seen there.
    fn varies(&mut self, kind: u64, before: u64, number: usize, value: u64) -> bool {
        let limit = if number == 0 { FIRST_VALUES } else { VALUES };
        let before = if number == 0 { 0 } else { before };
        // The number of a part is below `PARTS`.
        let number = u64::try_from(number).unwrap_or_default();
        let place = kind ^ before.rotate_left(17) ^ number.rotate_left(50);
        let value = value ^ place.rotate_left(32);
        let Some(at) = self.parts.probe(place, |part| part.hash == place || part.values == 0) else { return true };
        if self.parts[at].values > limit {
            return true;
        }
        let Some(known) = self.values.probe(value, |known| *known == value || *known == 0) else { return true };
        if self.values[known] == value {
            return false;
        }
        let new_part = self.parts[at].values == 0;
        if self.values_left == 0 || (new_part && self.parts_left == 0) {
            return true;
        }
        self.parts_left -= usize::from(new_part);
        self.values_left -= 1;
        self.values[known] = value;
        let part = &mut self.parts[at];
        *part = Part { hash: place, values: part.values + 1 };
        part.values > limit
    }

    pub(super) fn memory(&self) -> usize {
        self.parts.memory() + self.values.memory()
    }
}

fn is_of_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    const KEY: HashKey = HashKey::ZERO;

    fn same(names: &mut Names, one: &str, other: &str) -> bool {
        names.template(KEY, b"GET", one.as_bytes()) == names.template(KEY, b"get", other.as_bytes())
    }

    #[test]
    fn parts_with_digits_and_long_parts_vary() {
        let mut names = Names::new();
        assert!(same(&mut names, "order:17", "order:18"));
        assert!(same(&mut names, "order:17:items", "order:x1y:items"));
        assert!(same(&mut names, "of:abcdefghijklmnopqrst", "of:tsrqponmlkjihgfedcba"));
        assert!(!same(&mut names, "order:17", "user:17"));
        assert!(!same(&mut names, "order:17", "order/17"));
        assert!(!same(&mut names, "order:a", "order:b"));
    }

    #[test]
    fn a_command_and_another_have_different_templates() {
        let mut names = Names::new();
        assert_ne!(names.template(KEY, b"GET", b"order:1"), names.template(KEY, b"SET", b"order:1"));
    }

    #[test]
    fn a_part_with_many_values_varies_from_then_on() {
        let mut names = Names::new();
        let word = |number: u8| format!("of:{}{}", char::from(b'a' + number), char::from(b'k' + number));
        let early = names.template(KEY, b"GET", word(0).as_bytes());
        for number in 0..9 {
            names.template(KEY, b"GET", word(number).as_bytes());
        }
        let late = names.template(KEY, b"GET", word(0).as_bytes());
        assert_ne!(early, late);
        for number in 0..16 {
            assert_eq!(names.template(KEY, b"GET", word(number).as_bytes()), late);
        }
    }

    #[test]
    fn six_parts_are_told_apart() {
        let mut names = Names::new();
        assert!(!same(&mut names, "a:b:c:d:e:f", "a:b:c:d:e:g"));
        assert!(same(&mut names, "a:b:c:d:e:f:one", "a:b:c:d:e:f:other"));
    }

    /// Whoever chooses names must not make the proxy look long, or keep more and more.
    #[test]
    fn when_the_tables_are_full_everything_else_varies() {
        let mut names = Names::new();
        let word = |number: u32| -> [u8; 4] { [0, 5, 10, 15].map(|shift| b'a' + (number >> shift & 15) as u8) };
        for number in 0..20_000 {
            let kind = word(number % 1024);
            let name = [word(number), word(number / 7)].join(&b':');
            names.template(KEY, &kind, &name);
        }
        assert!(names.parts_left == 0 || names.values_left == 0);
        let known = names.template(KEY, b"new command", b"one");
        assert_eq!(names.template(KEY, b"new command", b"other"), known);
    }
}
