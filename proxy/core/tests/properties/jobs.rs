//! Jobs whose envelopes get contexts (`--envelope`).

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use redistributed_core::carrier::Envelope;
use redistributed_core::choice::Choice;
use redistributed_core::resp::Values;
use redistributed_core::trace::ids::CountingIds;
use redistributed_core::{Counter, Policy, Side};

use super::{bytes, cut};
use crate::support::{Driver, Rng, injecting, multibulk};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_job_goes_on_as_it_came_or_with_one_member_more_however_it_is_cut(
        requests in vec(prop_oneof![job(), script()], 1..4), seed in any::<u64>()
    ) {
        let policy = Arc::new(Policy { envelopes: Envelope::ALL.to_vec(), ..injecting() });
        let (mut ids, mut rng) = (CountingIds::default(), Rng(seed));
        for request in requests {
            let mut driver = Driver::new(&policy);
            cut(&request, &mut rng, 30).for_each(|piece| driver.feed(Side::Client, piece, &mut ids));
            let injected = driver.counts[Counter::EntriesInjected as usize];
            prop_assert_eq!(injected == 0, driver.to_server == request);
            if injected > 0 {
                let words = |request: &[u8]| Values::new(request).map(<[u8]>::to_vec).collect::<Vec<_>>();
                let (came, went) = (words(&request), words(&driver.to_server));
                prop_assert_eq!(&driver.to_server, &multibulk(&went));
                let last = came.len() - 1;
                prop_assert_eq!((&came[..last], came.len()), (&went[..last], went.len()));
                let (came, went) = (&came[last], &went[last]);
                if last != 2 {
                    // The options of a script. Their header may be longer.
                    let members = |map: &[u8]| map[if map[0] == 0xde { 3 } else { 1 }..].to_vec();
                    let added = members(went).strip_prefix(&members(came)[..]).map(<[u8]>::to_vec);
                    prop_assert!(added.is_some_and(|added| added.starts_with(b"\xa2tm\xd9")));
                    continue;
                }
                let at = went.iter().zip(came).take_while(|(one, other)| one == other).count();
                let added = went.len() - came.len();
                // A comma may be the first byte that was added, or the next byte that came.
                let is_there = |at: usize| [&went[..at], &went[at + added..]].concat() == *came;
                prop_assert!((at.saturating_sub(1)..=at).any(is_there), "{}", went.escape_ascii());
                prop_assert!(serde_json::from_slice::<serde_json::Value>(went).is_ok(), "{}", went.escape_ascii());
            }
        }
    }
}

/// A job that is added to a queue, or something like one.
pub(super) fn job() -> impl Strategy<Value = Vec<u8>> {
    let key = prop::sample::select(&["celery", "taskiq", "queue:default", "other"][..]);
    let name = prop::sample::select(&["LPUSH", "lpush", "RPUSH"][..]);
    (name, key, envelope(), prop::option::weighted(0.1, bytes(10))).prop_map(|(name, key, element, more)| {
        multibulk(&[name.as_bytes(), key.as_bytes(), &element].into_iter().chain(more.as_deref()).collect::<Vec<_>>())
    })
}

/// A script of BullMQ that adds a job, or something like one.
fn script() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(&["EVAL", "EVALSHA", "evalsha", "FCALL"][..]);
    let keys = prop::sample::select(
        &[
            "meta id completed events",
            "marker meta id delayed completed events",
            "meta id delayed waiting-children completed events",
            "wait paused meta id delayed completed events marker",
        ][..],
    );
    let members = 0..20_u8;
    (names, keys, members, any::<bool>(), prop::option::weighted(0.1, bytes(10))).prop_map(
        |(name, keys, members, is_long, more)| {
            let keys: Vec<String> = keys.split(' ').map(|name| format!("bull:mail:{name}")).collect();
            let mut options = if is_long || members > 15 { vec![0xde, 0, members] } else { vec![0x80 | members] };
            (0..members).for_each(|member| options.extend_from_slice(&[0xa1, b'a' + member, member]));
            options.extend(more.unwrap_or_default());
            let count = keys.len().to_string();
            let mut words = vec![name.as_bytes(), b"0123456789012345678901234567890123456789", count.as_bytes()];
            words.extend(keys.iter().map(String::as_bytes));
            words.extend([&b"\x92\xaabull:mail:\xa0"[..], b"{}", &options]);
            multibulk(&words)
        },
    )
}

/// The envelope of a job library, of which some bytes may be others.
fn envelope() -> impl Strategy<Value = Vec<u8>> {
    let text = include_str!("../envelopes/taskiq.json");
    let taskiq = text.trim_end().replace("\"traceparent\"", "\"note\"");
    let celery = include_str!("../envelopes/celery.json").trim_end().replace("\"traceparent\"", "\"note\"");
    let sidekiq = r#"{"queue":"default","class":"Job","args":[7,"x"],"jid":"6d3b0a1e2f3c4d5e6f708192"}"#.to_owned();
    let with_context = text.trim_end().to_owned();
    let changes = prop_oneof![3 => Just(Vec::new()), 1 => vec((any::<prop::sample::Index>(), any::<u8>()), 1..3)];
    (prop::sample::select(vec![taskiq, celery, sidekiq, with_context]), changes).prop_map(|(element, changes)| {
        let mut bytes = element.into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}
