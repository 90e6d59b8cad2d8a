//! Canaries, which are words that occur nowhere else, and the search for them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// The canaries of a test. All of them have the same ending, and only that is searched for, so many canaries cost no
/// more than one.
#[derive(Clone, Debug)]
pub(crate) struct Canaries {
    stem: String,
    count: usize,
}

impl Canaries {
    pub(crate) fn new() -> Self {
        let mut random = [0; 16];
        getrandom::fill(&mut random).unwrap();
        Self { stem: random.iter().map(|byte| char::from(b'a' + byte % 26)).collect(), count: 0 }
    }

    /// Makes a new canary. In a failure it shows the `place` where it was put.
    pub(crate) fn put(&mut self, place: &str) -> String {
        self.count += 1;
        format!("{}q{}q{}", place.replace(' ', "x"), self.count, self.stem)
    }

    /// The number of canaries.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Fails if `found`, the output at `place`, contains any of the canaries, in any form in which bytes are commonly
    /// written.
    #[track_caller]
    pub(crate) fn assert_absent(&self, place: &str, found: &[u8]) {
        let found = found.to_ascii_lowercase();
        if let Some(at) = forms(&self.stem).iter().find_map(|form| position(&found, form)) {
            let around = &found[at.saturating_sub(300)..found.len().min(at + 200)];
            panic!("a canary is in the {place}: {}", String::from_utf8_lossy(around));
        }
    }
}

/// The word as it is, in hexadecimal, as a list of numbers, and in Base64 at each possible offset. All forms are in
/// lower case.
fn forms(word: &str) -> Vec<Vec<u8>> {
    let bytes = word.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let base64 = (0..3).map(|before| {
        // Without the characters that depend on neighbouring bytes.
        let text = STANDARD_NO_PAD.encode([&b"..."[..before], bytes].concat());
        text[[0, 2, 3][before]..text.len() - 1].to_owned()
    });
    let forms = [word.to_owned(), hex, numbers].into_iter().chain(base64);
    forms.map(|form| form.to_ascii_lowercase().into_bytes()).collect()
}

pub(crate) fn position(bytes: &[u8], searched: &[u8]) -> Option<usize> {
    let (first, rest) = searched.split_first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| byte == first) {
        from += at + 1;
        if bytes.get(from..)?.starts_with(rest) {
            return Some(from - 1);
        }
    }
    None
}

#[test]
fn a_planted_canary_is_found_in_every_form_and_another_word_is_not() {
    let mut canaries = Canaries::new();
    let word = canaries.put("a planted one");
    canaries.assert_absent("log", b"nothing of it here: aplanted one");
    let hex: String = word.bytes().map(|byte| format!("{byte:02X}")).collect();
    for planted in [
        format!("key={word} value"),
        word.to_uppercase(),
        hex,
        format!("{:?}", word.as_bytes()),
        STANDARD_NO_PAD.encode(format!("user:{word}")),
        STANDARD_NO_PAD.encode(format!("name:{word}, and more")),
        STANDARD_NO_PAD.encode(format!("{word} in front")),
    ] {
        let found = std::panic::catch_unwind(|| canaries.assert_absent("log", planted.as_bytes()));
        assert!(found.is_err(), "not found in {planted}");
    }
}
