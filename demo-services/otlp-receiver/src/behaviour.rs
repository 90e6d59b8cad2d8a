//! How the receiver answers.

use std::time::Duration;

use tonic::Code;

/// What happens to a request. It is decided when the request has been read.
#[derive(Debug, Clone, Default)]
pub enum Behaviour {
    /// Answer at once that all is well.
    #[default]
    Accept,
    /// The same, after a while.
    Delay(Duration),
    /// Answer with an error, always.
    Refuse(Refusal),
    /// Answer this many requests with an error, then accept.
    RefuseTimes(u32, Refusal),
    /// Read requests and never answer them.
    Hang,
    /// Accept, and say that this many of the spans were rejected.
    PartialSuccess(i64),
}

/// An error answer, on both transports.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    /// The status of the HTTP answer.
    pub http_status: u16,
    /// The status of the gRPC answer.
    pub grpc_code: Code,
    /// When the client may come back: `Retry-After`, in whole seconds, and `RetryInfo`.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// 503 and UNAVAILABLE: a client may try again.
    pub const UNAVAILABLE: Self = Self::new(503, Code::Unavailable);
    /// 400 and INVALID_ARGUMENT: a client must not try again.
    pub const INVALID: Self = Self::new(400, Code::InvalidArgument);
    /// 429 and RESOURCE_EXHAUSTED: over gRPC a client may only try again if it is told when.
    pub const EXHAUSTED: Self = Self::new(429, Code::ResourceExhausted);

    const fn new(http_status: u16, grpc_code: Code) -> Self {
        Self { http_status, grpc_code, retry_after: None }
    }

    /// The same, with a time to come back.
    #[must_use]
    pub const fn retry_after(self, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..self }
    }
}

/// The behaviour as one request meets it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    Accept { after: Duration, rejected: i64 },
    Refuse(Refusal),
    Hang,
}

impl Behaviour {
    /// The verdict on the next request; counts down where the behaviour does.
    pub(crate) fn next(&mut self) -> Verdict {
        match self {
            Self::Accept | Self::RefuseTimes(0, _) => Verdict::Accept { after: Duration::ZERO, rejected: 0 },
            Self::Delay(after) => Verdict::Accept { after: *after, rejected: 0 },
            Self::Refuse(refusal) => Verdict::Refuse(*refusal),
            Self::RefuseTimes(left, refusal) => {
                *left -= 1;
                Verdict::Refuse(*refusal)
            }
            Self::Hang => Verdict::Hang,
            Self::PartialSuccess(rejected) => Verdict::Accept { after: Duration::ZERO, rejected: *rejected },
        }
    }
}
