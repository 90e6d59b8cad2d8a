//! The receiver as a program, for scripts: prints where it listens, takes spans until SIGTERM or Ctrl-C, and then
//! prints what has come. Everything it prints is `name value`, one a line:
//!
//! ```text
//! http http://127.0.0.1:40001
//! grpc http://127.0.0.1:40002
//! spans 12
//! producer 4
//! consumer 8
//! client 0
//! ```

use std::io::{self, Write};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use otlp_receiver::{ReceivedSpan, Receiver};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    // Listened for before the endpoints are known, so that nobody can ask for the end too early.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let receiver = Receiver::start().await?;
    let mut out = io::stdout().lock();
    writeln!(out, "http {}\ngrpc {}", receiver.http_endpoint(), receiver.grpc_endpoint())?;
    out.flush()?;

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }

    let spans = receiver.spans();
    writeln!(out, "spans {}", spans.len())?;
    writeln!(out, "producer {}", of_kind(&spans, SpanKind::Producer))?;
    writeln!(out, "consumer {}", of_kind(&spans, SpanKind::Consumer))?;
    writeln!(out, "client {}", of_kind(&spans, SpanKind::Client))?;
    out.flush()
}

fn of_kind(spans: &[ReceivedSpan], kind: SpanKind) -> usize {
    spans.iter().filter(|received| received.span.kind() == kind).count()
}
