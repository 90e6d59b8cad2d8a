//! Each reason for which no cause is named.

use redistributed_core::causes::{Answer, Reason, Rule};

use super::driver::{Driver, cause, uuid};

const SOON: u64 = 200;
const LATER: u64 = 100_000;

fn unknown(reason: Reason) -> Answer {
    Answer::Unknown(reason)
}

/// Some commands like those that follow, so that they are not new any more.
fn experienced() -> Driver {
    let mut service = Driver::new();
    service.train("GET job:{}");
    service
}

#[test]
fn the_first_seven_commands_of_a_kind_are_new() {
    let mut service = Driver::new();
    for number in 0..10 {
        let message = service.wait(LATER).message("jobs", &uuid(number));
        let answer = service.wait(SOON).command(&format!("GET job:{}", uuid(number)));
        let expected = if number < 7 { unknown(Reason::New) } else { cause(message, Rule::Token) };
        assert_eq!(answer, expected, "{number}");
    }
    assert_eq!(service.causes.tally().unknown(Reason::New), 7);
    assert_eq!(service.causes.tally().found(Rule::Token), 3);
}

#[test]
fn nothing_is_answered_for_five_seconds_after_events_were_missed() {
    let mut service = experienced();
    let now = service.now();
    service.causes.warm_up(now);
    let mut number = 100;
    for _ in 0..49 {
        number += 1;
        service.wait(LATER).message("jobs", &uuid(number));
        assert_eq!(service.command(&format!("GET job:{}", uuid(number))), unknown(Reason::WarmUp));
    }
    service.wait(LATER).message("jobs", &uuid(999));
    assert!(matches!(service.command(&format!("GET job:{}", uuid(999))), Answer::Cause { .. }));
}

#[test]
fn what_was_sent_while_warming_up_gets_no_late_answer_either() {
    let mut service = experienced();
    let now = service.now();
    service.causes.warm_up(now);
    let (_, request) = service.request("POST", "/jobs", "");
    service.wait(LATER).command(&format!("GET job:{}", uuid(100)));
    service.wait(5_000_000).response(request, &uuid(100));
    assert_eq!(service.late, []);
}

#[test]
fn a_heartbeat_is_nobodys_child() {
    let mut service = experienced();
    let mut answers = Vec::new();
    for number in 0..60 {
        // Between two beats come up to two messages, at any time.
        let pause = 37_000 * (1 + number * 5 % 11);
        service.wait(pause).message("jobs", &uuid(100 + number));
        if number % 3 == 0 {
            service.message("jobs", &uuid(500 + number));
        }
        // It names a message, and an id would name its cause otherwise.
        answers.push(service.wait(500_000 - pause).command(&format!("PUBLISH alive {}", uuid(100 + number))));
    }
    let last = &answers[answers.len() - 40..];
    assert!(last.iter().all(|answer| *answer == unknown(Reason::Periodic)), "{last:?}");
}

/// Only the last one counts as in work, and the service is still at those before it.
#[test]
fn while_messages_wait_within_the_service_the_last_one_is_not_alone() {
    let mut service = Driver::new();
    let mut last = 0;
    for number in 0..20 {
        last = service.wait(5_100_000 + 1_900_000 * (number * 5 % 7)).message("jobs", "one");
        let answer = service.wait(SOON * (1 + number % 4)).command("INCR done");
        assert!(number < 8 || answer == cause(last, Rule::Alone), "{number}: {answer:?}");
    }
    for number in 0..30 {
        service.wait(10_000 * (1 + number % 3)).message("jobs", "one");
    }
    let message = service.wait(5_500_000).message("jobs", "one");
    assert!(message > last);
    assert_eq!(service.wait(SOON).command("INCR done"), unknown(Reason::Several));
}

/// Its times do not tell yet, because the machine stalls from the start.
#[test]
fn what_has_come_when_nothing_could_have_caused_it_may_be_a_heartbeat_until_it_is_better_known() {
    let mut service = Driver::new();
    for number in 0..8 {
        service.wait(90_000 * (1 + number * 5 % 7)).command("PUBLISH alive none");
    }
    let mut answers = Vec::new();
    for number in 0..100 {
        service.wait(60_000 * (1 + number * 3 % 5)).message("jobs", &uuid(number));
        answers.push(service.wait(SOON).command(&format!("PUBLISH alive {}", uuid(number))));
    }
    let caused = |answer: &Answer| matches!(answer, Answer::Cause { .. });
    assert!(answers[..56].iter().all(|answer| *answer == unknown(Reason::Periodic)), "{answers:?}");
    assert!(answers[57..].iter().any(caused), "it is not for ever");
}

#[test]
fn a_heartbeat_stays_one_when_the_machine_stalls() {
    let mut service = experienced();
    let mut answers = Vec::new();
    for number in 0..90 {
        let stalled = (60..75).contains(&number) && number % 2 == 0;
        service.wait(20_000 * (1 + number % 4)).message("jobs", &uuid(100 + number));
        let rest = 100_000 - 20_000 * (1 + number % 4) + if stalled { 150_000 + 40_000 * (number % 5) } else { 0 };
        // More messages come than beats, at any time.
        service.wait(rest / 2).message("jobs", &uuid(500 + number));
        answers.push(service.wait(rest - rest / 2).command(&format!("PUBLISH alive {}", uuid(500 + number))));
    }
    assert!(answers[40..].iter().all(|answer| *answer == unknown(Reason::Periodic)), "{answers:?}");
}

#[test]
fn what_is_as_regular_as_what_comes_in_may_be_caused_by_it() {
    let mut service = experienced();
    let mut answer = None;
    for number in 100..160 {
        let message = service.wait(250_000).message("jobs", &uuid(number));
        answer = Some((message, service.wait(250_000).command(&format!("GET job:{}", uuid(number)))));
    }
    let (message, answer) = answer.unwrap();
    assert_eq!(answer, cause(message, Rule::Token));
}

#[test]
fn without_anybody_in_work_nobody_is_the_cause() {
    let mut service = experienced();
    assert_eq!(service.wait(77_777).command(&format!("GET job:{}", uuid(50))), unknown(Reason::Nobody));
}

#[test]
fn of_several_in_work_none_is_guessed() {
    let mut service = experienced();
    for _ in 0..5 {
        service.wait(SOON).message("jobs", "one like the other");
    }
    assert_eq!(service.wait(77_777).command(&format!("GET job:{}", uuid(50))), unknown(Reason::Several));
}

#[test]
fn ids_of_different_requests_contradict_each_other() {
    let mut service = experienced();
    service.train("GET job:{}:{}");
    service.request("POST", "/jobs", &uuid(100));
    service.request("POST", "/jobs", &uuid(101));
    let answer = service.wait(SOON).command(&format!("GET job:{}:{}", uuid(100), uuid(101)));
    assert_eq!(answer, unknown(Reason::Contradiction));
}

#[test]
fn what_belongs_to_work_of_unknown_cause_waits_for_it() {
    let mut service = experienced();
    service.message("jobs", "one");
    service.message("jobs", "two");
    service.wait(SOON).command(&format!("GET job:{}", uuid(100)));
    assert_eq!(service.wait(SOON).command(&format!("GET job:{}", uuid(100))), unknown(Reason::Work));
}

#[test]
fn a_service_that_publishes_to_itself_begins_another_trace_after_32_turns() {
    let mut service = Driver::new();
    let (mut publish, mut turns, mut cut) = (None, 0, Vec::new());
    for number in 0..120 {
        let message = service.wait(37_000 + 7_000 * (number % 5)).traced_message("jobs", &uuid(number), None, publish);
        let (id, answer) = service.command_on(0, &format!("PUBLISH jobs {}", uuid(number)));
        publish = Some(id);
        match answer {
            Answer::Cause { id, .. } => {
                assert_eq!(id, message);
                turns += 1;
            }
            Answer::Unknown(Reason::Circle) => cut.push(std::mem::take(&mut turns)),
            Answer::Unknown(Reason::New) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(cut, [31, 31, 31], "the publish that is cut is the first turn of the next circle");
}

#[test]
fn commands_that_connections_need_get_no_answer() {
    let mut service = Driver::new();
    for words in ["HELLO 3", "client SETNAME me", "SUBSCRIBE jobs", "MULTI", "Exec", "PING"] {
        let sent = service.send(0, words);
        assert_eq!((sent.answer, sent.ticket), (None, None), "{words}");
    }
}

#[test]
fn names_are_stable_and_different() {
    let rules = Rule::ALL.map(Rule::name);
    assert_eq!(
        rules,
        [
            "token",
            "work",
            "transaction",
            "succession",
            "connection",
            "flow",
            "alone",
            "answered",
            "joined",
            "before",
            "response"
        ]
    );
    let reasons = Reason::ALL.map(Reason::name);
    assert_eq!(
        reasons,
        ["warm_up", "new", "periodic", "nobody", "several", "contradiction", "work", "overload", "circle"]
    );
}
