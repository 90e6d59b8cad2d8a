//! The documents against the program and the repository: what they name exists, and what they promise of names, bounds
//! and commands is so. Metrics are in `tests/admin/documented.rs`, settings in `tests/settings_doc.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/authority.rs"]
mod authority;
#[path = "../support/mod.rs"]
mod support;

mod admin;
mod commands;
mod limits;
mod links;
mod modules;
mod page;
mod quick_start;
mod spans;
