//! Whom the page's listener answers.
//!
//! It listens on loopback unless it is told otherwise, but a browser on this machine also shows other people's pages. A page of
//! another site may not read answers, and must not be able to bring spans. A name that was made to lead to 127.0.0.1 (DNS
//! rebinding) would make its page one of this site. So the host that a request names must be known, and an origin must be that
//! host.

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method};

/// A header that a page of another site cannot send, unless this one allows it.
pub(crate) const OWN_HEADER: &str = "x-redistributed";

const HOST_UNKNOWN: &str =
    "this page is asked for as localhost or by its address; for another name, start the viewer with --allow-host NAME";
const OTHER_ORIGIN: &str = "a page of another site may not ask for anything here";
const NOT_BY_PAGE: &str = "this needs the header `X-Redistributed: 1`, which a page of another site cannot send";

/// Who may ask.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Names and addresses, in lower case and without brackets.
    hosts: Vec<String>,
}

impl Access {
    /// Allows this machine by its usual names, and `more` names and addresses.
    pub(crate) fn new(more: impl IntoIterator<Item = String>) -> Self {
        let usual = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let more = more.into_iter().map(|host| bare(&host).to_ascii_lowercase());
        Self { hosts: usual.into_iter().chain(more).collect() }
    }

    /// The reason why a request is refused, if it is.
    pub(crate) fn refusal(&self, method: &Method, headers: &HeaderMap, uri: &http::Uri) -> Option<&'static str> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next(), uri.authority()) {
            (Some(host), None, None) => authority(host),
            // With an absolute target, that counts (RFC 9112, section 3.2.2).
            (_, None, Some(authority)) => Some(authority.clone()),
            _ => None,
        };
        let Some(host) = host.filter(|host| self.is_known(host)) else { return Some(HOST_UNKNOWN) };
        if let Some(origin) = headers.get(ORIGIN) {
            let is_own =
                origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(scheme, site)| {
                    ["http", "https"].contains(&scheme) && site.eq_ignore_ascii_case(host.as_str())
                });
            if !is_own {
                return Some(OTHER_ORIGIN);
            }
        }
        let is_change = !matches!(*method, Method::GET | Method::HEAD);
        let is_own = headers.get(OWN_HEADER).is_some_and(|value| value == "1");
        (is_change && !is_own).then_some(NOT_BY_PAGE)
    }

    fn is_known(&self, host: &Authority) -> bool {
        // Somebody's name in front of the host is not shown by browsers, and is nobody's here.
        let is_plain = !host.as_str().contains('@');
        is_plain && self.hosts.iter().any(|known| bare(host.host()).eq_ignore_ascii_case(known))
    }
}

fn authority(host: &HeaderValue) -> Option<Authority> {
    host.to_str().ok()?.parse().ok()
}

/// An address of IPv6 without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether a request to a port for OTLP comes from a page in a browser, which may be anybody's.
pub(crate) fn is_by_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(method: Method, headers: &[(&'static str, &'static str)]) -> Option<&'static str> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        let access = Access::new(["Viewer.Internal".to_owned(), "[fd00::7]".to_owned()]);
        access.refusal(
            &method,
            &headers.collect::<Vec<_>>().into_iter().fold(HeaderMap::new(), |mut all, (name, value)| {
                all.append::<http::HeaderName>(name, value);
                all
            }),
            &"/api/graph".parse().unwrap(),
        )
    }

    #[test]
    fn only_known_hosts_are_answered() {
        for host in ["localhost", "LOCALHOST:16680", "127.0.0.1:1", "[::1]:16680", "viewer.internal:80", "[FD00::7]"] {
            assert_eq!(refusal(Method::GET, &[("host", host)]), None, "{host}");
        }
        for host in [
            "",
            "evil.example:16680",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.2",
            "me@localhost",
            "localhost:1:2",
            "[::1",
            "0.0.0.0",
        ] {
            assert_eq!(refusal(Method::GET, &[("host", host)]), Some(HOST_UNKNOWN), "{host}");
        }
        assert_eq!(refusal(Method::GET, &[]), Some(HOST_UNKNOWN));
        assert_eq!(refusal(Method::GET, &[("host", "localhost"), ("host", "localhost")]), Some(HOST_UNKNOWN));
    }

    #[test]
    fn an_absolute_target_counts_more_than_the_header() {
        let access = Access::new([]);
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        let refused = |uri: &str| access.refusal(&Method::GET, &headers, &uri.parse().unwrap());
        assert_eq!(refused("http://localhost:16680/"), None);
        assert_eq!(refused("http://evil.example/"), Some(HOST_UNKNOWN));
    }

    #[test]
    fn an_origin_must_be_the_host() {
        let ask = |origin| refusal(Method::GET, &[("host", "localhost:16680"), ("origin", origin)]);
        assert_eq!(ask("http://localhost:16680"), None);
        for origin in
            ["http://localhost", "http://localhost:1", "null", "", "http://evil.example", "file://localhost:16680"]
        {
            assert_eq!(ask(origin), Some(OTHER_ORIGIN), "{origin}");
        }
    }

    #[test]
    fn what_changes_something_needs_the_header() {
        let host = ("host", "localhost:16680");
        assert_eq!(refusal(Method::POST, &[host]), Some(NOT_BY_PAGE));
        assert_eq!(refusal(Method::POST, &[host, (OWN_HEADER, "0")]), Some(NOT_BY_PAGE));
        assert_eq!(refusal(Method::POST, &[host, (OWN_HEADER, "1")]), None);
        let foreign = [host, (OWN_HEADER, "1"), ("origin", "http://evil.example")];
        assert_eq!(refusal(Method::POST, &foreign), Some(OTHER_ORIGIN));
    }
}
