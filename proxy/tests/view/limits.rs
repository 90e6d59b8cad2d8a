//! Start, end, and what the viewer may take.

use rustix::process::Signal;

use crate::support::spawn::{as_typed, run};
use crate::view::setup::{PORTS, Viewer};

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_also_while_a_page_listens() {
    for signal in [Signal::INT, Signal::TERM] {
        let viewer = Viewer::start(&[]);
        let mut events = viewer.page.events().await;
        events.next().await;
        viewer.process.signal(signal);
        let ended = tokio::task::spawn_blocking(move || viewer.process.ended()).await.unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
}

#[test]
fn what_is_wrong_is_said_before_anything_is_served() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let no_trace = folder.path().join("no-trace.json");
    std::fs::write(&no_trace, "{}").unwrap();
    for (more, code, part) in [
        (&["--listen", &*taken][..], 3, "--listen `127.0.0.1:"),
        (&["--allow-host", ""], 2, "--allow-host <HOST>"),
        (&["--otlp-http", &taken], 3, "something else listens there"),
        (&["--otlp-grpc", &taken], 3, "choose another port"),
        (&["--memory", "1KiB"], 2, "less than 1MiB"),
        (&["/no/such/file.json"], 2, "/no/such/file.json: No such file"),
        (&[no_trace.to_str().unwrap()], 2, "neither `resourceSpans`"),
        (&["--listen", "unix:/tmp/x"], 2, "TCP without TLS"),
    ] {
        let given = |option: &str| more.first() == Some(&option);
        let ports = PORTS[1..].chunks(2).filter(|pair| !given(pair[0])).flatten().copied();
        let arguments: Vec<&str> = ["view"].into_iter().chain(ports).chain(more.iter().copied()).collect();
        let ended = run(as_typed(&arguments));
        assert!(ended.code == Some(code) && ended.stderr.contains(part), "{more:?}: {:?} {}", ended.code, ended.stderr);
    }
}

/// The memory of the process, which has to be bound to what is stated and not only counted.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_under_six_times_as_many_spans() {
    use prost::Message;

    use crate::view::setup::{attribute, request, span};

    const MIB: usize = 1 << 20;
    let viewer = Viewer::start(&["--memory", "8MiB"]);
    let page = viewer.page;
    let before = crate::support::memory::resident(viewer.process.pid());
    let mut sent = 0;
    let mut trace = 0;
    while sent < 48 * MIB {
        let spans = (0..2_000).map(|_| {
            trace += 1;
            let padding = attribute("padding", &format!("{trace:>400}"));
            let channel = attribute("messaging.destination.name", &format!("channel-{}", trace % 5_000));
            let plain = span(trace / 3 + 1, trace as u64, "publish");
            opentelemetry_proto::tonic::trace::v1::Span { kind: 4, attributes: vec![padding, channel], ..plain }
        });
        let export = request("api", spans.collect()).encode_to_vec();
        sent += export.len();
        assert_eq!(viewer.export("application/x-protobuf", "identity", &export).await.status, 200);
    }
    let kept = &page.json("/api/transactions?limit=1").await["kept"];
    let of = |name: &str| kept[name].as_u64().unwrap();
    assert!(of("bytes") <= of("limit_bytes") && of("limit_bytes") == 8 * MIB as u64, "{kept}");
    assert!(of("forgotten_transactions") > 10_000 && of("refused_spans") == 0, "{kept}");
    let grown = crate::support::memory::resident(viewer.process.pid()) - before;
    // Besides the spans, the process holds a request and an answer.
    assert!(grown < (8 + 16) * MIB, "{grown} bytes more for {kept}");
}
