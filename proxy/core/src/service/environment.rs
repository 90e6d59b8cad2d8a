//! All that a call of the session needs from outside.

use alloc::sync::Arc;

use super::{Audience, Inference};
use crate::policy::Policy;
use crate::trace::{Ids, UnixNanos};

/// Everything outside the connection that one call of the session may use.
pub struct Environment<'a> {
    /// The time of this call.
    pub now: UnixNanos,
    /// How far the wall clock is ahead of `now`, in nanoseconds. It is added to times that travel between proxies.
    pub wall_offset: i64,
    /// Whether somebody watches or measures operations. Messages without a span, and messages, items and selected commands
    /// ([`Policy::commands`]) whose span is not sampled, then have a record too. Its context is not sampled, and it is not exported.
    pub watched: bool,
    /// Whether a publish in a transaction may get a context in [`Mode::Auto`](crate::policy::Mode::Auto) because the `EXEC` has
    /// come in the same call. This is the only way in which the output depends on how the input was cut.
    pub sees_ahead: bool,
    /// Whether the connections of the process together hold as much as they may. Then only few spans of a connection wait for
    /// their replies, and a long payload that is published is passed on without being held back.
    pub memory_is_scarce: bool,
    /// The policy in force. A new policy also applies to a payload that is being held back, so that a mode that adds
    /// nothing takes effect at once.
    pub policy: &'a Arc<Policy>,
    /// The source of new trace and span ids.
    pub ids: &'a mut (dyn Ids + 'static),
    /// The receivers of publishes, for [`Mode::Auto`](crate::policy::Mode::Auto). Without an audience nothing is proven.
    pub audience: Option<&'a (dyn Audience + 'static)>,
    /// What caused the commands of the connection, if causes are followed ([`Policy::follow`]).
    pub inference: Option<&'a mut (dyn Inference + 'static)>,
}

impl<'a> Environment<'a> {
    /// An environment in which nobody watches messages, nothing is proven about receivers, `now` is the time of the wall
    /// clock, calls are not looked ahead in, and there is enough memory.
    pub fn new(now: UnixNanos, policy: &'a Arc<Policy>, ids: &'a mut (dyn Ids + 'static)) -> Self {
        Self {
            now,
            wall_offset: 0,
            watched: false,
            sees_ahead: false,
            memory_is_scarce: false,
            policy,
            ids,
            audience: None,
            inference: None,
        }
    }
}
