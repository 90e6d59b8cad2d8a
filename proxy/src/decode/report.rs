//! The answer: what was found, for people and for programs.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use clap::ValueEnum;
use clap::builder::PossibleValue;
use redistributed_core::carrier::Carrier;
use redistributed_core::trace::Context;
use serde_json::{Map, Value, json};

use super::reading::{Part, Reading, Shape};
use super::{Finding, FormatArg, InputArg};

/// Ends with a line break. Never shows a payload, nor a value of baggage.
pub(super) fn report(reading: &Reading, format: FormatArg) -> String {
    let parts = reading.parts.iter();
    match format {
        FormatArg::Text => {
            let blocks = header(reading).into_iter().chain(parts.map(|part| text(part, reading.shape)));
            blocks.collect::<Vec<_>>().join("\n")
        }
        FormatArg::Json => parts.map(|part| format!("{}\n", object(part, reading))).collect(),
    }
}

/// Writing to a string cannot fail.
fn add_line(page: &mut String, name: &str, value: &str) {
    let _ = writeln!(page, "{name:<12} {value}");
}

/// How it was read, unless it was taken as it is.
fn header(reading: &Reading) -> Option<String> {
    let written = match reading.input {
        InputArg::Hex => "hexadecimal digits",
        InputArg::Base64 => "Base64",
        InputArg::Escaped => "as redis-cli shows strings",
        InputArg::Auto | InputArg::Raw | InputArg::Resp | InputArg::Capture => "",
    };
    let (all, carrying) = (reading.parts.len(), reading.carrying());
    let messages = reading.parts.iter().filter(|part| part.message.is_some()).count();
    let counted = format!("messages {messages}, other strings shown {}; with a context {carrying}", all - messages);
    let value = match (reading.shape, written) {
        (Shape::Payload, "") => return None,
        (Shape::Payload, written) => written.to_owned(),
        (Shape::Quoted, written) => format!("{written}; {counted}"),
        (Shape::Resp, "") => format!("RESP; {counted}"),
        (Shape::Resp, written) => format!("{written}, with RESP in it; {counted}"),
        (Shape::Capture, _) => format!("a capture; trailers found {all}"),
    };
    let mut page = String::new();
    add_line(&mut page, "input", &value);
    if let Some((there, wanted)) = reading.cut_off {
        let note = format!("the input ends within a string: {there} of its {wanted} bytes are there");
        add_line(&mut page, "note", &note);
    }
    Some(page)
}

fn text(part: &Part, shape: Shape) -> String {
    let Part { finding, line_end, .. } = part;
    let len = part.payload.len();
    let mut page = String::new();
    let mut line = |name: &str, value: String| add_line(&mut page, name, &value);
    if let Some(message) = &part.message {
        line("message", format!("{} {}", message.kind, String::from_utf8_lossy(&message.channel).escape_debug()));
    }
    if let (Some(at), Shape::Resp | Shape::Quoted | Shape::Capture) = (part.at, shape) {
        line("at", format!("byte {at} of the input"));
    }
    match finding {
        Finding::Nothing => line("carries", "no trace context that this version understands".to_owned()),
        Finding::Added { added, version } => {
            let form = match added.form {
                Carrier::Trailer => format!("a trailer, version {version}, which a proxy added behind the payload"),
                Carrier::Json => "traceparent and tracestate, which a proxy added to the JSON object".to_owned(),
                Carrier::OpenCensus => "a context in OpenCensus's binary form, which a proxy added in front".to_owned(),
            };
            line("carries", form);
            match &added.context {
                Some(context) => describe(context, &mut line),
                None => line("context", "not understood: a newer proxy wrote it; every proxy removes it".to_owned()),
            }
            let (start, end) = (added.range.start, added.range.end);
            if shape == Shape::Capture {
                line("added", format!("{} bytes; where its payload begins cannot be told", end - start));
            } else {
                line("added", format!("{} bytes, from byte {start} up to byte {end}", end - start));
                line("payload", format!("{} bytes without it", len - (end - start)));
            }
            if added.form == Carrier::OpenCensus {
                line("note", "proxies remove it only on channels whose --carrier says opencensus".to_owned());
            }
        }
        Finding::Supplied { form, context } => {
            let form = match form {
                Carrier::Json => "a context among the members of a JSON object, which the application put there",
                _ => "a context in OpenCensus's binary form, which the application put in front",
            };
            line("carries", form.to_owned());
            describe(context, &mut line);
            let read = match finding {
                Finding::Supplied { form: Carrier::Json, .. } => "--read-json, or --carrier json,",
                _ => "--carrier opencensus",
            };
            line("note", format!("proxies never remove it; they take it as the parent where {read} says so"));
        }
    }
    if *finding == Finding::Nothing {
        line("payload", format!("{len} bytes"));
    }
    if *line_end {
        line("note", "one line break at the end of the input was left out".to_owned());
    }
    page
}

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

fn object(part: &Part, reading: &Reading) -> Value {
    let Part { payload, finding, line_end, .. } = part;
    let mut object = Map::new();
    let input = reading.input.to_possible_value();
    object.insert("input".into(), json!(input.as_ref().map(PossibleValue::get_name)));
    object.insert("at".into(), json!(part.at));
    if let Some((there, wanted)) = reading.cut_off {
        object.insert("input_cut_off".into(), json!({ "there": there, "wanted": wanted }));
    }
    object.insert("message".into(), json!(part.message.as_ref().map(|message| &message.kind)));
    let channel = part.message.as_ref().map(|message| String::from_utf8_lossy(&message.channel));
    object.insert("channel".into(), json!(channel));
    let (by, form, context) = match finding {
        Finding::Nothing => (Value::Null, None, None),
        Finding::Added { added, .. } => (json!("proxy"), Some(added.form), added.context.as_ref()),
        Finding::Supplied { form, context } => (json!("application"), Some(*form), Some(context)),
    };
    object.insert("carries".into(), json!(*finding != Finding::Nothing));
    object.insert("added_by".into(), by);
    object.insert("carrier".into(), json!(form.map(|form| format!("{form:?}").to_lowercase())));
    object.insert("length".into(), json!(payload.len()));
    object.insert("line_break_left_out".into(), json!(line_end));
    if let Finding::Added { added, version } = finding {
        // Of a trailer in a capture it cannot be told what it was added to.
        if reading.shape != Shape::Capture {
            object.insert("start".into(), json!(added.range.start));
            object.insert("end".into(), json!(added.range.end));
            object.insert("payload_length".into(), json!(payload.len() - added.range.len()));
        }
        object.insert("understood".into(), json!(added.context.is_some()));
        if added.form == Carrier::Trailer {
            object.insert("version".into(), json!(version));
        }
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

/// Trace and span, in hexadecimal digits.
fn ids(context: &Context) -> [String; 2] {
    let text = String::from_utf8_lossy(&context.span.to_traceparent()).into_owned();
    let mut fields = text.split('-').skip(1).map(str::to_owned);
    [fields.next().unwrap_or_default(), fields.next().unwrap_or_default()]
}

/// When the message was published, as RFC 3339 writes it; `None` if the context has no time that can be written so.
fn published(context: &Context) -> Option<String> {
    let time = UNIX_EPOCH.checked_add(Duration::from_nanos(context.published?.0))?;
    Some(humantime::format_rfc3339_micros(time).to_string())
}

fn baggage_keys(context: &Context) -> Vec<&str> {
    let members = context.baggage.as_deref().unwrap_or_default().split(',');
    members.filter_map(|member| member.split(['=', ';']).next()).map(str::trim).filter(|key| !key.is_empty()).collect()
}
