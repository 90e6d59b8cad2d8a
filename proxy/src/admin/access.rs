//! Who may do more than look at how the process does.

use std::net::IpAddr;

use hyper::http::uri::Authority;
use hyper::{HeaderMap, Method, header};

use crate::settings::Control;

/// Why a request is not answered, if it is not.
pub(super) fn refusal(
    control: Control,
    peer: IpAddr,
    (method, path): (&Method, &str),
    headers: &HeaderMap,
) -> Option<&'static str> {
    let changes = !matches!(*method, Method::GET | Method::HEAD);
    if changes && headers.contains_key(header::ORIGIN) {
        return Some("a web page may not change anything here\n");
    }
    // A listener on `::` sees IPv4 peers as mapped addresses.
    let local = peer.to_canonical().is_loopback();
    let controls = changes || path == "/tap";
    if controls && local && !names_an_address(headers) {
        return Some("ask for this by an address or as localhost: another name may be a web page's that leads here\n");
    }
    (controls && !local && control == Control::Local)
        .then_some("only over loopback (in Kubernetes: kubectl port-forward), unless --admin-control says all\n")
}

/// Whether the request is for an address or for `localhost`. A page of a site whose name was made to lead to this machine
/// (DNS rebinding) asks for that name. Browsers always say what they ask for.
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

    fn refused(control: Control, peer: &str, method: &Method, path: &str) -> bool {
        refusal(control, peer.parse().unwrap(), (method, path), &HeaderMap::new()).is_some()
    }

    #[test]
    fn from_elsewhere_one_may_look_but_not_touch_unless_the_operator_says_so() {
        let touching =
            [(Method::PUT, "/mode"), (Method::DELETE, "/mode"), (Method::POST, "/reload"), (Method::GET, "/tap")];
        let looking = [(Method::GET, "/metrics"), (Method::GET, "/mode"), (Method::HEAD, "/readyz")];
        for peer in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"] {
            assert!(touching.iter().all(|(method, path)| refused(Control::Local, peer, method, path)), "{peer}");
            assert!(!touching.iter().any(|(method, path)| refused(Control::All, peer, method, path)), "{peer}");
            assert!(!looking.iter().any(|(method, path)| refused(Control::Local, peer, method, path)), "{peer}");
        }
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(!touching.iter().any(|(method, path)| refused(Control::Local, peer, method, path)), "{peer}");
        }
    }

    #[test]
    fn a_name_that_was_made_to_lead_here_gets_no_further_than_looking() {
        let ask = |host: &'static str, path| {
            let headers = HeaderMap::from_iter([(header::HOST, header::HeaderValue::from_static(host))]);
            refusal(Control::All, "127.0.0.1".parse().unwrap(), (&Method::GET, path), &headers).is_none()
        };
        for host in ["localhost:9127", "LOCALHOST", "127.0.0.1:9127", "[::1]:9127", "10.0.0.7"] {
            assert!(ask(host, "/tap"), "{host}");
        }
        for host in ["evil.example:9127", "localhost.evil.example", "", "127.0.0.1.evil.example:80"] {
            assert!(!ask(host, "/tap") && ask(host, "/metrics"), "{host}");
        }
    }

    #[test]
    fn a_web_page_may_change_nothing_even_from_here() {
        let headers = HeaderMap::from_iter([(header::ORIGIN, header::HeaderValue::from_static("http://localhost"))]);
        let ask = |method| refusal(Control::All, "127.0.0.1".parse().unwrap(), (method, "/mode"), &headers);
        assert!(ask(&Method::PUT).is_some() && ask(&Method::GET).is_none());
    }
}
