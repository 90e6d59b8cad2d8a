//! What the span of a command tells of its key, where the operator has templates of keys (`--key-template`).

use alloc::format;

use crate::command_keys::first_key;
use crate::policy::Policy;
use crate::trace::{Operation, SpanRecord};

/// Adds the template of the first key in `frame`, the beginning of the request in RESP, to the span of the command, if there is one
/// for this key.
#[inline]
pub(super) fn summarize(span: &mut SpanRecord, frame: &[u8], policy: &Policy) {
    if policy.key_templates.is_empty() {
        return;
    }
    let template = first_key(frame).and_then(|key| policy.key_template(key));
    if let (Operation::Command { name, summary, .. }, Some(template)) = (&mut span.operation, template) {
        *summary = Some(format!("{name} {template}").into());
    }
}
