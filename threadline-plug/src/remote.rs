//! Where a request came from: the peer, or the client behind proxies one trusts.
//!
//! ```
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use std::net::SocketAddr;
//! use threadline_core::context::AuditContext;
//! use threadline_plug::{AuditContextLayer, RemoteAddr, TrustedProxies};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! /// What the server knows of the connection; axum's `ConnectInfo`, for instance.
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

use std::net::{AddrParseError, IpAddr};

use http::HeaderName;
use http::header::FORWARDED;
use ipnet::IpNet;

use crate::forwarded;
use crate::header::Headers;

/// Which address counts as the one a request came from. Ports are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RemoteAddr {
    /// None is recorded.
    #[default]
    None,
    /// The peer's of the connection. Headers are not looked at.
    Peer,
    /// The peer's; where that is one of these proxies, the one it forwarded for.
    TrustedProxies(TrustedProxies),
}

impl RemoteAddr {
    /// The address under this rule.
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

/// The header in which proxies say whom they forward for.
///
/// One of the two, never both: a proxy that writes the one passes on whatever a client wrote into
/// the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: client, proxy, proxy`.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=client, for=proxy`, RFC 7239.
    Forwarded,
}

impl ForwardedHeader {
    pub(crate) fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => FORWARDED,
        }
    }
}

/// The networks whose word on addresses is believed.
///
/// The header is read from the right, the side the nearest proxy wrote on, for as long as the
/// address at hand is one of these. The first that is not is the client. A value that is no
/// address ends the walk: the last address that was vouched for counts.
///
/// ```
/// use threadline_plug::remote::{ForwardedHeader, TrustedProxies};
///
/// let proxies = TrustedProxies::parse(["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"])?
///     .header(ForwardedHeader::Forwarded);
/// assert!(proxies.contains("10.20.30.40".parse()?));
/// assert!(!proxies.contains("192.0.2.2".parse()?));
/// assert!(TrustedProxies::parse(["10.0.0.0/33"]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ForwardedHeader,
}

impl TrustedProxies {
    /// Trusts these networks, and `X-Forwarded-For`.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            networks: networks.into_iter().collect(),
            header: ForwardedHeader::default(),
        }
    }

    /// Trusts these networks (`10.0.0.0/8`) and addresses (`::1`), and `X-Forwarded-For`.
    ///
    /// # Errors
    /// [`InvalidProxy`] for the first that is neither.
    pub fn parse<T: AsRef<str>>(
        networks: impl IntoIterator<Item = T>,
    ) -> Result<Self, InvalidProxy> {
        let networks: Result<Vec<_>, _> = networks
            .into_iter()
            .map(|network| parse_network(network.as_ref()))
            .collect();
        networks.map(Self::new)
    }

    /// Reads this header instead.
    #[must_use]
    pub fn header(mut self, header: ForwardedHeader) -> Self {
        self.header = header;
        self
    }

    /// Whether an address is one of them. An IPv4 address is also found in its IPv6 form.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }

    pub(crate) fn forwarded_header(&self) -> ForwardedHeader {
        self.header
    }
}

fn parse_network(text: &str) -> Result<IpNet, InvalidProxy> {
    if text.contains('/') {
        return text.parse().map_err(|source| InvalidProxy::Network {
            text: text.to_owned(),
            source,
        });
    }
    text.parse::<IpAddr>()
        .map(IpNet::from)
        .map_err(|source| InvalidProxy::Address {
            text: text.to_owned(),
            source,
        })
}

/// A text that names no network and no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProxy {
    /// With a slash, but no network.
    #[error("`{text}` is no network: write `10.0.0.0/8` or `2001:db8::/32`")]
    Network {
        /// What was given.
        text: String,
        /// What is wrong with it.
        source: ipnet::AddrParseError,
    },
    /// Without a slash, and no address.
    #[error("`{text}` is no address: write `192.0.2.1`, `::1`, or a network like `10.0.0.0/8`")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        source: AddrParseError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_addresses_are_read_and_nothing_else() {
        let proxies = TrustedProxies::parse(["10.0.0.0/8", "::1", "192.0.2.1"]).unwrap();
        for (address, trusted) in [
            ("10.255.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("11.0.0.1", false),
            ("::1", true),
            ("::2", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
        ] {
            assert_eq!(
                proxies.contains(address.parse().unwrap()),
                trusted,
                "{address}"
            );
        }
        assert!(matches!(
            TrustedProxies::parse(["10.0.0.0/33"]),
            Err(InvalidProxy::Network { .. })
        ));
        for wrong in ["", "proxy.example", "10.0.0.1:80"] {
            assert!(
                matches!(
                    TrustedProxies::parse([wrong]),
                    Err(InvalidProxy::Address { .. })
                ),
                "{wrong}"
            );
        }
    }

    #[test]
    fn without_a_peer_there_is_no_address() {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-forwarded-for", http::HeaderValue::from_static("1.1.1.1"));
        let everyone = TrustedProxies::parse(["0.0.0.0/0"]).unwrap();
        let rule = RemoteAddr::TrustedProxies(everyone);
        assert_eq!(rule.find(&headers, || None), None);
    }
}
