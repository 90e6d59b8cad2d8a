//! Items of lists, sorted sets and streams as causes.

use redistributed_core::causes::{Answer, Reason, Rule, Taking};

use super::driver::{Driver, cause, uuid};

fn named(answer: Answer) -> Option<u64> {
    if let Answer::Cause { id, .. } = answer { Some(id) } else { None }
}

#[test]
fn what_names_an_item_is_caused_by_it() {
    let mut driver = Driver::new();
    driver.train("SET doc:{} x");
    for entry in ["", "1700000000000-0"] {
        assert_eq!(driver.takes(1, "jobs", true), Taking::Work);
        let item = driver.item(1, "jobs", entry, &[&uuid(7)]);
        let other = driver.item(1, "jobs", "1700000000000-1", &[&uuid(8)]);
        assert_eq!(named(driver.command(&format!("SET doc:{} x", uuid(7)))), Some(item));
        assert_eq!(named(driver.command(&format!("SET doc:{} x", uuid(8)))), Some(other));
        driver.wait(6_000_000);
    }
}

#[test]
fn an_entry_is_also_named_by_its_id() {
    let mut driver = Driver::new();
    driver.train("XACK s g {}");
    driver.takes(1, "s", true);
    let first = driver.item(1, "s", "1700000000000-0", &["a"]);
    let second = driver.item(1, "s", "1700000000000-1", &["a"]);
    let found = ["1700000000000-1", "1700000000000-0"].map(|id| named(driver.command(&format!("XACK s g {id}"))));
    assert_eq!(found, [Some(second), Some(first)]);
}

#[test]
fn a_read_that_may_look_something_up_takes_work_only_where_that_is_known() {
    let mut driver = Driver::new();
    driver.wait(6_000_000);
    // The service has waited for the same key before.
    assert_eq!(driver.takes(0, "q", false), Taking::Unknown);
    driver.takes(0, "q", true);
    assert_eq!(driver.takes(1, "q", false), Taking::Work);
    // It reads again and again while nobody is in work.
    let polls: Vec<_> = (0..8).map(|_| driver.wait(1_000).takes(0, "polled", false)).collect();
    assert_eq!((polls[6], polls[7]), (Taking::Unknown, Taking::Work));
    // Items in work are no reason to read others.
    driver.item(0, "polled", "", &["a"]);
    assert_eq!(driver.takes(0, "polled", false), Taking::Work);
    // Somebody in work may be the reason.
    let (_, request) = driver.request("GET", "/", "");
    let asked: Vec<_> = (0..60).map(|_| driver.takes(0, "pool", false)).collect();
    assert!(asked.iter().all(|taking| *taking == Taking::Unknown));
    let polls: Vec<_> = (0..60).map(|_| driver.takes(0, "polled", false)).collect();
    assert_eq!((polls[0], polls[59]), (Taking::Work, Taking::Unknown), "what was true long ago is forgotten");
    driver.response(request, "");
}

#[test]
fn a_key_that_names_what_one_in_work_has_asked_brings_the_answer_to_it() {
    let mut driver = Driver::new();
    driver.train("SET doc:{} x");
    let (asking, request) = driver.request("POST", "/sum", &uuid(7));
    driver.request("POST", "/sum", &uuid(8));
    let Taking::Answer(ticket) = driver.takes(0, &format!("reply:{}", uuid(7)), true) else { panic!("it waits") };
    driver.reply(ticket, &uuid(9));
    assert_eq!(named(driver.command(&format!("SET doc:{} x", uuid(9)))), Some(asking));
    assert_eq!(driver.takes(0, &format!("list:{}", uuid(7)), false), Taking::Unknown);
    driver.response(request, "");
}

#[test]
fn a_queue_whose_key_has_an_id_stays_one() {
    let mut driver = Driver::new();
    let key = format!("queue:{}", uuid(7));
    for _ in 0..3 {
        assert_eq!(driver.takes(0, &key, true), Taking::Work);
        driver.wait(1_000).item(0, &key, "", &["a"]);
    }
}

/// A worker that does one thing after the other has ended its work on an item when it reads the next one, if it was always so.
#[test]
fn work_that_always_ends_before_the_next_read_ends_with_it() {
    let mut driver = Driver::new();
    let work = |driver: &mut Driver, number: u64, connection: usize| {
        driver.takes(connection, "jobs", true);
        let item = driver.wait(300 * (1 + number % 5)).item(connection, "jobs", "", &[&uuid(number)]);
        driver.command(&format!("SET doc:{} x", uuid(number)));
        item
    };
    driver.wait(6_000_000);
    for number in 0..120 {
        work(&mut driver, number, 1);
    }
    let first = work(driver.wait(6_000_000), 1_001, 1);
    assert!(matches!(driver.command("INCR done"), Answer::Unknown(_)), "such commands are new");
    for number in 1_002..1_012 {
        let item = work(&mut driver, number, 1);
        let answer = driver.wait(170 * (number % 3)).command("INCR done");
        if let Some(named) = named(answer) {
            assert_eq!(named, item);
        }
    }
    let last = work(&mut driver, 1_013, 1);
    assert!(last > first);
    assert_eq!(driver.command("INCR done"), cause(last, Rule::Alone));
    driver.takes(1, "jobs", true);
    assert_eq!(driver.wait(90).command("INCR done"), Answer::Unknown(Reason::Nobody), "it waits for the next one");
}

/// One that hands its items on and reads again at once is still at work on them.
#[test]
fn work_that_goes_on_after_the_next_read_does_not_end_with_it() {
    let mut driver = Driver::new();
    driver.wait(6_000_000);
    for number in 0..120 {
        driver.takes(1, "jobs", true);
        let item = driver.wait(300 * (1 + number % 5)).item(1, "jobs", "", &[&uuid(number)]);
        driver.takes(1, "jobs", true);
        let answer = driver.command(&format!("SET doc:{} x", uuid(number)));
        if number > 8 {
            assert_eq!(answer, Answer::Cause { id: item, rule: Rule::Token });
        }
    }
}

/// A worker with one connection does everything on it, so what comes on it is of the item that it has taken.
#[test]
fn what_comes_on_a_connection_that_is_used_for_one_item_only_is_caused_by_it() {
    let mut driver = Driver::new();
    driver.wait(6_000_000);
    let take = |driver: &mut Driver, number: u64, connection: usize| {
        driver.takes(connection, "jobs", true);
        driver.wait(300 * (1 + number % 5)).item(connection, "jobs", "", &[&uuid(number)])
    };
    let set = |driver: &mut Driver, number: u64, connection: usize| {
        driver.command_on(connection, &format!("SET doc:{} x", uuid(number)))
    };
    for number in 0..70 {
        let taken = [1, 2].map(|connection| take(&mut driver, 1_000 * connection + number, connection as usize));
        for connection in [2, 1] {
            driver.command_on(connection, "INCR done");
            set(&mut driver, 1_000 * connection as u64 + number, connection);
        }
        assert!(taken[0] < taken[1]);
    }
    let items = [1, 2].map(|connection| take(&mut driver, 9_000 + connection, connection as usize));
    let found = [2, 1].map(|connection| named(driver.command_on(connection, "INCR done").1));
    assert_eq!(found, [Some(items[1]), Some(items[0])]);
    // On another connection anybody may do it.
    assert_eq!(driver.command_on(3, "INCR done").1, Answer::Unknown(Reason::Several));
}

/// What is left open between a request and an item does not show that such requests never do it.
#[test]
fn what_a_request_or_an_item_may_have_done_stays_open_however_often_it_happens() {
    let mut driver = Driver::new();
    driver.wait(6_000_000);
    // Items of which no request knows show who does such things.
    for number in 1_000..1_050 {
        driver.takes(1, "jobs", true);
        driver.wait(300 * (1 + number % 5)).item(1, "jobs", "", &[&uuid(number)]);
        driver.wait(60_000).command_on(2, &format!("GET job:{}", uuid(number)));
    }
    for number in 0..150 {
        driver.wait(20_000 + 900 * (number % 7));
        driver.takes(1, "jobs", true);
        let asks = |driver: &mut Driver| driver.request("GET", &format!("/jobs/{}", uuid(number)), "").1;
        let first = number.is_multiple_of(2).then(|| asks(&mut driver));
        driver.item(1, "jobs", "", &[&uuid(number)]);
        let request = first.unwrap_or_else(|| asks(&mut driver));
        let answer = driver.wait(60_000).command_on(2, &format!("GET job:{}", uuid(number))).1;
        assert!(!matches!(answer, Answer::Cause { .. }), "{number}: {answer:?}");
        driver.response(request, "");
    }
}
