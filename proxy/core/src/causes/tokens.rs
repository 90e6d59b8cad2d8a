//! The tokens of a text: what could be an id or another value that is handed on.
//!
//! A token is a run of letters, digits, `_` and `-`. It counts without its hyphens and in lower case, because a UUID is written
//! in either way. A member's name in JSON is no token; it names the *place* of the tokens that follow it. Tokens without such
//! a name have their ordinal as place. Nothing of a text is kept but keyed hashes.

use super::hash::{HashKey, KeyedHasher};

/// The longest beginning of a text, in bytes, that is searched for tokens.
pub const SEARCHED: usize = 4096;

/// The least number of digits that could be an id if there is nothing else.
const ID_DIGITS: u32 = 5;

/// The least length of something with a digit that could be an id.
const ID_LENGTH: u32 = 8;

/// What [`WRITTEN`] has for a byte that belongs to no token.
const OTHER: u8 = 0;

/// Each byte as it is hashed. A hyphen belongs to a token and is not hashed.
const WRITTEN: [u8; 256] = written();

#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a byte is an index of the table; evaluated by the compiler"
)]
const fn written() -> [u8; 256] {
    let mut table = [OTHER; 256];
    let mut byte = 0u8;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
}

#[inline]
fn as_written(byte: u8) -> u8 {
    WRITTEN.get(usize::from(byte)).copied().unwrap_or(OTHER)
}

/// A token of a text: where it stands, and a hash instead of what it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    /// Where it stands: its argument, and the name or the ordinal in it.
    pub(super) place: u32,
    pub(super) hash: u64,
    /// Whether it looks like an id: five digits or more, or eight letters or more with a digit among them.
    pub(super) is_id: bool,
}

/// The tokens of one event, as many as are looked at.
pub(super) struct Tokens<const LIMIT: usize> {
    found: [Token; LIMIT],
    length: usize,
}

impl<const LIMIT: usize> Tokens<LIMIT> {
    pub(super) fn new() -> Self {
        Self { found: [Token { place: 0, hash: 0, is_id: false }; LIMIT], length: 0 }
    }

    /// Adds the tokens of a text, which is the `number`th of its event.
    pub(super) fn add(&mut self, key: HashKey, number: u32, text: &[u8]) {
        let mut reader = TokenReader::new(key, number, LIMIT);
        reader.read(text, self);
        reader.finish(self);
    }

    pub(super) fn as_slice(&self) -> &[Token] {
        self.found.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, token: Token) {
        if let Some(free) = self.found.get_mut(self.length) {
            *free = token;
            self.length += 1;
        }
    }

    fn is_full(&self) -> bool {
        self.length == LIMIT
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Outside,
    Inside,
    /// A token has ended at a quote, and a colon would make it a member's name.
    Quoted,
}

/// Reads a text that comes in pieces.
#[derive(Clone)]
pub(super) struct TokenReader {
    key: HashKey,
    hasher: KeyedHasher,
    state: State,
    /// Of the token that is read: its letters without hyphens, and the digits among them.
    length: u32,
    digits: u32,
    /// What is added to all places of this text.
    number: u32,
    /// The place that the last member's name gave.
    name: Option<u32>,
    ordinal: u32,
    /// The bytes that may still be read, and the tokens.
    left: usize,
    tokens_left: usize,
}

impl TokenReader {
    /// A reader of the `number`th text of its event, which reads at most that many tokens.
    pub(super) fn new(key: HashKey, number: u32, tokens: usize) -> Self {
        Self {
            key,
            hasher: KeyedHasher::new(key),
            state: State::Outside,
            length: 0,
            digits: 0,
            number: number.wrapping_mul(0x9e37_79b1),
            name: None,
            ordinal: 0,
            left: SEARCHED,
            tokens_left: tokens,
        }
    }

    pub(super) fn read<const LIMIT: usize>(&mut self, piece: &[u8], found: &mut Tokens<LIMIT>) {
        let cut = piece.len() > self.left;
        let piece = piece.get(..self.left).unwrap_or(piece);
        self.left -= piece.len();
        for byte in piece {
            self.byte(*byte, found);
            if self.tokens_left == 0 || found.is_full() {
                return self.stop();
            }
        }
        if cut {
            // The last token may go on behind the limit, so it is not whole.
            self.stop();
        }
    }

    /// Takes the token with which the text ends. What is read after that is passed over.
    pub(super) fn finish<const LIMIT: usize>(&mut self, found: &mut Tokens<LIMIT>) {
        match self.state {
            State::Outside => {}
            State::Inside if self.is_too_short() => {}
            State::Inside | State::Quoted => self.emit(found),
        }
        self.stop();
    }

    fn stop(&mut self) {
        self.left = 0;
        self.state = State::Outside;
    }

    #[inline]
    fn byte<const LIMIT: usize>(&mut self, byte: u8, found: &mut Tokens<LIMIT>) {
        let written = as_written(byte);
        match self.state {
            State::Inside if written != OTHER => return self.letter(written),
            State::Outside if written == OTHER => return,
            State::Outside => {}
            State::Inside if self.is_too_short() => self.state = State::Outside,
            State::Inside if byte == b'"' => self.state = State::Quoted,
            State::Inside => self.emit(found),
            State::Quoted if byte == b' ' => {}
            State::Quoted if byte == b':' => {
                let [_, _, _, _, name @ ..] = self.hasher.finish().to_be_bytes();
                self.name = Some(u32::from_be_bytes(name) | 1 << 31);
                self.state = State::Outside;
            }
            State::Quoted => self.emit(found),
        }
        if self.state == State::Outside && written != OTHER {
            self.hasher = KeyedHasher::new(self.key);
            (self.length, self.digits) = (0, 0);
            self.state = State::Inside;
            self.letter(written);
        }
    }

    #[inline]
    fn letter(&mut self, written: u8) {
        if written != b'-' {
            self.length += 1;
            self.digits += u32::from(written.is_ascii_digit());
            self.hasher.byte(written);
        }
    }

    /// Whether what was read is a single letter or none, which tells nothing.
    fn is_too_short(&self) -> bool {
        self.length < 2 && self.digits == 0
    }

    fn emit<const LIMIT: usize>(&mut self, found: &mut Tokens<LIMIT>) {
        let place = self.name.unwrap_or(self.ordinal).wrapping_add(self.number);
        let only_digits = self.digits == self.length;
        let is_id = if only_digits { self.length >= ID_DIGITS } else { self.length >= ID_LENGTH && self.digits > 0 };
        found.push(Token { place, hash: self.hasher.finish(), is_id });
        self.ordinal += 1;
        self.tokens_left = self.tokens_left.saturating_sub(1);
        self.state = State::Outside;
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use super::*;

    const KEY: HashKey = HashKey::ZERO;

    fn found(pieces: &[&[u8]]) -> Vec<(u32, u64, bool)> {
        let (mut reader, mut tokens) = (TokenReader::new(KEY, 0, 48), Tokens::<48>::new());
        pieces.iter().for_each(|piece| reader.read(piece, &mut tokens));
        reader.finish(&mut tokens);
        tokens.as_slice().iter().map(|token| (token.place, token.hash, token.is_id)).collect()
    }

    fn hashes(text: &str) -> Vec<u64> {
        found(&[text.as_bytes()]).iter().map(|token| token.1).collect()
    }

    #[test]
    fn a_token_is_a_run_of_letters_and_digits_in_any_case_and_with_or_without_hyphens() {
        let expected: Vec<_> = ["abc", "12", "x_1", "0badcafe"].map(|text| KEY.hash(text.as_bytes())).to_vec();
        assert_eq!(hashes("abc/12?x_1&0badcafe"), expected);
        assert_eq!(hashes("ABC:1-2, X_1 (0BAD-CAFE)"), expected);
    }

    #[test]
    fn a_letter_alone_is_no_token_and_a_digit_is() {
        assert_eq!(hashes("a - b -- 7 _"), [KEY.hash(b"7")]);
    }

    #[test]
    fn what_has_five_digits_or_eight_letters_with_a_digit_looks_like_an_id() {
        for (text, is_id) in [
            ("1234", false),
            ("12345", true),
            ("abcdefgh", false),
            ("abcdefg1", true),
            ("abcdef1", false),
            ("a1-b2-c3-d4", true),
        ] {
            assert_eq!(found(&[text.as_bytes()])[0].2, is_id, "{text}");
        }
    }

    #[test]
    fn the_name_of_a_member_is_the_place_of_what_follows() {
        let places = |text: &str| found(&[text.as_bytes()]).iter().map(|token| token.0).collect::<Vec<_>>();
        let [user, other, third] = places(r#"{"user": "ann", "items" : [1, 2]}"#)[..] else { panic!("three tokens") };
        assert!(user != other && other == third);
        assert_eq!(places(r#"{"items":[3],"user":7}"#), [other, user]);
        assert_eq!(places("ann 1 2"), [0, 1, 2]);
        assert_eq!(hashes(r#"{"user": "ann"}"#), [KEY.hash(b"ann")]);
        assert_eq!(hashes(r#""user" "ann""#), [KEY.hash(b"user"), KEY.hash(b"ann")]);
    }

    #[test]
    fn tokens_do_not_depend_on_the_cut() {
        let text = br#"{"user": "ann-1", "items" : [1, "0badcafe"], "last":"x" , "end": true"#;
        for cut in 0..text.len() {
            let (one, other) = text.split_at(cut);
            assert_eq!(found(&[one, other]), found(&[text]), "cut at {cut}");
        }
        let bytes: Vec<_> = text.chunks(1).collect();
        assert_eq!(found(&bytes), found(&[text]));
    }

    #[test]
    fn what_is_not_whole_at_the_limit_is_no_token() {
        let text = |length: usize| [&std::vec![b' '; SEARCHED - length], &b"0badcafe-0badcafe"[..]].concat();
        assert_eq!(found(&[&text(8)]), []);
        assert_eq!(found(&[&text(17)]).len(), 1, "it ends with the text");
        assert_eq!(found(&[&text(17), b"more"]), [], "it goes on");
        assert_eq!(found(&[&text(17), b" more"]), [], "nobody looks whether it goes on");
    }

    #[test]
    fn no_more_tokens_are_taken_than_there_is_room_for() {
        let text: String = (100..200).map(|number| std::format!("{number} ")).collect();
        assert_eq!(hashes(&text).len(), 48);
    }
}
