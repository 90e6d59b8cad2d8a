//! What a sidecar tells of itself on its admin port.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// The metric of the channels whose subscribers are all known to be behind sidecars.
const PROVEN: &str = "redistributed_auto_channels{verdict=\"proxied\"} ";

/// Whether the sidecar with this admin port knows of at least so many channels that all of their subscribers are behind
/// sidecars. Only then does it add contexts to the first message.
pub(crate) async fn knows_subscribers(admin: SocketAddr, channels: usize) -> bool {
    let Ok(uri) = format!("http://{admin}/metrics").parse() else { return false };
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let Ok(answer) = client.get(uri).await else { return false };
    let Ok(body) = answer.into_body().collect().await else { return false };
    proven(&String::from_utf8_lossy(&body.to_bytes())) >= channels
}

fn proven(page: &str) -> usize {
    page.lines().find_map(|line| line.strip_prefix(PROVEN)?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channels_are_counted_that_the_page_names() {
        let page =
            "redistributed_auto_channels{verdict=\"nobody\"} 5\nredistributed_auto_channels{verdict=\"proxied\"} 2\n";
        assert_eq!((proven(page), proven("")), (2, 0));
    }
}
