//! The forms of traces besides OTLP's protobuf: what is taken, saved and opened again.
//!
//! | module | what it knows |
//! |---|---|
//! | `otlp_json` | OTLP's JSON, as in OTLP/HTTP and in the files of the Collector's file exporter |
//! | `jaeger_json` | the JSON that Jaeger's page saves and opens |
//! | `values` | the values of attributes, in both |
//! | `open` | which of the two a text is |

pub(crate) mod jaeger_json;
pub(crate) mod open;
pub(crate) mod otlp_json;
#[cfg(test)]
mod tests;
pub(crate) mod values;
