//! The spans of a trace as a tree of text: parents before children, times relative to the trace's start.
//!
//! The demo and the console exporter print traces by this one definition. A [`Trace`] has the spans that have come; its
//! [`rows`](Trace::rows) are the tree, and [`draw()`] makes text of them. Nothing here reads a clock or writes anything.
//!
//! Names come from the network: [`draw()`] writes every text of a span by [`redistributed_core::printable`].

mod draw;
mod text;
mod tree;

pub use draw::{Look, draw};
pub use text::{Style, Tone, counted, fit, milliseconds, width};
pub use tree::{Before, Kind, Row, Span, Trace};
