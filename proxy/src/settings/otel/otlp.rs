//! The variables `OTEL_EXPORTER_OTLP_*`: where spans and metrics are sent, and how.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::header::{self, HeaderName, HeaderValue};
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use redistributed_core::choice::choice;
use url::{Host, Url};

use super::reader::{VariableReader, decode_pair};
use super::{OtelEnvError, SECRETS};
use crate::settings::redact::redact;

/// The two forms of a variable. The first one wins.
macro_rules! forms {
    ($signal:expr, $name:literal) => {
        match $signal {
            Signal::Traces => [concat!("OTEL_EXPORTER_OTLP_TRACES_", $name), concat!("OTEL_EXPORTER_OTLP_", $name)],
            Signal::Metrics => [concat!("OTEL_EXPORTER_OTLP_METRICS_", $name), concat!("OTEL_EXPORTER_OTLP_", $name)],
        }
    };
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_HTTP: &str = "http://localhost:4318";
const DEFAULT_GRPC: &str = "http://localhost:4317";
const LIKE_HTTP: &str = "write it like http://localhost:4318 or unix:/run/collector.sock";
const LIKE_GRPC: &str = "write it like http://localhost:4317 or unix:/run/collector.sock";
/// The scheme of a collector on a Unix socket.
const UNIX: &str = "unix";
/// The URL of requests that go by a Unix socket.
const BY_SOCKET: &str = "http://localhost";
/// The variables that name a proxy for `http://` and for `https://`, and for both, in either case as usual.
pub(super) const HTTP_PROXY: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
pub(super) const HTTPS_PROXY: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
pub(super) const ALL_PROXY: [&str; 2] = ["ALL_PROXY", "all_proxy"];
pub(super) const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
const PROXY_FORM: &str = "write it like http://proxy:3128, or name the collector in NO_PROXY";

/// What is sent to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// What is measured.
    Metrics,
}

impl Signal {
    /// The path that is added to the general form of the endpoint.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }

    /// What people call it.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Metrics => "metrics",
        }
    }
}

/// The settings of an OTLP exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpSettings {
    /// What is sent.
    pub signal: Signal,
    /// The transport. `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub protocol: Protocol,
    /// The complete URL: `/v1/traces` or `/v1/metrics` has been added where the specification says so. `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub endpoint: Endpoint,
    /// The headers that go with every request, on both transports. `OTEL_EXPORTER_OTLP_HEADERS`.
    pub headers: Headers,
    /// The file that the headers came from, if they did: `OTEL_EXPORTER_OTLP_HEADERS_FILE`.
    pub headers_file: Option<HeadersFile>,
    /// The time that one export may take, retries included; `None` is no limit. Default 10 s. `OTEL_EXPORTER_OTLP_TIMEOUT`.
    pub timeout: Option<Duration>,
    /// The proxy that leads to the collector, if the environment names one: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`.
    pub proxy: Option<Proxy>,
    /// The compression of a request's body. `OTEL_EXPORTER_OTLP_COMPRESSION`.
    pub compression: Compression,
    /// A PEM file with the authorities that the collector's certificate is checked against, in place of the system's.
    /// `OTEL_EXPORTER_OTLP_CERTIFICATE`.
    pub certificate: Option<PathBuf>,
    /// The certificate that the proxy presents, with its key. `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` and `_CLIENT_KEY`.
    pub client_identity: Option<ClientIdentity>,
}

/// An HTTP proxy on the way to the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The variable that names it.
    pub variable: &'static str,
    /// Its address, without credentials.
    pub address: Uri,
    /// `Proxy-Authorization`, marked as sensitive, so that no `Debug` shows it.
    pub(crate) authorization: Option<HeaderValue>,
}

impl fmt::Display for Proxy {
    /// Shows the address, with three stars in place of credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.address, self.authorization.is_some()))
    }
}

/// The scheme, the host and the port of `address`, with three stars in place of credentials. A password may hold an `@`, which
/// the authority of a URI keeps.
fn masked(address: &Uri, has_credentials: bool) -> String {
    let mask = if has_credentials { "***@" } else { "" };
    let (scheme, host) = (address.scheme_str().unwrap_or_default(), address.host().unwrap_or_default());
    let port = address.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{scheme}://{mask}{host}{port}")
}

/// A file with headers, and the variable that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadersFile {
    /// The environment variable that names the file.
    pub variable: &'static str,
    /// The path of the file.
    pub path: PathBuf,
}

/// The certificate that the proxy presents to a collector, with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// A PEM file with the certificate, followed by the intermediate ones.
    pub certificate: PathBuf,
    /// A PEM file with the certificate's private key.
    pub key: PathBuf,
}

choice! {
    /// The transport of OTLP, as in `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub enum Protocol, default HttpProtobuf {
        /// Protobuf over HTTP.
        HttpProtobuf = "http/protobuf",
        /// Protobuf over gRPC.
        Grpc = "grpc",
    }
}

choice! {
    /// The compression of requests, as in `OTEL_EXPORTER_OTLP_COMPRESSION`.
    pub enum Compression, default None {
        /// The request's body goes as it is.
        None = "none",
        /// The request's body is compressed by gzip.
        Gzip = "gzip",
    }
}

/// An `http` or `https` URL without credentials, or `unix:` and the path of a socket. Its text forms leave out the query, where some
/// vendors want a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// The URL of requests.
    pub(crate) fn url(&self) -> &str {
        if self.socket().is_some() { BY_SOCKET } else { self.0.as_str() }
    }

    /// The path of the Unix socket, if it is one.
    pub fn socket(&self) -> Option<PathBuf> {
        (self.0.scheme() == UNIX).then(|| percent_decode_str(self.0.path()).decode_utf8_lossy().into_owned().into())
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        shown.set_query(None);
        shown.fmt(f)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Headers whose values are secrets: `Debug` shows the names only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// Reads pairs like those of the W3C baggage header: `name=value`, percent-encoded, separated by commas. Returns what is wrong
    /// with those that cannot be used, without their values.
    pub(crate) fn from_text(text: &str) -> (Self, Vec<String>) {
        let (mut headers, mut problems) = (Vec::new(), Vec::new());
        for (index, member) in text.split(',').map(str::trim).enumerate().filter(|(_, member)| !member.is_empty()) {
            match decode_header(member) {
                Some((name, _)) if RESERVED.contains(&name) => {
                    problems.push(format!("{name} is ignored, because the transport sets it"));
                }
                Some(header) => headers.push(header),
                None => problems.push(format!("entry {} is ignored, because it is not name=value", index + 1)),
            }
        }
        (Self(headers), problems)
    }

    /// Whether no header is to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values; the values are marked as sensitive, so that no `Debug` shows them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name.as_str())).finish()
    }
}

impl Default for OtlpSettings {
    fn default() -> Self {
        let mut none = VariableReader::new(&|_| None);
        let defaults = read(&mut none, Signal::Traces);
        defaults.expect("without variables only constants are read, and those are checked by a test")
    }
}

pub(super) fn read(reader: &mut VariableReader<'_>, signal: Signal) -> Result<OtlpSettings, OtelEnvError> {
    let protocol = read_protocol(reader, signal)?;
    let endpoint = read_endpoint(reader, signal, protocol)?;
    let client_identity = read_client_identity(reader, signal)?;
    let uses_tls = endpoint.is_https();
    if !uses_tls {
        warn_of_certificates(reader, signal, &endpoint);
    }
    let (headers, headers_file) = read_headers(reader, signal);
    let proxy = read_proxy(reader, signal, &endpoint);
    Ok(OtlpSettings {
        signal,
        protocol,
        endpoint,
        headers,
        headers_file,
        proxy,
        timeout: reader.timeout(&forms!(signal, "TIMEOUT"), DEFAULT_TIMEOUT),
        compression: reader.choice(&forms!(signal, "COMPRESSION")),
        certificate: reader
            .first_text(&forms!(signal, "CERTIFICATE"))
            .filter(|_| uses_tls)
            .map(|(_, path)| path.into()),
        client_identity: client_identity.filter(|_| uses_tls),
    })
}

/// Warns of certificates that have no effect, because the scheme of `endpoint` is `http`.
fn warn_of_certificates(reader: &mut VariableReader<'_>, signal: Signal, endpoint: &Endpoint) {
    let forms = [forms!(signal, "CERTIFICATE"), forms!(signal, "CLIENT_CERTIFICATE"), forms!(signal, "CLIENT_KEY")];
    let given: Vec<&'static str> =
        forms.iter().filter_map(|forms| reader.first_text(forms)).map(|(variable, _)| variable).collect();
    let Some(&first) = given.first() else { return };
    given.iter().for_each(|variable| reader.set_aside(variable));
    let (has, them) = if given.len() == 1 { ("has", "it") } else { ("have", "them") };
    let text = format!(
        "{} {has} no effect: {} go to {endpoint} without TLS; write https:// in the endpoint, or leave {them} out",
        given.join(", "),
        signal.noun()
    );
    reader.warn(first, text);
}

fn read_protocol(reader: &mut VariableReader<'_>, signal: Signal) -> Result<Protocol, OtelEnvError> {
    let variables = forms!(signal, "PROTOCOL");
    if let Some((variable, value)) = reader.first_text(&variables)
        && value.eq_ignore_ascii_case("http/json")
    {
        return Err(OtelEnvError::Protocol { variable, value });
    }
    Ok(reader.choice(&variables))
}

fn read_client_identity(reader: &VariableReader<'_>, signal: Signal) -> Result<Option<ClientIdentity>, OtelEnvError> {
    let [_, certificate_variable] = forms!(signal, "CLIENT_CERTIFICATE");
    let [_, key_variable] = forms!(signal, "CLIENT_KEY");
    match (reader.first_text(&forms!(signal, "CLIENT_CERTIFICATE")), reader.first_text(&forms!(signal, "CLIENT_KEY"))) {
        (None, None) => Ok(None),
        (Some((_, certificate)), Some((_, key))) => {
            Ok(Some(ClientIdentity { certificate: certificate.into(), key: key.into() }))
        }
        (Some((given, _)), None) => Err(OtelEnvError::ClientIdentity { given, missing: key_variable }),
        (None, Some((given, _))) => Err(OtelEnvError::ClientIdentity { given, missing: certificate_variable }),
    }
}

/// Reads the endpoint. The form of the signal is used as it is. The general form names a collector, and the path for the signal is
/// added to it.
fn read_endpoint(
    reader: &mut VariableReader<'_>,
    signal: Signal,
    protocol: Protocol,
) -> Result<Endpoint, OtelEnvError> {
    let [own, general] = forms!(signal, "ENDPOINT");
    let (default, remedy) = match protocol {
        Protocol::HttpProtobuf => (DEFAULT_HTTP, LIKE_HTTP),
        Protocol::Grpc => (DEFAULT_GRPC, LIKE_GRPC),
    };
    let (variable, mut text) = reader.first_text(&[own, general]).unwrap_or_else(|| (general, default.to_owned()));
    if protocol == Protocol::Grpc && !text.contains("://") && !text.starts_with("unix:") {
        let insecure = forms!(signal, "INSECURE").into_iter().find(|variable| reader.text(variable).is_some());
        let scheme = if insecure.is_some_and(|variable| reader.flag(variable)) { "http" } else { "https" };
        text = format!("{scheme}://{text}");
    }
    let refuse = |reason: String| OtelEnvError::Endpoint { variable, value: redact(&text), reason, remedy };
    let mut url = match Url::parse(&text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => return Err(refuse("it has no http:// or https://".to_owned())),
        Err(url::ParseError::IdnaError) => {
            return Err(refuse("write its host in ASCII, as in xn--bcher-kva.example".to_owned()));
        }
        Err(error) => return Err(refuse(error.to_string())),
    };
    if url.scheme() == UNIX {
        if url.host().is_some() || !url.path().starts_with('/') || url.query().is_some() || url.fragment().is_some() {
            return Err(refuse(
                "it is not unix: and the full path of a socket, as in unix:/run/collector.sock".to_owned(),
            ));
        }
        return Ok(Endpoint(url));
    }
    if !matches!(url.scheme(), "http" | "https") {
        // `localhost:4318` is a URL too, with the scheme `localhost`.
        return Err(refuse("it does not begin with http:// or https://".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let [_, headers] = forms!(signal, "HEADERS");
        return Err(refuse(format!("credentials belong into {headers}, as Authorization=Basic%20...")));
    }
    url.set_fragment(None);
    match protocol {
        Protocol::HttpProtobuf if variable == general => {
            let path = format!("{}{}", url.path().trim_end_matches('/'), signal.path());
            url.set_path(&path);
        }
        Protocol::HttpProtobuf => {}
        Protocol::Grpc => {
            if url.path() != "/" {
                let path = redact(url.path());
                reader
                    .warn(variable, format!("{variable}: the path {path} is ignored, because gRPC has its own paths"));
            }
            url.set_path("");
            url.set_query(None);
        }
    }
    Ok(Endpoint(url))
}

/// Reads the proxy for `endpoint`. A collector on this machine is never looked for behind a proxy, as in the Collector itself.
fn read_proxy(reader: &mut VariableReader<'_>, signal: Signal, endpoint: &Endpoint) -> Option<Proxy> {
    let is_here = match endpoint.0.host()? {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let of_scheme = if endpoint.is_https() { HTTPS_PROXY } else { HTTP_PROXY };
    let (variable, text) = reader.first_text(&[of_scheme, ALL_PROXY].concat()).filter(|_| !is_here)?;
    let no = reader.first_text(&NO_PROXY).map_or_else(String::new, |(_, text)| text);
    // What it matches is the scheme and the host.
    let collector = endpoint.url().parse().ok()?;
    let intercept = Matcher::builder().all(text.clone()).no(no).build().intercept(&collector);
    let Some(intercept) = intercept else {
        if Matcher::builder().all(text.clone()).build().intercept(&collector).is_none() {
            reader.warn(
                variable,
                format!("{variable}={} is no address of a proxy and ignored: {PROXY_FORM}", redact(&text)),
            );
        }
        return None;
    };
    if intercept.uri().scheme_str() != Some("http") {
        let shown = masked(intercept.uri(), text.contains('@'));
        reader.warn(
            variable,
            format!(
                "{variable}={shown} is ignored: {} go only through a proxy with http://; {PROXY_FORM}",
                signal.noun()
            ),
        );
        return None;
    }
    let mut authorization = intercept.basic_auth().cloned();
    authorization.iter_mut().for_each(|value| value.set_sensitive(true));
    Some(Proxy { variable, address: intercept.uri().clone(), authorization })
}

/// Headers that the transport sets. Another value would break the request.
const RESERVED: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::HOST,
    header::TE,
];

/// Reads headers, and the file that they came from. A pair that cannot be used is left out, with a warning that does not show its
/// value.
fn read_headers(reader: &mut VariableReader<'_>, signal: Signal) -> (Headers, Option<HeadersFile>) {
    let Some((variable, text)) = reader.first_text(&forms!(signal, "HEADERS")) else {
        return (Headers::default(), None);
    };
    let (headers, problems) = Headers::from_text(&text);
    for problem in problems {
        reader.warn(variable, format!("{variable}: {problem}"));
    }
    // The variable itself holds the contents of the file.
    let file = SECRETS.iter().find(|(secret, _)| *secret == variable).and_then(|(_, variable)| {
        let path = reader.text(variable)?.into();
        Some(HeadersFile { variable, path })
    });
    (headers, file)
}

fn decode_header(member: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = decode_pair(member)?;
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
}
