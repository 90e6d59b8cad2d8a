//! All that a call of an HTTP connection needs from outside.

use alloc::sync::Arc;

use super::witness::Witness;
use crate::policy::Policy;
use crate::trace::{Ids, UnixNanos};

/// Everything outside the connection that one call of the session may use.
pub struct Environment<'a> {
    /// The time of this call.
    pub now: UnixNanos,
    /// The policy in force.
    pub policy: &'a Arc<Policy>,
    /// Whether requests are measured. A request whose span is not sampled then has a record too, which is not exported.
    pub measured: bool,
    /// The source of new trace and span ids.
    pub ids: &'a mut (dyn Ids + 'static),
    /// Who is told of requests and responses.
    pub witness: Option<&'a mut (dyn Witness + 'static)>,
}
