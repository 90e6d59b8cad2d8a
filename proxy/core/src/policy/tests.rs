//! Tests of what follows from the operator's decisions.

use alloc::vec;

use super::*;
use crate::trace::{Operation, SpanContext, UnixNanos};

fn shown(
    policy: &Policy,
    channel: &str,
    pattern: Option<&str>,
) -> (Option<alloc::string::String>, alloc::string::String) {
    let destination = policy.destination(channel, pattern);
    (destination.template().map(Into::into), destination.group().into())
}

#[test]
fn the_template_is_the_operators_then_the_pattern_then_the_name_without_ids() {
    let rule = |glob: &str, template: Option<&str>| (Glob::new(glob).unwrap(), template.map(Arc::from));
    let templates = vec![rule("user:*", Some("user:{id}")), rule("build-*", None), rule("orders", Some("orders"))];
    let policy = Policy { templates, ..Policy::default() };
    let template = |text: &str| (Some(text.into()), text.into());
    for (channel, pattern, expected) in [
        ("user:alice", None, template("user:{id}")),
        ("user:alice", Some("user:*"), template("user:{id}")),
        ("build-12345678", None, (None, "build-12345678".into())),
        ("build-12345678", Some("build-*"), (None, "build-12345678".into())),
        ("orders", None, template("orders")),
        ("room:alice", None, (None, "room:alice".into())),
        ("room:alice", Some("room:*"), template("room:*")),
        ("room:12345678", Some("room:*"), template("room:*")),
        ("room:12345678:a", Some("room:12345678:*"), template("room:{id}:*")),
        ("room:alice", Some("room:alice"), (None, "room:alice".into())),
        ("room:alice", Some("*"), (None, "room:alice".into())),
        ("room:12345678", Some("?*"), template("room:{id}")),
        ("", None, (None, "".into())),
        ("", Some("*"), (None, "".into())),
    ] {
        assert_eq!(shown(&policy, channel, pattern), expected, "{channel} {pattern:?}");
    }
}

#[test]
fn a_cause_that_becomes_known_takes_the_place_of_those_of_which_one_was_it() {
    let span = |text: &str| SpanContext::parse_traceparent(text.as_bytes()).unwrap();
    let cause = span("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let other = span("00-11111111111111111111111111111111-2222222222222222-01");
    let own = span("00-33333333333333333333333333333333-4444444444444444-00");
    let policy = Policy { follow: Follow::Parent, ..Policy::default() };
    for has_left in [false, true] {
        let operation = Operation::Command { name: "SET".into(), summary: None, database: 0, batch_size: None };
        let mut record = SpanRecord::new(own, UnixNanos(1), operation);
        record.inferred = Some(Box::new(Inferred { links: vec![cause, other], ..Inferred::default() }));
        if has_left {
            record.handling.payload = Change::Injected;
        }
        policy.attribute(&mut record, &cause.into(), "joined");
        let inferred = record.inferred.as_ref().unwrap();
        assert_eq!((inferred.rule, inferred.links.len()), (Some("joined"), 0));
        let linked = (record.parent, record.link, record.context.trace_id);
        match has_left {
            false => assert_eq!(linked, (Some(cause.span_id), None, cause.trace_id)),
            true => assert_eq!(linked, (None, Some(cause), own.trace_id)),
        }
        assert_eq!(record.is_exported(), !has_left, "it is recorded as its cause is, unless its context has left");
    }
}

#[test]
fn a_hidden_name_is_shown_by_its_template_only() {
    let orders = (Glob::new("orders").unwrap(), Some(Arc::from("orders")));
    let policy = Policy { templates: vec![orders], hide_channel_names: true, ..Policy::default() };
    for (channel, group) in [("alice", ""), ("orders", "orders"), ("user:12345678", "user:{id}")] {
        let destination = policy.destination(channel, None);
        assert_eq!((destination.shown_channel(), destination.group()), (None, group));
        assert_eq!(destination.channel(), channel, "who watches is told");
    }
}
