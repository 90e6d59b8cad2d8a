//! What spans tell of HTTP requests, by the semantic conventions for HTTP servers.

use opentelemetry_semantic_conventions::attribute as key;
use redistributed_core::trace::request::Method;
use redistributed_core::trace::{ErrorType, Request};

use super::attributes::{Attributes, Key};

/// The keys of the attributes of requests.
#[derive(Clone, Debug)]
pub(super) struct RequestKeys {
    method: Key,
    original_method: Key,
    route: Key,
    scheme: Key,
    path: Key,
    query: Key,
    status: Key,
    error_type: Key,
    host: Key,
    port: Key,
    version: Key,
    user_agent: Key,
    request_size: Key,
    response_size: Key,
}

impl RequestKeys {
    pub(super) fn new() -> Self {
        Self {
            method: Key::new(key::HTTP_REQUEST_METHOD),
            original_method: Key::new(key::HTTP_REQUEST_METHOD_ORIGINAL),
            route: Key::new(key::HTTP_ROUTE),
            scheme: Key::new(key::URL_SCHEME),
            path: Key::new(key::URL_PATH),
            query: Key::new(key::URL_QUERY),
            status: Key::new(key::HTTP_RESPONSE_STATUS_CODE),
            error_type: Key::new(key::ERROR_TYPE),
            host: Key::new(key::SERVER_ADDRESS),
            port: Key::new(key::SERVER_PORT),
            version: Key::new(key::NETWORK_PROTOCOL_VERSION),
            user_agent: Key::new(key::USER_AGENT_ORIGINAL),
            request_size: Key::new(key::HTTP_REQUEST_BODY_SIZE),
            response_size: Key::new(key::HTTP_RESPONSE_BODY_SIZE),
        }
    }

    /// The order matters where a limit cuts the list: what the conventions require comes first.
    pub(super) fn describe(&self, request: &Request, error: Option<&ErrorType>, attributes: &mut Attributes<'_>) {
        attributes.text(&self.method, request.method.as_str());
        attributes.text(&self.scheme, if request.is_secure { "https" } else { "http" });
        let mut text = |key: &Key, value: Option<&str>| {
            if let Some(value) = value {
                attributes.text(key, value);
            }
        };
        text(&self.path, request.path.as_deref());
        text(&self.route, request.route.as_deref());
        if request.method == Method::Other {
            text(&self.original_method, request.original_method.as_deref());
        }
        text(&self.error_type, error.map(ErrorType::as_str));
        if let Some(status) = request.status {
            attributes.number(&self.status, status.into());
        }
        if let Some(host) = &request.host {
            attributes.text(&self.host, host);
            if let Some(port) = request.port {
                attributes.number(&self.port, port.into());
            }
        }
        if let Some(query) = &request.query {
            attributes.text(&self.query, query);
        }
        if let Some(user_agent) = &request.user_agent {
            attributes.text(&self.user_agent, user_agent);
        }
        attributes.text(&self.version, request.version.as_str());
        attributes.number(&self.request_size, request.request_size);
        attributes.number(&self.response_size, request.response_size);
    }
}
