//! The requests that the admin port answers, each defined once: routing, the index page and `405`'s `Allow` follow from here, and
//! a test holds `proxy/docs/admin.md` against the index page.

use std::fmt::Write;

use hyper::Method;

use super::slots::Kind;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Index,
    Health,
    Ready,
    Metrics,
    Tap,
    Config,
    Mode,
    SwitchMode,
    RestoreMode,
    Reload,
}

/// The clients that a request is answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    /// All that reach the port.
    Everybody,
    /// Those that `--admin-control` or `--admin-token-file` allows to change something or to watch messages.
    Control,
}

/// A request that is answered.
#[derive(Debug)]
pub(super) struct Request {
    method: Method,
    path: &'static str,
    pub(super) action: Action,
    pub(super) permission: Permission,
    /// The line of the index page.
    help: &'static str,
}

/// What is known of a method and a path.
#[derive(Debug)]
pub(super) enum Found {
    /// They are a request that is answered.
    Request(&'static Request),
    /// The path takes only these methods, which are listed as in an `Allow` header.
    OtherMethods(String),
    /// There is no such path.
    NoSuchPath,
}

const INDEX: Request = request(Method::GET, "/", Action::Index, Permission::Everybody, "");

/// The requests in the order of the index page, which does not list itself.
static REQUESTS: [Request; 10] = [
    INDEX,
    request(Method::GET, "/healthz", Action::Health, Permission::Everybody, "200: the process runs"),
    request(Method::GET, "/readyz", Action::Ready, Permission::Everybody, "200 if every Redis answers PING, else 503"),
    request(
        Method::GET,
        "/metrics",
        Action::Metrics,
        Permission::Everybody,
        "what is counted and timed, for Prometheus",
    ),
    request(
        Method::GET,
        "/tap",
        Action::Tap,
        Permission::Control,
        "messages' envelopes as they pass, a JSON object a line; ?channel=GLOB&route=NAME&limit=N",
    ),
    request(
        Method::GET,
        "/config",
        Action::Config,
        Permission::Everybody,
        "the settings in force and where each came from, without secrets",
    ),
    request(Method::GET, "/mode", Action::Mode, Permission::Everybody, "the modes in force"),
    request(
        Method::PUT,
        "/mode",
        Action::SwitchMode,
        Permission::Control,
        "puts modes in force for all connections: 'strip', or 'inject orders.*=strip'",
    ),
    request(Method::DELETE, "/mode", Action::RestoreMode, Permission::Control, "goes back to what the settings say"),
    request(
        Method::POST,
        "/reload",
        Action::Reload,
        Permission::Control,
        "reads the configuration file, certificates, keys and secrets again, as SIGHUP does",
    ),
];

const fn request(
    method: Method,
    path: &'static str,
    action: Action,
    permission: Permission,
    help: &'static str,
) -> Request {
    Request { method, path, action, permission, help }
}

impl Request {
    /// The kind of its answer.
    pub(super) fn kind(&self) -> Kind {
        match self.action {
            Action::Health => Kind::Immediate,
            Action::Ready => Kind::Readiness,
            Action::Tap => Kind::Endless,
            _ => Kind::Page,
        }
    }
}

/// Looks a request up. `HEAD` is answered where `GET` is, except for the tap, which has no end.
pub(super) fn find(method: &Method, path: &str) -> Found {
    let of_path = || REQUESTS.iter().filter(|request| request.path == path);
    let is_it = |request: &&Request| {
        request.method == *method
            || *method == Method::HEAD && request.method == Method::GET && request.action != Action::Tap
    };
    if let Some(request) = of_path().find(is_it) {
        return Found::Request(request);
    }
    let methods: Vec<&str> = of_path().map(|request| request.method.as_str()).collect();
    if methods.is_empty() { Found::NoSuchPath } else { Found::OtherMethods(methods.join(", ")) }
}

/// The index page: a line for each request.
pub(super) fn index() -> String {
    let mut page = String::new();
    for Request { method, path, help, .. } in REQUESTS.iter().filter(|request| request.action != Action::Index) {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{:<6} {path:<8}  {help}", method.as_str());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(method: &Method, path: &str) -> Option<Action> {
        match find(method, path) {
            Found::Request(request) => Some(request.action),
            Found::OtherMethods(_) | Found::NoSuchPath => None,
        }
    }

    #[test]
    fn head_is_answered_where_get_is_unless_the_answer_has_no_end() {
        assert_eq!(action(&Method::HEAD, "/metrics"), Some(Action::Metrics));
        assert_eq!(action(&Method::HEAD, "/tap"), None);
        assert_eq!(action(&Method::HEAD, "/reload"), None);
    }

    #[test]
    fn a_path_names_the_methods_that_it_takes() {
        let allowed = |path| match find(&Method::PATCH, path) {
            Found::OtherMethods(methods) => methods,
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!([allowed("/mode"), allowed("/tap"), allowed("/reload")], ["GET, PUT, DELETE", "GET", "POST"]);
        assert!(matches!(find(&Method::GET, "/metrics/"), Found::NoSuchPath));
    }

    #[test]
    fn whatever_changes_something_needs_control() {
        for request in REQUESTS.iter().filter(|request| request.method != Method::GET) {
            assert_eq!(request.permission, Permission::Control, "{request:?}");
        }
    }
}
