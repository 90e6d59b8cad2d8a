//! The answer: what was found, for people and for programs.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use clap::ValueEnum;
use clap::builder::PossibleValue;
use redistributed_core::carrier::{Carrier, StreamCarrier};
use redistributed_core::choice::Choice;
use redistributed_core::printable::{printable, printable_bytes, printable_json};
use redistributed_core::trace::Context;
use serde_json::{Map, Value, json};

use super::args::InputFormat;
use super::interpretation::{Content, Interpretation, Payload};
use super::payload_context::PayloadContext;
use super::resp::Truncated;
use crate::report_format::ReportFormat;

/// The report, which ends with a line break. It contains no payload and no value of baggage.
pub(super) fn report(interpretation: &Interpretation, format: ReportFormat) -> String {
    let payloads = interpretation.payloads.iter();
    match format {
        ReportFormat::Text => {
            let blocks = payloads.map(|payload| text(payload, interpretation.content));
            header(interpretation).into_iter().chain(blocks).collect::<Vec<_>>().join("\n")
        }
        ReportFormat::Json => payloads
            .map(|payload| format!("{}\n", printable_json(&object(payload, interpretation).to_string())))
            .collect(),
    }
}

fn add_line(page: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "{name:<12} {}", printable(value));
}

/// How the input was read, unless it was taken as one payload just as it is.
fn header(interpretation: &Interpretation) -> Option<String> {
    let encoding = match interpretation.format {
        InputFormat::Hex => "hexadecimal digits",
        InputFormat::Base64 => "Base64",
        InputFormat::Escaped => "as redis-cli shows strings",
        InputFormat::Auto | InputFormat::Raw | InputFormat::Resp | InputFormat::Capture => "",
    };
    let (all, contexts) = (interpretation.payloads.len(), interpretation.contexts());
    let messages = interpretation.payloads.iter().filter(|payload| payload.message.is_some()).count();
    let is_entry = |payload: &&Payload| matches!(payload.context, PayloadContext::Fields(_));
    let (mut found, mut others) = (format!("messages {messages}"), all - messages);
    let entries = interpretation.payloads.iter().filter(is_entry).count();
    if entries > 0 {
        let _ = write!(found, ", entries of streams {entries}");
        others -= entries;
    }
    let counts = format!("{found}, other strings shown {others}; with a context {contexts}");
    let value = match (interpretation.content, encoding) {
        (Content::Payload, "") => return None,
        (Content::Payload, encoding) => encoding.to_owned(),
        (Content::Quoted, encoding) => format!("{encoding}; {counts}"),
        (Content::Resp, "") => format!("RESP; {counts}"),
        (Content::Resp, encoding) => format!("{encoding}, with RESP in it; {counts}"),
        (Content::Capture, _) => format!("a capture; trailers found {all}"),
    };
    let mut page = String::new();
    add_line(&mut page, "input", &value);
    if let Some(Truncated { present, expected }) = interpretation.truncated {
        let note = format!("the input ends within a string: {present} of its {expected} bytes are there");
        add_line(&mut page, "note", &note);
    }
    Some(page)
}

fn text(payload: &Payload, content: Content) -> String {
    let Payload { context: found, trimmed, .. } = payload;
    let len = payload.bytes.len();
    let mut page = String::new();
    let mut line = |name: &str, value: String| add_line(&mut page, name, &value);
    if let Some(message) = &payload.message {
        line("message", format!("{} {}", message.kind, printable_bytes(&message.channel)));
    }
    if let (Some(offset), Content::Resp | Content::Quoted | Content::Capture) = (payload.offset, content) {
        line("at", format!("byte {offset} of the input"));
    }
    match found {
        PayloadContext::None => line("carries", "no trace context".to_owned()),
        PayloadContext::Added(added) => {
            let description = match added.form {
                Carrier::Trailer => "a trailer, version 1, which a proxy added behind the payload",
                Carrier::Json => "traceparent and tracestate, which a proxy added to the JSON object",
                Carrier::OpenCensus => "a context in OpenCensus's binary form, which a proxy added in front",
                Carrier::Beside => "a context that is told beside the message",
            };
            line("carries", description.to_owned());
            if let Some(context) = &added.context {
                describe(context, &mut line);
            }
            if added.has_mac {
                line("MAC", MAC.to_owned());
            }
            let (start, end) = (added.range.start, added.range.end);
            if content == Content::Capture {
                line("added", format!("{} bytes; where its payload begins cannot be told", end - start));
            } else {
                line("added", format!("{} bytes, from byte {start} up to byte {end}", end - start));
                line("payload", format!("{} bytes without it", len - (end - start)));
            }
            if added.form != Carrier::Trailer {
                line("note", format!("proxies remove it only on channels whose --carrier says {}", added.form));
            }
        }
        PayloadContext::Fields(added) => {
            line("carries", "traceparent and tracestate, which a proxy added to the fields of an entry".to_owned());
            if let Some(context) = &added.context {
                describe(context, &mut line);
            }
            if added.has_mac {
                line("MAC", MAC.to_owned());
            }
            line(
                "added",
                format!(
                    "{} bytes, from byte {} up to byte {len} of the fields in RESP",
                    len - added.start,
                    added.start
                ),
            );
            line("payload", format!("{} bytes of fields in RESP without it", added.start));
            line("note", "proxies hide it only in streams whose --stream-carrier says field".to_owned());
        }
        PayloadContext::Supplied { form, context } => {
            let description = match form {
                Carrier::Json => "a context among the members of a JSON object, which the application put there",
                _ => "a context in OpenCensus's binary form, which the application put in front",
            };
            line("carries", description.to_owned());
            describe(context, &mut line);
            let read = match form {
                Carrier::Json => "--read-json, or --carrier json,",
                _ => "--carrier opencensus",
            };
            let note = format!("proxies take it as the parent where {read} says so; only --strip-supplied removes it");
            line("note", note);
        }
    }
    if found.is_none() {
        line("payload", format!("{len} bytes"));
    }
    if *trimmed {
        line("note", "one line break at the end of the input was left out".to_owned());
    }
    page
}

const MAC: &str = "there is one, which only proxies with the key can check (--context-key-file)";

fn describe(context: &Context, line: &mut dyn FnMut(&str, String)) {
    let [trace_id, span_id] = ids(context);
    line("trace id", trace_id);
    line("span id", span_id);
    line("sampled", if context.span.flags.is_sampled() { "yes" } else { "no" }.to_owned());
    if let Some(state) = &context.trace_state {
        line("tracestate", state.to_string());
    }
    if let Some(published) = published(context) {
        line("published", format!("{published}, by the clock of the publisher's proxy"));
    }
    if context.baggage.is_some() {
        line("baggage", format!("{} (values are not shown)", baggage_keys(context).join(", ")));
    }
}

fn object(payload: &Payload, interpretation: &Interpretation) -> Value {
    let Payload { message, bytes, context: found, .. } = payload;
    let mut object = Map::new();
    let format = interpretation.format.to_possible_value();
    object.insert("input".into(), json!(format.as_ref().map(PossibleValue::get_name)));
    object.insert("at".into(), json!(payload.offset));
    if let Some(Truncated { present, expected }) = interpretation.truncated {
        object.insert("input_cut_off".into(), json!({ "there": present, "wanted": expected }));
    }
    object.insert("message".into(), json!(message.as_ref().map(|message| &message.kind)));
    let channel = message.as_ref().map(|message| String::from_utf8_lossy(&message.channel));
    object.insert("channel".into(), json!(channel));
    let (by, form, context) = match found {
        PayloadContext::None => (Value::Null, None, None),
        PayloadContext::Added(added) => (json!("proxy"), Some(added.form.name()), added.context.as_ref()),
        PayloadContext::Fields(added) => (json!("proxy"), Some(StreamCarrier::Field.name()), added.context.as_ref()),
        PayloadContext::Supplied { form, context } => (json!("application"), Some(form.name()), Some(context)),
    };
    object.insert("carries".into(), json!(!found.is_none()));
    object.insert("added_by".into(), by);
    object.insert("carrier".into(), json!(form));
    object.insert("length".into(), json!(bytes.len()));
    object.insert("line_break_left_out".into(), json!(payload.trimmed));
    if let PayloadContext::Added(added) = found {
        // In a capture it cannot be told which payload the trailer was added to.
        if interpretation.content != Content::Capture {
            object.insert("start".into(), json!(added.range.start));
            object.insert("end".into(), json!(added.range.end));
            object.insert("payload_length".into(), json!(bytes.len() - added.range.len()));
        }
        object.insert("mac".into(), json!(added.has_mac));
        if added.form == Carrier::Trailer {
            object.insert("version".into(), json!(1));
        }
    }
    if let PayloadContext::Fields(added) = found {
        object.insert("start".into(), json!(added.start));
        object.insert("end".into(), json!(bytes.len()));
        object.insert("payload_length".into(), json!(added.start));
        object.insert("mac".into(), json!(added.has_mac));
    }
    if let Some(context) = context {
        let [trace_id, span_id] = ids(context);
        object.insert("trace_id".into(), json!(trace_id));
        object.insert("span_id".into(), json!(span_id));
        object.insert("sampled".into(), json!(context.span.flags.is_sampled()));
        object.insert("tracestate".into(), json!(context.trace_state.as_deref()));
        object.insert("published".into(), json!(published(context)));
        object.insert("baggage_keys".into(), json!(baggage_keys(context)));
    }
    Value::Object(object)
}

/// The trace id and the span id in hexadecimal digits.
fn ids(context: &Context) -> [String; 2] {
    let text = String::from_utf8_lossy(&context.span.to_traceparent()).into_owned();
    let mut fields = text.split('-').skip(1).map(str::to_owned);
    [fields.next().unwrap_or_default(), fields.next().unwrap_or_default()]
}

/// The time of the publish in the format of RFC 3339; `None` if the context has none that the format can express.
fn published(context: &Context) -> Option<String> {
    let time = UNIX_EPOCH.checked_add(Duration::from_nanos(context.published?.0))?;
    Some(humantime::format_rfc3339_micros(time).to_string())
}

fn baggage_keys(context: &Context) -> Vec<&str> {
    let members = context.baggage.as_deref().unwrap_or_default().split(',');
    members.filter_map(|member| member.split(['=', ';']).next()).map(str::trim).filter(|key| !key.is_empty()).collect()
}
