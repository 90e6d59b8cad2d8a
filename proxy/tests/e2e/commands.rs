//! The CLIENT spans of all other commands (`--commands all`). The `discretion` tests check that they contain no
//! secrets.

use otlp_receiver::proto::trace::v1::span::SpanKind;

use redistributed_core::command_keys::first_key;

use crate::e2e::deployment::{BOTH_TRANSPORTS, Deployment};
use crate::support::wire::{Value, request};

#[tokio::test]
async fn commands_are_described_by_the_database_conventions() {
    for transport in BOTH_TRANSPORTS {
        let deployment = Deployment::start().await;
        let service = deployment.sidecar_with("service", &["--commands", "all"], transport, &[]);
        let mut client = service.connect().await;
        client.call("SELECT 3").await;
        client.call("set k v").await;
        client.call("LPUSH k x").await;
        client.call("CLIENT SETNAME me").await;
        for command in ["MULTI", "INCR a", "INCR b", "EXEC"] {
            client.call(command).await;
        }
        drop(client);
        let spans = deployment.spans([service]).await;
        let span =
            |name: &str| spans.of("service").find(|span| span.name == name).unwrap_or_else(|| panic!("no {name}"));
        span("set").assert_attributes([
            ("db.system.name", "redis".into()),
            ("db.operation.name", "set".into()),
            ("db.namespace", "3".into()),
        ]);
        assert!(span("set").is_root() && !span("set").is_error);
        span("LPUSH").assert_attributes([
            ("db.system.name", "redis".into()),
            ("db.operation.name", "LPUSH".into()),
            ("db.namespace", "3".into()),
            ("db.response.status_code", "WRONGTYPE".into()),
            ("error.type", "WRONGTYPE".into()),
        ]);
        assert!(span("LPUSH").is_error);
        span("MULTI INCR").assert_attributes([
            ("db.system.name", "redis".into()),
            ("db.operation.name", "MULTI INCR".into()),
            ("db.namespace", "3".into()),
            ("db.operation.batch.size", 2.into()),
        ]);
        assert!(spans.0.iter().all(|span| span.kind == SpanKind::Client));
        // SELECT and CLIENT only manage the connection.
        assert_eq!(spans.0.len(), 3, "{:?}", spans.0.iter().map(|span| &span.name).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn only_slow_or_failed_commands_have_spans_if_only_these_are_wanted() {
    for (which, expected) in
        [("errors", &["LPUSH"][..]), ("slow=1h", &[]), ("slow=1h,errors", &["LPUSH"]), ("slow=0s", &["SET", "LPUSH"])]
    {
        let deployment = Deployment::start().await;
        let service = deployment.sidecar_with("service", &["--commands", which], BOTH_TRANSPORTS[0], &[]);
        let mut client = service.connect().await;
        for command in ["SET k v", "LPUSH k x", "EVALSHA 0 0", "BLPOP nothing 0.01", "PING"] {
            client.call(command).await;
        }
        drop(client);
        let spans = deployment.spans([service]).await;
        let names: Vec<&str> =
            spans.0.iter().map(|span| span.name.as_str()).filter(|name| *name != "EVALSHA").collect();
        assert_eq!(names, expected, "--commands {which}");
    }
}

#[tokio::test]
async fn spans_show_the_templates_of_keys_and_no_key() {
    let deployment = Deployment::start().await;
    let templates = ["--commands", "all", "--key-template", "report:*", "--key-template", "order:[0-9]*"];
    let with = deployment.sidecar("with", &templates);
    let without = deployment.sidecar("without", &["--commands", "all"]);
    for service in [&with, &without] {
        let mut client = service.connect().await;
        for command in
            ["SET report:17 v", "get order:4", "GET order:x", "MULTI", "INCR order:5", "INCR order:6", "EXEC"]
        {
            client.call(command).await;
        }
        client.call("SET report:18 v").await;
    }
    let spans = deployment.spans([with, without]).await;
    let shown = |service: &str| {
        let of = spans.of(service).map(|span| {
            let text = |key: &str| span.text(key).unwrap_or("-").to_owned();
            (span.name.clone(), text("db.operation.name"), text("db.query.summary"))
        });
        let mut all: Vec<_> = of.collect();
        all.sort();
        all
    };
    let expected = |all: &[(&str, &str, &str)]| {
        let owned = all
            .iter()
            .map(|(name, operation, summary)| ((*name).to_owned(), (*operation).to_owned(), (*summary).to_owned()));
        owned.collect::<Vec<_>>()
    };
    assert_eq!(
        shown("with"),
        expected(&[
            ("GET", "GET", "-"),
            ("MULTI INCR order:[0-9]*", "MULTI INCR", "MULTI INCR order:[0-9]*"),
            ("SET report:*", "SET", "SET report:*"),
            ("SET report:*", "SET", "SET report:*"),
            ("get order:[0-9]*", "get", "get order:[0-9]*"),
        ])
    );
    let plain = [("GET", "GET", "-"), ("MULTI INCR", "MULTI INCR", "-"), ("SET", "SET", "-"), ("SET", "SET", "-")];
    assert_eq!(shown("without"), expected(&[&plain[..], &[("get", "get", "-")]].concat()));
    for span in &spans.0 {
        let everything = format!("{span:?}");
        assert!(
            ["report:1", "order:4", "order:5", "order:6"].iter().all(|key| !everything.contains(key)),
            "{everything}"
        );
    }
}

/// A row of the server's table: a command or subcommand as it is called, where its first key is, and whether that depends on the
/// arguments.
struct Row {
    words: Vec<String>,
    takes_arguments: bool,
    first_key: usize,
    is_movable: bool,
}

fn rows(table: &[Value]) -> Vec<Row> {
    let mut rows = Vec::new();
    for row in table {
        let Value::Array(row) = row else { panic!("{row:?} is no row") };
        let [Value::Bulk(name), Value::Integer(arity), Value::Array(flags), Value::Integer(first), ..] = &row[..]
        else {
            panic!("{row:?} has another form")
        };
        let words: Vec<String> = String::from_utf8_lossy(name).split('|').map(str::to_owned).collect();
        rows.push(Row {
            takes_arguments: *arity < 0 || *arity > words.len() as i64,
            words,
            first_key: usize::try_from(*first).unwrap(),
            is_movable: flags.contains(&Value::Status("movablekeys".to_owned())),
        });
        if let Some(Value::Array(subcommands)) = row.get(9) {
            rows.extend(self::rows(subcommands));
        }
    }
    rows
}

/// The table of the core, against that of a real server. A command that the server has and the core does not know is found here, if
/// its first key is not its first argument.
#[tokio::test]
async fn the_first_key_is_where_the_table_of_the_server_has_it() {
    // What the server calls the key of these is a channel, and of the last one, which is of Valkey 9.1, a cursor.
    const WITHOUT_KEYS: [&str; 5] = ["spublish", "ssubscribe", "sunsubscribe", "publish", "clusterscan"];
    let deployment = Deployment::start().await;
    let Value::Array(table) = deployment.direct().await.call("COMMAND").await else { panic!("no table") };
    let rows = rows(&table);
    assert!(rows.len() > 300, "{} commands", rows.len());
    for row in rows {
        let is_container = row.words.len() == 1 && row.first_key == 0 && CONTAINERS.contains(&row.words[0].as_str());
        if row.is_movable && row.first_key == 0 || is_container || !row.takes_arguments {
            continue;
        }
        let arguments = (row.words.len()..8).map(|number| format!("argument-{number}"));
        let words: Vec<String> = row.words.iter().cloned().chain(arguments).collect();
        let sent = request(&words.iter().map(String::as_bytes).collect::<Vec<_>>());
        let expected = (row.first_key > 0 && !WITHOUT_KEYS.contains(&row.words[0].as_str()))
            .then(|| words[row.first_key].as_bytes());
        assert_eq!(first_key(&sent), expected, "{}", row.words.join(" "));
    }
}

/// Commands whose subcommands have keys, and that are none themselves.
const CONTAINERS: [&str; 5] = ["memory", "object", "xgroup", "xinfo", "pfdebug"];
