//! An HTTP client.

use std::net::SocketAddr;

use anyhow::ensure;
use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

/// The way to the application.
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
    ) -> anyhow::Result<Answer> {
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
        Ok(Answer {
            status: response.status().as_u16(),
            body: serde_json::from_str(&text).unwrap_or_default(),
        })
    }
}

/// Who sends a request, as far as its headers tell.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) name: String,
    headers: Vec<(&'static str, String)>,
}

impl Caller {
    /// Somebody without a session.
    pub(crate) fn unknown() -> Self {
        Self {
            name: "somebody".to_owned(),
            headers: Vec::new(),
        }
    }

    /// Somebody with a session.
    pub(crate) fn signed_in(name: &str, token: &str) -> Self {
        Self {
            name: name.to_owned(),
            headers: vec![("authorization", format!("Bearer {token}"))],
        }
    }

    /// The same, in somebody else's place.
    pub(crate) fn acting_for(&self, handle: &str) -> Self {
        let mut acting = self.clone();
        acting.name = format!("{} for {handle}", self.name);
        acting.headers.push(("x-impersonate", handle.to_owned()));
        acting
    }

    /// The same, as a part of something larger.
    pub(crate) fn within(&self, correlation: &str) -> Self {
        let mut within = self.clone();
        within
            .headers
            .push(("x-correlation-id", correlation.to_owned()));
        within
    }

    /// The same, in a request with an id.
    pub(crate) fn asking(&self, request_id: &str) -> Self {
        let mut asking = self.clone();
        asking.headers.push(("x-request-id", request_id.to_owned()));
        asking
    }

    /// What the request says it is part of.
    pub(crate) fn correlation(&self) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find_map(|(name, value)| (*name == "x-correlation-id").then_some(value.as_str()))
    }
}

/// What the application answered.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The answer, if it has the status that the story is about.
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
