//! The HTTP client of the demonstration.

use std::net::SocketAddr;

use anyhow::ensure;
use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

/// An HTTP client of the application.
#[derive(Debug)]
pub(crate) struct Http {
    agent: Agent,
    address: SocketAddr,
}

impl Http {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let config = Agent::config_builder().http_status_as_error(false);
        Self {
            agent: config.build().into(),
            address,
        }
    }

    /// Sends a request on behalf of a caller.
    pub(crate) fn send(
        &self,
        caller: &Caller,
        method: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Response> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/json");
        for (name, value) in &caller.headers {
            request = request.header(*name, value);
        }
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut response = self.agent.run(request.body(body)?)?;
        let text = response.body_mut().read_to_string()?;
        Ok(Response {
            status: response.status().as_u16(),
            body: serde_json::from_str(&text).unwrap_or_default(),
        })
    }
}

/// The sender of a request: a name for the output, and headers.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) name: String,
    headers: Vec<(&'static str, String)>,
}

impl Caller {
    /// Creates a caller without a session.
    pub(crate) fn without_session() -> Self {
        Self {
            name: "(no session)".to_owned(),
            headers: Vec::new(),
        }
    }

    /// Creates a caller with a session.
    pub(crate) fn with_session(name: &str, token: &str) -> Self {
        Self {
            name: name.to_owned(),
            headers: vec![("authorization", format!("Bearer {token}"))],
        }
    }

    /// Adds the header with which staff act for a member.
    pub(crate) fn acting_for(&self, handle: &str) -> Self {
        let mut acting = self.clone();
        acting.name = format!("{} for {handle}", self.name);
        acting.headers.push(("x-impersonate", handle.to_owned()));
        acting
    }

    /// Adds a correlation id.
    pub(crate) fn with_correlation(&self, correlation: &str) -> Self {
        let mut caller = self.clone();
        caller
            .headers
            .push(("x-correlation-id", correlation.to_owned()));
        caller
    }

    /// Adds a request id.
    pub(crate) fn with_request_id(&self, request_id: &str) -> Self {
        let mut caller = self.clone();
        caller.headers.push(("x-request-id", request_id.to_owned()));
        caller
    }

    /// The correlation id, if any.
    pub(crate) fn correlation(&self) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find_map(|(name, value)| (*name == "x-correlation-id").then_some(value.as_str()))
    }
}

/// A response of the application.
#[derive(Debug)]
pub(crate) struct Response {
    status: u16,
    pub(crate) body: Value,
}

impl Response {
    /// Returns the response if it has the expected status.
    pub(crate) fn expect_status(self, status: u16) -> anyhow::Result<Self> {
        ensure!(
            self.status == status,
            "the application answered {} instead of {status}: {}",
            self.status,
            self.body
        );
        Ok(self)
    }
}
