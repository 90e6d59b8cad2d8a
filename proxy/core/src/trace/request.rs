//! What a SERVER span tells of an HTTP request.

use alloc::boxed::Box;
use alloc::sync::Arc;

/// A request and its response, by the semantic conventions for HTTP. Its texts are parts of the request's head: the path, the host
/// and the user agent, and the query if the operator wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method, which is `http.request.method`.
    pub method: Method,
    /// The method as it came (`http.request.method_original`), cut to [`MAX_METHOD`] bytes; `None` if it is one that is known.
    pub original_method: Option<Box<str>>,
    /// The route of the path, which is `http.route`; `None` if there is none.
    pub route: Option<Arc<str>>,
    /// Whether the client uses TLS, which is `url.scheme`.
    pub is_secure: bool,
    /// The path as it was sent, which is `url.path`.
    pub path: Option<Box<str>>,
    /// The query without the values that are known to be secret, which is `url.query`; `None` unless the operator wants it.
    pub query: Option<Box<str>>,
    /// The host that the client named, which is `server.address`.
    pub host: Option<Box<str>>,
    /// The port, which is `server.port`; `None` if the client did not name it.
    pub port: Option<u16>,
    /// The header `User-Agent`, which is `user_agent.original`.
    pub user_agent: Option<Box<str>>,
    /// The version of HTTP, which is `network.protocol.version`.
    pub version: Version,
    /// The status of the response, which is `http.response.status_code`; `None` if the service has not answered.
    pub status: Option<u16>,
    /// How many bytes of the request's content have passed, without the framing of chunks (`http.request.body.size`).
    pub request_size: u64,
    /// How many bytes of the response's content have passed, counted in the same way (`http.response.body.size`).
    pub response_size: u64,
}

/// The longest method of which a span tells, in bytes.
pub const MAX_METHOD: usize = 32;

/// The version of HTTP by which a client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The client asked by HTTP/1.0.
    Http10,
    /// The client asked by HTTP/1.1.
    Http11,
    /// The client asked by HTTP/2.
    Http2,
}

impl Version {
    /// The value of `network.protocol.version`.
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
            /// Reads the name of a method. Its case matters.
            pub fn read(name: &[u8]) -> Self {
                match core::str::from_utf8(name) {
                    $(Ok($name) => Self::$variant,)+
                    _ => Self::Other,
                }
            }

            /// The value of `http.request.method`.
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
