//! `redistributed top --once`, beside running proxies. What keys do and how screens look is in its unit tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::admin::Proxy;
use crate::support::redis::{RealRedis, free_address};
use crate::support::spawn::{Ended, command, run};

fn top(arguments: &[&str]) -> Ended {
    run(command(&[&["top", "--once", "--interval", "300ms"], arguments].concat()))
}

/// The rows below a heading, with single spaces, and the row of the columns first.
fn section(ended: &Ended, heading: &str) -> Vec<String> {
    let lines = ended.stdout.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(!lines.is_empty(), "no {heading} in\n{}", ended.stdout);
    lines
}

/// Publishes through a proxy for as long as `meanwhile` takes, and returns what that returns.
fn while_publishing(proxy: &Proxy, meanwhile: impl FnOnce() -> Ended) -> Ended {
    let (address, ended) = (proxy.address(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = TcpStream::connect(address).unwrap();
            client.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
            while !ended.load(Ordering::Relaxed) {
                client.write_all(b"*3\r\n$7\r\nPUBLISH\r\n$6\r\norders\r\n$5\r\nhello\r\n").unwrap();
                let mut reply = [0; 4];
                client.read_exact(&mut reply).unwrap();
                assert_eq!(&reply, b":0\r\n");
            }
        });
        let result = meanwhile();
        ended.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
fn rates_channels_and_reasons_of_a_running_proxy_are_printed() {
    let redis = RealRedis::start(&[]);
    let proxy = Proxy::start(&redis.url(), &["--mode-for", "orders=observe"], &[("OTEL_SERVICE_NAME", "shop")]);
    let admin = proxy.admin.to_string();
    let ended = while_publishing(&proxy, || top(&["--admin", &admin, "--channels"]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    assert!(!ended.stdout.contains('\x1b'), "{}", ended.stdout);

    let proxies = section(&ended, "PROXIES");
    assert!(proxies[1].starts_with(&format!("{admin} reached inject 1 ")), "{proxies:?}");
    let services = section(&ended, "SERVICES");
    let cells: Vec<&str> = services[1].split(' ').collect();
    let ["shop", commands, published, "0%", "0", ..] = cells[..] else { panic!("{services:?}") };
    assert!(commands != "0" && commands != "-" && published != "0" && published != "-", "{services:?}");
    assert!(services[1].contains("µs ") || services[1].contains("ms "), "round trips: {services:?}");
    let skipped = section(&ended, "SKIPPED");
    assert!(skipped[1].starts_with("shop mode ") && skipped[1].contains("the mode is strip or observe"), "{skipped:?}");
    let channels = section(&ended, "CHANNELS");
    assert!(channels[1].starts_with("orders shop ") && channels[1].contains(" mode "), "{channels:?}");
}

#[test]
fn a_port_that_cannot_be_read_is_shown_with_the_reason_beside_the_others() {
    let redis = RealRedis::start(&[]);
    let proxy = Proxy::start(&redis.url(), &[], &[("OTEL_SERVICE_NAME", "shop")]);
    let (admin, nobody, other) = (proxy.admin.to_string(), free_address().to_string(), redis.address().to_string());
    let ended = top(&["--admin", &admin, "--admin", &nobody, "--admin", &other]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""), "{}", ended.stdout);
    let proxies = section(&ended, "PROXIES").join("\n");
    assert!(proxies.contains(&format!("{admin} reached ")), "{proxies}");
    for (away, reason) in [(nobody, "cannot connect: Connection refused"), (other, "is it an admin port? ")] {
        assert!(proxies.contains(&format!("{away} not reached ")), "{proxies}");
        assert!(proxies.contains(&format!("\n{away}: {reason}")), "{proxies}");
    }
    let services = section(&ended, "SERVICES");
    assert!(services[1].starts_with("shop ") && services[1].ends_with(&admin), "{services:?}");
}

#[test]
fn channels_need_the_token_if_there_is_one() {
    let redis = RealRedis::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef\n").unwrap();
    let token = token.to_str().unwrap();
    let proxy = Proxy::start(&redis.url(), &["--admin-token-file", token], &[]);
    let admin = proxy.admin.to_string();
    let refused = top(&["--admin", &admin, "--channels"]);
    assert_eq!(refused.code, Some(0), "metrics need none: {refused:?}");
    let channels = section(&refused, "CHANNELS").join("\n");
    assert!(channels.contains("its messages cannot be watched: /tap answered 40"), "{channels}");
    let watched = while_publishing(&proxy, || top(&["--admin", &admin, "--channels", "--admin-token-file", token]));
    assert!(section(&watched, "CHANNELS")[1].starts_with("orders "), "{}", watched.stdout);
}

#[test]
fn what_cannot_be_meant_is_an_error() {
    for arguments in [
        &["top", "--once", "--interval", "1ms"][..],
        &["top", "--once", "--admin", "http://127.0.0.1:9127"],
        &["top", "--once", "--admin-token-file", "/nowhere/token"],
    ] {
        let ended = run(command(arguments));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        assert!(!ended.stderr.is_empty());
    }
    let ended = run(command(&["top", "127.0.0.1:9127"]));
    assert!(
        ended.code == Some(2) && ended.stderr.contains("as in `redistributed top --admin 127.0.0.1:9127`"),
        "{ended:?}"
    );
}
