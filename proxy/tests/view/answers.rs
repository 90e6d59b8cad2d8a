//! What the page asks for, and who may ask.

use prost::Message;
use serde_json::json;

use crate::view::setup::{Page, Viewer, ask, request, span};

const PROTOBUF: &str = "application/x-protobuf";

async fn export(viewer: &Viewer, service: &str, spans: Vec<opentelemetry_proto::tonic::trace::v1::Span>) {
    let answer = viewer.export(PROTOBUF, "identity", &request(service, spans).encode_to_vec()).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
}

fn below(
    parent: u64,
    mut span: opentelemetry_proto::tonic::trace::v1::Span,
) -> opentelemetry_proto::tonic::trace::v1::Span {
    span.parent_span_id = parent.to_be_bytes().to_vec();
    span
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_one_document_that_may_run_only_itself() {
    let viewer = Viewer::start(&[]);
    let answer = viewer.page.get("/").await;
    assert_eq!(answer.status, 200);
    for header in [
        "content-type: text/html; charset=utf-8",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "content-security-policy: default-src 'none'; script-src 'sha256-",
    ] {
        assert!(answer.head.contains(header), "{header} is not in\n{}", answer.head);
    }
    assert!(answer.text().starts_with("<!doctype html>") || answer.text().starts_with("<!DOCTYPE html>"));
    let healthy = viewer.page.get("/healthz").await;
    assert_eq!((healthy.status, healthy.text()), (200, "ok\n"));
    for (path, status) in [
        ("/nothing", 404),
        ("/api/transactions/zz", 400),
        ("/api/transactions/1", 404),
        ("/api/transactions/1/other.json", 404),
        ("/api/transactions?before=x", 400),
        ("/api/open", 405),
    ] {
        let answer = viewer.page.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.json()["error"].as_str().is_some_and(|why| why.len() > 10), "{path}: {}", answer.text());
    }
    assert_eq!(ask(viewer.page.0, "DELETE /api/graph", "X-Redistributed: 1\r\n", b"").await.status, 405);
    assert!(viewer.page.get("/api/graph").await.head.contains("content-type: application/json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_gets_nothing_and_brings_nothing() {
    let viewer = Viewer::start(&["--allow-host", "viewer.internal"]);
    let status =
        async |request: &str, headers: &str, body: &[u8]| ask(viewer.page.0, request, headers, body).await.status;
    let port = viewer.page.0.port();
    assert_eq!(status("GET /api/graph", "Host: viewer.internal\r\n", b"").await, 200);
    assert_eq!(status("GET /api/graph", &format!("Host: localhost:{port}\r\n"), b"").await, 200);
    assert_eq!(status("GET /", "Host: evil.example\r\n", b"").await, 403);
    assert_eq!(status("GET /api/graph", "Origin: http://evil.example\r\n", b"").await, 403);
    assert_eq!(status("POST /api/open", "", b"{}").await, 403);
    let own = format!("Origin: http://127.0.0.1:{port}\r\nX-Redistributed: 1\r\n");
    assert_eq!(status("POST /api/open", &own, b"{}").await, 400, "it may, but this is no trace");
    assert_eq!(status("POST /api/open", "Origin: null\r\nX-Redistributed: 1\r\n", b"{}").await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_as_they_happen() {
    let viewer = Viewer::start(&[]);
    let mut events = viewer.page.events().await;
    assert_eq!(events.next().await["transactions"], json!([]));
    export(&viewer, "api", vec![span(1, 1, "GET /")]).await;
    let event = events.next().await;
    let first = &event["transactions"][0];
    assert_eq!((&first["name"], &first["spans"], &first["missing_root"]), (&json!("GET /"), &json!(1), &json!(false)));
    export(&viewer, "worker", vec![below(1, span(1, 2, "later"))]).await;
    let event = events.next().await;
    let again = &event["transactions"][0];
    assert_eq!((&again["trace"], &again["spans"]), (&first["trace"], &json!(2)));
    assert!(again["updated"].as_u64() > first["updated"].as_u64());
    let many = (100..400).map(|trace| span(trace, 1, "one of many")).collect();
    export(&viewer, "api", many).await;
    let event = events.next().await;
    assert_eq!((event["transactions"].as_array().unwrap().len(), &event["more"]), (200, &json!(true)));
    assert_eq!(event["kept"]["transactions"], 301);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_trace_is_opened_by_another_viewer_from_either_form() {
    let viewer = Viewer::start(&[]);
    export(&viewer, "api", vec![span(9, 1, "POST /reports")]).await;
    export(&viewer, "worker", vec![below(1, span(9, 2, "process reports"))]).await;
    let trace = format!("{:032x}", 9);
    let whole = viewer.page.json(&format!("/api/transactions/{trace}")).await;
    for form in ["otlp.json", "jaeger.json"] {
        let saved = viewer.page.get(&format!("/api/transactions/{trace}/{form}")).await;
        assert!(
            saved.head.contains(&format!("content-disposition: attachment; filename=\"trace-{trace}.{form}\"")),
            "{}",
            saved.head
        );
        let other = Viewer::start(&[]);
        let opened = other.page.open(&saved.body).await;
        assert_eq!(
            (opened.status, &opened.json()["transactions"][0]["trace"]),
            (200, &json!(trace)),
            "{}",
            opened.text()
        );
        assert_same(whole.clone(), other.page, &trace, form).await;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("saved.json");
        std::fs::write(&file, &saved.body).unwrap();
        let from_start = Viewer::start(&[file.to_str().unwrap()]);
        assert_same(whole.clone(), from_start.page, &trace, form).await;
    }
}

/// `page` shows the same, but for times, which Jaeger's form has in microseconds.
async fn assert_same(mut whole: serde_json::Value, page: Page, trace: &str, form: &str) {
    let mut shown = page.json(&format!("/api/transactions/{trace}")).await;
    for one in [&mut whole, &mut shown] {
        let spans = one["spans"].as_array_mut().unwrap();
        spans.iter_mut().for_each(|span| *span = json!([span["id"], span["parent"], span["name"], span["resource"]]));
        let summary = one["summary"].as_object_mut().unwrap();
        for of_time in ["updated", "start", "duration_us"] {
            summary.remove(of_time);
        }
    }
    assert_eq!(shown, whole, "{form}");
}
