//! The report, for people and for programs.

use std::fmt::Write;

use redistributed_core::printable::{printable, printable_json};
use serde_json::json;

use super::{Finding, worst};
use crate::report_format::ReportFormat;

/// One line for each finding, or one JSON object with all of them. Ends with a line break.
pub fn report(findings: &[Finding], format: ReportFormat) -> String {
    let worst = worst(findings).name();
    if format == ReportFormat::Json {
        let list: Vec<_> = findings
            .iter()
            .map(|Finding { level, about, text, remedy }| {
                json!({ "level": level.name(), "about": about, "text": text, "remedy": remedy })
            })
            .collect();
        return format!("{}\n", printable_json(&json!({ "result": worst, "findings": list }).to_string()));
    }
    let mut page = String::new();
    for Finding { level, about, text, remedy } in findings {
        let remedy = remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{:<8} {}", level.name(), printable(format_args!("{about}: {text}{remedy}")));
    }
    page
}
