//! What a SERVER span tells of an HTTP request.

use alloc::boxed::Box;
use alloc::sync::Arc;

/// A request and its response, by the semantic conventions for HTTP. Its texts are parts of the request's head: the path, the host
/// and the user agent, and the query if the operator wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `http.request.method`.
    pub method: Method,
    /// `http.request.method_original`, if the method is none of those that are known. At most [`MAX_METHOD`] bytes.
    pub original_method: Option<Box<str>>,
    /// `http.route`.
    pub route: Option<Arc<str>>,
    /// Whether the client uses TLS, which is `url.scheme`.
    pub is_secure: bool,
    /// `url.path`, as it was sent.
    pub path: Option<Box<str>>,
    /// `url.query`, without the values that are known to be secret.
    pub query: Option<Box<str>>,
    /// `server.address`: the host that the client named.
    pub host: Option<Box<str>>,
    /// `server.port`, if the client named it.
    pub port: Option<u16>,
    /// `user_agent.original`.
    pub user_agent: Option<Box<str>>,
    /// `network.protocol.version`.
    pub version: Version,
    /// `http.response.status_code`; `None` if the service has not answered.
    pub status: Option<u16>,
    /// `http.request.body.size`: the bytes of content, without the framing of chunks, that have passed.
    pub request_size: u64,
    /// `http.response.body.size`, counted in the same way.
    pub response_size: u64,
}

/// The longest method of which a span tells, in bytes.
pub const MAX_METHOD: usize = 32;

/// The version of HTTP by which a client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// `network.protocol.version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }
}

macro_rules! methods {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A method that the semantic conventions know (RFC 9110 and RFC 5789).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "their names say it")]
        pub enum Method { $($variant,)+ Other }

        impl Method {
            /// The method of this name. Names have a case.
            pub fn read(name: &[u8]) -> Self {
                match core::str::from_utf8(name) {
                    $(Ok($name) => Self::$variant,)+
                    _ => Self::Other,
                }
            }

            /// `http.request.method`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Other => "_OTHER",
                }
            }

            /// How the name of a span begins: with the method, or with `HTTP` if it is not known. The second form has a space at
            /// its end.
            pub fn in_span_name(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$variant => ($name, concat!($name, " ")),)+
                    Self::Other => ("HTTP", "HTTP "),
                }
            }
        }
    };
}

methods! {
    Get = "GET",
    Head = "HEAD",
    Post = "POST",
    Put = "PUT",
    Delete = "DELETE",
    Connect = "CONNECT",
    Options = "OPTIONS",
    Trace = "TRACE",
    Patch = "PATCH",
}
