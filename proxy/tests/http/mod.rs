//! The HTTP port in front of a service.
//!
//! | module | what it shows |
//! |---|---|
//! | [`bytes`] | a service sees what its client has sent, to the byte, and the client what the service has |
//! | [`http2`] | the same of HTTP/2, as far as its streams go |
//! | [`endings`] | either side may leave at any time, and the process stops without breaking what is under way |
//! | [`streams`] | long bodies stream through, at the pace of the one who reads |
//! | [`listeners`] | TLS, Unix sockets, and what the settings and `check` say |
//! | [`spans`] | what spans say of requests, and how contexts travel |

mod bytes;
mod endings;
mod http2;
mod listeners;
mod spans;
mod streams;

use tokio::net::TcpStream;

use crate::support::connect;
use crate::support::fake_redis::FakeRedis;
use crate::support::in_process::InProcess;

/// A Redis that nobody needs here: it is there so that there is a service.
const NO_REDIS: [&str; 4] = ["--listen", "127.0.0.1:0", "--upstream", "redis://127.0.0.1:1"];

/// A proxy in front of a service that the test plays itself.
struct Front {
    proxy: InProcess,
    service: FakeRedis,
}

impl Front {
    async fn start(more: &[&str]) -> Self {
        let service = FakeRedis::start().await;
        let port = format!("127.0.0.1:0,{}", address(&service));
        let arguments = [&NO_REDIS[..], &["--http", &port], more].concat();
        Self { proxy: InProcess::with_arguments(&arguments).await, service }
    }

    /// A connection: the client's end, and the service's.
    async fn connection(&self) -> (TcpStream, TcpStream) {
        let client = connect(self.proxy.http[0]).await;
        client.set_nodelay(true).unwrap();
        (client, self.service.accept().await)
    }
}

/// The address of a service.
fn address(service: &FakeRedis) -> String {
    service.url().trim_start_matches("redis://").to_owned()
}
