use SubscriptionKind::{Channel, Shard};

use super::*;

const FOR_EVER: u64 = u64::MAX;

fn known(receivers: u32) -> Result<Known, Unknown> {
    Ok(Known { receivers, longest: 1000, proven: 1 })
}

fn name(kind: SubscriptionKind, text: &str) -> Name {
    Name::new(kind, text.as_bytes())
}

#[test]
fn a_channel_is_unknown_until_it_has_been_asked_about() {
    let watch = Watch::default();
    assert_eq!(watch.audience(Channel, b"ch"), Err(Unknown::NoEvidence));
    assert_eq!(watch.audience(Shard, b"ch"), Err(Unknown::NoEvidence));
    let mut asked = watch.ask(0);
    asked.sort();
    assert_eq!(asked, [(name(Channel, "ch"), false), (name(Shard, "ch"), false)]);
    let verdicts = vec![(name(Channel, "ch"), known(2)), (name(Shard, "ch"), Err(Unknown::Unproxied))];
    assert_eq!(watch.answer(verdicts, FOR_EVER), []);
    let audience = watch.audience(Channel, b"ch").unwrap();
    assert_eq!((audience.receivers, audience.longest), (2, 1000));
    assert_eq!(watch.audience(Shard, b"ch"), Err(Unknown::Unproxied));
    let verdicts = Verdicts { proxied: 1, unknown: [(Unknown::Unproxied, 1)].into() };
    assert_eq!(watch.verdicts(), verdicts);
}

#[test]
fn what_was_known_does_not_hold_for_long() {
    let watch = Watch::default();
    let _ = watch.audience(Channel, b"ch");
    watch.answer(vec![(name(Channel, "ch"), known(2))], clock::now().0.saturating_sub(1));
    assert_eq!(watch.audience(Channel, b"ch"), Err(Unknown::NoEvidence));
    assert_eq!(watch.verdicts().unknown, [(Unknown::NoEvidence, 1)].into());
    watch.answer(vec![(name(Channel, "ch"), known(2))], FOR_EVER);
    assert!(watch.audience(Channel, b"ch").is_ok());
    watch.forget();
    assert_eq!(watch.audience(Channel, b"ch"), Err(Unknown::NoEvidence));
}

#[test]
fn a_contradiction_counts_at_once_and_is_not_overruled_by_an_older_snapshot() {
    let watch = Watch::default();
    let _ = watch.audience(Channel, b"ch");
    let answer = |fresh| watch.answer(vec![(name(Channel, "ch"), known(2))], fresh);
    answer(FOR_EVER);
    let token = watch.audience(Channel, b"ch").unwrap().token;
    watch.contradict(token);
    assert_eq!(watch.audience(Channel, b"ch"), Err(Unknown::Contradicted));
    assert_eq!(answer(FOR_EVER), [name(Channel, "ch")], "this was asked for before");
    assert_eq!(watch.audience(Channel, b"ch"), Err(Unknown::Contradicted));
    assert_eq!(watch.ask(0), [(name(Channel, "ch"), true)], "who asks next is told of it");
    assert_eq!(answer(FOR_EVER), []);
    assert!(watch.audience(Channel, b"ch").is_ok());
}

#[test]
fn channels_that_are_not_used_go_and_their_tokens_with_them() {
    let watch = Watch::default();
    let _ = watch.audience(Channel, b"old");
    watch.answer(vec![(name(Channel, "old"), known(2))], FOR_EVER);
    let token = watch.audience(Channel, b"old").unwrap().token;
    assert_eq!(watch.ask(FOR_EVER), [], "nothing was published since");
    let _ = watch.audience(Channel, b"new");
    watch.answer(vec![(name(Channel, "new"), known(3))], FOR_EVER);
    watch.contradict(token);
    assert!(watch.audience(Channel, b"new").is_ok(), "the token of the channel that was here before");
    assert_eq!(watch.audience(Channel, b"old"), Err(Unknown::NoEvidence));
}

#[test]
fn channels_beyond_the_limit_stay_unknown_until_others_go() {
    let watch = Watch::default();
    let names: Vec<String> = (0..=MAX_CHANNELS).map(|index| index.to_string()).collect();
    for name in &names {
        assert_eq!(watch.audience(Channel, name.as_bytes()), Err(Unknown::NoEvidence));
    }
    assert_eq!(watch.ask(0).len(), MAX_CHANNELS);
    watch.ask(FOR_EVER);
    let last = names.last().unwrap();
    let _ = watch.audience(Channel, last.as_bytes());
    assert_eq!(watch.ask(0), [(name(Channel, last), false)]);
}

#[test]
fn a_subscriber_that_has_gone_counts_at_once() {
    let watch = Watch::default();
    let all = [name(Channel, "a"), name(Channel, "b"), name(Shard, "a")];
    let ask = || all.each_ref().map(|name| watch.audience(name.kind, &name.text).is_ok());
    ask();
    let answer = || {
        watch.ask(0);
        watch.answer(all.iter().map(|name| (name.clone(), known(1))).collect(), FOR_EVER)
    };
    answer();
    assert_eq!(ask(), [true; 3]);
    watch.retracted(&Retracted::Names(vec![name(Channel, "a"), name(Channel, "not watched")]));
    assert_eq!(ask(), [false, true, true]);
    assert_eq!(watch.audience(Channel, b"a"), Err(Unknown::Proving));
    for everything in [Retracted::Names(vec![name(SubscriptionKind::Pattern, "x*")]), Retracted::Anything] {
        answer();
        assert_eq!(ask(), [true; 3]);
        watch.retracted(&everything);
        assert_eq!(ask(), [false; 3]);
    }
}
