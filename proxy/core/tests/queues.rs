//! What a session makes of replies that hand over items of lists, sorted sets and streams (`--follow`).

use redistributed_core::Policy;
use redistributed_core::glob::Glob;
use redistributed_core::policy::{Commands, Mode};
use redistributed_core::trace::sampler::Root;
use redistributed_core::trace::{ConsumerGroup, Operation, Sampler, SpanRecord};

use crate::following::{Conversation, OTHER, both_ways, following, span};

/// The operations of the spans of items, and whether these begin traces.
fn items(talk: &mut Conversation) -> Vec<String> {
    let described = |record: SpanRecord| {
        let Operation::Item { queue, group, id, body_size } = record.operation else { panic!("{record:?}") };
        assert_eq!(record.parent, None, "nothing carries a context to it");
        let or_dash = |text: Option<std::sync::Arc<str>>| text.unwrap_or("-".into());
        let consumer = |group: &ConsumerGroup| group.consumer.clone().unwrap_or("-".into());
        let group = group.map(|group| format!("{}/{}", group.name, consumer(&group)).into());
        let mut line = format!("{} {} {} {body_size}", or_dash(queue), or_dash(group), or_dash(id));
        if let Some(inferred) = record.inferred {
            assert!(inferred.is_redelivery && inferred.is_acknowledged.is_none(), "{inferred:?}");
            line += if inferred.first_delivery == Some(span(OTHER)) { " again" } else { " again, not remembered" };
        }
        line
    };
    std::mem::take(&mut talk.driver.deliveries).into_iter().map(described).collect()
}

fn with_templates() -> Policy {
    let key_templates = ["queue:a*", "queue:s*"].map(|glob| Glob::new(glob).unwrap()).to_vec();
    Policy { key_templates, ..following(Commands::None) }
}

#[test]
fn each_item_has_a_span_and_is_told_before_it_is_passed_on() {
    both_ways(&with_templates(), |mut talk| {
        talk.client(&["BLPOP", "queue:a7", "queue:b", "5"]);
        talk.client(&["LPOP", "queue:a7", "2"]);
        talk.client(&["ZPOPMIN", "queue:b"]);
        talk.client(&["GET", "k"]);
        let told = talk.told();
        assert_eq!(told, ["1 reads queue:a7 true", "2 reads queue:a7 true", "3 reads queue:b true", "4 GET k"]);
        talk.server(
            "*2\r\n$7\r\nqueue:b\r\n$3\r\njob\r\n*2\r\n$1\r\nx\r\n$2\r\nyz\r\n*2\r\n$1\r\nm\r\n$1\r\n7\r\n$1\r\nv\r\n",
        );
        let told = talk.told();
        let expected = [
            "item queue:b  job traced=true",
            "item queue:a7  x traced=true",
            "item queue:a7  yz traced=true",
            "item queue:b  m traced=true",
            "4 answered v",
        ];
        assert_eq!(told, expected);
        assert_eq!(items(&mut talk), ["- - - 3", "queue:a* - - 1", "queue:a* - - 2", "- - - 1"]);
    });
}

#[test]
fn entries_have_their_ids_and_their_group() {
    const ENTRIES: &str =
        "*2\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$3\r\njob\r\n*2\r\n$3\r\n2-0\r\n*2\r\n$1\r\nf\r\n$1\r\nx\r\n";
    for head in ["*1\r\n*2\r\n$7\r\nqueue:s\r\n", "%1\r\n$7\r\nqueue:s\r\n"] {
        both_ways(&with_templates(), |mut talk| {
            talk.client(&["XREADGROUP", "GROUP", "workers", "me", "STREAMS", "queue:s", ">"]);
            talk.server(&format!("{head}{ENTRIES}"));
            let expected = [
                "1 reads queue:s true",
                "item queue:s 1-0 job traced=true pending=0/workers/1-0",
                "item queue:s 2-0 x traced=true pending=0/workers/2-0",
            ];
            assert_eq!(talk.told(), expected);
            assert_eq!(items(&mut talk), ["queue:s* workers/me 1-0 4", "queue:s* workers/me 2-0 2"]);
        });
    }
    // The names of a group and of a consumer are among those that are hidden.
    both_ways(&Policy { hide_channel_names: true, ..with_templates() }, |mut talk| {
        talk.client(&["XREADGROUP", "GROUP", "workers", "me", "STREAMS", "queue:s", ">"]);
        talk.server(&format!("*1\r\n*2\r\n$7\r\nqueue:s\r\n{ENTRIES}"));
        assert_eq!(talk.told()[1], "item queue:s 1-0 job traced=true pending=0/workers/1-0");
        assert_eq!(items(&mut talk), ["queue:s* - 1-0 4", "queue:s* - 2-0 2"]);
    });
}

#[test]
fn nothing_is_handed_over_by_a_null_or_an_error_or_in_a_transaction() {
    both_ways(&with_templates(), |mut talk| {
        for words in [&["BLPOP", "queue:a", "1"][..], &["LPOP", "queue:a"], &["BRPOP", "queue:a", "1"]] {
            talk.client(words);
        }
        talk.server("*-1\r\n$-1\r\n-WRONGTYPE Operation\r\n");
        for words in [&["MULTI"][..], &["LPOP", "queue:a"], &["EXEC"]] {
            talk.client(words);
        }
        talk.server("+OK\r\n+QUEUED\r\n*1\r\n$1\r\nx\r\n");
        let told = talk.told();
        assert_eq!(told[3..], ["4 MULTI ", "5 LPOP queue:a", "6 EXEC ", "4 answered OK", "5 answered x"]);
        assert!(items(&mut talk).is_empty());
    });
}

#[test]
fn what_is_no_queue_is_told_like_any_other_command() {
    both_ways(&with_templates(), |mut talk| {
        talk.client(&["LPOP", "pool"]);
        talk.client(&["BLPOP", "pool", "1"]);
        talk.client(&["BLPOP", "answer:7", "1"]);
        talk.server("$1\r\nx\r\n*2\r\n$4\r\npool\r\n$1\r\ny\r\n*2\r\n$8\r\nanswer:7\r\n$1\r\nz\r\n");
        let expected = [
            "1 reads pool false",
            "2 LPOP pool",
            "3 reads pool true",
            "4 reads answer:7 true",
            "2 answered x",
            "4 answered answer:7 z",
        ];
        assert_eq!(talk.told(), expected);
        assert!(items(&mut talk).is_empty());
    });
}

#[test]
fn a_long_item_is_told_by_its_beginning_and_items_that_are_not_told_are_missed() {
    both_ways(&with_templates(), |mut talk| {
        let long = "x".repeat(600_000);
        talk.client(&["BLPOP", "queue:a", "1"]);
        talk.server(&format!("*2\r\n$7\r\nqueue:a\r\n$600000\r\n{long}\r\n"));
        let told = talk.told();
        assert!(told.len() == 2 && told[1].starts_with("item queue:a  xxx"), "{}", told.len());
        assert_eq!(items(&mut talk), ["queue:a* - - 600000"]);
        talk.client(&["LPOP", "queue:a", "200"]);
        talk.server(&format!("*200\r\n{}", "$1\r\nx\r\n".repeat(200)));
        let told = talk.told();
        assert_eq!((told.len(), told.last().map(String::as_str)), (1 + 128 + 1, Some("missed")));
        assert_eq!(items(&mut talk).len(), 128);
    });
}

#[test]
fn where_a_service_is_only_observed_items_begin_no_traces() {
    both_ways(&Policy { mode: Mode::Observe, ..with_templates() }, |mut talk| {
        talk.client(&["BLPOP", "queue:a", "1"]);
        talk.server("*2\r\n$7\r\nqueue:a\r\n$1\r\nx\r\n");
        assert_eq!(talk.told()[1..], ["item queue:a  x traced=false"]);
        assert!(items(&mut talk).is_empty());
    });
}

#[test]
fn an_item_that_is_measured_has_a_record_in_every_mode_though_no_span_is_sampled() {
    let sampler = Sampler { parent_based: true, root: Root::AlwaysOff };
    for (mode, untraced) in [(Mode::Inject, false), (Mode::Observe, true)] {
        for watched in [true, false] {
            both_ways(&Policy { mode, sampler, ..with_templates() }, |mut talk| {
                talk.driver.watched = watched;
                talk.client(&["LPOP", "queue:a7"]);
                talk.server("$3\r\njob\r\n");
                let records = &talk.driver.deliveries;
                let is_right = |record: &SpanRecord| !record.is_exported() && record.handling.untraced == untraced;
                assert!(records.iter().all(is_right), "{records:?}");
                assert_eq!(items(&mut talk), if watched { &["queue:a* - - 3"][..] } else { &[] });
            });
        }
    }
}

#[test]
fn an_acknowledgement_is_told_when_it_is_sent_wherever_it_stands() {
    both_ways(&with_templates(), |mut talk| {
        talk.client(&["SELECT", "3"]);
        talk.client(&["XACK", "queue:s", "workers", "1-0", "2-0"]);
        talk.client(&["MULTI"]);
        talk.client(&["xackdel", "queue:s", "workers", "DELREF", "IDS", "1", "5"]);
        talk.client(&["EXEC"]);
        talk.client(&["XACK", "queue:s"]);
        talk.client(&["XDEL", "queue:s", "1-0"]);
        let told = talk.told();
        let acknowledged: Vec<_> = told.iter().filter(|line| line.starts_with("acknowledged")).collect();
        assert_eq!(acknowledged, ["acknowledged 3/queue:s/workers 1-0 2-0", "acknowledged 3/queue:s/workers 5-0"]);
        // It is a command like others too, whatever its reply is.
        talk.server("+OK\r\n-NOGROUP No such\r\n");
        assert!(told.iter().any(|line| line.starts_with("1 XACK queue:s workers 1-0")), "{told:?}");
        assert_eq!(talk.told(), ["1 answered NOGROUP No such"]);
    });
}

#[test]
fn an_acknowledgement_of_very_many_entries_says_that_there_are_more() {
    let ids: Vec<String> = (0..2_000).map(|number| format!("1700000000000-{number}")).collect();
    let words: Vec<&str> = ["XACK", "queue:s", "workers"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    both_ways(&with_templates(), |mut talk| {
        talk.client(&words);
        let told = talk.told();
        let line = told.last().unwrap();
        assert!(line.starts_with("acknowledged 0/queue:s/workers 1700000000000-0 "), "{line}");
        assert!(line.ends_with(" ..."), "{line}");
    });
}

#[test]
fn what_is_claimed_is_handed_over_again() {
    const CLAIMED: &str = "*2\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$3\r\njob\r\n";
    for null in ["$-1\r\n", "*-1\r\n", "_\r\n"] {
        both_ways(&with_templates(), |mut talk| {
            talk.client(&["XCLAIM", "queue:s", "workers", "other", "60000", "1-0", "1-1"]);
            talk.client(&["XAUTOCLAIM", "queue:s", "workers", "other", "60000", "0-0", "COUNT", "2"]);
            talk.server(&format!("{CLAIMED}{null}"));
            talk.server(&format!("*3\r\n$3\r\n0-0\r\n{CLAIMED}{null}*1\r\n$3\r\n0-9\r\n"));
            let item = "item queue:s 1-0 job traced=true pending=0/workers/1-0 again";
            assert_eq!(talk.told(), ["1 reads queue:s true", "2 reads queue:s true", item, item]);
            assert_eq!(items(&mut talk), ["queue:s* workers/other 1-0 4 again"; 2]);
        });
    }
    both_ways(&with_templates(), |mut talk| {
        talk.client(&["XCLAIM", "queue:s", "workers", "other", "60000", "1-0", "JUSTID"]);
        talk.client(&["XAUTOCLAIM", "queue:s", "workers", "other", "60000", "0-0", "justid"]);
        talk.client(&["XRANGE", "queue:s", "-", "+"]);
        talk.server(&format!("*1\r\n$3\r\n1-0\r\n*3\r\n$3\r\n0-0\r\n*1\r\n$3\r\n1-0\r\n*0\r\n{CLAIMED}*-1\r\n"));
        assert!(talk.told().iter().all(|line| !line.starts_with("item") && !line.contains("reads")));
        assert!(items(&mut talk).is_empty());
    });
}

#[test]
fn what_is_read_without_acknowledgement_waits_for_none_unless_it_is_claimed() {
    let read = |option: &str, entry: &str| {
        let (told, spans) = (std::cell::RefCell::default(), std::cell::RefCell::default());
        both_ways(&with_templates(), |mut talk| {
            talk.client(&["XREADGROUP", "GROUP", "workers", "me", option, "60000", "NOACK", "STREAMS", "queue:s", ">"]);
            talk.server(&format!("*1\r\n*2\r\n$7\r\nqueue:s\r\n*1\r\n{entry}"));
            *told.borrow_mut() = talk.told().remove(1);
            *spans.borrow_mut() = items(&mut talk).remove(0);
        });
        (told.into_inner(), spans.into_inner())
    };
    let (told, span): (String, String) = read("COUNT", "*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nx\r\n");
    assert_eq!((&*told, &*span), ("item queue:s 1-0 x traced=true", "queue:s* workers/me 1-0 2"));
    let (told, span) = read("CLAIM", "*4\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nx\r\n:70000\r\n:1\r\n");
    assert_eq!(told, "item queue:s 1-0 x traced=true pending=0/workers/1-0 again");
    assert_eq!(span, "queue:s* workers/me 1-0 2 again");
}
