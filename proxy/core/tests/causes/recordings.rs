//! Recordings of real services whose truth is known, played by the program that plays any recording (`examples/replay`).
//!
//! `recordings/README.md` says where they come from.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;

use serde_json::Value;

use super::player::{World, number};

/// What the answers to a recording are worth.
#[derive(Debug, Default, PartialEq)]
struct Score {
    caused: usize,
    /// Causes named at once, and those of them that are none.
    named: usize,
    wrong: usize,
    /// Causes named late, and those of them that are none.
    late: usize,
    late_wrong: usize,
    /// Links of batches, and those of them that are no cause.
    linked: usize,
    wrongly_linked: usize,
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn score(name: &str) -> Score {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/causes/recordings");
    let truth: HashMap<_, _> = lines(&folder.join(format!("{name}.truth")))
        .into_iter()
        .map(|line| (number(&line, "id"), line["p"].as_array().unwrap().clone()))
        .collect();
    let mut score = Score { caused: truth.values().filter(|causes| !causes.is_empty()).count(), ..Score::default() };
    let mut answered = 0;
    let judge = |answer: Value| {
        let causes = &truth[&number(&answer, "id")];
        let named = usize::from(!answer["p"].is_null());
        let wrong = usize::from(named == 1 && !causes.contains(&answer["p"]));
        let links = answer["links"].as_array().into_iter().flatten();
        links
            .for_each(|link| *(if causes.contains(link) { &mut score.linked } else { &mut score.wrongly_linked }) += 1);
        if answer["late"].is_null() {
            answered += 1;
            score.named += named;
            score.wrong += wrong;
        } else {
            score.late += named;
            score.late_wrong += wrong;
        }
        Ok::<_, Infallible>(())
    };
    // As in a sidecar that has run for a minute: only what is said the second time is judged.
    let (events, mut world) = (lines(&folder.join(format!("{name}.log"))), World::default());
    world.play(&events, 0, 0, |_| Ok::<_, Infallible>(())).unwrap();
    world.play(&events, 60_000_000, 1_000_000, judge).unwrap();
    assert_eq!(answered, truth.len(), "{name}: each command has one answer at once");
    score
}

/// More causes may be named, and none that is wrong. Those of `timer-c1` are all but its heartbeats.
#[test]
fn recordings_are_answered_as_well_as_before_and_never_wrong() {
    for (name, caused, named, late, linked) in [
        ("orders_aio_pool-c10", 140, 101, 4, 0),
        ("orders_background-c1", 136, 77, 13, 0),
        ("timer-c1", 160, 160, 0, 0),
        ("batch_ids-c1", 32, 0, 0, 80),
        ("messy-c1", 129, 112, 6, 0),
    ] {
        let score = score(name);
        assert_eq!(
            (score.caused, score.wrong, score.late_wrong, score.wrongly_linked),
            (caused, 0, 0, 0),
            "{name}: {score:?}"
        );
        assert!(score.named >= named && score.late >= late && score.linked >= linked, "{name}: {score:?}");
    }
}
