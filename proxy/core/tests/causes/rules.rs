//! Each rule, by events from which only this rule can tell the cause.

use redistributed_core::causes::{Answer, Rule};

use super::driver::{Driver, cause, uuid};

/// How long the services of these tests pause between what they do, in microseconds.
const SOON: u64 = 200;
const LATER: u64 = 100_000;

#[test]
fn an_id_that_is_handed_on_names_its_cause() {
    let mut service = Driver::new();
    let job = |number| format!(r#"{{"job": "{}"}}"#, uuid(number));
    for number in 0..8 {
        service.wait(SOON).message("jobs", &job(number));
        service.wait(SOON).command(&format!("GET job:{}", uuid(number)));
    }
    let messages: Vec<_> = (0..100).map(|number| service.wait(SOON).message("jobs", &job(100 + number))).collect();
    for (number, message) in (0u64..).zip(messages) {
        let id = uuid(100 + number);
        for written in [id.clone(), id.to_uppercase(), id.replace('-', "")] {
            assert_eq!(service.command(&format!("GET job:{written}")), cause(message, Rule::Token));
        }
    }
}

#[test]
fn a_short_value_names_its_cause_where_it_always_did() {
    let mut service = Driver::new();
    let order = |user| format!(r#"{{"user": "u{user}"}}"#);
    let mut answers = Vec::new();
    for user in 0..40 {
        // At no regular times, because what comes at regular times may come by itself.
        let pause = LATER * (1 + user % 3);
        let (id, request) = service.wait(pause).request("POST", "/orders", &order(user));
        answers.push((id, service.wait(SOON).command(&format!("GET user:u{user}"))));
        service.wait(SOON).response(request, "{}");
    }
    assert!(answers[8..].iter().all(|(id, answer)| matches!(answer, Answer::Cause { id: named, .. } if named == id)));
    let requests: Vec<_> = (50..60).map(|user| service.request("POST", "/orders", &order(user))).collect();
    for (user, (id, _)) in (50..60).zip(requests) {
        assert_eq!(service.command(&format!("GET user:u{user}")), cause(id, Rule::Token));
    }
}

#[test]
fn of_one_trace_the_last_to_come_is_named() {
    let mut service = Driver::new();
    service.train("GET job:{}");
    service.traced_message("jobs", &uuid(100), Some(7), None);
    let reply = service.wait(SOON).traced_message("replies", &uuid(100), Some(7), None);
    assert_eq!(service.command(&format!("GET job:{}", uuid(100))), cause(reply, Rule::Token));
}

#[test]
fn of_one_message_to_two_replicas_both_are_named() {
    let mut service = Driver::new();
    service.train("GET job:{}");
    let replicas = [0; 2].map(|_| service.wait(SOON).traced_message("jobs", &uuid(100), Some(7), Some(3)));
    let answer = service.wait(SOON).command(&format!("GET job:{}", uuid(100)));
    assert!(matches!(answer, Answer::OneOf(links) if links.as_slice() == replicas), "{answer:?}");
}

/// A service that works on one message after the other sends commands at regular times, as a timer does.
#[test]
fn messages_that_wait_for_their_turn_are_named_by_their_ids() {
    let mut service = Driver::new();
    let work = |service: &mut Driver, numbers: std::ops::Range<u64>| {
        let messages: Vec<_> = numbers.clone().map(|number| service.message("jobs", &uuid(number))).collect();
        for (number, message) in numbers.zip(messages) {
            let id = uuid(number);
            for (pause, words) in [(LATER * 4 / 5, format!("SET job:{id} 1")), (SOON, format!("PUBLISH done {id}"))] {
                let answer = service.wait(pause).command(&words);
                let named = matches!(answer, Answer::Cause { id, rule: Rule::Token | Rule::Answered } if id == message);
                assert!(named || number < 7, "{number}: {answer:?}");
            }
        }
    };
    // At first it is not known for how long messages are in work.
    work(&mut service, 0..20);
    for number in 20..300 {
        service.wait(LATER * (2 + number * 7 % 5));
        work(&mut service, number..number + 1);
    }
    // Then it is, and these wait for longer than any before.
    work(&mut service, 300..350);
}

#[test]
fn a_transaction_is_of_whom_its_first_command_names() {
    let mut service = Driver::new();
    let mut answers = Vec::new();
    for number in 0..8 {
        let one = service.wait(SOON).message("jobs", &uuid(2 * number));
        service.wait(SOON).message("jobs", &uuid(2 * number + 1));
        service.send(0, "MULTI");
        service.command(&format!("SET job:{} 1", uuid(2 * number)));
        answers.push((one, service.command("INCR jobs")));
        service.send(0, "EXEC");
        answers.push((one, service.command("INCR others")));
    }
    let (one, answer) = answers[14];
    assert_eq!(answer, cause(one, Rule::Transaction));
    assert!(!matches!(answers[15].1, Answer::Cause { rule: Rule::Transaction, .. }), "behind EXEC it is over");
}

#[test]
fn an_id_that_the_response_tells_joins_work_to_its_request() {
    let mut service = Driver::new();
    service.train("SET report:{} 1");
    let (one, ticket) = service.wait(SOON).request("POST", "/reports", "");
    service.request("POST", "/reports", "");
    let (first, answer) = service.wait(SOON).command_on(0, &format!("SET report:{} 1", uuid(100)));
    assert!(!matches!(answer, Answer::Cause { .. }));
    let (second, _) = service.wait(LATER).command_on(0, &format!("SET report:{} 2", uuid(100)));
    assert_eq!(service.late, []);
    service.response(ticket, &format!(r#"{{"id": "{}"}}"#, uuid(100)));
    assert_eq!(service.late(first), Some((one, Rule::Response)));
    assert_eq!(service.late(second), Some((one, Rule::Response)));
}

#[test]
fn work_is_joined_to_the_cause_that_a_later_command_names() {
    let mut service = Driver::new();
    service.train("SET part:{} 1").train("SET job:{} {}");
    let message = service.wait(SOON).message("jobs", &uuid(100));
    service.message("jobs", &uuid(101));
    let (first, answer) = service.wait(SOON).command_on(0, &format!("SET part:{} 1", uuid(300)));
    assert!(!matches!(answer, Answer::Cause { .. }));
    let named = service.wait(SOON).command(&format!("SET job:{} {}", uuid(100), uuid(300)));
    assert_eq!(named, cause(message, Rule::Token));
    assert_eq!(service.late(first), Some((message, Rule::Joined)));
}

/// Found by the fuzz target `causes`.
#[test]
fn work_is_not_joined_to_what_came_after_it_in_the_same_microsecond() {
    let mut service = Driver::new();
    service.train("SET part:{} 1").train("SET job:{} {}");
    let (first, _) = service.command_on(0, &format!("SET part:{} 1", uuid(300)));
    let message = service.message("jobs", &uuid(100));
    let answer = service.command(&format!("SET job:{} {}", uuid(100), uuid(300)));
    assert_eq!(answer, cause(message, Rule::Token));
    assert_eq!(service.late(first), None);
}

#[test]
fn work_that_can_be_of_one_only_is_its() {
    let mut service = Driver::new();
    service.train("SET part:{} 1").train("SET other:{} 1");
    // Such commands also come by themselves, so that one in work is not simply the cause.
    service.command("SET other:1 1");
    service.wait(LATER).command("SET other:2 1");
    let message = service.wait(SOON).message("jobs", "none");
    let (first, answer) = service.wait(SOON).command_on(0, &format!("SET other:{} 1", uuid(300)));
    assert!(!matches!(answer, Answer::Cause { .. }), "{answer:?}");
    service.wait(SOON).message("jobs", "none");
    assert_eq!(service.wait(SOON).command(&format!("SET part:{} 1", uuid(300))), cause(message, Rule::Work));
    assert_eq!(service.late(first), Some((message, Rule::Joined)));
}

/// Messages one by one, each of which does `GET` with its id, `INCR` soon after it, and `SET` with its id.
fn trained(pause: u64) -> Driver {
    let mut service = Driver::new();
    for number in 0..200 {
        service.wait(LATER).message("jobs", &uuid(number));
        service.wait(SOON).command(&format!("GET job:{}", uuid(number)));
        service.wait(pause).command("INCR jobs");
        service.wait(LATER).command(&format!("SET job:{} done", uuid(number)));
        service.wait(2_000_000);
    }
    service
}

#[test]
fn what_always_follows_is_of_whom_it_follows() {
    let mut service = trained(SOON);
    let one = service.message("jobs", &uuid(1000));
    let other = service.wait(SOON).message("jobs", &uuid(1001));
    service.wait(SOON).command(&format!("GET job:{}", uuid(1000)));
    assert_eq!(service.wait(SOON).command("INCR jobs"), cause(one, Rule::Succession));
    service.wait(LATER).command(&format!("GET job:{}", uuid(1001)));
    assert_eq!(service.wait(SOON).command("INCR jobs"), cause(other, Rule::Succession));
}

#[test]
fn of_several_that_it_may_follow_it_is_of_the_last_user_of_the_connection() {
    let mut service = trained(SOON);
    let pair = |service: &mut Driver, number: u64| {
        let messages = [0, 1].map(|more| service.wait(SOON).message("jobs", &uuid(number + more)));
        service.wait(SOON).command_on(1, &format!("GET job:{}", uuid(number)));
        service.command_on(2, &format!("GET job:{}", uuid(number + 1)));
        messages
    };
    for number in 0..100 {
        // INCR names its cause, so that it is seen who uses the connection on which it comes.
        pair(&mut service, 1000 + 2 * number);
        service.wait(SOON).command_on(1, &format!("INCR jobs {}", uuid(1000 + 2 * number)));
        service.command_on(2, &format!("INCR jobs {}", uuid(1001 + 2 * number)));
        service.wait(2_000_000);
    }
    let [one, other] = pair(&mut service, 5000);
    service.wait(SOON);
    assert_eq!(service.command_on(2, "INCR jobs").1, cause(other, Rule::Connection));
    assert_eq!(service.command_on(1, "INCR jobs").1, cause(one, Rule::Succession), "only one is left");
}

#[test]
fn what_everybody_does_once_is_of_the_one_that_has_not_done_it() {
    let mut service = trained(LATER / 5);
    let (one, other) = (service.message("jobs", &uuid(1000)), service.message("jobs", &uuid(1001)));
    service.wait(SOON).command(&format!("GET job:{}", uuid(1000)));
    service.wait(LATER / 5).command("INCR jobs");
    service.wait(SOON).command(&format!("GET job:{}", uuid(1001)));
    // So long after it that it does not follow it as it always does.
    assert_eq!(service.wait(LATER * 7 / 10).command("INCR jobs"), cause(other, Rule::Flow));
    assert_ne!(one, other);
}

/// Messages of few users, one after the other, each of which does `GET` with the user's name. They are so soon after each other that
/// it is known that each does it once, and not yet that none does it twice.
fn trained_with_users() -> Driver {
    let mut service = Driver::new();
    for number in 0..70 {
        service.wait(LATER / 10 * (1 + number % 3)).message("jobs", &user(number % 4));
        service.wait(SOON).command(&format!("GET {}", user(number % 4)));
    }
    service
}

fn user(number: u64) -> String {
    format!("u{number}")
}

#[test]
fn what_everybody_does_once_is_of_the_one_it_names_that_has_not_done_it() {
    let mut service = trained_with_users();
    for _ in 0..2 {
        let before = service.wait(LATER / 10).message("jobs", &user(1));
        service.wait(SOON).command("GET u1");
        // Both are due, and of those that the command names one only: the one before has done it.
        let (other, one) = (service.wait(SOON).message("jobs", &user(2)), service.message("jobs", &user(1)));
        assert_eq!(service.wait(SOON).command("GET u1"), cause(one, Rule::Flow), "and not {before}");
        assert_eq!(service.wait(SOON).command("GET u2"), cause(other, Rule::Succession));
    }
    let (one, other) = (service.wait(LATER / 10).message("jobs", &user(3)), service.message("jobs", &user(3)));
    for _ in [one, other] {
        let answer = service.wait(SOON).command("GET u3");
        assert!(!matches!(answer, Answer::Cause { .. }), "either of two: {answer:?}");
    }
}

/// A client asks for a report until it is there, which a message has said to the service before: there is one reading for each message.
#[test]
fn what_one_request_for_each_message_does_is_not_of_the_message() {
    let mut service = Driver::new();
    let poll = |service: &mut Driver, id: &str, is_there: bool| {
        let (request, ticket) = service.wait(SOON).request("GET", &format!("/reports/{id}"), "");
        service.wait(SOON).command(&format!("HGETALL parts:{id}"));
        let reading = is_there.then(|| service.wait(SOON).command(&format!("MGET part:{id}:chart")));
        service.wait(SOON).response(ticket, "");
        (request, reading)
    };
    for number in 0..200 {
        let id = uuid(1000 + number);
        poll(&mut service, &id, false);
        service.wait(LATER * (1 + number % 3)).message("done", &format!("{id} chart"));
        let (request, answer) = poll(service.wait(SOON * (1 + number % 5)), &id, true);
        let answer = answer.unwrap();
        assert!(
            answer == cause(request, Rule::Token) || !matches!(answer, Answer::Cause { .. }),
            "round {number}: {answer:?}, and not {request}"
        );
        service.wait(LATER);
    }
}

#[test]
fn who_was_heard_of_last_is_not_the_one_that_is_left_while_another_is_late() {
    let mut service = Driver::new();
    for number in 0..200 {
        service.wait(LATER * (1 + number % 3)).message("jobs", "none");
        service.wait(SOON).command("INCR jobs");
    }
    service.wait(2_000_000);
    let late = service.message("jobs", "none");
    let soon = service.wait(2 * LATER).message("jobs", "none");
    for _ in [soon, late] {
        let answer = service.wait(SOON).command("INCR jobs");
        assert!(!matches!(answer, Answer::Cause { .. }), "either of two: {answer:?}");
    }
    let next = service.wait(LATER).message("jobs", "none");
    assert_eq!(service.wait(SOON).command("INCR jobs"), cause(next, Rule::Succession), "all others have done it");
}

#[test]
fn what_never_comes_by_itself_is_of_the_only_one_in_work() {
    let mut service = Driver::new();
    let mut last = None;
    for _ in 0..10 {
        let (id, request) = service.wait(LATER).request("GET", "/", "");
        last = Some((id, service.wait(LATER).command("INCR visits")));
        service.response(request, "");
        service.wait(LATER);
    }
    let (id, answer) = last.unwrap();
    assert_eq!(answer, cause(id, Rule::Alone));
}

#[test]
fn an_id_names_a_request_that_has_been_answered() {
    let mut service = Driver::new();
    service.train("SET mail:{} 1");
    let (id, request) = service.wait(LATER).request("POST", "/mails", &uuid(100));
    service.response(request, "");
    let answer = service.wait(LATER).command(&format!("SET mail:{} 1", uuid(100)));
    assert_eq!(answer, cause(id, Rule::Answered));
    let (_, request) = service.wait(LATER).request("POST", "/mails", &uuid(101));
    service.response(request, "");
    let answer = service.wait(3_000_000).command(&format!("SET mail:{} 1", uuid(101)));
    assert!(!matches!(answer, Answer::Cause { .. }), "for two seconds");
}

#[test]
fn work_before_a_command_is_of_its_cause_where_it_always_was() {
    let mut service = Driver::new();
    for number in 0..200 {
        service.wait(LATER).message("jobs", &uuid(number));
        service.wait(SOON).command("INCR jobs");
        service.wait(SOON).command(&format!("SET job:{} 1", uuid(number)));
        service.wait(2_000_000);
    }
    let one = service.message("jobs", &uuid(1000));
    service.wait(5 * SOON).message("jobs", &uuid(1001));
    // Both may be it.
    let (first, answer) = service.wait(5 * SOON).command_on(0, "INCR jobs");
    assert!(!matches!(answer, Answer::Cause { .. }), "{answer:?}");
    assert_eq!(service.wait(SOON).command(&format!("SET job:{} 1", uuid(1000))), cause(one, Rule::Token));
    assert_eq!(service.late(first), Some((one, Rule::Before)));
}

#[test]
fn a_command_with_the_ids_of_several_messages_is_of_all_of_them() {
    let mut service = Driver::new();
    service.train("PUBLISH sums {}");
    let messages: Vec<_> = (100..105).map(|number| service.message("jobs", &uuid(number))).collect();
    let ids: Vec<_> = (100..105).map(uuid).collect();
    let Answer::Batch(links) = service.wait(SOON).command(&format!("PUBLISH sums {}", ids.join(","))) else {
        panic!("it is a batch");
    };
    let mut links = links.as_slice().to_vec();
    links.sort_unstable();
    assert_eq!(links, messages);
}

#[test]
fn up_to_four_that_have_the_same_id_are_named_together() {
    for several in 2..=5 {
        let mut service = Driver::new();
        service.train("GET user:{}");
        let messages: Vec<_> = (0..several).map(|_| service.message("jobs", &uuid(100))).collect();
        match service.wait(SOON).command(&format!("GET user:{}", uuid(100))) {
            Answer::OneOf(links) => {
                let mut links = links.as_slice().to_vec();
                links.sort_unstable();
                assert_eq!(links, messages);
            }
            other => assert!(several == 5 && matches!(other, Answer::Unknown(_)), "{several}: {other:?}"),
        }
    }
}
