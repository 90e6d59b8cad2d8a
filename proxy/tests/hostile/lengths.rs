//! Counts and lengths beyond every limit, and lengths that promise what never comes.

use crate::hostile::setup::{Setup, expect, read_to_the_end, send, shown};

/// Numbers that a parser may get wrong.
const NUMBERS: [&str; 18] = [
    "-1",
    "-2",
    "-9223372036854775808",
    "-9223372036854775809",
    "536870912",
    "536870913",
    "1048577",
    "2147483647",
    "2147483648",
    "4294967297",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999999999999999999",
    "+1",
    "01",
    " 1",
    "",
];

/// The proxy allocates nothing for bytes that have been announced but have not arrived.
const STATED: usize = 2 << 20;

/// Only clients' connections come to the server.
const ONLY_CLIENTS: [&str; 2] = ["--out-of-band", "off"];

#[test]
fn requests_are_answered_as_redis_answers_them() {
    let setup = Setup::new(&[]);
    for number in NUMBERS {
        for request in [
            format!("*{number}\r\n$4\r\nPING\r\n"),
            format!("*1\r\n${number}\r\nPING\r\n"),
            format!("*3\r\n$7\r\nPUBLISH\r\n${number}\r\nch\r\n$1\r\nx\r\n"),
            format!("*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n${number}\r\nx\r\n"),
            format!("*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n${number}\nx\r\n"),
        ] {
            setup.same_as_direct(&request, request.as_bytes());
        }
    }
    let aftermath = setup.over();
    assert!(aftermath.grown < STATED, "{} bytes", aftermath.grown);
}

#[test]
fn replies_arrive_as_they_came() {
    let (setup, fake) = Setup::with_fake(&ONLY_CLIENTS);
    let hello = b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n";
    let subscribe = b"*2\r\n$9\r\nSUBSCRIBE\r\n$2\r\nch\r\n";
    for number in NUMBERS {
        for kind in ["$", "*", "%", "~", ">", "|", "=", "!", ":", "(", "#", ",", "_"] {
            for message in ["", ">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n", "*3\r\n$7\r\nmessage\r\n"] {
                let mut client = setup.client();
                let mut server = fake.accept();
                for request in [&hello[..], subscribe] {
                    send(&mut client, request);
                    expect(&mut server, request);
                }
                let said = format!(
                    "%1\r\n$5\r\nproto\r\n:3\r\n>3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n\
                     {message}{kind}{number}\r\nab\r\n+PONG\r\n"
                );
                send(&mut server, said.as_bytes());
                drop(server);
                assert_eq!(shown(&read_to_the_end(&mut client)), shown(said.as_bytes()));
            }
        }
    }
    let aftermath = setup.over();
    assert!(aftermath.grown < STATED, "{} bytes", aftermath.grown);
}

#[test]
fn what_is_only_promised_takes_no_memory() {
    const CLIENTS: usize = 100;
    let (mut setup, fake) = Setup::with_fake(&ONLY_CLIENTS);
    let subscribe = b"*2\r\n$9\r\nSUBSCRIBE\r\n$2\r\nch\r\n";
    let confirmed = b"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n";
    // The longest payload that may be rewritten, so that the session waits for it.
    let message = b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1048576\r\nx";
    let publish = b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$1000000\r\nx";
    let mut open = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = setup.client();
        let mut server = fake.accept();
        send(&mut client, subscribe);
        expect(&mut server, subscribe);
        send(&mut server, confirmed);
        expect(&mut client, confirmed);
        send(&mut client, publish);
        send(&mut server, message);
        open.push((client, server));
    }
    setup.bystander_is_served();
    for (client, server) in &mut open {
        // The bytes before the payload's header have been forwarded, which shows that the rest was read too.
        expect(client, b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n");
        expect(server, b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n");
    }
    assert!(setup.grown() < STATED, "{} bytes for {CLIENTS} clients", setup.grown());
    drop(open);
    setup.over();
}
