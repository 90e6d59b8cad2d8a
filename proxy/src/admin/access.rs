//! The refusal of requests that their sender may not make.

use std::net::IpAddr;

use hyper::http::uri::Authority;
use hyper::{HeaderMap, Method, header};

use crate::settings::Control;

/// Whether a request with this method would change something.
pub(super) fn is_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// The reason why a request is refused; `None` if it may be answered. `needs_control` says that it changes something or
/// watches messages.
pub(super) fn refusal(
    control: Control,
    peer: IpAddr,
    method: &Method,
    needs_control: bool,
    headers: &HeaderMap,
) -> Option<&'static str> {
    if is_change(method) && headers.contains_key(header::ORIGIN) {
        return Some("a web page may not change anything here\n");
    }
    // A listener on `::` sees IPv4 peers as mapped addresses.
    let local = peer.to_canonical().is_loopback();
    if needs_control && local && !names_an_address(headers) {
        return Some("ask for this by an address or as localhost: another name may be a web page's that leads here\n");
    }
    (needs_control && !local && control == Control::Local)
        .then_some("only over loopback (in Kubernetes: kubectl port-forward), unless --admin-control says all\n")
}

/// Whether the request names an address or `localhost` as its host. A page of a site whose name was made to lead to this
/// machine (DNS rebinding) names that site. Browsers always name the host.
fn names_an_address(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(control: Control, peer: &str, needs_control: bool) -> bool {
        let peer = peer.parse().unwrap();
        refusal(control, peer, &Method::GET, needs_control, &HeaderMap::new()).is_some()
    }

    #[test]
    fn from_elsewhere_one_may_look_but_not_touch_unless_the_operator_says_so() {
        for peer in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"] {
            assert!(refused(Control::Local, peer, true), "{peer}");
            assert!(!refused(Control::All, peer, true), "{peer}");
            assert!(!refused(Control::Local, peer, false), "{peer}");
        }
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(!refused(Control::Local, peer, true), "{peer}");
        }
    }

    #[test]
    fn a_name_that_was_made_to_lead_here_gets_no_further_than_looking() {
        let ask = |host: &'static str, needs_control| {
            let headers = HeaderMap::from_iter([(header::HOST, header::HeaderValue::from_static(host))]);
            refusal(Control::All, "127.0.0.1".parse().unwrap(), &Method::GET, needs_control, &headers).is_none()
        };
        for host in ["localhost:9127", "LOCALHOST", "127.0.0.1:9127", "[::1]:9127", "10.0.0.7"] {
            assert!(ask(host, true), "{host}");
        }
        for host in ["evil.example:9127", "localhost.evil.example", "", "127.0.0.1.evil.example:80"] {
            assert!(!ask(host, true) && ask(host, false), "{host}");
        }
    }

    #[test]
    fn a_web_page_may_change_nothing_even_from_here() {
        let headers = HeaderMap::from_iter([(header::ORIGIN, header::HeaderValue::from_static("http://localhost"))]);
        let ask = |method| refusal(Control::All, "127.0.0.1".parse().unwrap(), &method, is_change(&method), &headers);
        assert!(ask(Method::PUT).is_some() && ask(Method::GET).is_none());
    }
}
