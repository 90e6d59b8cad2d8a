use alloc::{format, vec};

use super::*;
use crate::trace::SpanContext;

const CHANNEL: &str = "__redistributed:context:1:00000000000000ff";

fn context(id: u8) -> Context {
    let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902{id:02x}-01");
    SpanContext::parse_traceparent(text.as_bytes()).unwrap().into()
}

fn name(id: u8) -> TraceId {
    TraceId::from_bytes([id; 16]).unwrap()
}

fn message(all: &[Notice], keys: &ContextKeys) -> Vec<u8> {
    let mut message = Vec::new();
    all.iter().for_each(|notice| notice.write(CHANNEL.as_bytes(), keys, &mut message));
    message
}

#[test]
fn what_one_proxy_writes_another_one_reads_if_it_has_the_key() {
    let with_state = Context { trace_state: Some("vendor=1".into()), ..context(2) };
    let all = vec![
        Notice { name: name(1), context: Some(context(1)), about: About::Item },
        Notice { name: name(2), context: None, about: About::Item },
        Notice { name: name(3), context: Some(with_state), about: About::Item },
    ];
    let read = |message: &[u8], keys: &ContextKeys| notices(CHANNEL.as_bytes(), message, keys).collect::<Vec<_>>();
    let (none, key, other) = (ContextKeys::default(), ContextKeys::new(["key"]), ContextKeys::new(["other"]));
    let plain = message(&all, &none);
    assert_eq!((read(&plain, &none), plain.len()), (all.clone(), 59 + 18 + 59 + 13));
    let signed = message(&all, &key);
    assert_eq!(read(&signed, &key), all);
    assert_eq!(read(&signed, &ContextKeys::new(["new", "key"])), all);
    assert_eq!((read(&signed, &other), read(&plain, &key)), (vec![], vec![]));
    // A notice belongs to one item on one channel.
    assert_eq!(notices(b"__redistributed:context:1:00000000000000fe", &signed, &key).count(), 0);
    let mut moved = signed.clone();
    moved[LEN_LEN] ^= 1;
    assert_eq!(read(&moved, &key), []);
    for len in 0..plain.len() {
        let whole = [59, 77].iter().filter(|end| **end <= len).count();
        assert_eq!(read(&plain[..len], &none), all[..whole], "what is cut off is passed over");
    }
}

#[test]
fn a_companion_channel_is_told_by_its_name() {
    let of = |kind, name: &str| CompanionChannel::Messages(kind, name.as_bytes().into());
    for (companion, name) in [
        (CompanionChannel::Key(Companion(255)), CHANNEL),
        (of(MessagesOf::Channel, "orders:1"), "__redistributed:message:1:c:orders:1"),
        (of(MessagesOf::ShardChannel, ""), "__redistributed:message:1:s:"),
        (of(MessagesOf::Pattern, "a*"), "__redistributed:message:1:p:a*"),
    ] {
        assert_eq!(companion.name(), name.as_bytes());
        assert_eq!(CompanionChannel::of_name(name.as_bytes()), Some(companion));
    }
    for other in
        ["orders", "__redistributed:message:1:", "__redistributed:message:1:x:a", "__redistributed:message:2:c:a"]
    {
        assert_eq!(CompanionChannel::of_name(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn a_span_tells_of_each_of_its_items_unless_it_has_failed_or_has_told() {
    use crate::trace::{ErrorType, Sent, UnixNanos};
    let item = |id| SpanContext { trace_id: name(id), ..context(9).span };
    let companion = Some(Companion(7));
    let sent = Sent { items: vec![item(1), item(2)], repeated: vec![name(2)], companion, ..Sent::default() };
    let span = |sent: &Sent, context| SpanRecord::new(context, UnixNanos(1), Operation::Send(sent.clone().into()));
    let told = |span: &SpanRecord| {
        let (companion, notices) = notices_of(span)?;
        Some((companion, notices.map(|notice| (notice.name, notice.context.map(|context| context.span))).collect()))
    };
    let own = context(5).span;
    let both: Option<(_, Vec<_>)> =
        Some((CompanionChannel::Key(Companion(7)), vec![(name(1), Some(own)), (name(2), None)]));
    assert_eq!(told(&span(&sent, own)), both);
    let failed = SpanRecord { error: Some(ErrorType::named("WRONGTYPE")), ..span(&sent, own) };
    assert_eq!(told(&failed), None);
    assert_eq!(told(&span(&Sent { is_told: true, ..sent.clone() }, own)), None);
    assert_eq!(told(&span(&Sent { companion: None, ..sent }, own)), None);
    let named = Sent { is_named_by_item: true, companion, ..Sent::default() };
    assert_eq!(
        told(&span(&named, item(1))),
        Some((CompanionChannel::Key(Companion(7)), vec![(name(1), Some(item(1)))]))
    );
}

#[test]
fn what_happens_to_an_id_is_told_and_proven_with_its_name() {
    let context = context(5);
    let by = context.span.span_id;
    let sent = crate::trace::Sent {
        ids: vec![name(1), name(2)],
        repeated: vec![name(2)],
        companion: Some(Companion(7)),
        ..Default::default()
    };
    let span = SpanRecord::new(context.span, crate::trace::UnixNanos(1), Operation::Send(sent.into()));
    let mut all: Vec<_> = notices_of(&span).unwrap().1.collect();
    let turns: Vec<_> = all.iter().map(|notice| (notice.name, notice.about)).collect();
    assert_eq!(turns, [(name(1), About::Id(Turn::Added)), (name(2), About::Id(Turn::AddedUnclear))]);
    assert!(all.iter().all(|notice| notice.context.as_ref() == Some(&context) && !notice.is_taken_by(by)));
    all.push(Notice::of_taken(name(3), by));
    assert!(all[2].is_taken_by(by) && !all[2].is_taken_by(SpanId::from_u64(1).unwrap()));
    for keys in [ContextKeys::default(), ContextKeys::new(["key"])] {
        let signed = message(&all, &keys);
        let read = |message: &[u8]| notices(CHANNEL.as_bytes(), message, &keys).collect::<Vec<_>>();
        assert_eq!(read(&signed), all);
        let mut other = signed.clone();
        other[LEN_LEN + NAME_LEN] = b't';
        let is_proven = !keys.is_empty();
        assert_eq!(read(&other).is_empty(), is_proven, "a turn cannot be changed where there are keys");
        other[LEN_LEN + NAME_LEN] = b'x';
        assert_eq!(read(&other), []);
    }
}

#[test]
fn which_publish_a_message_comes_from_is_told_byte_by_byte_and_proven_with_its_name() {
    let connection = SpanId::from_u64(0x0102_0304_0506_0708).unwrap();
    let of = |number| About::Message(PublishNumber { connection, number });
    let all = [7, u32::MAX].map(|number| Notice { name: name(1), context: Some(context(1)), about: of(number) });
    for keys in [ContextKeys::default(), ContextKeys::new(["key"])] {
        let written = message(&all, &keys);
        assert_eq!(written[LEN_LEN + NAME_LEN..][..MESSAGE_LEN], *b"m\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x07");
        let read = |message: &[u8]| notices(CHANNEL.as_bytes(), message, &keys).collect::<Vec<_>>();
        assert_eq!(read(&written), all);
        for at in 0..MESSAGE_LEN {
            let mut other = written.clone();
            other[LEN_LEN + NAME_LEN + at] ^= 1;
            // Without keys, only the letter can be told from another one.
            assert_eq!(read(&other).is_empty(), at == 0 || !keys.is_empty(), "{at}");
        }
    }
    let mut nobody = message(&all[..1], &ContextKeys::default());
    nobody[LEN_LEN + NAME_LEN + 1..][..8].fill(0);
    assert_eq!(notices(CHANNEL.as_bytes(), &nobody, &ContextKeys::default()).count(), 0, "no connection is 0");
    for len in [2, 12, 14] {
        assert_eq!(About::read(&[b'm'; 14][..len]), None);
    }
}

#[test]
fn what_is_not_of_this_form_is_passed_over() {
    let none = ContextKeys::default();
    let notice =
        |context: &[u8]| [&u16::try_from(context.len()).unwrap().to_be_bytes()[..], &[7; 16], context].concat();
    let mut trailer = Vec::new();
    crate::carrier::trailer::write(&context(1), &mut trailer);
    assert_eq!(notices(CHANNEL.as_bytes(), &notice(&trailer), &none).count(), 1);
    let too_long = [&b"x"[..], &trailer].concat();
    for context in [&b"x"[..], &trailer[1..], &trailer[..trailer.len() - 1], &too_long] {
        assert_eq!(notices(CHANNEL.as_bytes(), &notice(context), &none).count(), 0);
    }
    assert_eq!(notices(CHANNEL.as_bytes(), &[0; 18], &none).count(), 0, "no item has such a name");
}

#[test]
fn a_companion_follows_from_the_database_and_the_key_as_other_languages_compute_it() {
    // Python: hmac.new(key, b"redistributed/q\0" + (2).to_bytes(4, "big") + b"orders", "sha256").hexdigest()[:16]
    let (none, key) = (ContextKeys::default(), ContextKeys::new(["fleet"]));
    let companion = |database, keys| companion(database, b"orders", keys).unwrap();
    assert_eq!(companion(2, &none), Companion(0x3ca4b3886837180e));
    assert_eq!(companion(2, &key), Companion(0xb1581ed9fbf5defc));
    assert_ne!(companion(2, &none), companion(3, &none));
}
