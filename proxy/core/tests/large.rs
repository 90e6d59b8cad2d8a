//! Payloads as large as Redis accepts stream through, and nothing of them is kept.

use std::sync::Arc;

use redistributed_core::policy::Mode;
use redistributed_core::service::Environment;
use redistributed_core::trace::UnixNanos;
use redistributed_core::trace::ids::CountingIds;
use redistributed_core::{Output, Policy, Session, Side};

/// The default of Redis's `proto-max-bulk-len`, in bytes.
const LARGEST: usize = 512 << 20;

fn injecting() -> Arc<Policy> {
    Arc::new(Policy { mode: Mode::Inject, ..Policy::default() })
}

fn environment<'a>(policy: &'a Arc<Policy>, ids: &'a mut CountingIds) -> Environment<'a> {
    Environment::new(UnixNanos(1), policy, ids)
}

/// Sends `head`, `LARGEST` bytes of payload and the end of a frame, and checks after each piece that all of it has left.
fn streams_through(session: &mut Session, from: Side, head: &[u8]) {
    let mut ids = CountingIds::default();
    let mut out = Output::default();
    let policy = injecting();
    let piece = vec![b'x'; 64 * 1024];
    let mut send = |bytes: &[u8]| {
        out.clear();
        session.receive(from, bytes, environment(&policy, &mut ids), &mut out);
        let mut chunks = out.chunks(bytes);
        assert_eq!(chunks.next().map(<[u8]>::as_ptr), Some(bytes.as_ptr()), "what leaves is the input itself");
        assert_eq!((chunks.next(), out.byte_len()), (None, bytes.len()));
    };
    send(head);
    for _ in 0..LARGEST / piece.len() {
        send(&piece);
    }
    send(b"\r\n");
}

#[test]
fn a_publish_of_512_mebibytes_streams_through() {
    let mut session = Session::new();
    streams_through(
        &mut session,
        Side::Client,
        format!("*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n${LARGEST}\r\n").as_bytes(),
    );
    streams_through(&mut session, Side::Client, format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${LARGEST}\r\n").as_bytes());
}

#[test]
fn a_message_and_a_reply_of_512_mebibytes_stream_through() {
    let mut session = Session::new();
    let subscribe = b"*2\r\n$9\r\nSUBSCRIBE\r\n$2\r\nch\r\n";
    let (mut ids, policy) = (CountingIds::default(), injecting());
    session.receive(Side::Client, subscribe, environment(&policy, &mut ids), &mut Output::default());
    let confirmation = b"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n";
    session.receive(Side::Server, confirmation, environment(&policy, &mut ids), &mut Output::default());
    let message = format!("*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n${LARGEST}\r\n");
    streams_through(&mut session, Side::Server, message.as_bytes());
    streams_through(&mut session, Side::Server, format!("${LARGEST}\r\n").as_bytes());
}
