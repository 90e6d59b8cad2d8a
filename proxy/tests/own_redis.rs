//! The proxy's own conversation with Redis, on every server.

use std::time::Duration;

use crate::support::fake_redis::FakeRedis;
use crate::support::redis::RealRedis;
use crate::support::servers;
use crate::support::{DEADLINE, expect, send, within};
use redistributed::net::key_material::KeyMaterial;
use redistributed::net::upstream::Dialer;
use redistributed::redis::{Connection, Credentials, Error, ProtocolError, Refusal, Reply, Requests};
use redistributed::settings::{Options, Settings};

fn dialer(url: &str) -> Dialer {
    let limit = format!("{}s", DEADLINE.as_secs());
    let line = ["redistributed", "--listen", "127.0.0.1:0", "--upstream", url, "--connect-timeout", &limit];
    let args = Options::from_command_line(line.map(Into::into)).expect("a command line");
    let settings = Settings::new(&args, &|_| None).expect("settings");
    Dialer::new(&settings.routes[0], &settings, &KeyMaterial::default()).expect("no certificates are needed")
}

async fn open(redis: &RealRedis, credentials: Option<(Option<&str>, &str)>) -> Result<Connection, Error> {
    let credentials = credentials
        .map(|(username, password)| Credentials { username: username.map(Into::into), password: password.into() });
    Connection::open(&dialer(&redis.url()), credentials.as_ref(), DEADLINE).await
}

#[tokio::test]
async fn commands_are_answered_in_order_and_a_refused_one_spoils_nothing() {
    for server in servers::all() {
        let redis = RealRedis::start_server(server, &[]);
        let mut connection = open(&redis, None).await.unwrap();
        let mut requests = Requests::new();
        requests.line("SET key value").line("GET key").line("LPUSH key x").line("MULTI").line("PUBSUB NUMPAT");
        requests.line("EXEC").line("PUBSUB NUMSUB a b").line("GET nothing");
        let replies = connection.pipeline(&requests).await.unwrap();
        let bulk = |text: &str| Reply::Bulk(text.into());
        let status = |text: &str| Reply::Status(text.into());
        let refusal = Refusal::new("WRONGTYPE Operation against a key holding the wrong kind of value");
        let expected = [
            status("OK"),
            bulk("value"),
            Reply::Error(refusal.clone()),
            status("OK"),
            status("QUEUED"),
            Reply::Array(vec![Reply::Integer(0)]),
            Reply::Array(vec![bulk("a"), Reply::Integer(0), bulk("b"), Reply::Integer(0)]),
            Reply::Null,
        ];
        assert_eq!(replies, expected, "{}", server.name);
        match connection.call(&[b"LPUSH", b"key", b"x"]).await {
            Err(Error::Refused(got)) => assert_eq!(got, refusal),
            other => panic!("{}: {other:?}", server.name),
        }
        assert_eq!(connection.call(&[b"GET", b"key"]).await.unwrap(), bulk("value"), "the connection is still good");
    }
}

#[tokio::test]
async fn credentials_are_those_of_a_user_or_of_the_default_user() {
    for server in servers::all() {
        let redis =
            RealRedis::start_server(server, &["--requirepass", "s3cret", "--user", "proxy", "on", ">hunter2", "+@all"]);
        for (credentials, user) in [((None, "s3cret"), "default"), ((Some("proxy"), "hunter2"), "proxy")] {
            let mut connection = open(&redis, Some(credentials)).await.unwrap();
            let whoami = connection.call(&[b"ACL", b"WHOAMI"]).await.unwrap();
            assert_eq!(whoami, Reply::Bulk(user.into()), "{}", server.name);
        }
        let error = open(&redis, Some((Some("proxy"), "s3cret"))).await.unwrap_err();
        assert_eq!(error.to_string(), "Redis does not accept the proxy's credentials (WRONGPASS)");
        let mut nobody = open(&redis, None).await.unwrap();
        let error = nobody.call(&[b"GET", b"key"]).await.unwrap_err();
        assert!(matches!(&error, Error::Refused(refusal) if refusal.code() == "NOAUTH"), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_of_credentials_never_repeats_them() {
    let fake = FakeRedis::start().await;
    let (dialer, credentials) = (dialer(&fake.url()), Credentials { username: None, password: "hunter2".into() });
    let opening = tokio::spawn(async move { Connection::open(&dialer, Some(&credentials), DEADLINE).await.map(drop) });
    let mut server = fake.accept().await;
    expect(&mut server, b"*2\r\n$4\r\nAUTH\r\n$7\r\nhunter2\r\n").await;
    send(&mut server, b"-ERR unknown command 'AUTH', with args beginning with: 'hunter2'\r\n").await;
    let error = within("the refusal", opening).await.unwrap().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_subscriber_gets_its_messages_among_its_confirmations() {
    for server in servers::all() {
        let redis = RealRedis::start_server(server, &[]);
        let (mut subscriber, mut publisher) = (open(&redis, None).await.unwrap(), open(&redis, None).await.unwrap());
        let array = |words: [&str; 2], last| {
            Reply::Array([words.map(|word| Reply::Bulk(word.into())).to_vec(), vec![last]].concat())
        };
        subscriber.send(Requests::new().line("SUBSCRIBE a")).await.unwrap();
        let confirmed = within("a confirmation", subscriber.next()).await.unwrap();
        assert_eq!(confirmed, array(["subscribe", "a"], Reply::Integer(1)));
        publisher.call(&[b"PUBLISH", b"a", b"hi"]).await.unwrap();
        subscriber.send(Requests::new().line("UNSUBSCRIBE a")).await.unwrap();
        let message = within("a message", subscriber.next()).await.unwrap();
        assert_eq!(message, array(["message", "a"], Reply::Bulk(b"hi".to_vec())));
        let confirmed = within("a confirmation", subscriber.next()).await.unwrap();
        assert_eq!(confirmed, array(["unsubscribe", "a"], Reply::Integer(0)), "{}", server.name);
    }
}

#[tokio::test]
async fn silence_garbage_and_a_close_are_told_apart() {
    let fake = FakeRedis::start().await;
    let dialer = dialer(&fake.url());
    let short = Duration::from_millis(50);
    let ask = |limit| {
        let dialer = dialer.clone();
        tokio::spawn(async move { Connection::open(&dialer, None, limit).await?.call(&[b"PING"]).await })
    };
    let silent = ask(short);
    let _held = fake.accept().await;
    let error = within("giving up", silent).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Late(limit) if limit == short), "{error}");

    let garbage = ask(DEADLINE);
    let mut server = fake.accept().await;
    expect(&mut server, b"*1\r\n$4\r\nPING\r\n").await;
    send(&mut server, b"HTTP/1.1 400 Bad Request\r\n").await;
    let error = within("an answer", garbage).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Protocol(ProtocolError::Malformed)), "{error}");

    let closed = ask(DEADLINE);
    let mut server = fake.accept().await;
    expect(&mut server, b"*1\r\n$4\r\nPING\r\n").await;
    drop(server);
    let error = within("the end", closed).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");

    let nobody = crate::support::fake_redis::unused_address().await;
    let error = Connection::open(&self::dialer(&nobody.to_string()), None, DEADLINE).await.unwrap_err();
    assert!(matches!(error, Error::Connect(_)), "{error}");
}
