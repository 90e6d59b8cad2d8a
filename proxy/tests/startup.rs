//! Errors that keep the program from starting: one line names the setting, the value and the remedy, and the exit code tells
//! the kind of error.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::Command;

use crate::support::authority::Authority;
use crate::support::spawn::{Ended, command, run, without_environment};

const WRONG_SETTINGS: i32 = 2;
const CANNOT_BIND: i32 = 3;

/// An upstream for tests in which nobody connects.
const UNUSED: &str = "redis://127.0.0.1:1";

/// Asserts that the program ended with `code` and with exactly one error, which has every part in `line`.
#[track_caller]
fn assert_refused(ended: &Ended, code: i32, line: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    let setting = line[0];
    let about: Vec<&str> = ended.stderr.lines().filter(|line| line.contains(setting)).collect();
    let [said] = about[..] else { panic!("not one line about {setting}:\n{}", ended.stderr) };
    for part in line {
        assert!(said.contains(part), "no {part:?} in: {said}");
    }
    assert!(!ended.stderr.contains("listening"), "a route was announced though the program does not run");
}

#[test]
fn settings_that_cannot_be_meant() {
    let listen = ["--listen", "127.0.0.1:0", "--upstream", UNUSED];
    let to = |upstream| ["--listen", "127.0.0.1:0", "--upstream", upstream];
    let at = |address| ["--listen", address, "--upstream", UNUSED];
    let long = format!("unix:/{}", "x".repeat(107));
    let cases: &[(&[&str], &[&str], &[&str])] = &[
        // The command line, more of it, and what the line says: setting and value, problem, remedy.
        (&at("localhost"), &[], &["--listen `localhost`", "port is missing", "as in 127.0.0.1:6380"]),
        (&at("http://127.0.0.1:1"), &[], &["--listen `http://127.0.0.1:1`", "scheme is not known", "unix:/path"]),
        (&at("unix:proxy.sock"), &[], &["--listen `unix:proxy.sock`", "must be absolute", "unix:/path"]),
        (&at(&long), &[], &["--listen `unix:/xxx", "may have 107 bytes at most", "unix:/path"]),
        (&at("rediss://127.0.0.1:0"), &["--listen-key", "k"], &["--listen-cert", "is missing", "name the PEM files"]),
        (&at("rediss://127.0.0.1:0"), &["--listen-cert", "c"], &["--listen-key", "is missing", "name the PEM files"]),
        (
            &listen,
            &["--listen-client-ca", "ca.pem"],
            &["--listen-client-ca", "no listen address", "rediss://host:port"],
        ),
        (
            &listen,
            &["--listen-socket-mode", "0999"],
            &["--listen-socket-mode `0999`", "cannot be permissions", "in octal"],
        ),
        (&at("unix:/s"), &["--listen-socket-mode", "0060"], &["--listen-socket-mode `0060`", "own user", "in octal"]),
        (
            &listen,
            &["--admin", "unix:/s", "--listen-socket-mode", "0060"],
            &["--listen-socket-mode `0060`", "own user", "in octal"],
        ),
        (&to("http://cache"), &[], &["--upstream `http://cache`", "scheme is not known", "redis://host:port"]),
        (
            &to("redis://cache:99999"),
            &[],
            &["--upstream `redis://cache:99999`", "from 1 to 65535", "redis://host:port"],
        ),
        (
            &to("redis://cache/x"),
            &[],
            &["--upstream `redis://cache/x`", "database is not a number", "redis://host:port"],
        ),
        (&to("redis://cache/3"), &[], &["--upstream `redis://cache:6379/3`", "only if asked", "see --upstream-login"]),
        (&to("redis://orders@cache"), &[], &["--upstream: it names a user", "no", "--upstream-password-file"]),
        (&to("redis://u:%ff@cache"), &[], &["--upstream `redis://***@cache`", "not UTF-8", "redis://host:port"]),
        (
            &listen,
            &["--upstream-username", "orders"],
            &["--upstream-username", "nothing gives a password", "-password-file"],
        ),
        (
            &to("redis://:pw@cache"),
            &["--upstream-username", "orders"],
            &["--upstream-username", "every upstream's URL has its own", "leave one of the two out"],
        ),
        (
            &to("redis://:pw@cache"),
            &["--upstream-password-file", "f"],
            &["--upstream-password-file", "every upstream's URL has its own", "leave the password out of the URL"],
        ),
        (
            &listen,
            &["--upstream-login", "clients"],
            &["--upstream-login `clients`", "nothing to log in with", "write redis://"],
        ),
        (&listen, &["--include", "a[b"], &["--include `a[b`", "PSUBSCRIBE"]),
        (
            &listen,
            &["--max-connections", "many"],
            &["--max-connections `many`", "does not start with a number", "from 1 to 1000000"],
        ),
        (
            &listen,
            &["--inject-limit", "0"],
            &["--inject-limit `0`", "no context fits in it", "write 29", "--mode strip"],
        ),
        (&listen, &["--handshake-timeout", "0s"], &["--handshake-timeout `0s`", "in no time", "as in 500ms"]),
        (&listen, &["--connect-timeout", "5"], &["--connect-timeout `5`", "unit is missing", "as in 500ms"]),
        (&listen, &["--admin", "x"], &["--admin `x`", "port is missing", "--admin 9127"]),
        (&listen, &["--admin", "redis://:hunter2@h"], &["--admin `redis://***@h`", "it is a URL", "--admin 9127"]),
        (&at("65536"), &[], &["--listen `65536`", "port is not a number", "as in 127.0.0.1:6380"]),
        (&at(":6380x"), &[], &["--listen `:6380x`", "host is missing", "as in 127.0.0.1:6380"]),
        (&to("6379"), &[], &["--upstream `6379`", "host is missing: it is only a number", "redis://host:port"]),
        (&to("-1:6379"), &[], &["--upstream `-1:6379`", "missing or malformed", "redis://host:port"]),
        (
            &listen,
            &["--upstream-ca", "ca.pem"],
            &["--upstream-ca `ca.pem`", "no upstream is reached by TLS", "leave it out"],
        ),
        (&listen, &["--announce", "x"], &["'x'"]),
        (&["--listen", "127.0.0.1:0", "check", "x"], &[], &["`check` must be the first word"]),
    ];
    for (pair, more, line) in cases {
        assert_refused(&run(command(&[*pair, *more].concat())), WRONG_SETTINGS, line);
    }
}

#[test]
fn numbers_that_cannot_be_meant_are_named_with_what_is_accepted() {
    const TIME: &str = "write a time of at most a day with its unit, as in 500ms, 10s or 2m";
    const LARGE: &str = "99999999999999999999";
    let huge = format!("{LARGE}h");
    for (setting, unit, too_large, accepted) in [
        ("--connect-timeout", "s", &huge[..], TIME),
        ("--handshake-timeout", "s", &huge, TIME),
        ("--drain-timeout", "s", &huge, TIME),
        ("--flush-timeout", "s", &huge, TIME),
        ("--auto-interval", "s", &huge, "write a time from 50ms to 60s"),
        ("--follow-window", "s", &huge, "write a time from 10ms to 10s"),
        ("--ack-window", "s", &huge, "write a time from 10ms to 10m"),
        ("--inject-limit", "KiB", LARGE, "write a number of bytes from 29 to 511MiB"),
        ("--max-connections", "", "1000001", "write a number from 1 to 1000000"),
        ("--threads", "", "257", "write a number from 1 to 256, or leave it out"),
    ] {
        for (value, problem) in [
            (&format!("-1{unit}")[..], "it is negative"),
            (
                &format!("1,5{unit}"),
                if unit == "s" { "it is not a number with its unit" } else { "it is not a whole number" },
            ),
            ("1 bottle", "its unit is not known"),
            ("\u{664}", "it does not start with a number"),
            (too_large, "it is too large"),
        ] {
            let arguments = ["--listen", "127.0.0.1:0", "--upstream", UNUSED, setting, value];
            assert_refused(
                &run(command(&arguments)),
                WRONG_SETTINGS,
                &[&format!("{setting} `{value}`: {problem}; {accepted}")],
            );
        }
    }
}

#[test]
fn addresses_that_cannot_be_had() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("unix:{}", folder.path().join(name).display());
    let (in_use, a_file, missing) = (path("in-use.sock"), path("notes.txt"), path("no/such/folder.sock"));
    let _in_use = std::os::unix::net::UnixListener::bind(folder.path().join("in-use.sock")).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "keep").unwrap();
    for (setting, value, problem, remedy) in [
        ("--listen", &taken[..], "something else listens there: Address already in use", "choose another port"),
        // An address for documentation, which no machine has.
        ("--listen", "192.0.2.1:6380", "this machine does not have that address", "ip addr"),
        ("--listen", "no.such.host.invalid:6380", "the name cannot be resolved", "write an IP address"),
        ("--admin", &taken, "something else listens there", "choose another port"),
        ("--listen", &in_use, "another process listens there", "stop it, or choose another path"),
        ("--listen", &a_file, "there is a file that is no socket", "remove it, or choose another path"),
        ("--listen", &missing, "its folder does not exist", "create the folder"),
    ] {
        let others: &[&str] = if setting == "--admin" { &["--listen", "127.0.0.1:0"] } else { &[] };
        let arguments = [&[setting, value, "--upstream", UNUSED], others].concat();
        let line = [&format!("{setting} `{value}`")[..], problem, remedy];
        assert_refused(&run(command(&arguments)), CANNOT_BIND, &line);
    }
    let route = format!("api={taken},{UNUSED}");
    let line = [&format!("--route `{taken}`")[..], "something else listens there"];
    assert_refused(&run(command(&["--route", &route])), CANNOT_BIND, &line);
    let by_variable = |name: &str, value: &str| {
        let mut command = command(&[]);
        command.env(name, value).env("REDISTRIBUTED_UPSTREAM", UNUSED);
        run(command)
    };
    let line = [&format!("--listen `{taken}` (from REDISTRIBUTED_LISTEN)")[..], "something else listens there"];
    assert_refused(&by_variable("REDISTRIBUTED_LISTEN", &taken), CANNOT_BIND, &line);
    let file = folder.path().join("redistributed.toml");
    let route =
        |name: &str, listen: &str| format!("[[route]]\nname = '{name}'\nlisten = '{listen}'\nupstream = '{UNUSED}'\n");
    std::fs::write(&file, [route("a", "127.0.0.1:0"), route("b", &taken)].concat()).unwrap();
    let file = file.display().to_string();
    let line = [&format!("{file}:5:1: route `{taken}`")[..], "something else listens there", "choose another port"];
    assert_refused(&run(command(&["--config", &file])), CANNOT_BIND, &line);
    assert_eq!(std::fs::read_to_string(folder.path().join("notes.txt")).unwrap(), "keep");
}

#[test]
fn files_that_cannot_be_used() {
    let authority = Authority::new();
    let file = |name: &str, text: &str| authority.write(name, text).display().to_string();
    let (certificate, key) = authority.issue("localhost");
    let (certificate, key) = (file("good.pem", &certificate), file("good.key", &key));
    let other_key = file("other.key", &authority.issue("localhost").1);
    let (expired, expired_key) = authority.issue_between("localhost", (2020, 2021));
    let (expired, expired_key) = (file("expired.pem", &expired), file("expired.key", &expired_key));
    let (early, early_key) = authority.issue_between("localhost", (2090, 2091));
    let (early, early_key) = (file("early.pem", &early), file("early.key", &early_key));
    let (empty, garbage) =
        (file("empty", ""), file("garbage.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"));
    let (missing, ca) = ("/no/such.pem", authority.file());

    let listen = ["--listen", "rediss://127.0.0.1:0", "--upstream", UNUSED];
    let upstream = ["--listen", "127.0.0.1:0", "--upstream", "rediss://127.0.0.1:1", "--upstream-ca", &ca];
    let plain = ["--listen", "127.0.0.1:0", "--upstream", UNUSED];
    let pair = |certificate: &str, key: &str| ["--listen-cert", certificate, "--listen-key", key].map(str::to_owned);
    let shown =
        |certificate: &str, key: &str| ["--upstream-cert", certificate, "--upstream-key", key].map(str::to_owned);
    let cases: Vec<(&[&str], Vec<String>, [String; 3])> = vec![
        (&listen, pair(missing, &key).into(), line("--listen-cert", missing, "No such file", "by its full path")),
        (&listen, pair(&empty, &key).into(), line("--listen-cert", &empty, "there is none in it", "PEM form")),
        (&listen, pair(&garbage, &key).into(), line("--listen-cert", &garbage, "no usable certificate", "PEM form")),
        (
            &listen,
            pair(&expired, &expired_key).into(),
            line("--listen-cert", &expired, "expired at 2021-01-01T00:00:00Z", "new certificate"),
        ),
        (
            &listen,
            pair(&early, &early_key).into(),
            line("--listen-cert", &early, "not valid before 2090-01-01T00:00:00Z", "check the clock"),
        ),
        (
            &listen,
            pair(&certificate, &empty).into(),
            line("--listen-key", &empty, "no usable private key", "has no password"),
        ),
        (
            &listen,
            pair(&certificate, &other_key).into(),
            line("--listen-key", &other_key, "does not belong to the certificate", "name the key"),
        ),
        (
            &listen,
            [&pair(&certificate, &key)[..], &["--listen-client-ca".to_owned(), empty.clone()]].concat(),
            line("--listen-client-ca", &empty, "there is none in it", "PEM form"),
        ),
        (
            &upstream[..4],
            vec!["--upstream-ca".into(), missing.into()],
            line("--upstream-ca", missing, "No such file", "by its full path"),
        ),
        (
            &upstream,
            shown(&expired, &expired_key).into(),
            line("--upstream-cert", &expired, "expired at 2021", "new certificate"),
        ),
        (
            &upstream,
            shown(&certificate, &other_key).into(),
            line("--upstream-key", &other_key, "does not belong", "name the key"),
        ),
        (
            &plain,
            vec!["--upstream-password-file".into(), missing.into()],
            line("--upstream-password-file", missing, "No such file", "by its full path"),
        ),
        (
            &plain,
            vec!["--upstream-password-file".into(), empty.clone()],
            line("--upstream-password-file", &empty, "it is empty", "let it hold a password"),
        ),
    ];
    for (start, more, line) in cases {
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        assert_refused(&run(command(&[start, &more].concat())), WRONG_SETTINGS, &line);
    }
}

fn line(setting: &str, value: &str, problem: &str, remedy: &str) -> [String; 3] {
    [format!("{setting} `{value}`"), problem.to_owned(), remedy.to_owned()]
}

#[test]
fn a_privileged_port() {
    let arguments = ["--listen", "0.0.0.0:80", "--upstream", UNUSED];
    let may_not = TcpListener::bind("0.0.0.0:80").is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    let ended = if may_not {
        run(command(&arguments))
    } else {
        // As a process without privileges, in a network of its own where the usual limit holds.
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--net", "--map-user=65534", "--", env!("CARGO_BIN_EXE_redistributed")]);
        run(without_environment(unshare, &arguments))
    };
    let line = ["--listen `0.0.0.0:80`", "may not listen on a port below 1024", "CAP_NET_BIND_SERVICE"];
    assert_refused(&ended, CANNOT_BIND, &line);
}

#[test]
fn the_codes_are_those_of_the_help() {
    let help = run(command(&["--help"])).stdout;
    let said = |code: i32, text: &str| {
        let starts = format!("  {code}  ");
        help.lines().any(|line| line.starts_with(&starts) && line.contains(text))
    };
    assert!(said(WRONG_SETTINGS, "an argument, a variable"), "{help}");
    assert!(said(CANNOT_BIND, "could not be bound"), "{help}");
}
