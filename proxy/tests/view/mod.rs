//! `view` as people run it: spans of real proxies and of other senders come in, and the page's answers show them.

mod answers;
mod beside;
mod limits;
mod receiving;
mod setup;
