//! The operator's decisions about requests.

use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::choice;
use crate::glob::Glob;
use crate::naming;

/// The default of [`HttpPolicy::head_limit`], in bytes.
pub const DEFAULT_HEAD_LIMIT: usize = 64 * 1024;

/// The longest path, in bytes, from which a route is made.
const MAX_ROUTE: usize = 256;

/// The settings of a service's HTTP ports.
#[derive(Clone, Debug)]
pub struct HttpPolicy {
    /// The longest head of a request or a response, in bytes, that is read. A longer one is passed on unread, with all that
    /// follows.
    pub head_limit: usize,
    /// The routes of paths. The first glob that matches a path decides, and `None` says that the path stands for itself.
    pub routes: Vec<(Glob, Option<Arc<str>>)>,
    /// Whether spans show the query (`url.query`).
    pub shows_query: bool,
    /// What the client is told of the span.
    pub answer: Answer,
}

choice! {
    /// What the client is told of a request's span (`--http-answer`).
    pub enum Answer, default None {
        /// The client is told nothing: a response passes as it came.
        None = "none",
        /// The response gets the header `traceresponse` (W3C Trace Context Level 2, draft).
        TraceResponse = "traceresponse",
        /// The response gets a header `Server-Timing`, whose metric `traceparent` browsers can read.
        ServerTiming = "server-timing",
        /// The response gets both headers.
        Both = "both",
    }
}

/// The route of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The text of `http.route`.
    pub text: Arc<str>,
    /// Whether it was made of the path by the rules for ids. Then it is no route if the service knows no such path.
    pub is_guessed: bool,
}

impl Default for HttpPolicy {
    fn default() -> Self {
        Self { head_limit: DEFAULT_HEAD_LIMIT, routes: Vec::new(), shows_query: false, answer: Answer::None }
    }
}

impl HttpPolicy {
    /// The route of `path`: the operator's, otherwise the path with a placeholder for each id in it. `None` if the path is too long
    /// to be one.
    pub fn route(&self, path: &str) -> Option<Route> {
        match self.routes.iter().find(|(glob, _)| glob.matches(path.as_bytes())) {
            Some((_, Some(route))) => Some(Route { text: Arc::clone(route), is_guessed: false }),
            Some((_, None)) => Some(Route { text: path.into(), is_guessed: false }),
            None if path.len() > MAX_ROUTE || !path.starts_with('/') => None,
            None => {
                let text = naming::path_without_ids(path).map_or(Cow::Borrowed(path), Cow::Owned);
                Some(Route { text: (&*text).into(), is_guessed: true })
            }
        }
    }
}

impl Answer {
    /// Whether the client gets a `traceresponse`.
    pub fn has_trace_response(self) -> bool {
        matches!(self, Self::TraceResponse | Self::Both)
    }

    /// Whether the client gets a `Server-Timing`.
    pub fn has_server_timing(self) -> bool {
        matches!(self, Self::ServerTiming | Self::Both)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn the_route_is_the_operators_then_the_path_without_ids() {
        let rule = |glob: &str, route: Option<&str>| (Glob::new(glob).unwrap(), route.map(Arc::from));
        let routes = vec![rule("/users/*", Some("/users/{name}")), rule("/build/*", None)];
        let policy = HttpPolicy { routes, ..HttpPolicy::default() };
        for (path, route) in [
            ("/users/alice", Some(("/users/{name}", false))),
            ("/build/12345678", Some(("/build/12345678", false))),
            ("/reports/7", Some(("/reports/{id}", true))),
            ("/reports", Some(("/reports", true))),
            ("/", Some(("/", true))),
            ("*", None),
        ] {
            let expected = route.map(|(text, is_guessed)| Route { text: text.into(), is_guessed });
            assert_eq!(policy.route(path), expected, "{path}");
        }
        assert_eq!(policy.route(&alloc::format!("/{}", "a".repeat(256))), None);
    }
}
