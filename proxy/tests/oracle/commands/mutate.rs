//! Invalid calls, made from valid ones.

use super::docs::Documented;
use super::fixture::KEYS;
use super::generate::Words;

/// The largest number of words of a call that are replaced.
const MOST_REPLACED: usize = 5;

/// Invalid calls of a command: too few and too many arguments, an unknown option, arguments that are empty, binary or
/// not a number, and keys of other types. Some servers accept some of them, which does not matter.
pub(crate) fn wrong(command: &Documented, right: &Words) -> Vec<Words> {
    let name = command.words();
    let with = |more: &[&[u8]]| right.iter().cloned().chain(more.iter().map(|word| word.to_vec())).collect::<Words>();
    let mut calls = vec![
        name.clone(),
        name.iter().cloned().chain([b"only".to_vec()]).collect(),
        with(&[b"NOSUCHOPTION"]),
        with(&[b"NOSUCHOPTION", b"no", b"such", b"option", b"at", b"all", b"in", b"any", b"server", b"ever"]),
    ];
    if right.len() > name.len() {
        calls.push(right[..right.len() - 1].to_vec());
    }
    let replaced = |at: usize, word: &[u8]| {
        let mut call = right.clone();
        call[at] = word.to_vec();
        call
    };
    for at in (name.len()..right.len()).take(MOST_REPLACED) {
        calls.extend([&b""[..], b"not-a-number", b"\x00\r\n$3\r\n\xff"].map(|word| replaced(at, word)));
        if KEYS.iter().any(|key| right[at] == key.as_bytes()) {
            calls.extend(KEYS.iter().filter(|key| right[at] != key.as_bytes()).map(|key| replaced(at, key.as_bytes())));
        }
    }
    if command.is_container {
        calls.push(vec![name[0].clone(), b"NOSUCHSUBCOMMAND".to_vec()]);
    }
    calls
}

/// The same call with the letters of its name in another case.
pub(crate) fn in_mixed_case(right: &Words) -> Words {
    let mut call = right.clone();
    for (at, byte) in call[0].iter_mut().enumerate() {
        *byte = if at % 2 == 0 { byte.to_ascii_lowercase() } else { byte.to_ascii_uppercase() };
    }
    call
}
