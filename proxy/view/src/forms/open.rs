//! A trace that was saved, opened again: Jaeger's JSON or OTLP's, whichever it is.
//!
//! OTLP's may be several requests one after the other, as the Collector's file exporter writes them.

use serde_json::Error;
use serde_json::value::RawValue;

use super::{jaeger_json, otlp_json};
use crate::entry::Batch;
use crate::json::{elements, member};

/// The largest text that is opened, in bytes.
pub(crate) const MAX_FILE: usize = 64 << 20;

const WHAT_TO_DO: &str = "open what this page, Jaeger's page or the Collector's file exporter has saved";

/// Hands the spans in `text` to `take` in portions.
///
/// # Errors
/// What is wrong, where, and what to do.
pub(crate) fn read(text: &[u8], take: &mut dyn FnMut(Batch)) -> Result<(), String> {
    if text.len() > MAX_FILE {
        return Err(format!("the file has more than 64 MiB: save fewer traces in one file, and {WHAT_TO_DO}"));
    }
    let text = std::str::from_utf8(text)
        .map_err(|error| format!("the file is no text in UTF-8, at byte {}: {WHAT_TO_DO}", error.valid_up_to()))?;
    let documents: Vec<_> = serde_json::Deserializer::from_str(text)
        .into_iter::<&RawValue>()
        .collect::<Result<_, _>>()
        .map_err(explained)?;
    if documents.is_empty() {
        return Err(format!("the file is empty: {WHAT_TO_DO}"));
    }
    for document in documents {
        read_document(document, take).map_err(explained)?;
    }
    Ok(())
}

fn explained(error: Error) -> String {
    format!("the file has neither of the two forms: {error}: {WHAT_TO_DO}")
}

fn read_document(document: &RawValue, take: &mut dyn FnMut(Batch)) -> Result<(), Error> {
    if member(document, "resourceSpans")?.is_some() {
        return otlp_json::read(document, take);
    }
    if let Some(traces) = member(document, "data")? {
        return elements(traces, |trace| jaeger_json::read(trace, take));
    }
    if member(document, "spans")?.is_some() {
        return jaeger_json::read(document, take);
    }
    Err(serde::de::Error::custom("there is neither `resourceSpans`, as in OTLP, nor `data`, as in Jaeger"))
}
