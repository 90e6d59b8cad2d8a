//! `GET /tap`: messages' envelopes as they pass, one JSON object a line.
//!
//! | field | |
//! |---|---|
//! | `time` | when the first byte of the publish, or the last one of the message, was read |
//! | `route`, `direction` | the service's name; `publish` or `deliver` |
//! | `channel`, `pattern`, `sharded` | the channel; the pattern of a `pmessage`; `true` for `SPUBLISH` and `smessage` |
//! | `bytes` | the payload's length as services see it |
//! | `receivers` | what Redis answered a publish |
//! | `took_us` | until Redis's reply, or until the message had been written to the subscriber; microseconds |
//! | `context` | `injected`, `skipped` (with `reason`, as in `redistributed_skipped_total`), `stripped` or `none` |
//! | `trace`, `span`, `parent`, `sampled` | ids, as far as the message has them |
//! | `error` | the first word of Redis's error, or why a message was not handed over |
//!
//! Messages on channels that begin with `__` are left out, because keyspace notifications have keys in their names, and so
//! are inline publishes and channels with names of more than 1 KiB.
//!
//! `{"missed":N}` stands for N messages for which the reader was too slow, `{"end":"…"}` says why the stream ends. Never a
//! byte of a payload: the records have none.

use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use hyper::body::{Body, Bytes, Frame};
use redistributed_core::glob::Glob;
use redistributed_core::printable::printable;
use redistributed_core::trace::{Change, Operation, SpanRecord};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

use crate::service::Services;
use crate::telemetry::quoted;
use crate::telemetry::tap::{Passed, Seen, Watcher};

/// The length up to which lines are sent together, in bytes, if they come faster than they are taken.
const CHUNK_LEN: usize = 16 * 1024;

/// The messages that are shown, and their number.
#[derive(Debug, Default)]
pub(super) struct Filter {
    channel: Option<Glob>,
    route: Option<String>,
    limit: Option<u64>,
}

impl Filter {
    /// Reads a request's query: `channel=GLOB`, `route=NAME` and `limit=N`, each at most once.
    ///
    /// # Errors
    /// The problem with the query, as a sentence.
    pub(super) fn parse(query: &str, services: &Services) -> Result<Self, String> {
        let mut filter = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = match &*name {
                "channel" => {
                    let glob =
                        Glob::new(&value).map_err(|error| format!("channel=`{}`: {error}", printable(&value)))?;
                    filter.channel.replace(glob).is_some()
                }
                "route" => {
                    let services = services.all();
                    let names: Vec<&str> = services.iter().map(|service| &**service.name()).collect();
                    if !names.contains(&&*value) {
                        return Err(format!(
                            "there is no route `{}`; there are: {}",
                            printable(&value),
                            printable(names.join(", "))
                        ));
                    }
                    filter.route.replace(value.into_owned()).is_some()
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| *limit > 0);
                    let limit = limit.ok_or_else(|| format!("limit=`{}` is no number above 0", printable(&value)))?;
                    filter.limit.replace(limit).is_some()
                }
                other => {
                    return Err(format!("`{}` is not known; there are channel, route and limit", printable(other)));
                }
            };
            if known {
                return Err(format!("`{name}` is there twice"));
            }
        }
        Ok(filter)
    }

    fn shows(&self, route: &str, record: &SpanRecord) -> bool {
        let (Operation::Publish { channel, .. } | Operation::Deliver { channel, .. }) = &record.operation else {
            return false;
        };
        self.route.as_ref().is_none_or(|wanted| wanted == route)
            && self.channel.as_ref().is_none_or(|glob| glob.matches(channel.as_bytes()))
    }
}

/// The body of the response, in chunks of whole lines.
#[derive(Debug)]
pub(super) struct Lines(mpsc::Receiver<Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// Begins to watch, until as many messages have been shown as the filter allows, the reader has gone, or `draining` is cancelled
/// because the process is about to stop.
pub(super) fn open(watcher: Watcher, filter: Filter, draining: CancellationToken) -> Lines {
    // One chunk waits while another one is being sent.
    let (chunks, body) = mpsc::channel(1);
    tokio::spawn(watch(watcher, filter, draining, chunks));
    Lines(body)
}

async fn watch(mut watcher: Watcher, filter: Filter, draining: CancellationToken, chunks: mpsc::Sender<Bytes>) {
    let (mut lines, mut left) = (String::new(), filter.limit.unwrap_or(u64::MAX));
    // A first line at once, so that a reader knows that what is published from now on will be seen.
    lines.push_str("{\"watching\":true}\n");
    while left > 0 {
        tokio::select! {
            biased;
            () = draining.cancelled() => {
                lines.push_str("{\"end\":\"the proxy is stopping\"}\n");
                left = 0;
            }
            // Only a chunk that has room is written to a reader that has room.
            permit = chunks.reserve(), if !lines.is_empty() => match permit {
                Ok(permit) => permit.send(std::mem::take(&mut lines).into()),
                Err(_) => return,
            },
            () = chunks.closed() => return,
            seen = watcher.next(), if lines.len() < CHUNK_LEN => match seen {
                Seen::Missed(messages) => {
                    // Writing to a string cannot fail.
                    let _ = writeln!(lines, "{{\"missed\":{messages}}}");
                }
                Seen::Message(passed) => {
                    let route = &*passed.service;
                    if filter.shows(route, &passed.record) {
                        line(&passed, route, &mut lines);
                        left -= 1;
                    }
                }
            },
        }
    }
    // The reader may have gone.
    let _ = chunks.send(lines.into()).await;
}

/// Writes the line of one message.
fn line(Passed { record, .. }: &Passed, route: &str, line: &mut String) {
    let time = humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_nanos(record.start.0));
    let (direction, channel, bytes, sharded) = match &record.operation {
        Operation::Publish { channel, body_size, sharded, .. } => ("publish", channel, body_size, sharded),
        Operation::Deliver { channel, body_size, sharded, .. } => ("deliver", channel, body_size, sharded),
        Operation::Item { .. } | Operation::Send(_) | Operation::Command { .. } | Operation::Request(_) => return,
    };
    let took = record.end.0.saturating_sub(record.start.0) / 1_000;
    // Writing to a string cannot fail.
    let _ = write!(line, "{{\"time\":\"{time}\",\"route\":{},\"direction\":\"{direction}\"", quoted(route));
    let _ = write!(line, ",\"channel\":{}", quoted(channel));
    if let Operation::Deliver { pattern: Some(pattern), .. } = &record.operation {
        let _ = write!(line, ",\"pattern\":{}", quoted(pattern));
    }
    if *sharded {
        line.push_str(",\"sharded\":true");
    }
    let _ = write!(line, ",\"bytes\":{bytes}");
    if let Operation::Publish { receivers: Some(receivers), .. } = &record.operation {
        let _ = write!(line, ",\"receivers\":{receivers}");
    }
    let _ = write!(line, ",\"took_us\":{took}");
    let _ = match record.handling.payload {
        Change::None => write!(line, ",\"context\":\"none\""),
        Change::Injected => write!(line, ",\"context\":\"injected\""),
        Change::Stripped => write!(line, ",\"context\":\"stripped\""),
        Change::Skipped(reason) => {
            let reason = reason.label_value().unwrap_or_default();
            write!(line, ",\"context\":\"skipped\",\"reason\":\"{reason}\"")
        }
    };
    let (context, traced) = (&record.context, !record.handling.untraced);
    if traced || record.parent.is_some() {
        let _ = write!(line, ",\"trace\":\"{}\"", context.trace_id);
    }
    if traced {
        let _ = write!(line, ",\"span\":\"{}\"", context.span_id);
    }
    if let Some(parent) = record.parent {
        let _ = write!(line, ",\"parent\":\"{parent}\"");
    }
    if let Some(link) = &record.link {
        let _ = write!(line, ",\"link\":\"{}\"", link.trace_id);
    }
    if traced {
        let _ = write!(line, ",\"sampled\":{}", context.flags.is_sampled());
    }
    if let Some(error) = &record.error {
        let _ = write!(line, ",\"error\":{}", quoted(error.as_str()));
    }
    line.push_str("}\n");
}
