//! The refusal of requests that their sender may not make.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::http::uri::Authority;
use hyper::{HeaderMap, Method, header};

use crate::files::Rotating;
use crate::net::listener::ClientName;
use crate::settings::credentials::Secret;
use crate::settings::{AdminPort, Control, ListenAddress};

/// The refusal of a request, with what to tell its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It may not be made by this sender.
    Forbidden(&'static str),
    /// It lacks the token.
    Unauthorized(&'static str),
}

/// Who may ask for what.
#[derive(Debug)]
pub(super) struct Access {
    control: Control,
    /// The host name in `--admin`, which clients may use.
    name: Option<String>,
    /// The token in force of `--admin-token-file`.
    token: Option<Arc<Rotating<Secret>>>,
}

/// Whether a request with this method would change something.
pub(super) fn is_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

impl Access {
    /// The rules of `port`, with the token from its file.
    pub(super) fn new(port: &AdminPort, token: Option<Arc<Rotating<Secret>>>) -> Self {
        let name = port.address.as_ref().and_then(ListenAddress::host_port).map(|address| address.host.clone());
        Self { control: port.control, name, token }
    }

    /// The refusal of a request from `peer`; `None` if it may be answered. `needs_control` says that it changes something or
    /// watches messages.
    pub(super) fn refusal(&self, peer: &ClientName, needs_control: bool, headers: &HeaderMap) -> Option<Refusal> {
        // Only browsers send it: with whatever a page asks of another site, and with all that is not GET or HEAD.
        if headers.contains_key(header::ORIGIN) {
            return Some(Refusal::Forbidden("a web page may not ask for anything here\n"));
        }
        if !needs_control {
            return None;
        }
        if let Some(token) = &self.token {
            let sent = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
            return match sent {
                Some(sent) if is_same(sent, token.current().reveal().as_bytes()) => None,
                Some(_) => Some(Refusal::Unauthorized("this is not the token in the file of --admin-token-file\n")),
                None => {
                    let why = "this needs the token in the file of --admin-token-file: Authorization: Bearer TOKEN\n";
                    Some(Refusal::Unauthorized(why))
                }
            };
        }
        let ClientName::Address(address) = peer else {
            // The permissions of the socket's file have let it in, and no browser connects to one.
            return None;
        };
        if !self.is_named(headers) {
            let why = "ask for this by an address or as localhost: another name may be a web page's that leads here\n";
            return Some(Refusal::Forbidden(why));
        }
        // A listener on `::` sees IPv4 peers as mapped addresses.
        let is_local = address.ip().to_canonical().is_loopback();
        (!is_local && self.control == Control::Local).then_some(Refusal::Forbidden(
            "only over loopback (in Kubernetes: kubectl port-forward), unless --admin-control says all\n",
        ))
    }

    /// Whether the request names an address, `localhost` or the name in `--admin` as its host. A page of a site whose name was
    /// made to lead here (DNS rebinding) names that site. Browsers always name the host.
    fn is_named(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(header::HOST) else { return true };
        let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        authority.is_some_and(|authority| {
            let host = authority.host().trim_start_matches('[').trim_end_matches(']');
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<IpAddr>().is_ok()
                || self.name.as_ref().is_some_and(|name| host.eq_ignore_ascii_case(name))
        })
    }
}

/// The token in `Authorization: Bearer TOKEN` (RFC 6750, section 2.1). The scheme may be in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Compares in a time that does not tell where the two differ.
fn is_same(sent: &[u8], token: &[u8]) -> bool {
    sent.len() == token.len() && sent.iter().zip(token).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(control: Control) -> Access {
        Access { control, name: Some("proxy.internal".to_owned()), token: None }
    }

    fn from(peer: &str) -> ClientName {
        ClientName::Address((peer.parse::<IpAddr>().unwrap(), 7).into())
    }

    fn with(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, header::HeaderValue::from_static(value))])
    }

    #[test]
    fn from_elsewhere_one_may_look_but_not_touch_unless_the_operator_says_so() {
        let refused = |control, peer: &str, needs_control| {
            access(control).refusal(&from(peer), needs_control, &HeaderMap::new()).is_some()
        };
        for peer in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"] {
            assert!(refused(Control::Local, peer, true), "{peer}");
            assert!(!refused(Control::All, peer, true), "{peer}");
            assert!(!refused(Control::Local, peer, false), "{peer}");
        }
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(!refused(Control::Local, peer, true), "{peer}");
        }
        assert_eq!(access(Control::Local).refusal(&ClientName::Process(None), true, &HeaderMap::new()), None);
    }

    #[test]
    fn a_name_that_was_made_to_lead_here_gets_no_further_than_looking_from_wherever() {
        for peer in ["127.0.0.1", "10.1.2.3"] {
            let ask = |host: &'static str, needs_control| {
                access(Control::All).refusal(&from(peer), needs_control, &with(header::HOST, host)).is_none()
            };
            for host in ["localhost:9127", "LOCALHOST", "127.0.0.1:9127", "[::1]:9127", "10.0.0.7", "proxy.internal:1"]
            {
                assert!(ask(host, true), "{host} from {peer}");
            }
            for host in ["evil.example:9127", "localhost.evil.example", "", "127.0.0.1.evil.example:80"] {
                assert!(!ask(host, true) && ask(host, false), "{host} from {peer}");
            }
        }
    }

    #[test]
    fn a_web_page_may_ask_for_nothing_even_from_here() {
        let headers = with(header::ORIGIN, "http://localhost");
        for peer in [from("127.0.0.1"), ClientName::Process(Some(1))] {
            for needs_control in [true, false] {
                assert!(access(Control::All).refusal(&peer, needs_control, &headers).is_some());
            }
        }
    }

    #[test]
    fn with_a_token_nothing_else_counts() {
        let token = Rotating::new(Vec::new(), || Ok(Secret::from("s3cret"))).unwrap();
        let access = Access { token: Some(Arc::new(token)), ..access(Control::Local) };
        let ask = |value: &'static str| {
            let headers = with(header::AUTHORIZATION, value);
            [from("10.1.2.3"), from("127.0.0.1"), ClientName::Process(None)]
                .map(|peer| access.refusal(&peer, true, &headers).is_none())
        };
        assert_eq!(ask("Bearer s3cret"), [true; 3]);
        assert_eq!(ask("bearer  s3cret "), [true; 3]);
        for wrong in ["Bearer s3cre", "Bearer s3cret1", "Bearer t3cret", "Basic s3cret", "s3cret", "Bearer ", ""] {
            assert_eq!(ask(wrong), [false; 3], "{wrong}");
        }
        let nothing = HeaderMap::new();
        assert!(matches!(access.refusal(&from("127.0.0.1"), true, &nothing), Some(Refusal::Unauthorized(_))));
        assert_eq!(access.refusal(&from("10.1.2.3"), false, &nothing), None);
    }
}
