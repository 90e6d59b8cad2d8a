//! The variables by which services find their Redis, and their values behind a proxy. It is pure: text in, text out.

use std::fmt;

use crate::settings::{AddressError, HostPort, UpstreamUrl};

/// The variables that hold the URL of a Redis, where they are set. Celery's are also set where its broker is none.
const URLS: [&str; 3] = ["REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"];

/// The variables that hold a host and its port.
const PAIRS: [(&str, &str); 1] = [("REDIS_HOST", "REDIS_PORT")];

/// The schemes of a Redis that is reached by TCP, each with the same for TLS.
const SCHEMES: [(&str, &str); 2] = [("redis", "rediss"), ("valkey", "valkeys")];

/// The schemes of a Unix socket, as clients of several languages write them.
const SOCKETS: [&str; 4] = ["unix", "redis+unix", "redis+socket", "valkey+unix"];

/// The variables that name one Redis.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    /// The Redis, as `--upstream` takes it. It may hold a password, so `Debug` does not show it.
    pub(super) upstream: String,
    variables: Vec<Variable>,
}

/// A variable, or two, and what it says of a Redis.
#[derive(Clone, PartialEq, Eq)]
enum Variable {
    /// The variable `name` holds a URL.
    Url { name: String, url: RedisUrl },
    /// The variable `name` holds `host:port`.
    Address { name: String },
    /// One variable holds the host, and another the port if it is set.
    Pair { host: String, port: String },
}

/// The parts of a URL that a client keeps behind a proxy.
#[derive(Clone, PartialEq, Eq)]
struct RedisUrl {
    /// The scheme without TLS, which a loopback address does not need.
    scheme: &'static str,
    user_info: Option<String>,
    /// What follows the address: the database and the client's options.
    rest: String,
    upstream: String,
}

/// The reason why a variable does not lead to a Redis behind a proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// No variable and no option names a Redis.
    #[error(
        "nothing names the service's Redis: set REDIS_URL, name another variable by --env NAME, or name the Redis by \
         --upstream, and the service gets REDIS_URL"
    )]
    None,
    /// No variable and no option names a Redis, and the value of this variable, which should, is of no known form.
    #[error(
        "{0} does not name a Redis: write redis://host:port, rediss://host:port for TLS or unix:/path, or name the Redis by \
         --upstream"
    )]
    NoUrl(String),
    /// A variable that `--env` names is not set, or empty.
    #[error("--env {0}: the variable is not set")]
    NotSet(String),
    /// A variable that `--env` names is none of those forms.
    #[error("--env {0}: its value is neither redis://..., rediss://..., unix:/path nor host:port")]
    NotRedis(String),
    /// A variable names several servers, as for a cluster or for sentinels.
    #[error("{0} names several servers, and a proxy stands in front of one: name it by --upstream")]
    Several(String),
    /// A variable names a Redis that cannot be reached.
    #[error("{variable} cannot be used: {problem}")]
    Address {
        /// The name of the variable that holds the address.
        variable: String,
        /// What is wrong with its value.
        problem: AddressError,
    },
    /// `REDIS_PORT` is no number. Kubernetes sets it to `tcp://...` for a Service with the name `redis`.
    #[error(
        "{0} is not a number, as in Kubernetes beside a Service of that name: the service finds its port elsewhere; name the \
         variable that holds it by --env HOST,PORT, or set REDIS_URL"
    )]
    Port(String),
}

/// Finds the Redises that the `variables` of the environment name. `named` are those of `--env`, each the name of a variable that
/// holds a URL or `host:port`, or `HOST,PORT` with the names of two.
///
/// # Errors
/// [`VariableError`] for the first variable that names a Redis and cannot be used.
pub(super) fn find(
    variables: &dyn Fn(&str) -> Option<String>,
    named: &[String],
) -> Result<Vec<Redirect>, VariableError> {
    let value = |name: &str| variables(name).filter(|value| !value.is_empty());
    let mut found = Found::default();
    for name in named {
        match name.split_once(',') {
            Some((host, port)) => {
                let address = value(host).ok_or_else(|| VariableError::NotSet(host.to_owned()))?;
                found.pair((host, &address), (port, value(port).as_deref()))?;
            }
            None => {
                let text = value(name).ok_or_else(|| VariableError::NotSet(name.clone()))?;
                if !found.url(name, &text)? {
                    found.address(name, &text)?;
                }
            }
        }
    }
    for name in URLS.into_iter().filter(|name| !named.iter().any(|other| other == name)) {
        if let Some(text) = value(name) {
            found.url(name, &text)?;
        }
    }
    for (host, port) in PAIRS.into_iter().filter(|(host, port)| !named.contains(&format!("{host},{port}"))) {
        if let Some(address) = value(host) {
            found.pair((host, &address), (port, value(port).as_deref()))?;
        }
    }
    Ok(found.0)
}

/// The reason why [`find`] has found nothing.
pub(super) fn none(variables: &dyn Fn(&str) -> Option<String>) -> VariableError {
    match variables(URLS[0]) {
        Some(value) if !value.is_empty() => VariableError::NoUrl(URLS[0].to_owned()),
        _ => VariableError::None,
    }
}

/// The values of the redirected variables, in which `address` takes the place of the Redis.
pub(super) fn rewritten(redirect: &Redirect, address: &HostPort) -> Vec<(String, String)> {
    let mut values = Vec::new();
    for variable in &redirect.variables {
        match variable {
            Variable::Url { name, url } => values.push((name.clone(), url.at(address))),
            Variable::Address { name } => values.push((name.clone(), address.to_string())),
            Variable::Pair { host, port } => {
                values.extend([(host.clone(), address.host.clone()), (port.clone(), address.port.to_string())]);
            }
        }
    }
    values
}

impl Redirect {
    /// The Redis that `--upstream` names, in place of that of `REDIS_URL` and `REDIS_HOST`, and the names of the variables in
    /// `found` that name others. The service gets `REDIS_URL` even if it is not set.
    pub(super) fn of_option(upstream: &str, found: Vec<Self>) -> (Self, Vec<String>) {
        let (replaced, others): (Vec<_>, Vec<_>) = found.into_iter().partition(Self::is_replaced_by_option);
        let mut variables: Vec<_> = replaced.into_iter().flat_map(|redirect| redirect.variables).collect();
        if variables.is_empty() {
            let url = RedisUrl { scheme: "redis", user_info: None, rest: String::new(), upstream: upstream.to_owned() };
            variables.push(Variable::Url { name: URLS[0].to_owned(), url });
        }
        let others = others.iter().flat_map(Self::names).map(str::to_owned).collect();
        (Self { upstream: upstream.to_owned(), variables }, others)
    }

    fn is_replaced_by_option(&self) -> bool {
        self.names().any(|name| name == URLS[0] || name == PAIRS[0].0)
    }

    /// The names of the variables; of two, the host's.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| match variable {
            Variable::Url { name, .. } | Variable::Address { name } | Variable::Pair { host: name, .. } => {
                name.as_str()
            }
        })
    }
}

impl fmt::Debug for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// The Redises in the order in which they were found.
#[derive(Default)]
struct Found(Vec<Redirect>);

impl Found {
    /// Whether `text` is the URL of a Redis.
    fn url(&mut self, name: &str, text: &str) -> Result<bool, VariableError> {
        let Some(url) = RedisUrl::read(text) else { return Ok(false) };
        // Celery separates URLs like this. A password may hold a semicolon.
        if text.contains(";redis") {
            return Err(VariableError::Several(name.to_owned()));
        }
        self.add(name, url.upstream.clone(), Variable::Url { name: name.to_owned(), url })?;
        Ok(true)
    }

    fn address(&mut self, name: &str, text: &str) -> Result<(), VariableError> {
        if text.contains("://") {
            return Err(VariableError::NotRedis(name.to_owned()));
        }
        self.add(name, text.to_owned(), Variable::Address { name: name.to_owned() })
    }

    fn pair(&mut self, host: (&str, &str), port: (&str, Option<&str>)) -> Result<(), VariableError> {
        let number = port.1.unwrap_or("6379");
        if number.parse::<u16>().is_err() {
            return Err(VariableError::Port(port.0.to_owned()));
        }
        let address =
            if host.1.contains(':') { format!("[{}]:{number}", host.1) } else { format!("{}:{number}", host.1) };
        self.add(host.0, address, Variable::Pair { host: host.0.to_owned(), port: port.0.to_owned() })
    }

    /// Adds the variable to those that name the same Redis, with credentials or without.
    fn add(&mut self, name: &str, upstream: String, variable: Variable) -> Result<(), VariableError> {
        let address = upstream.rsplit_once('@').map_or(upstream.as_str(), |(_, address)| address);
        if address.contains(',') {
            return Err(VariableError::Several(name.to_owned()));
        }
        let read = |text: &str| UpstreamUrl::parse(text);
        let wanted =
            read(&upstream).map_err(|problem| VariableError::Address { variable: name.to_owned(), problem })?;
        let same = self.0.iter_mut().find(|other| read(&other.upstream).is_ok_and(|it| it.upstream == wanted.upstream));
        match same {
            Some(other) => {
                // What the proxy itself asks Redis needs the credentials, whichever variable holds them.
                if read(&other.upstream).is_ok_and(|it| it.password.is_none()) {
                    other.upstream = upstream;
                }
                other.variables.push(variable);
            }
            None => self.0.push(Redirect { upstream, variables: vec![variable] }),
        }
        Ok(())
    }
}

impl RedisUrl {
    /// Reads a URL whose scheme is one of a Redis; `None` for others.
    fn read(text: &str) -> Option<Self> {
        let (scheme, after) = text.split_once(':')?;
        if SOCKETS.contains(&scheme) {
            return Some(Self::of_socket(after.strip_prefix("//").unwrap_or(after)));
        }
        let after = after.strip_prefix("//")?;
        let (plain, is_tls) = SCHEMES
            .into_iter()
            .find(|(plain, tls)| scheme == *plain || scheme == *tls)
            .map(|(plain, _)| (plain, scheme != plain))?;
        let (user_info, after) = with_user_info(after);
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let (address, rest) = after.split_at(end);
        let rest = if is_tls { without_tls_options(rest) } else { rest.to_owned() };
        let at = user_info.map(|it| format!("{it}@")).unwrap_or_default();
        let upstream = format!("{}://{at}{address}", if is_tls { "rediss" } else { "redis" });
        Some(Self { scheme: plain, user_info: user_info.map(str::to_owned), rest, upstream })
    }

    /// `rest` is what stands behind the scheme: credentials, the path of the socket, and the client's options.
    fn of_socket(rest: &str) -> Self {
        let (user_info, rest) = with_user_info(rest);
        let (path, options) = rest.split_once('?').unwrap_or((rest, ""));
        let is_database = |option: &&str| option.starts_with("db=") || option.starts_with("virtual_host=");
        let database = options.split('&').find(is_database).and_then(|option| option.split_once('='));
        let others: Vec<&str> =
            options.split('&').filter(|option| !option.is_empty() && !is_database(option)).collect();
        let mut rest = database.map(|(_, number)| format!("/{}", number.trim_start_matches('/'))).unwrap_or_default();
        if !others.is_empty() {
            rest = format!("{rest}?{}", others.join("&"));
        }
        Self { scheme: "redis", user_info: user_info.map(str::to_owned), rest, upstream: format!("unix:{path}") }
    }

    /// The URL with `address` in place of that of Redis.
    fn at(&self, address: &HostPort) -> String {
        let at = self.user_info.as_ref().map(|it| format!("{it}@")).unwrap_or_default();
        format!("{}://{at}{address}{}", self.scheme, self.rest)
    }
}

/// Splits off the user and the password, which may hold any character.
fn with_user_info(text: &str) -> (Option<&str>, &str) {
    text.rsplit_once('@').map_or((None, text), |(user_info, rest)| (Some(user_info), rest))
}

/// Leaves out the options for TLS, which clients refuse in a URL without it.
fn without_tls_options(rest: &str) -> String {
    let Some((path, options)) = rest.split_once('?') else { return rest.to_owned() };
    let is_kept = |option: &&str| !["ssl", "tls"].iter().any(|word| option.starts_with(word));
    let kept: Vec<&str> = options.split('&').filter(is_kept).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> HostPort {
        HostPort { host: "127.0.0.1".into(), port: 7000 }
    }

    fn found(variables: &[(&str, &str)], named: &[&str]) -> Result<Vec<Redirect>, VariableError> {
        let value =
            |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        find(&value, &named.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    /// The upstream and the new values of the only Redis that `variables` name.
    fn only(variables: &[(&str, &str)], named: &[&str]) -> (String, Vec<(String, String)>) {
        let found = found(variables, named).unwrap();
        let [redirect] = &found[..] else { panic!("{} Redises", found.len()) };
        (redirect.upstream.clone(), rewritten(redirect, &address()))
    }

    #[test]
    fn a_url_keeps_all_but_its_address() {
        for (url, upstream, new) in [
            ("redis://cache", "redis://cache", "redis://127.0.0.1:7000"),
            ("redis://cache:6380/3", "redis://cache:6380", "redis://127.0.0.1:7000/3"),
            (
                "redis://me:p@ss@cache/0?timeout=5",
                "redis://me:p@ss@cache",
                "redis://me:p@ss@127.0.0.1:7000/0?timeout=5",
            ),
            ("redis://[::1]:6380", "redis://[::1]:6380", "redis://127.0.0.1:7000"),
            ("rediss://:s@c/1?ssl_cert_reqs=none&db=2", "rediss://:s@c", "redis://:s@127.0.0.1:7000/1?db=2"),
            ("rediss://c?ssl_cert_reqs=none", "rediss://c", "redis://127.0.0.1:7000"),
            ("valkey://cache/1", "redis://cache", "valkey://127.0.0.1:7000/1"),
            ("valkeys://cache", "rediss://cache", "valkey://127.0.0.1:7000"),
            ("unix:///run/redis.sock?db=4&timeout=1", "unix:/run/redis.sock", "redis://127.0.0.1:7000/4?timeout=1"),
            ("unix://me:pw@/run/redis.sock", "unix:/run/redis.sock", "redis://me:pw@127.0.0.1:7000"),
            ("redis+socket:///run/r.sock?virtual_host=/2", "unix:/run/r.sock", "redis://127.0.0.1:7000/2"),
        ] {
            let expected = (upstream.to_owned(), vec![("REDIS_URL".to_owned(), new.to_owned())]);
            assert_eq!(only(&[("REDIS_URL", url)], &[]), expected, "{url}");
        }
    }

    #[test]
    fn a_host_and_a_port_are_two_variables_or_one() {
        let pair = |port: &str| {
            vec![("REDIS_HOST".to_owned(), "127.0.0.1".to_owned()), ("REDIS_PORT".to_owned(), port.to_owned())]
        };
        assert_eq!(only(&[("REDIS_HOST", "cache")], &[]), ("cache:6379".into(), pair("7000")));
        assert_eq!(only(&[("REDIS_HOST", "::1"), ("REDIS_PORT", "6380")], &[]), ("[::1]:6380".into(), pair("7000")));
        let own = only(&[("CACHE", "cache:6380")], &["CACHE"]);
        assert_eq!(own, ("cache:6380".into(), vec![("CACHE".to_owned(), "127.0.0.1:7000".to_owned())]));
        let two = only(&[("H", "cache"), ("P", "1")], &["H,P"]);
        assert_eq!(two.1, [("H".to_owned(), "127.0.0.1".to_owned()), ("P".to_owned(), "7000".to_owned())]);
    }

    #[test]
    fn variables_that_name_one_redis_share_a_proxy_and_its_credentials() {
        let variables = [
            ("REDIS_HOST", "cache"),
            ("CELERY_BROKER_URL", "redis://:secret@cache:6379/1"),
            ("CELERY_RESULT_BACKEND", "redis://other/2"),
        ];
        let found = found(&variables, &[]).unwrap();
        let upstreams: Vec<&str> = found.iter().map(|it| it.upstream.as_str()).collect();
        assert_eq!(upstreams, ["redis://:secret@cache:6379", "redis://other"]);
        assert_eq!(found[0].names().collect::<Vec<_>>(), ["CELERY_BROKER_URL", "REDIS_HOST"]);
        assert!(!format!("{found:?}").contains("secret"));
    }

    #[test]
    fn the_option_takes_the_place_of_the_redis_that_the_service_names() {
        let variables = [("REDIS_URL", "redis://cache/3"), ("CELERY_BROKER_URL", "redis://other")];
        let (redirect, ignored) = Redirect::of_option("redis://real", found(&variables, &[]).unwrap());
        assert_eq!((redirect.upstream.as_str(), &ignored[..]), ("redis://real", &["CELERY_BROKER_URL".to_owned()][..]));
        let url = |url: &str| vec![("REDIS_URL".to_owned(), url.to_owned())];
        assert_eq!(rewritten(&redirect, &address()), url("redis://127.0.0.1:7000/3"));
        let (redirect, ignored) = Redirect::of_option("redis://real", Vec::new());
        assert_eq!((rewritten(&redirect, &address()), ignored), (url("redis://127.0.0.1:7000"), Vec::new()));
    }

    #[test]
    fn another_broker_is_left_alone_unless_it_was_named() {
        assert_eq!(found(&[("CELERY_BROKER_URL", "amqp://rabbit")], &[]), Ok(Vec::new()));
        let named = found(&[("CELERY_BROKER_URL", "amqp://rabbit")], &["CELERY_BROKER_URL"]);
        assert_eq!(named, Err(VariableError::NotRedis("CELERY_BROKER_URL".into())));
        assert_eq!(found(&[("X", "")], &["X"]), Err(VariableError::NotSet("X".into())));
        for several in ["redis://a:1,b:2", "redis://a:1/0;redis://me:pw@b:2/0"] {
            assert_eq!(
                found(&[("REDIS_URL", several)], &[]),
                Err(VariableError::Several("REDIS_URL".into())),
                "{several}"
            );
        }
        let odd = found(&[("REDIS_URL", "redis://a:port")], &[]);
        assert!(matches!(odd, Err(VariableError::Address { problem: AddressError::Port, .. })), "{odd:?}");
        let in_pod = found(&[("REDIS_HOST", "redis"), ("REDIS_PORT", "tcp://10.0.0.1:6379")], &[]);
        assert_eq!(in_pod, Err(VariableError::Port("REDIS_PORT".into())));
    }
}
