//! What is full, old or strange.

use redistributed_core::causes::{Answer, Reason, Rule};

use super::driver::{Driver, cause, uuid};

const SOON: u64 = 200;

/// Letters only, so that it is no id and not a part of a name that varies.
fn letters(mut number: u64) -> String {
    let mut word = String::new();
    for _ in 0..6 {
        word.push(char::from(b'a' + u8::try_from(number % 26).unwrap()));
        number /= 26;
    }
    word
}

#[test]
fn a_service_takes_less_than_two_mebibytes() {
    let memory = Driver::new().causes.memory();
    assert!((1 << 20..2 << 20).contains(&memory), "{memory}");
}

#[test]
fn more_kinds_of_commands_than_there_is_room_for_get_no_answer_until_others_are_forgotten() {
    let mut service = Driver::new();
    let mut overloads = 0;
    for number in 0..300 {
        overloads += usize::from(service.wait(SOON).command(&letters(number)) == Answer::Unknown(Reason::Overload));
    }
    assert_eq!(overloads, 300 - 256);
    assert_eq!(service.wait(1_000_000).command(&letters(299)), Answer::Unknown(Reason::Overload));
    service.wait(10_000_000);
    for number in 1000..1020 {
        let message = service.wait(SOON).message("jobs", &uuid(number));
        let answer = service.wait(SOON).command(&format!("GET job:{}", uuid(number)));
        let expected = if number < 1007 { Answer::Unknown(Reason::New) } else { cause(message, Rule::Token) };
        assert_eq!(answer, expected, "{number}");
    }
}

#[test]
fn more_tokens_than_there_is_room_for_end_all_answers_until_they_are_forgotten() {
    let mut service = Driver::new();
    let one = |service: &mut Driver, number: u64| {
        let message = service.wait(SOON).message("jobs", &uuid(number));
        (message, service.wait(SOON).command(&format!("GET job:{}", uuid(number))))
    };
    for number in 0..20 {
        one(&mut service, number);
    }
    for number in 0..800 {
        let ids: Vec<_> = (0..48).map(|more| uuid(10_000 + 48 * number + more)).collect();
        service.wait(SOON).message("jobs", &ids.join(" "));
    }
    assert_eq!(one(&mut service, 20).1, Answer::Unknown(Reason::Overload));
    service.wait(12_000_000);
    one(&mut service, 21);
    service.wait(10_100_000);
    let (message, answer) = one(&mut service, 22);
    assert_eq!(answer, cause(message, Rule::Token));
}

#[test]
fn finished_work_is_forgotten_before_work_that_goes_on() {
    let mut service = Driver::new();
    service.train("GET job:{}");
    let (id, _) = service.request("POST", "/jobs", &uuid(100));
    for number in 1000..4000 {
        let (_, request) = service.wait(SOON).request("POST", "/jobs", &uuid(number));
        service.wait(2_000).response(request, "");
    }
    assert_eq!(service.wait(SOON).command(&format!("GET job:{}", uuid(100))), cause(id, Rule::Token));
}

#[test]
fn a_service_that_answers_too_late_to_be_remembered_gets_no_answers_until_it_has_caught_up() {
    let mut service = Driver::new();
    service.train("GET job:{}");
    let slow: Vec<_> = (0..8).map(|number| service.wait(SOON).request("GET", "/jobs", &uuid(100 + number)).1).collect();
    service.wait(10_100_000);
    // The command may be of the first request, which is forgotten, and which named the same id.
    let (id, _) = service.request("GET", "/jobs", &uuid(100));
    let get = format!("GET job:{}", uuid(100));
    assert_eq!(service.wait(SOON).command(&get), Answer::Unknown(Reason::Overload));
    for request in slow {
        service.wait(SOON).response(request, "");
    }
    assert_eq!(service.wait(SOON).command(&get), cause(id, Rule::Token));
}

#[test]
fn streams_of_events_are_no_requests_that_wait() {
    let mut service = Driver::new();
    service.train("GET job:{}");
    for number in 0..100 {
        let (_, stream) = service.wait(SOON).request("GET", "/events", &uuid(100 + number));
        let now = service.now();
        let mut text = service.causes.text();
        service.causes.response_body(now, stream, &mut text, b"data: 1", false);
    }
    service.wait(10_100_000);
    let (id, _) = service.request("GET", "/jobs", &uuid(1));
    assert_eq!(service.wait(SOON).command(&format!("GET job:{}", uuid(1))), cause(id, Rule::Token));
}

#[test]
fn everything_is_forgotten_after_ten_seconds() {
    let mut service = Driver::new();
    for number in 0..50 {
        service.wait(SOON).message("jobs", &uuid(number));
        service.wait(SOON).request("POST", "/jobs", &uuid(100 + number));
        service.wait(SOON).command(&format!("GET job:{}", uuid(200 + number)));
    }
    assert!(!format!("{:?}", service.causes).contains("messages: 0") && !service.causes.remembers_nothing());
    let later = service.wait(10_100_000).now();
    service.causes.forget_old(later);
    let shown = format!("{:?}", service.causes);
    assert!(shown.starts_with("Causes { requests: 0, messages: 0, unattributed: 0, finished: 0, "), "{shown}");
    assert!(service.causes.remembers_nothing());
}

#[test]
fn a_time_that_goes_back_counts_as_the_last_one() {
    let mut service = Driver::new();
    let mut straight = Driver::new();
    for number in 0..40 {
        let mut answers = [&mut service, &mut straight].map(|service| {
            let message = service.message("jobs", &uuid(number));
            (message, service.command(&format!("GET job:{}", uuid(number))))
        });
        assert_eq!(answers[0], answers[1]);
        answers.reverse();
        straight.wait(SOON);
        // The one goes ahead and back again.
        let ahead = service.wait(SOON).now();
        service.causes.forget_old(ahead);
    }
    let past = redistributed_core::trace::UnixNanos(0);
    service.causes.forget_old(past);
    let message = service.message("jobs", &uuid(100));
    assert_eq!(service.command(&format!("GET job:{}", uuid(100))), cause(message, Rule::Token));
}

#[test]
fn a_token_that_hundreds_have_names_nobody() {
    let mut service = Driver::new();
    service.train("GET user:{}");
    for _ in 0..300 {
        service.wait(SOON).message("jobs", &uuid(100));
    }
    assert_eq!(service.wait(SOON).command(&format!("GET user:{}", uuid(100))), Answer::Unknown(Reason::Several));
}

#[test]
fn a_token_that_goes_on_behind_what_is_searched_is_none() {
    let mut service = Driver::new();
    service.train("GET user:{}");
    let behind = format!("{}{}", " ".repeat(4096 - 20), uuid(100));
    service.wait(SOON).message("jobs", &behind);
    service.wait(SOON).message("jobs", "other");
    let beginning: String = uuid(100).chars().take(20).collect();
    for id in [uuid(100), beginning] {
        let answer = service.wait(SOON).command(&format!("GET user:{id}"));
        assert!(!matches!(answer, Answer::Cause { .. }), "{id}: {answer:?}");
    }
}

#[test]
fn late_answers_that_nobody_fetches_are_bounded() {
    let mut service = Driver::new();
    let mut text = service.causes.text();
    service.train("GET user:{}");
    let (_, ticket) = service.request("POST", "/jobs", "");
    service.request("POST", "/jobs", "");
    for _ in 0..1500 {
        service.wait(SOON).command(&format!("GET user:{}", uuid(100)));
    }
    let now = service.now();
    service.causes.response_body(now, ticket, &mut text, uuid(100).as_bytes(), true);
    let fetched = std::iter::from_fn(|| service.causes.next_late()).count();
    let tally = service.causes.tally();
    assert_eq!(fetched, 1024);
    assert_eq!(tally.late(Rule::Response), 1024);
    assert_eq!(tally.late_lost, 1500 - 1024);
}

#[test]
fn nobody_in_work_is_forgotten_while_work_that_rests_makes_room() {
    let mut service = Driver::new();
    service.train("GET job:{}");
    for _ in 0..600 {
        service.wait(SOON).command("INCR jobs");
    }
    service.wait(2_100_000);
    let messages: Vec<_> = (0..600).map(|number| service.wait(SOON).message("jobs", &uuid(number))).collect();
    for (number, message) in (0..).zip(messages) {
        let answer = service.wait(SOON).command(&format!("GET job:{}", uuid(number)));
        assert_eq!(answer, cause(message, Rule::Token), "{number}");
    }
}
