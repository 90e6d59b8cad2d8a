//! span_fields
