//! The documents against the program and the repository: what they name exists, and what they promise of names, bounds
//! and commands is so. Metrics are in `tests/admin/documented.rs`, settings in `tests/settings_doc.rs`.

mod admin;
mod commands;
mod limits;
mod links;
mod modules;
pub(crate) mod page;
mod queues;
pub(crate) mod quick_start;
mod spans;
