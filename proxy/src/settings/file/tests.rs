//! What a file may hold, and the errors about one that cannot be used.

use std::ffi::OsString;
use std::time::Duration;

use redistributed_core::policy::Mode;

use super::*;
use crate::settings::command_line;
use crate::settings::{Invocation, LoadError, Options};

fn parse(text: &str) -> Result<ConfigFile, InvalidSettings> {
    ConfigFile::parse(text, Path::new("f.toml"), &Options::command())
}

const WORDS: [&str; 5] = ["redistributed", "--listen", "127.0.0.1:1", "--upstream", "rediss://h"];

/// The values of every option without their origins, and the settings that they make, if they can be used.
fn meaning(words: &[String], file: Option<&ConfigFile>) -> (Vec<(String, Vec<OsString>)>, Option<String>) {
    let words: Vec<OsString> = WORDS.iter().map(Into::into).chain(words.iter().map(Into::into)).collect();
    let (_, read) = command_line::read(&Options::command(), &words, file).unwrap_or_else(|error| panic!("{error}"));
    let settings = Invocation::new(Options::command(), words).with_file(file, &|_| None);
    let said = read.0.into_iter().map(|said| (said.name, said.values)).collect();
    (said, settings.ok().map(|loaded| format!("{:?}", loaded.settings)))
}

/// Two values that an option takes, chosen by the name of its value in help.
fn samples(arg: &Arg) -> [String; 2] {
    let possible: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if let [first, .., last] = &possible[..] {
        let default = arg.get_default_values().first().is_some_and(|value| value == last.as_str());
        return if default { [first, last] } else { [last, first] }.map(Clone::clone);
    }
    if !arg.get_action().takes_values() {
        return ["true", "false"].map(str::to_owned);
    }
    let form = arg.get_value_names().and_then(|names| names.first()).expect("a value has a name").to_string();
    match form.as_str() {
        "BYTES" => ["48KiB", "4096"],
        "TIME" => ["7s", "70ms"],
        "FILE" => ["/some/file.pem", "other.pem"],
        "NAME" => ["redis.example", "example"],
        "[HOST:]PORT" => ["9127", "127.0.0.1:9128"],
        "GLOB" => ["a b*", "c"],
        "GLOB=MODE" => ["a.*=strip", "b=observe"],
        "GLOB=TEMPLATE" => ["a.*=a", "b=c.{id}"],
        "LISTEN,UPSTREAM" => ["8080,3000", "127.0.0.1:8081,unix:/run/app"],
        "GLOB=ROUTE" => ["/a/*=/a/{name}", "/b="],
        "GLOB=CARRIER" => ["a.*=json", "b=opencensus"],
        _ => ["7", "8"],
    }
    .map(str::to_owned)
}

#[test]
fn every_option_can_be_set_in_the_file_and_means_the_same() {
    let command = Options::command();
    // The pair of addresses is in every sample, and excludes routes; they have a test of their own.
    let tried = keys(&command).filter(|arg| !["listen", "upstream", "routes"].contains(&arg.get_id().as_str()));
    let (mut tries, mut meant) = (0, 0);
    for arg in tried {
        let name = arg.get_long().unwrap();
        let values = if repeats(arg) { samples(arg).to_vec() } else { vec![samples(arg)[0].clone()] };
        let switch = !arg.get_action().takes_values();
        let word = |value: &String| if switch { format!("--{name}") } else { format!("--{name}={value}") };
        let words: Vec<_> = values.iter().map(word).collect();
        let text = match &values[..] {
            _ if switch => format!("{name} = true"),
            [value] if value.parse::<u32>().is_ok() => format!("{name} = {value}"),
            [value] => format!("{name} = '{value}'"),
            values => format!("{name} = {values:?}"),
        };
        let file = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let by_flag = meaning(&words, None);
        assert_eq!(meaning(&[], Some(&file)), by_flag, "{text}");
        assert_ne!(by_flag.0, meaning(&[], None).0, "{name}: the sample is the default");
        tries += 1;
        meant += usize::from(by_flag.1.is_some());
    }
    assert!(tries > 15 && meant > 15, "{tries} options were tried, {meant} of them could be meant");
}

#[test]
fn an_option_wins_over_the_file_and_a_list_replaces_a_list() {
    let file = parse("mode = 'strip'\ninclude = ['a', 'b']\ndrain-timeout = '9s'").unwrap();
    let words: Vec<OsString> = WORDS.iter().chain(&["--mode", "observe", "--include", "c"]).map(Into::into).collect();
    let loaded = Invocation::new(Options::command(), words).with_file(Some(&file), &|_| None).unwrap();
    let of = |name: &str| loaded.sources.origin(name, None).to_string();
    assert_eq!(
        ["mode", "include", "drain-timeout", "flush-timeout"].map(of),
        ["command line", "command line", "f.toml:3:1", "default"]
    );
    let policy = &loaded.settings.policy;
    assert_eq!((policy.mode, policy.include.len()), (Mode::Observe, 1));
    assert_eq!(loaded.settings.limits.drain_timeout, Duration::from_secs(9));
}

#[test]
fn values_with_parts_may_be_tables_and_keep_their_order() {
    let same = ["z*=strip", "a.b=observe"].map(str::to_owned);
    for text in [
        "mode-for = ['z*=strip', 'a.b=observe']",
        "[mode-for]\n'z*' = 'strip'\n'a.b' = 'observe'",
        "mode-for = { 'z*' = 'strip', 'a.b' = 'observe' }",
        "[[mode-for]]\nglob = 'z*'\nmode = 'strip'\n[[mode-for]]\nmode = 'observe'\nglob = 'a.b'",
        "mode-for = [{ glob = 'z*', mode = 'strip' }, 'a.b=observe']",
    ] {
        let file = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let values: Vec<_> = file.get("mode-for").unwrap().values.iter().map(|value| value.text.clone()).collect();
        assert_eq!(values, same, "{text}");
    }
    let routes = "[[route]]\nname = 'api'\nlisten = '127.0.0.1:1'\nupstream = 'redis://h'\n";
    assert_eq!(parse(routes).unwrap().get("route").unwrap().values[0].text, "api=127.0.0.1:1,redis://h");
    assert_eq!(parse("route = 'api=127.0.0.1:1,h'").unwrap().get("route").unwrap().values.len(), 1);
}

#[test]
fn what_cannot_be_used_is_named_with_its_place_and_what_to_write() {
    for (text, says) in [
        ("mod = 'strip'", "f.toml:1:1: mod: it is not a setting; did you mean `mode`?"),
        ("mode = 'stripp'", "f.toml:1:8: mode `stripp`: it is not known; did you mean `strip`?"),
        ("mode = 'x'", "known are inject, strip, observe"),
        ("connect-retry = ''", "f.toml:1:17: connect-retry ``: it is empty; known are on, off"),
        ("upstream-ca = ''", "f.toml:1:15: upstream-ca ``: it is empty; write what --help says, or leave it out"),
        (
            "\n\n  max_connections = 1",
            "f.toml:3:3: max_connections: it is not a setting; did you mean `max-connections`?",
        ),
        ("carriers = []", "did you mean `carrier`?"),
        ("[log]\nlevel = 'info'", "f.toml:2:1: log.level: it is not a setting; did you mean `log-level`?"),
        ("check-config = true", "command line only"),
        ("config = 'f.toml'", "command line only"),
        ("OTEL_SERVICE_NAME = 'a'", "write it under [otel]"),
        ("otel = 1", "f.toml:1:8: otel"),
        (
            "[otel]\nservice-name = 'a'",
            "f.toml:2:1: otel.service-name: it is not a variable that is read; did you mean `OTEL_SERVICE_NAME`?",
        ),
        ("[otel]\nOTEL_PROPAGATORS = ['b3']", "f.toml:2:20: otel.OTEL_PROPAGATORS: an array"),
        ("[mode-for]\norders.new = 'strip'", "put names with dots in quotes"),
        ("[mode-for]\na = 1.5", "f.toml:2:5: mode-for.\"a\": a number with a fraction"),
        ("[[route]]\nnam = 'a'", "f.toml:2:1: route.nam: it is not a setting; did you mean `name`?"),
        ("[[route]]\nname = 'a'", "f.toml:1:1: route.upstream: it is missing"),
        ("[[route]]\nname = 'a=b'\nlisten = 'c'\nupstream = 'd'", "f.toml:2:8: route.name `a=b`: it holds a `=`"),
        ("listen = ['a']", "f.toml:1:10: listen: an array is not what it takes"),
        ("listen = 1.0", "listen: a number with a fraction"),
        ("max-connections = 0x10", "max-connections: a number in this form"),
        ("include = [1979-05-27]", "f.toml:1:12: include: a date is not what it takes; write an array of texts"),
        ("listen = 'a'\nlisten = 'b'", "f.toml:2:1: it is not TOML: duplicate key"),
        ("listen = ", "f.toml:1:"),
        ("# \u{e9}\nmodé = 1", "f.toml:2:4: it is not TOML"),
    ] {
        let error = parse(text).map(|file| panic!("{text} was read: {file:?}")).unwrap_err().to_string();
        assert!(error.contains(says), "{text} says\n{error}\nand not\n{says}");
    }
}

#[test]
fn everything_wrong_is_said_at_once_in_the_order_of_the_file() {
    let error = parse("zz = 1\nmode = 'x'\naa = 2\n[otel]\nb = 1").unwrap_err();
    let line = |error: &SettingError| match &error.origin {
        Origin::File(_, Some(position)) => position.line,
        origin => panic!("{origin:?}"),
    };
    assert_eq!(error.errors.iter().map(line).collect::<Vec<_>>(), [1, 2, 3, 5]);
}

#[test]
fn no_error_shows_a_password() {
    const URL: &str = "redis://user:hunter2@h";
    for text in [
        format!("mode = '{URL}'"),
        format!("'{URL}' = 1"),
        format!("['{URL}']\n'{URL}' = 1"),
        format!("[mode-for]\n'{URL}' = 1.5"),
        format!("[mode-for]\n'{URL}'.x = 1"),
        format!("[[route]]\nname = '{URL}=x'\nlisten = '{URL},x'\nupstream = '{URL}'\n'{URL}' = 1"),
        format!("[otel]\n'{URL}' = 1"),
        format!("listen = {URL}"),
        URL.to_owned(),
        format!("listen = '{URL}"),
    ] {
        let error = parse(&text).map(|file| panic!("{text} was read: {file:?}")).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{text}: {error}");
    }
}

#[test]
fn a_value_that_has_no_meaning_is_named_with_its_own_place() {
    let words = ["redistributed"].map(Into::into);
    let refused = |text: &str| {
        let file = parse(text).unwrap();
        let loaded = Invocation::new(Options::command(), words.clone()).with_file(Some(&file), &|_| None);
        match loaded {
            Err(LoadError::Settings(invalid)) => invalid.to_string(),
            other => panic!("{text}: {other:?}"),
        }
    };
    for (text, says) in [
        ("listen = 'x'\nupstream = 'h'", "f.toml:1:10: listen `x`: its port is missing"),
        ("listen = 'h:1'\nupstream = 'u'\nexclude = ['ok',\n  'bad[']", "f.toml:4:3: exclude `bad[`"),
        ("[[route]]\nname = 'a'\nlisten = 'h:1'\nupstream = 'http://h'", "f.toml:4:12: route `http://h`"),
        ("route = [\n'a=h:1,http://h']", "f.toml:2:1: route `http://h`"),
        (
            "[[route]]\nname = 'a'\nlisten = 'h:1'\nupstream = 'u/3'\n[[route]]\nname = 'b'\nlisten = 'x'\nupstream = 'u/3'",
            "f.toml:7:10: route `x`: its port is missing",
        ),
        (
            "[[route]]\nname = 'a'\nlisten = 'h:1'\nupstream = 'u'\n[[route]]\nname = 'b'\nlisten = 'h:2'\nupstream = 'u/3'",
            "f.toml:5:1: route `redis://u:6379/3`",
        ),
        (
            "listen = 'h:1'\nupstream = 'u'\n[otel]\nOTEL_EXPORTER_OTLP_ENDPOINT = 'c:1'",
            "f.toml:4:31: OTEL_EXPORTER_OTLP_ENDPOINT `c:1`: it does not begin with http://",
        ),
    ] {
        let error = refused(text);
        assert!(error.contains(says), "{text} says\n{error}\nand not\n{says}");
    }
}

#[test]
fn what_is_wrong_at_every_route_is_said_once() {
    let words = ["redistributed", "--upstream-username", "u"].map(Into::into);
    let file = parse("route = ['a=h:1,u', 'b=h:2,u']").unwrap();
    let error = Invocation::new(Options::command(), words).with_file(Some(&file), &|_| None).unwrap_err().to_string();
    assert_eq!(error.matches("nothing gives a password").count(), 1, "{error}");
}

#[test]
fn what_is_useless_without_tls_is_named_with_its_own_place() {
    let words = ["redistributed"].map(Into::into);
    let file = parse("listen = 'h:1'\nupstream = 'u'\nupstream-ca = 'c'\nlisten-key = 'redis://:hunter2@h'").unwrap();
    let error = Invocation::new(Options::command(), words).with_file(Some(&file), &|_| None).unwrap_err().to_string();
    for says in [
        "f.toml:3:15: upstream-ca `c`: no upstream is reached by TLS",
        "f.toml:4:14: listen-key `redis://***@h`: no listen address is one with TLS",
    ] {
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn two_routes_that_listen_at_one_address_are_both_named_with_their_places() {
    let words = ["redistributed"].map(Into::into);
    for (name, listen, says) in [
        // One service that has two Redises.
        ("a", "h:2", None),
        ("b", "h:1", Some("two routes listen there, a=h:1,... (f.toml:1:1) and b=h:1,... (f.toml:5:1); give each")),
    ] {
        let second = format!("[[route]]\nname = '{name}'\nlisten = '{listen}'\nupstream = 'u'\n");
        let text = format!("[[route]]\nname = 'a'\nlisten = 'h:1'\nupstream = 'u'\n{second}");
        let file = parse(&text).unwrap();
        let outcome = Invocation::new(Options::command(), words.clone()).with_file(Some(&file), &|_| None);
        match (outcome, says) {
            (Ok(_), None) => {}
            (Err(error), Some(says)) => {
                let says = format!("f.toml:7:10: route `h:1`: {says}");
                assert!(error.to_string().contains(&says), "{error}");
            }
            (outcome, _) => panic!("{name} {listen}: {:?}", outcome.map(|_| ()).map_err(|error| error.to_string())),
        }
    }
}

#[test]
fn what_a_refused_route_would_have_needed_is_not_said_to_be_useless() {
    let words = ["redistributed", "--upstream-ca", "c", "--listen-cert", "c", "--listen-key", "k"].map(Into::into);
    let file = parse("listen = 'rediss://h'\nupstream = 'rediss://h:x'").unwrap();
    let error = Invocation::new(Options::command(), words).with_file(Some(&file), &|_| None).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 3, "{error}");
}
