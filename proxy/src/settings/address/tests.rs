use super::*;

#[test]
fn upstreams_are_read_in_every_documented_form() {
    for (text, shown) in [
        ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
        ("rediss://cache", "rediss://cache:6379"),
        ("redis://cache", "redis://cache:6379"),
        ("redis://cache/", "redis://cache:6379"),
        ("redis://cache:7000/0", "redis://cache:7000"),
        ("cache:7000", "redis://cache:7000"),
        ("my_cache.internal", "redis://my_cache.internal:6379"),
        ("redis://[::1]:7000", "redis://[::1]:7000"),
        ("[::1]", "redis://[::1]:6379"),
        ("redis://user:pw@cache:7000/3", "redis://cache:7000"),
        ("rediss://:pw@[::1]:7000/3", "rediss://[::1]:7000"),
        ("unix:/run/redis.sock", "unix:/run/redis.sock"),
        ("unix:///run/redis.sock", "unix:/run/redis.sock"),
        ("unix:////run/redis.sock", "unix:/run/redis.sock"),
        ("redis+unix:///run/redis.sock", "unix:/run/redis.sock"),
    ] {
        assert_eq!(UpstreamUrl::parse(text).unwrap().upstream.to_string(), shown, "{text}");
    }
}

#[test]
fn upstreams_that_would_be_misunderstood_are_refused() {
    for (text, error) in [
        ("http://cache", AddressError::Scheme),
        ("redis://cache/x", AddressError::Database),
        ("redis://cache/+3", AddressError::Database),
        ("redis://cache/99999999999", AddressError::Database),
        ("redis://u:%ff@cache", AddressError::NotText),
        ("redis://user:pw@", AddressError::Host),
        ("redis://cache?db=3", AddressError::Options),
        ("redis://", AddressError::Host),
        ("redis://ca che", AddressError::Host),
        ("redis://[::1", AddressError::Brackets),
        ("redis://[nonsense]:1", AddressError::Host),
        ("::1", AddressError::Brackets),
        ("cache:0", AddressError::Port),
        ("cache:65536", AddressError::Port),
        ("cache:+1", AddressError::Port),
        ("cache:", AddressError::Port),
        ("unix:run/redis.sock", AddressError::Path),
        ("unix:/", AddressError::Path),
        ("unix:////", AddressError::Path),
        ("redis+unix://user:pw@/run/redis.sock", AddressError::Credentials),
        ("", AddressError::Host),
    ] {
        assert_eq!(UpstreamUrl::parse(text), Err(error), "{text}");
    }
}

#[test]
fn users_and_passwords_are_read_as_they_are_or_percent_encoded() {
    for (text, username, password, database) in [
        ("redis://cache/15", None, None, 15),
        ("redis://user:pw@cache/3", Some("user"), Some("pw"), 3),
        ("redis://:pw@cache/", None, Some("pw"), 0),
        ("redis://user@cache", Some("user"), None, 0),
        ("redis://user:@cache", Some("user"), None, 0),
        ("redis://user:p/w?#:@x@cache:6379", Some("user"), Some("p/w?#:@x"), 0),
        ("redis://us%3Aer:p%40%25w@cache", Some("us:er"), Some("p@%w"), 0),
        ("user:pw@cache", Some("user"), Some("pw"), 0),
    ] {
        let url = UpstreamUrl::parse(text).unwrap();
        assert_eq!(url.username.as_deref(), username, "{text}");
        assert_eq!(url.password.as_ref().map(Secret::reveal), password, "{text}");
        assert_eq!(url.database, database, "{text}");
    }
}

#[test]
fn listeners_are_read_in_every_documented_form() {
    for (text, shown) in [
        ("127.0.0.1:6380", "127.0.0.1:6380"),
        ("redis://127.0.0.1:6380/", "127.0.0.1:6380"),
        ("rediss://[::1]:6380", "rediss://[::1]:6380"),
        ("unix:/run/proxy.sock", "unix:/run/proxy.sock"),
        ("unix:///run/proxy.sock", "unix:/run/proxy.sock"),
    ] {
        assert_eq!(ListenAddress::parse(text).unwrap().to_string(), shown, "{text}");
    }
    let long = format!("unix:/{}", "x".repeat(MAX_SOCKET_PATH));
    for (text, error) in [
        ("http://127.0.0.1:1", AddressError::Scheme),
        ("rediss://localhost", AddressError::NoPort),
        ("rediss://:pw@localhost:1", AddressError::Credentials),
        ("unix:proxy.sock", AddressError::Path),
        (&long, AddressError::LongPath),
    ] {
        assert_eq!(ListenAddress::parse(text), Err(error), "{text}");
    }
    assert!(ListenAddress::parse(&long[..long.len() - 1]).is_ok());
}

#[test]
fn listeners_need_a_port_and_may_leave_it_to_the_system() {
    assert_eq!(ListenAddress::parse("127.0.0.1:0").unwrap().host_port().unwrap().port, 0);
    assert_eq!(ListenAddress::parse("[::]:6380").unwrap().to_string(), "[::]:6380");
    assert_eq!(ListenAddress::parse("127.0.0.1"), Err(AddressError::NoPort));
    for (text, shown) in [
        ("6380", "127.0.0.1:6380"),
        (":6380", "127.0.0.1:6380"),
        ("0", "127.0.0.1:0"),
        ("rediss://:6380", "rediss://127.0.0.1:6380"),
    ] {
        assert_eq!(ListenAddress::parse(text).unwrap().to_string(), shown);
    }
    for text in ["65536", ":65536", "99999999999999999999"] {
        assert_eq!(ListenAddress::parse(text), Err(AddressError::Port), "{text}");
    }
    for text in ["", ":", ":x", "rediss://"] {
        assert!(ListenAddress::parse(text).is_err(), "{text}");
    }
    assert_eq!(ListenAddress::parse("::1:6380"), Err(AddressError::Brackets));
}
