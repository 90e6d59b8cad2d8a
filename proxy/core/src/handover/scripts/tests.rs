use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut frame = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        frame.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        frame.extend_from_slice(word);
        frame.extend_from_slice(b"\r\n");
    }
    frame
}

/// An `EVALSHA` whose keys are these names behind the prefix.
fn evalsha(prefix: &str, names: &str, arguments: &[&[u8]]) -> Vec<u8> {
    call(b"EVALSHA", b"808626431266f2e834f108cac6b35ce556927132", prefix, names, arguments)
}

fn call(command: &[u8], script: &[u8], prefix: &str, names: &str, arguments: &[&[u8]]) -> Vec<u8> {
    let keys: Vec<String> = names.split_whitespace().map(|name| format!("{prefix}{name}")).collect();
    let count = keys.len().to_string();
    let mut words = Vec::from([command, script, count.as_bytes()]);
    words.extend(keys.iter().map(|key| key.as_bytes()));
    words.extend_from_slice(arguments);
    request(&words)
}

fn told(frame: &[u8]) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    match Script::of_request(frame) {
        None => "-".into(),
        Some(Script::AddsJob { queue, data, context, .. }) => {
            format!("job {} {} {}", text(queue), text(data), context.map_or("-".into(), text))
        }
        Some(Script::AddsElement { queue, element }) => format!("element {} {}", text(&queue), text(element)),
        Some(Script::Takes { queue, shape, finishes }) => {
            format!("takes {} {shape:?}{}", text(&queue), if finishes { " next" } else { "" })
        }
        Some(Script::Publishes { payload, channels }) => {
            let channels: Vec<_> = channels.into_iter().map(text).collect();
            format!("publishes {} {}", text(payload), channels.join(" "))
        }
    }
}

/// The first argument of the scripts of BullMQ 5 that add a job, as it was recorded.
const PACKED: &[u8] = b"\x99\xaabull:mail:\xa0\xa6length\xcbBz\"\xf8\xc6\x9e\x80\0\xc0\xc0\xc0\xc0\xc0";
const OPTIONS: &[u8] = b"\xde\0\x01\xa8attempts\0";
const WITH_CONTEXT: &[u8] = b"\xde\0\x02\xa8attempts\0\xa2tm\xa2{}";

/// The keys of the scripts of BullMQ 4 that add a job. The last are those of a parent in older releases of BullMQ 5, too.
const OF_BULLMQ_4: [&str; 4] = [
    "wait paused meta id completed events",
    "wait paused meta id delayed completed events",
    "wait paused meta id prioritized completed events pc",
    "meta id completed events",
];

#[test]
fn each_version_of_bullmq_adds_jobs_and_takes_them() {
    let others = [
        "wait paused meta id completed events marker",
        "wait paused meta id completed active events marker",
        "wait paused meta id completed delayed active events marker",
        "marker meta id delayed completed events",
        "marker meta id prioritized completed events pc",
        "marker meta id prioritized delayed completed active events pc",
        "meta id delayed waiting-children completed events",
    ];
    for names in OF_BULLMQ_4.into_iter().chain(others) {
        let frame = evalsha("bull:mail:", names, &[PACKED, b"{}", OPTIONS]);
        assert_eq!(told(&frame), "job bull:mail {} -", "{names}");
        let frame = call(b"eval", b"--[[ Adds a job ]]", "bull:mail:", names, &[PACKED, b"{}", WITH_CONTEXT]);
        assert_eq!(told(&frame), "job bull:mail {} {}", "{names}");
        let Some(Script::AddsJob { options, .. }) = Script::of_request(&frame) else { panic!("{names}") };
        assert_eq!(options, (!OF_BULLMQ_4.contains(&names)).then_some(WITH_CONTEXT), "{names}");
    }
    let taking = "wait active prioritized events stalled limiter delayed paused meta pc";
    let with_marker = format!("{taking} marker");
    let job = evalsha("bull:mail:", &with_marker, &[b"bull:mail:", b"1700000000000", b"\x81"]);
    assert_eq!(told(&job), "takes bull:mail Job");
    let of_4 = |id: &[u8]| evalsha("bull:mail:", taking, &[b"bull:mail:", b"1700000000000", id, b"\x81"]);
    assert_eq!([told(&of_4(b"")), told(&of_4(b"17"))], ["takes bull:mail Job", "-"], "a move has handed this one over");
    for last in ["completed 17 metrics:completed marker", "failed 17 metrics:failed"] {
        let names = format!("{taking} {last}");
        let finish = |id: &[u8]| evalsha("bull:mail:", &names, &[id, b"1", b"returnvalue", b"1", b"completed", b"1"]);
        assert_eq!([told(&finish(b"17")), told(&finish(b"18"))], ["takes bull:mail Job next", "-"]);
    }
}

#[test]
fn bull_and_bee_queue_add_jobs_and_bull_takes_them_by_scripts() {
    let adding = "wait paused meta-paused id delayed priority";
    let arguments: [&[u8]; 14] = [
        b"bull:mail:",
        b"",
        b"__default__",
        b"{}",
        b"\xa2{}",
        b"1",
        b"0",
        b"0",
        b"0",
        b"LPUSH",
        b"token",
        b"",
        b"",
        b"",
    ];
    assert_eq!(told(&evalsha("bull:mail:", adding, &arguments)), "job bull:mail {} -");
    assert_eq!(told(&evalsha("bull:mail:", adding, &arguments[..10])), "-");
    let taking = "wait active priority active@token stalled limiter delayed drained";
    let take = |id: &[u8]| evalsha("bull:mail:", taking, &[b"bull:mail:", b"token", b"30000", b"1", id]);
    assert_eq!([told(&take(b"")), told(&take(b"17"))], ["takes bull:mail Job", "-"], "a move has handed this one over");
    let finishing = "active completed 17 wait priority active@token delayed stalled metrics:completed";
    let finish = |id: &[u8], prefix: &[u8]| {
        evalsha("bull:mail:", finishing, &[id, b"1", b"returnvalue", b"1", b"t", b"\x81", b"{}", b"1", prefix])
    };
    assert_eq!(told(&finish(b"17", b"bull:mail:")), "takes bull:mail Job next");
    assert_eq!([told(&finish(b"18", b"bull:mail:")), told(&finish(b"17", b"other:"))], ["-", "-"]);
    let job: &[u8] = br#"{"data":{},"options":{},"status":"created"}"#;
    let bee = |names: &str, arguments: &[&[u8]]| told(&evalsha("bq:mail:", names, arguments)).replace('\\', "");
    let expected = format!("job bq:mail {} -", core::str::from_utf8(job).unwrap());
    assert_eq!(bee("id jobs waiting", &[b"", job]), expected);
    assert_eq!(bee("id jobs delayed earlierDelayed", &[b"", job, b"1700000000000"]), expected);
    assert_eq!([bee("id jobs waiting", &[b"", b"17"]), bee("id jobs waiting", &[b"", job, b"1"])], ["-", "-"]);
}

/// The arguments of Dramatiq's script, with this command and these behind it.
fn dispatch(command: &str, rest: &[&str]) -> Vec<u8> {
    let worker = "6fa459ea-ee8a-3ca4-894e-db77e160355e";
    let first = [command, "1700000000000", "default", worker, "60000", "604800000", "0", "3999"];
    let arguments: Vec<_> = first.iter().chain(rest).map(|argument| argument.as_bytes()).collect();
    let first: [&[u8]; 4] = [b"EVALSHA", b"0011223344556677889900112233445566778899", b"1", b"dramatiq"];
    request(&[&first, &arguments[..]].concat())
}

#[test]
fn dramatiq_adds_messages_and_fetches_them_by_one_script() {
    let id = "550e8400-e29b-41d4-a716-446655440000";
    let message = format!(r#"{{"options":{{"redis_message_id":"{id}"}}}}"#);
    let frame = |command: &str, rest: &[&str]| told(&dispatch(command, rest)).replace('\\', "");
    assert_eq!(frame("enqueue", &[id, &message]), format!("element dramatiq:default {message}"));
    assert_eq!(frame("enqueue", &[id, "{}"]), "-", "the message has to name itself");
    assert_eq!(frame("fetch", &["16"]), "takes dramatiq:default Values");
    for (command, rest) in
        [("ack", &[id][..]), ("nack", &[id]), ("requeue", &[id, id]), ("purge", &[]), ("fetch", &["x"])]
    {
        assert_eq!(frame(command, rest), "-", "{command}");
    }
}

#[test]
fn saq_adds_the_key_of_a_job() {
    let call = |keys: [&str; 4], arguments: &[&str]| {
        let first = ["EVALSHA", "0011223344556677889900112233445566778899", "4"];
        let words: Vec<_> = first.iter().chain(&keys).chain(arguments).map(|word| word.as_bytes()).collect();
        told(&request(&words))
    };
    let job = "saq:job:mail:6fa459ea-ee8a-11f0-894e-db77e160355e";
    let abort = "saq:abort:6fa459ea-ee8a-11f0-894e-db77e160355e";
    let keys = ["saq:mail:incomplete", job, "saq:mail:queued", abort];
    let added = format!("element saq:mail:queued {job}");
    assert_eq!([call(keys, &["{}", "0"]), call(keys, &["\u{80}", "1700000000"])], [&added[..], &added]);
    for (number, other) in [
        (0, "saq:other:incomplete"),
        (0, "saq:mail:active"),
        (1, "saq:job:mail:7"),
        (1, "saq:job:mail:"),
        (1, "saq:job:other:6fa459ea-ee8a-11f0-894e-db77e160355e"),
        (2, "saq:mail:active"),
        (3, "saq:abort:7"),
    ] {
        let mut keys = keys;
        keys[number] = other;
        assert_eq!(call(keys, &["{}", "0"]), "-", "{other}");
    }
    assert_eq!([call(keys, &["{}"]), call(keys, &["{}", "x"]), call(keys, &["{}", "0", "0"])], ["-"; 3]);
}

#[test]
fn laravel_is_told_by_the_text_and_by_the_keys() {
    let job = r#"{"uuid":"550e8400-e29b-41d4-a716-446655440000","attempts":0}"#;
    // These are only the first lines, which tell each script from others.
    let push = "-- Push the job onto the queue...\nreturn 1";
    let with_keys = |text: &str, keys: &[&str], arguments: &[&str]| {
        let count = keys.len().to_string();
        let words: Vec<_> =
            ["EVAL", text, &count].iter().chain(keys).chain(arguments).map(|word| word.as_bytes()).collect();
        told(&request(&words)).replace('\\', "")
    };
    let added = format!("element queues:mail {job}");
    assert_eq!(with_keys(push, &["queues:mail", "queues:mail:notify"], &[job]), added);
    let later = "-- Push the job onto the delayed queue...\nreturn 1";
    assert_eq!(with_keys(later, &["queues:mail:delayed"], &["1700000000", job]), added);
    let release = "-- Remove the job from the current queue...\nreturn 1";
    assert_eq!(with_keys(release, &["queues:mail:delayed", "queues:mail:reserved"], &[job, "1700000000"]), added);
    let pop = "-- Pop the first job off of the queue...\nreturn 1";
    let keys = ["queues:mail", "queues:mail:reserved", "queues:mail:notify"];
    for keys in [&keys[..], &keys[..2]] {
        assert_eq!(with_keys(pop, keys, &["1700000000"]), "takes queues:mail FirstValue");
    }
    for (text, keys) in [
        ("return 1", &["queues:mail", "queues:mail:notify"][..]),
        ("-- Push the job onto the queue... and more", &["queues:mail", "queues:mail:notify"]),
        (push, &["queues:mail", "queues:other:notify"]),
        (push, &["queues:mail"]),
    ] {
        assert_eq!(with_keys(text, keys, &[job]), "-");
    }
    let broadcast = "for i = 2, #ARGV do\n  redis.call('publish', ARGV[i], ARGV[1])\nend";
    assert_eq!(with_keys(broadcast, &[], &["{}", "news", "private-7"]), "publishes {} news private-7");
    assert_eq!(with_keys(broadcast, &[], &["{}"]), "-");
    assert_eq!(with_keys(&broadcast.replace("end", "return 1 end"), &[], &["{}", "news"]), "-");
    let mut words: Vec<&[u8]> = Vec::from([&b"EVAL"[..], broadcast.as_bytes(), b"0"]);
    words.resize(100, b"c");
    let frame = request(&words);
    let Some(Script::Publishes { channels, .. }) = Script::of_request(&frame) else { panic!("it publishes") };
    assert_eq!(channels.len(), MAX_CHANNELS);
}

#[test]
fn what_does_not_fit_in_each_part_is_any_script() {
    let names = "wait paused meta id completed events";
    let fits = evalsha("bull:mail:", names, &[PACKED, b"{}", OPTIONS]);
    assert_ne!(told(&fits), "-");
    for (prefix, names, arguments) in [
        ("bull:other:", names, &[PACKED, b"{}", OPTIONS][..]),
        ("bull:mail:", "wait paused meta id completed", &[PACKED, b"{}", OPTIONS]),
        ("bull:mail:", names, &[PACKED, b"{}"]),
        ("bull:mail:", names, &[b"bull:mail:", b"{}", OPTIONS]),
        ("bull:mail:", "wait paused meta id completed events", &[b"\x90", b"{}", OPTIONS]),
    ] {
        assert_eq!(told(&evalsha(prefix, names, arguments)), "-", "{prefix} {names}");
    }
    // A request that is cut off is nothing that is known: the last two bytes need not be there.
    for cut in 0..fits.len() - 2 {
        assert_eq!(told(&fits[..cut]), "-", "{cut}");
    }
    let broken: [&[&[u8]]; 6] = [
        &[b"EVALSHA", b"x", b"9999999999999999999", b"k"],
        &[b"EVALSHA", b"x", b"2", b"k"],
        &[b"EVALSHA", b"x", b"-1"],
        &[b"EVALSHA", b"x", b"0"],
        &[b"EVALSHA", b"x"],
        &[b"EVALSHA"],
    ];
    for words in broken {
        assert_eq!(told(&request(words)), "-");
    }
    for frame in [&b""[..], b"*3\r\n", b"*99999999999999999999\r\n$7\r\nEVALSHA\r\n", b"EVALSHA x 0\r\n"] {
        assert_eq!(told(frame), "-");
    }
}

#[test]
fn a_move_to_the_list_of_jobs_in_work_is_one_of_a_queue() {
    for (from, to, queue) in [
        ("bull:mail:wait", "bull:mail:active", Some("bull:mail")),
        ("bq:mail:waiting", "bq:mail:active", Some("bq:mail")),
        ("bull:mail:wait", "bull:other:active", None),
        ("bull:mail:paused", "bull:mail:active", None),
        ("jobs", "jobs:active", None),
        ("jobs", "active", None),
    ] {
        assert_eq!(queue_of_move(from.as_bytes(), to.as_bytes()), queue.map(str::as_bytes), "{from} {to}");
    }
}

#[test]
fn what_only_tells_of_a_job_is_no_job() {
    for (key, is_id, element, expected) in [
        ("bull:mail:marker", false, "0", true),
        ("bull:mail:marker", false, "1", true),
        ("bull:mail:marker", false, "17", false),
        ("laravel_database_queues:mail:notify", false, "1", true),
        ("mail:notify", false, "1", false),
        ("queues:mail", false, "1", false),
        ("bull:mail", true, "0:1700000000000", true),
        ("bull:mail", true, "10", false),
    ] {
        assert_eq!(is_marker(key.as_bytes(), is_id, element.as_bytes()), expected, "{key} {element}");
    }
}
