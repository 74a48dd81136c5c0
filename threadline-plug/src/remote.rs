//! The remote address of a request: the connection's peer, or the client behind trusted proxies.
//!
//! ```
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use std::net::SocketAddr;
//! use threadline_core::context::AuditContext;
//! use threadline_plug::{AuditContextLayer, RemoteAddr, TrustedProxies};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! /// The server's information about the connection, for example axum's `ConnectInfo`.
//! #[derive(Clone)]
//! struct ConnectInfo(SocketAddr);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let proxies = TrustedProxies::parse(["10.0.0.0/8", "::1"])?;
//! let layer = AuditContextLayer::new().remote_addr(RemoteAddr::TrustedProxies(proxies), |parts| {
//!     parts.extensions.get::<ConnectInfo>().map(|info| info.0)
//! });
//! let service = layer.layer(service_fn(async |request: Request<()>| {
//!     let context = request.extensions().get::<AuditContext>().cloned();
//!     Ok::<_, Infallible>(Response::new(context.unwrap_or_default()))
//! }));
//!
//! let mut request = Request::builder()
//!     .header("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.1.1.1")
//!     .body(())?;
//! request.extensions_mut().insert(ConnectInfo("10.0.0.2:4711".parse()?));
//! let context = service.oneshot(request).await?.into_body();
//! assert_eq!(context, AuditContext::unattributed().remote_addr("203.0.113.9"));
//! # Ok(())
//! # }
//! ```

use std::net::IpAddr;

use crate::forwarded;
use crate::header::Headers;
pub use crate::trusted_proxies::{ForwardedHeader, InvalidProxy, TrustedProxies};

/// Which remote address is recorded, without its port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RemoteAddr {
    /// No address.
    #[default]
    None,
    /// The address of the connection's peer. Headers are ignored.
    Peer,
    /// The address of the client. If the peer is a trusted proxy, it is read from the header.
    TrustedProxies(TrustedProxies),
}

impl RemoteAddr {
    /// Determines the address.
    pub(crate) fn find(
        &self,
        headers: &impl Headers,
        peer: impl FnOnce() -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        match self {
            Self::None => None,
            Self::Peer => peer().map(|address| address.to_canonical()),
            Self::TrustedProxies(proxies) => {
                peer().map(|address| forwarded::client(proxies, headers, address.to_canonical()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_peer_there_is_no_address() {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-forwarded-for", http::HeaderValue::from_static("1.1.1.1"));
        let everyone = TrustedProxies::parse(["0.0.0.0/0"]).unwrap();
        let rule = RemoteAddr::TrustedProxies(everyone);
        assert_eq!(rule.find(&headers, || None), None);
    }
}
