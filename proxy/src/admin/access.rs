//! Who may do more than look at how the process does.

use std::net::IpAddr;

use hyper::{HeaderMap, Method, header};

use crate::config::settings::Control;

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
    (controls && !local && control == Control::Local)
        .then_some("only over loopback (in Kubernetes: kubectl port-forward), unless --admin-control says all\n")
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
    fn a_web_page_may_change_nothing_even_from_here() {
        let headers = HeaderMap::from_iter([(header::ORIGIN, header::HeaderValue::from_static("http://localhost"))]);
        let ask = |method| refusal(Control::All, "127.0.0.1".parse().unwrap(), (method, "/mode"), &headers);
        assert!(ask(&Method::PUT).is_some() && ask(&Method::GET).is_none());
    }
}
