//! Names that a person can group: the ids in a channel's name, or in the path of a URL, become `{id}`.
//!
//! A name is read in *runs* of ASCII letters and digits, between which any other characters stand. What is plainly an id is
//! replaced, and the rest stays as it is. These are ids:
//!
//! - a UUID, in its form with four hyphens;
//! - 8 or more digits in a row, also within a run, as in `user12345678`;
//! - a run of 8 or more hexadecimal digits with letters of one case and at least one digit. `deadbeef` is a word;
//! - a run that looks like base64. It has 8 or more characters, among them capitals and small letters and a digit that a letter
//!   follows on, and less than half of it are words of three letters or more; in a run of 16 or more, less than three fifths are
//!   words of four letters or more;
//! - a run with the padding of base64 behind it: one or two `=` complete it to 8, 12, 16 ... characters, and it has capitals and
//!   small letters but not that many words. The padding is part of the id, here and behind a run that looks like base64;
//! - several runs that `-`, `_` or `+` join, such as a nanoid, if they have 16 characters or more and look like base64 together.
//!   Words and short numbers at both ends are not part of them. A run in between that is a word, or an id of another kind, shows
//!   that they do not belong together;
//! - a run of 8 or more digits and letters of one case that take turns, such as a ULID. They change more than once for each
//!   two characters, or once for each four in a run of 20 or more.
//!
//! A word is a letter followed by small letters, or capitals only. So dates, versions, ports and short numbers stay.

use alloc::string::String;

/// What stands in the place of an id.
pub const PLACEHOLDER: &str = "{id}";

/// Shortest id, in characters.
const MIN_ID: usize = 8;

/// From this length on, in characters, a run tells more of whether it is random.
const LONG: usize = 16;

/// From this length on, in characters, digits and letters of one case need not change as often.
const LONG_OF_ONE_CASE: usize = 20;

/// Length of a UUID's text form.
const UUID: usize = 36;

/// `name` with a placeholder for each id in it; `None` if there is none. The time is proportional to the length.
pub fn without_ids(name: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = name;
    let mut found = false;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (between, tail) = split(rest, at);
        let (group, after) = split(tail, leading(tail, |byte| byte.is_ascii_alphanumeric() || is_joint(byte)));
        out.push_str(between);
        let replaced = replace_joined(group, &mut out) || replace_runs(group, padding(after), &mut out);
        found |= replaced;
        rest = if replaced && out.ends_with(PLACEHOLDER) { split(after, padding(after)).1 } else { after };
    }
    out.push_str(rest);
    found.then_some(out)
}

/// The path of a URL with a placeholder for each id in it; `None` if there is none. Between two slashes a number is an id however
/// short it is, because paths count things: `/orders/7`.
pub fn path_without_ids(path: &str) -> Option<String> {
    let mut out = String::new();
    let mut found = false;
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        if !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()) {
            out.push_str(PLACEHOLDER);
            found = true;
        } else if let Some(template) = without_ids(segment) {
            out.push_str(&template);
            found = true;
        } else {
            out.push_str(segment);
        }
    }
    found.then_some(out)
}

/// Writes `group` with a placeholder for the runs in it that are one id together. Returns whether there are such runs;
/// otherwise nothing is written.
fn replace_joined(group: &str, out: &mut String) -> bool {
    let mut id = group;
    while let Some((first, more)) = id.split_once(is_joint_char)
        && is_plain(first)
    {
        id = more;
    }
    let (before, _) = split(group, group.len() - id.len());
    while let Some((more, last)) = id.rsplit_once(is_joint_char)
        && is_plain(last)
    {
        id = more;
    }
    let is_one = id.len() >= LONG
        && id.contains(is_joint_char)
        && !id.split(is_joint_char).any(|run| is_number_or_hex(run) || run.len() > 2 && is_word(run.as_bytes()))
        && looks_like_base64(id.as_bytes());
    if is_one {
        out.push_str(before);
        out.push_str(PLACEHOLDER);
        out.push_str(group.get(before.len() + id.len()..).unwrap_or_default());
    }
    is_one
}

/// Writes `group`, which so many `=` follow, with a placeholder for each id in it. Returns whether there are any.
fn replace_runs(group: &str, padding: usize, out: &mut String) -> bool {
    let (mut rest, mut found) = (group, false);
    while !rest.is_empty() {
        let len = leading(rest, |byte| byte.is_ascii_alphanumeric());
        let (run, after) = split(rest, len);
        if is_uuid(rest) {
            out.push_str(PLACEHOLDER);
            (rest, found) = (split(rest, UUID).1, true);
        } else if is_number_or_hex(run)
            || looks_like_base64(run.as_bytes())
            || takes_turns(run.as_bytes())
            || after.is_empty() && is_padded_base64(run.as_bytes(), padding)
        {
            out.push_str(PLACEHOLDER);
            (rest, found) = (after, true);
        } else {
            found |= replace_numbers(run, out);
            let (joints, after) = split(after, leading(after, is_joint));
            out.push_str(joints);
            rest = after;
        }
    }
    found
}

/// Writes `run` with a placeholder for each number in it that is long enough for an id. Returns whether there are any.
fn replace_numbers(run: &str, out: &mut String) -> bool {
    let (mut rest, mut found) = (run, false);
    while !rest.is_empty() {
        let (letters, tail) = split(rest, leading(rest, |byte| !byte.is_ascii_digit()));
        let (digits, after) = split(tail, leading(tail, |byte| byte.is_ascii_digit()));
        let is_id = digits.len() >= MIN_ID;
        out.push_str(letters);
        out.push_str(if is_id { PLACEHOLDER } else { digits });
        (rest, found) = (after, found || is_id);
    }
    found
}

/// Whether a UUID begins `text`, and no letter or digit follows it.
fn is_uuid(text: &str) -> bool {
    let (uuid, after) = split(text, UUID);
    uuid.len() == UUID
        && !after.starts_with(|next: char| next.is_ascii_alphanumeric())
        && uuid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether `run` is 8 or more digits, or hexadecimal digits of one case with at least one digit and one letter.
fn is_number_or_hex(run: &str) -> bool {
    let bytes = run.as_bytes();
    let of = |kind: fn(&u8) -> bool| bytes.iter().all(kind);
    run.len() >= MIN_ID
        && bytes.iter().any(u8::is_ascii_digit)
        && (of(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            || of(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F')))
}

/// Whether `text` has 8 or more characters, among them capitals, small letters and a digit that a letter follows on, and too few
/// words for a name.
fn looks_like_base64(text: &[u8]) -> bool {
    let mut pairs = text.iter().zip(text.iter().skip(1));
    text.len() >= MIN_ID
        && has_both_cases(text)
        && pairs.any(|(byte, next)| byte.is_ascii_digit() && next.is_ascii_alphabetic())
        && has_few_words(text)
}

/// Whether not too much of `text` stands in words for something random.
fn has_few_words(text: &[u8]) -> bool {
    if text.len() >= LONG {
        letters_in_words(text, 4) * 5 < text.len() * 3
    } else {
        letters_in_words(text, 3) * 2 < text.len()
    }
}

/// Whether `padding` completes `run` as that of base64 does.
fn is_padded_base64(run: &[u8], padding: usize) -> bool {
    let len = run.len() + padding;
    padding > 0 && len >= MIN_ID && len.is_multiple_of(4) && has_both_cases(run) && has_few_words(run)
}

fn has_both_cases(text: &[u8]) -> bool {
    text.iter().any(u8::is_ascii_lowercase) && text.iter().any(u8::is_ascii_uppercase)
}

/// How many letters of `text` stand in words of at least this length.
fn letters_in_words(text: &[u8], shortest: usize) -> usize {
    let (mut rest, mut letters) = (text, 0);
    while let Some((first, after)) = rest.split_first() {
        let small = after.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
        let capitals = rest.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
        let len = match first {
            b'a'..=b'z' => 1 + small,
            // The last of several capitals begins the word behind them: `HTTPServer`.
            b'A'..=b'Z' if small > 0 => 1 + small,
            b'A'..=b'Z' => {
                let ends_in_word = rest.get(capitals).is_some_and(u8::is_ascii_lowercase);
                capitals - usize::from(ends_in_word)
            }
            _ => 1,
        };
        if first.is_ascii_alphabetic() && len >= shortest {
            letters += len;
        }
        rest = rest.get(len..).unwrap_or_default();
    }
    letters
}

/// Whether digits and letters of one case take turns in `run`.
fn takes_turns(run: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| run.iter().any(kind);
    if run.len() < MIN_ID || has(u8::is_ascii_lowercase) == has(u8::is_ascii_uppercase) {
        return false;
    }
    let pairs = run.iter().zip(run.iter().skip(1));
    let changes = pairs.filter(|(byte, next)| byte.is_ascii_digit() != next.is_ascii_digit()).count();
    if run.len() >= LONG_OF_ONE_CASE { changes * 4 >= run.len() } else { changes * 2 > run.len() }
}

/// Whether `run` is a word of two or more letters, or a number that is too short for an id.
fn is_plain(run: &str) -> bool {
    let is_number = run.len() < MIN_ID && run.bytes().all(|byte| byte.is_ascii_digit());
    is_number || run.len() > 1 && is_word(run.as_bytes())
}

/// Whether `run` is a letter followed by small letters, or capitals only.
fn is_word(run: &[u8]) -> bool {
    let Some((first, more)) = run.split_first() else { return false };
    first.is_ascii_alphabetic() && more.iter().all(u8::is_ascii_lowercase) || run.iter().all(u8::is_ascii_uppercase)
}

/// What joins runs that may be one id.
fn is_joint(byte: u8) -> bool {
    matches!(byte, b'-' | b'_' | b'+')
}

fn is_joint_char(c: char) -> bool {
    u8::try_from(c).is_ok_and(is_joint)
}

/// The length of the padding of base64 at the beginning of `text`.
fn padding(text: &str) -> usize {
    leading(text, |byte| byte == b'=').min(2)
}

/// The length of the beginning of `text` whose bytes are all of this ASCII kind.
fn leading(text: &str, kind: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| kind(*byte)).count()
}

/// Both parts of `text`, or all of it and nothing if it cannot be split there.
fn split(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    fn shown(name: &str) -> String {
        without_ids(name).unwrap_or_else(|| name.to_string())
    }

    #[test]
    fn what_is_plainly_an_id_becomes_a_placeholder() {
        for (name, expected) in [
            ("celery-task-meta-550e8400-e29b-41d4-a716-446655440000", "celery-task-meta-{id}"),
            ("550E8400-E29B-41D4-A716-446655440000.reply.celery.pidbox", "{id}.reply.celery.pidbox"),
            ("user:12345678", "user:{id}"),
            ("user12345678:events", "user{id}:events"),
            ("job.1700000000123-0", "job.{id}-0"),
            ("session:9f86d081884c7d65", "session:{id}"),
            ("session:9F86D081:b", "session:{id}:b"),
            ("room/507f1f77bcf86cd799439011/typing", "room/{id}/typing"),
            ("{user:12345678}:cart", "{user:{id}}:cart"),
            ("reply:dGVzdGluZzEyMw==", "reply:{id}"),
            ("messages:Z2lkOi8vYXBwL1VzZXIvMQ", "messages:{id}"),
            ("nano_V1StGXR8_Z5jdHi6B-myT", "nano_{id}"),
            ("eu-west-1-V1StGXR8Z5jdHi6B", "eu-west-1-{id}"),
            ("V1StGXR8Z5jdHi6B-eu-west-1", "{id}-eu-west-1"),
            ("order:01ARZ3NDEKTSV4RRFFQ69G5FAV", "order:{id}"),
            ("xid.9m4e2mr0ui3e8a215n4g", "xid.{id}"),
            ("key:k3j9x2m1q8", "key:{id}"),
            ("a1b2c3d4|a1b2c3d5", "{id}|{id}"),
            ("job_12345678_Retry2Abc", "job_{id}_Retry2Abc"),
            ("caf\u{e9}:12345678:\u{e9}", "caf\u{e9}:{id}:\u{e9}"),
        ] {
            assert_eq!(shown(name), expected, "{name}");
        }
    }

    #[test]
    fn a_name_of_words_and_short_numbers_stays() {
        for name in [
            "",
            "orders",
            "orders.created.v2",
            "deadbeef",
            "feedback",
            "defaced",
            "decade",
            "DEADBEEF",
            "user:1234567",
            "2024-01-15",
            "2024-01-15T10:30:00Z",
            "10.0.0.1:6379",
            "OrderCreatedV2",
            "S3ObjectCreated",
            "Web3Eth1",
            "getById2",
            "HTTPServer2Started",
            "getUserByIdOrURL2",
            "mode=On",
            "Channels=1",
            "OrderPlaced=",
            "sha256v1",
            "ipv4ipv6",
            "utf8to16",
            "h264stream1080p60",
            "k8sclusterv2beta1",
            "socket.io#/#room#",
            "/0.celeryev/worker.heartbeat",
            "__keyspace@0__:key",
            "notifications-eu-west-1-production",
            "private-user_42-myApp",
            "OrderService-V2-CreateOrder_Reply",
            "\u{901a}\u{9053}\u{1f680}",
        ] {
            assert_eq!(without_ids(name), None, "{name}");
        }
    }

    #[test]
    fn a_number_between_slashes_is_an_id_of_a_path() {
        for (path, expected) in [
            ("/", None),
            ("/reports", None),
            ("/v2/reports/latest", None),
            ("/reports/7", Some("/reports/{id}")),
            ("/reports/7/", Some("/reports/{id}/")),
            ("/a/1/b/22", Some("/a/{id}/b/{id}")),
            ("/users/550e8400-e29b-41d4-a716-446655440000/cart", Some("/users/{id}/cart")),
            ("//7", Some("//{id}")),
            ("/report-12345678.pdf", Some("/report-{id}.pdf")),
        ] {
            assert_eq!(path_without_ids(path).as_deref(), expected, "{path}");
        }
    }

    /// SplitMix64.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// How many of 1,000 random ids of this length and alphabet are found behind `chat:`.
    fn found(alphabet: &[u8], len: usize) -> usize {
        let mut state = len as u64;
        let ids = (0..1_000).map(|_| {
            let letters = (0..len).map(|_| alphabet[random(&mut state) as usize % alphabet.len()]);
            String::from_utf8(letters.collect::<Vec<u8>>()).unwrap()
        });
        ids.filter(|id| shown(&alloc::format!("chat:{id}")) == "chat:{id}").count()
    }

    #[test]
    fn random_ids_of_usual_kinds_are_nearly_all_found() {
        const BASE62: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let base64url = [BASE62, b"-_"].concat();
        let (crockford, base32hex) = (b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", b"0123456789abcdefghijklmnopqrstuv");
        for (alphabet, len, least) in [
            (&b"0123456789"[..], 8, 1_000),
            (b"0123456789abcdef", 8, 970),
            (b"0123456789abcdef", 24, 1_000),
            (BASE62, 16, 870),
            (BASE62, 22, 930),
            (BASE62, 32, 970),
            (&base64url, 21, 800),
            (&base64url, 43, 850),
            (crockford, 26, 900),
            (base32hex, 20, 900),
        ] {
            let found = found(alphabet, len);
            assert!(found >= least, "{found} of {len} characters of {}", String::from_utf8_lossy(alphabet));
        }
    }

    #[test]
    fn any_name_is_read_and_what_is_left_has_no_id() {
        const ALPHABET: &[u8] = b"09afAFzZ-_+=:.{}/ \xc3\xa9";
        let mut state = 1;
        for _ in 0..20_000 {
            let len = random(&mut state) % 60;
            let bytes: Vec<u8> = (0..len).map(|_| ALPHABET[random(&mut state) as usize % ALPHABET.len()]).collect();
            let name = String::from_utf8_lossy(&bytes);
            let Some(template) = without_ids(&name) else { continue };
            assert!(template.len() < name.len() && template.contains(PLACEHOLDER), "{name} {template}");
            // The characters around the ids are the name's own, in their order.
            let mut rest = &*name;
            for part in template.split(PLACEHOLDER) {
                let at = rest.find(part).unwrap_or_else(|| panic!("{name} {template}"));
                rest = &rest[at + part.len()..];
            }
            assert!(template.split(PLACEHOLDER).all(|part| without_ids(part).is_none()), "{name} {template}");
        }
    }
}
