//! Tests of the table of commands.

use super::*;

fn of(words: &[&str]) -> Answer {
    let word = |i: usize| words.get(i).unwrap_or(&"").as_bytes();
    answer(word(0), &Request { count: words.len() as u64, second: word(1), third: word(2) })
}

#[test]
fn names_are_case_insensitive_and_shapes_matter() {
    assert_eq!(of(&["pUbLiSh", "ch", "x"]), Answer::Publishes(1));
    assert_eq!(of(&["publish", "ch"]), Answer::Replies(1));
    assert_eq!(of(&["publish", "ch", "x", "y"]), Answer::Replies(1));
    assert_eq!(of(&["spublish", "ch", "x"]), Answer::Publishes(1));
    assert_eq!(of(&["subscribe"]), Answer::Replies(1));
    assert_eq!(of(&["subscribe", "a", "b"]), Answer::Confirmations { kind: Channel, subscribe: true, left: Some(2) });
    assert_eq!(of(&["unsubscribe"]), Answer::Confirmations { kind: Channel, subscribe: false, left: None });
    assert_eq!(of(&["client", "reply", "Skip"]), Answer::ClientReply(ReplyMode::Skip));
    assert_eq!(of(&["client", "reply", "maybe"]), Answer::Replies(1));
    assert_eq!(of(&["hello", "3"]), Answer::Hello(Some(Protocol::Resp3), None));
    assert_eq!(of(&["hello", "4"]), Answer::Hello(None, None));
    assert_eq!(of(&["hello"]), Answer::Hello(None, None));
    assert_eq!(of(&["select", "7"]), Answer::Select(7));
    assert_eq!(of(&["select", "x"]), Answer::Replies(1));
    assert_eq!(of(&["replconf", "ack", "0"]), Answer::Silent);
    assert_eq!(of(&["replconf", "capa", "eof"]), Answer::Replies(1));
    assert_eq!(of(&["reset", "a"]), Answer::Replies(1));
    assert_eq!(of(&["get", "publish"]), Answer::Replies(1));
    assert_eq!(of(&["xread", "count", "1"]), Answer::LateReplies(1));
}

#[test]
fn every_row_is_found_by_its_name_and_looks_at_no_more_words_than_are_kept() {
    let mut names = alloc::vec::Vec::new();
    for (len, rows) in COMMANDS.iter().enumerate() {
        for row in *rows {
            let name = alloc::string::String::from_utf8(row.key.to_ne_bytes().to_vec()).unwrap();
            let name = name.trim_end_matches('\0');
            assert_eq!(name.len(), len, "{name} is in its place");
            assert!(row.words <= MAX_WORDS as u64 && name.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'_')));
            for name in [name.into(), name.to_ascii_lowercase()] {
                assert!(core::ptr::eq(find(name.as_bytes()).unwrap(), row));
            }
            names.push(row.key);
        }
    }
    let rows = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rows, "each command has one row");
}

#[test]
fn only_a_publish_of_three_words_has_a_plan() {
    let plan = |name: &str, count| find(name.as_bytes()).and_then(|command| command.plan(count));
    assert_eq!(plan("publish", 3), Some(Plan::Publish { sharded: false }));
    assert_eq!(plan("SPUBLISH", 3), Some(Plan::Publish { sharded: true }));
    assert_eq!([plan("publish", 2), plan("publish", 4), plan("exec", 3), plan("get", 3)], [None; 4]);
}

#[test]
fn a_command_without_a_row_has_one_reply_whatever_its_arguments() {
    let shapes: [&[&str]; 4] = [&[], &["a"], &["reply", "on"], &["ack", "a", "b"]];
    let like_others = ["eval\x7fro", "exe\x03", "exec\0", "publish\0\0\0\0\0"];
    let others = ["get", "set", "evalx", "exe", "publishx", "", "client|reply", "a command of sixteen"];
    for name in others.into_iter().chain(like_others) {
        assert!(find(name.as_bytes()).is_none());
        for shape in shapes {
            assert_eq!(of(&[&[name], shape].concat()), Answer::Replies(1), "{name}");
        }
    }
}

#[test]
fn a_word_over_the_limit_equals_nothing() {
    let mut word = Word::default();
    word.push(b"PUBLISH");
    word.push(&[b'x'; 26]);
    assert_eq!(word.as_bytes(), b"");
    word.push(b"y");
    assert_eq!(word.as_bytes(), b"");
    assert_eq!((kept(&[b'x'; 32]).len(), kept(&[b'x'; 33]).len()), (32, 0));
}
