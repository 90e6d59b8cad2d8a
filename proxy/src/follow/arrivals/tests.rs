use super::*;

const REDIS: u64 = 1;
const KEY: Companion = Companion(7);

fn at(millis: u64) -> UnixNanos {
    UnixNanos(millis * 1_000_000)
}

fn context(id: u64) -> Context {
    let text = format!("00-{id:032x}-00f067aa0ba902b7-01");
    SpanContext::parse_traceparent(text.as_bytes()).unwrap().into()
}

fn item(id: u64, is_shared: bool) -> NamedItem {
    NamedItem { name: context(id).span.trace_id, companion: KEY, is_shared, is_id: false }
}

fn notice(id: u64, told: Option<u64>) -> Vec<Notice> {
    vec![Notice { name: context(id).span.trace_id, context: told.map(context), about: About::Item }]
}

#[test]
fn a_context_that_has_come_before_its_item_is_there_for_one_or_for_all_who_take_it() {
    let mut arrivals = Arrivals::default();
    for is_shared in [false, true] {
        let item = item(1, is_shared);
        assert_eq!(arrivals.told(at(1), REDIS, &item), Told::NothingYet);
        assert_eq!(arrivals.heard(at(1), REDIS, KEY, notice(1, Some(10))), []);
        assert_eq!(arrivals.told(at(1), REDIS + 1, &item), Told::NothingYet, "another Redis");
        assert_eq!(arrivals.told(at(1), REDIS, &item), Told::Context(context(10)));
        let again = if is_shared { Told::Context(context(10)) } else { Told::NothingYet };
        assert_eq!(arrivals.told(at(1), REDIS, &item), again);
    }
    arrivals.take_due(UnixNanos(at(1).0 + KEPT));
    assert_eq!(arrivals.told(at(1), REDIS, &item(1, true)), Told::NothingYet, "it was too long ago");
    assert_eq!((arrivals.contexts.len(), arrivals.contexts_by_age.len()), (0, 0));
}

#[test]
fn an_item_that_was_told_twice_has_no_context() {
    let mut arrivals = Arrivals::default();
    arrivals.heard(at(1), REDIS, KEY, notice(1, Some(10)));
    arrivals.heard(at(1), REDIS, KEY, notice(1, Some(10)));
    assert_eq!(arrivals.told(at(1), REDIS, &item(1, true)), Told::Context(context(10)), "the same is no other");
    arrivals.heard(at(1), REDIS, KEY, notice(1, Some(11)));
    assert_eq!(arrivals.told(at(1), REDIS, &item(1, true)), Told::Nothing);
    arrivals.heard(at(1), REDIS, KEY, notice(2, None));
    assert_eq!(arrivals.told(at(1), REDIS, &item(2, false)), Told::Nothing);
    arrivals.heard(at(1), REDIS, KEY, notice(2, Some(10)));
    assert_eq!(arrivals.told(at(1), REDIS, &item(2, false)), Told::Nothing);
}

#[test]
fn an_item_waits_for_its_context_for_a_moment() {
    let mut arrivals = Arrivals::default();
    arrivals.wait(at(10), REDIS, 5, None, &item(1, false));
    arrivals.wait(at(20), REDIS, 6, None, &item(2, false));
    let settled = arrivals.heard(at(30), REDIS, KEY, notice(1, Some(10)));
    let expected =
        Settled { delivery: 5, context: Some(context(10)), derived: None, own: None, is_used: false, held: vec![] };
    assert_eq!(settled, [expected]);
    assert_eq!(arrivals.told(at(1), REDIS, &item(1, false)), Told::NothingYet, "it belongs to who has waited");
    assert_eq!(arrivals.take_due(at(2019)), []);
    let due = arrivals.take_due(at(2020));
    assert_eq!(due, [Settled { delivery: 6, context: None, derived: None, own: None, is_used: false, held: vec![] }]);
    arrivals.take_held(at(2020));
    let ages = (arrivals.young.len(), arrivals.waiting_by_age.len());
    assert_eq!((arrivals.is_empty(), arrivals.by_item.len(), ages), (true, 0, (0, 0)));
}

#[test]
fn a_context_that_comes_between_the_question_and_the_item_is_the_items() {
    for is_shared in [false, true] {
        let mut arrivals = Arrivals::default();
        let item = item(1, is_shared);
        assert_eq!(arrivals.told(at(1), REDIS, &item), Told::NothingYet);
        assert_eq!(arrivals.heard(at(1), REDIS, KEY, notice(1, Some(10))), []);
        assert_eq!(arrivals.wait(at(1), REDIS, 5, None, &item), Some(context(10)));
        let again = arrivals.wait(at(1), REDIS, 6, None, &item);
        assert_eq!(again, is_shared.then(|| context(10)), "another one that is alike has to wait");
        assert_eq!(arrivals.is_empty(), is_shared);
    }
}

#[test]
fn a_contradiction_between_the_question_and_the_item_leaves_nothing_to_wait_for() {
    let mut arrivals = Arrivals::default();
    arrivals.heard(at(1), REDIS, KEY, notice(1, None));
    assert_eq!(arrivals.wait(at(1), REDIS, 5, None, &item(1, false)), None);
    assert!(arrivals.is_empty());
}

#[test]
fn two_elements_that_are_alike_have_no_context_and_two_readers_of_one_entry_have_the_same() {
    for is_shared in [false, true] {
        let mut arrivals = Arrivals::default();
        arrivals.wait(at(1), REDIS, 5, None, &item(1, is_shared));
        arrivals.wait(at(1), REDIS, 6, None, &item(1, is_shared));
        let settled = arrivals.heard(at(2), REDIS, KEY, notice(1, Some(10)));
        let contexts: Vec<_> = settled.into_iter().map(|settled| settled.context).collect();
        assert_eq!(contexts, vec![is_shared.then(|| context(10)); 2]);
    }
}

#[test]
fn what_an_item_causes_waits_with_it_where_contexts_are_told_and_fixes_its_trace_elsewhere() {
    let mut arrivals = Arrivals::default();
    let held = |command, causes: &[u64]| Held { command, causes: causes.to_vec(), rule: Some("only") };
    arrivals.wait(at(1), REDIS, 5, None, &item(1, false));
    assert!(arrivals.may_tell(&[5]), "nothing was told at this key so far");
    let settled = arrivals.heard(at(2), REDIS, KEY, notice(1, Some(10)));
    assert!(settled[0].is_used);
    arrivals.wait(at(3), REDIS, 6, None, &item(2, false));
    assert!(arrivals.may_tell(&[7]) && !arrivals.may_tell(&[7, 6]));
    assert_eq!(arrivals.hold(held(77, &[7, 6])), None);
    assert_eq!(arrivals.hold(held(78, &[7])), Some(held(78, &[7])));
    let settled = arrivals.heard(at(4), REDIS, KEY, notice(2, Some(10)));
    assert_eq!((settled[0].is_used, &settled[0].held), (false, &vec![held(77, &[7, 6])]));
    arrivals.wait(at(5), REDIS, 7, None, &item(4, false));
    arrivals.hold(held(79, &[7]));
    assert_eq!(arrivals.take_held(at(254)), []);
    assert_eq!(arrivals.take_held(at(255)), [held(79, &[7])], "it waits no longer than others notice");
    assert!(arrivals.may_tell(&[7]));
    let settled = arrivals.heard(at(300), REDIS, KEY, notice(4, Some(10)));
    assert_eq!((settled[0].is_used, settled[0].context.is_some()), (true, true), "it waits itself for longer");
    arrivals.wait(UnixNanos(at(300).0 + TOLD), REDIS, 8, None, &item(3, false));
    assert!(arrivals.may_tell(&[8]), "nothing was told there for long");
}

#[test]
fn there_is_a_most_of_contexts_and_of_items_that_wait() {
    let mut arrivals = Arrivals::default();
    for id in 1..=MAX_CONTEXTS as u64 + 1 {
        arrivals.heard(at(1), REDIS, KEY, notice(id, Some(10)));
    }
    assert_eq!(
        (arrivals.contexts.len(), arrivals.told(at(1), REDIS, &item(1, true))),
        (MAX_CONTEXTS, Told::NothingYet)
    );
    for id in 0..=MAX_WAITING as u64 {
        arrivals.wait(at(1), REDIS, id, None, &item(1_000_000 + id, false));
    }
    assert_eq!((arrivals.waiting.len(), arrivals.by_item.len()), (MAX_WAITING, MAX_WAITING));
}

#[test]
fn an_id_waits_for_its_context_no_longer_than_what_it_causes() {
    let mut arrivals = Arrivals::default();
    let id = NamedItem { is_id: true, ..item(1, false) };
    let added = |by| vec![Notice { about: About::Id(Turn::Added), ..notice(1, Some(by)).remove(0) }];
    for number in 10..12 {
        assert_eq!(arrivals.told(at(1), REDIS, &id), Told::NothingYet);
        assert_eq!(arrivals.wait(at(1), REDIS, number, None, &id), None);
        let settled = arrivals.heard(at(2), REDIS, KEY, added(number));
        let expected = Settled {
            delivery: number,
            context: Some(context(number)),
            derived: None,
            own: None,
            is_used: false,
            held: vec![],
        };
        assert_eq!(settled, [expected]);
    }
    arrivals.told(at(3), REDIS, &id);
    arrivals.wait(at(3), REDIS, 12, None, &id);
    let held = Held { command: 77, causes: vec![12], rule: Some("only") };
    assert_eq!(arrivals.hold(held.clone()), None);
    assert_eq!(arrivals.take_held(at(252)), []);
    assert_eq!(arrivals.take_held(at(253)), [held]);
    assert!(arrivals.is_empty() && arrivals.by_item.is_empty());
    assert_eq!(arrivals.heard(at(254), REDIS, KEY, added(12)), []);
    arrivals.heard(at(255), REDIS, KEY, added(13));
    assert_eq!(arrivals.told(at(256), REDIS, &id), Told::Context(context(13)), "the first one was too late");
}

#[test]
fn an_id_that_is_added_again_while_it_waits_has_no_context() {
    let mut arrivals = Arrivals::default();
    let id = NamedItem { is_id: true, ..item(1, false) };
    arrivals.told(at(1), REDIS, &id);
    arrivals.wait(at(1), REDIS, 5, None, &id);
    let again = context(20).span;
    assert!(!arrivals.adds_id(at(2), REDIS, id.name, again.span_id));
    let unclear = vec![Notice { about: About::Id(Turn::AddedUnclear), ..notice(1, Some(20)).remove(0) }];
    let settled = arrivals.heard(at(3), REDIS, KEY, unclear);
    assert_eq!(
        settled,
        [Settled { delivery: 5, context: None, derived: None, own: None, is_used: false, held: vec![] }]
    );
}
