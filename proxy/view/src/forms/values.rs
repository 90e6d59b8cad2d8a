//! The values of attributes in JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use crate::json;
use crate::proto::{AnyValue, ArrayValue, KeyValue, KeyValueList, Value};

/// The largest whole number that JavaScript tells from its neighbours.
const MAX_SAFE: u64 = (1 << 53) - 1;

/// Attributes in OTLP's JSON.
pub(crate) fn to_otlp(attributes: &[KeyValue]) -> Json {
    attributes
        .iter()
        .map(|of| json!({"key": of.key, "value": of.value.as_ref().map_or(json!({}), value_to_otlp)}))
        .collect()
}

fn value_to_otlp(value: &AnyValue) -> Json {
    match &value.value {
        None => json!({}),
        Some(Value::Text(text)) => json!({"stringValue": text}),
        Some(Value::Bool(it)) => json!({"boolValue": it}),
        Some(Value::Int(number)) => json!({"intValue": number.to_string()}),
        Some(Value::Double(number)) => json!({"doubleValue": double(*number)}),
        Some(Value::Bytes(bytes)) => json!({"bytesValue": STANDARD.encode(bytes)}),
        Some(Value::Array(array)) => {
            json!({"arrayValue": {"values": array.values.iter().map(value_to_otlp).collect::<Json>()}})
        }
        Some(Value::Map(map)) => json!({"kvlistValue": {"values": to_otlp(&map.values)}}),
    }
}

/// Reads the list `name` of attributes in `object`, in OTLP's JSON. What is none of its values becomes an empty one.
pub(crate) fn from_otlp(object: &Json, name: &str) -> Vec<KeyValue> {
    let read = |of: &Json| KeyValue {
        key: json::text(of, "key").to_owned(),
        value: json::get(of, "value").map(value_from_otlp),
    };
    json::list(object, name).iter().map(read).collect()
}

// The depth is that of the parser, which ends at 128.
fn value_from_otlp(value: &Json) -> AnyValue {
    let get = |name| json::get(value, name);
    let value = if let Some(text) = get("stringValue").and_then(Json::as_str) {
        Some(Value::Text(text.to_owned()))
    } else if let Some(it) = get("boolValue").and_then(Json::as_bool) {
        Some(Value::Bool(it))
    } else if let Some(number) = json::number(value, "intValue") {
        Some(Value::Int(number))
    } else if let Some(number) = get("doubleValue").and_then(read_double) {
        Some(Value::Double(number))
    } else if let Some(array) = get("arrayValue") {
        Some(Value::Array(ArrayValue { values: json::list(array, "values").iter().map(value_from_otlp).collect() }))
    } else if let Some(map) = get("kvlistValue") {
        Some(Value::Map(KeyValueList { values: from_otlp(map, "values") }))
    } else {
        let bytes = get("bytesValue").and_then(Json::as_str).and_then(|text| STANDARD.decode(text).ok());
        bytes.map(Value::Bytes)
    };
    AnyValue { value }
}

/// A number that JSON may have no form for, which then is a text.
fn double(number: f64) -> Json {
    if number.is_nan() {
        "NaN".into()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else {
        number.into()
    }
}

fn read_double(json: &Json) -> Option<f64> {
    match json {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            other => other.parse().ok(),
        },
        _ => None,
    }
}

/// Attributes for the page: pairs of a key and a text, a number, a bool or a list.
pub(crate) fn to_page(attributes: &[KeyValue]) -> Json {
    attributes.iter().map(|of| json!([of.key, of.value.as_ref().map_or(Json::Null, value_to_page)])).collect()
}

fn value_to_page(value: &AnyValue) -> Json {
    match &value.value {
        None => Json::Null,
        Some(Value::Text(text)) => text.as_str().into(),
        Some(Value::Bool(it)) => (*it).into(),
        Some(Value::Int(number)) if number.unsigned_abs() > MAX_SAFE => number.to_string().into(),
        Some(Value::Int(number)) => (*number).into(),
        Some(Value::Double(number)) => double(*number),
        Some(Value::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        Some(Value::Array(array)) => array.values.iter().map(value_to_page).collect(),
        Some(Value::Map(map)) => plain_map(map).to_string().into(),
    }
}

/// A map as JSON has it.
fn plain_map(map: &KeyValueList) -> Json {
    let member = |of: &KeyValue| (of.key.clone(), of.value.as_ref().map_or(Json::Null, plain));
    Json::Object(map.values.iter().map(member).collect())
}

fn plain(value: &AnyValue) -> Json {
    match &value.value {
        Some(Value::Int(number)) => (*number).into(),
        Some(Value::Array(array)) => array.values.iter().map(plain).collect(),
        Some(Value::Map(map)) => plain_map(map),
        _ => value_to_page(value),
    }
}

/// An attribute as Jaeger's tag. Lists and maps, which Jaeger does not have, become their text in JSON.
pub(crate) fn to_jaeger(of: &KeyValue) -> Json {
    let empty = AnyValue::default();
    let value = of.value.as_ref().unwrap_or(&empty);
    let (kind, json) = match &value.value {
        None => ("string", "".into()),
        Some(Value::Text(text)) => ("string", text.as_str().into()),
        Some(Value::Bool(it)) => ("bool", (*it).into()),
        // Jaeger's page writes and reads large numbers as texts too.
        Some(Value::Int(_)) => ("int64", value_to_page(value)),
        Some(Value::Double(number)) => ("float64", double(*number)),
        Some(Value::Bytes(bytes)) => ("binary", STANDARD.encode(bytes).into()),
        Some(Value::Array(_) | Value::Map(_)) => ("string", plain(value).to_string().into()),
    };
    json!({"key": of.key, "type": kind, "value": json})
}

/// Reads one of Jaeger's tags.
pub(crate) fn from_jaeger(tag: &Json) -> KeyValue {
    let value = json::get(tag, "value").unwrap_or(&Json::Null);
    let text = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let value = match json::text(tag, "type") {
        "bool" => Value::Bool(value.as_bool().unwrap_or_else(|| text() == "true")),
        "int64" => json::number(tag, "value").map_or_else(|| Value::Text(text()), Value::Int),
        "float64" => read_double(value).map_or_else(|| Value::Text(text()), Value::Double),
        "binary" => STANDARD.decode(text()).map_or_else(|_| Value::Text(text()), Value::Bytes),
        _ => Value::Text(text()),
    };
    KeyValue::new(json::text(tag, "key"), value)
}
