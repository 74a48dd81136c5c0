//! Trusted proxies, and the header in which they forward the client's address.

use std::net::{AddrParseError, IpAddr};

use http::HeaderName;
use http::header::FORWARDED;
use ipnet::IpNet;

/// The header in which proxies forward the client's address.
///
/// Only one of the two is read, because a proxy that sets one passes on the other as the client sent
/// it.
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

/// The networks of trusted proxies.
///
/// The header is read from right to left, beginning with the entry of the nearest proxy, as long as
/// the address is a trusted proxy. The first address that is not one is the client. An invalid entry
/// ends the search; the client is then the last valid address.
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
    /// Trusts these networks and reads `X-Forwarded-For`.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            networks: networks.into_iter().collect(),
            header: ForwardedHeader::default(),
        }
    }

    /// Trusts these networks (`10.0.0.0/8`) and addresses (`::1`) and reads `X-Forwarded-For`.
    ///
    /// # Errors
    /// [`InvalidProxy`] for the first text that is neither.
    pub fn parse<T: AsRef<str>>(
        networks: impl IntoIterator<Item = T>,
    ) -> Result<Self, InvalidProxy> {
        let networks: Result<Vec<_>, _> = networks
            .into_iter()
            .map(|network| parse_network(network.as_ref()))
            .collect();
        networks.map(Self::new)
    }

    /// Sets the header to read.
    #[must_use]
    pub fn header(mut self, header: ForwardedHeader) -> Self {
        self.header = header;
        self
    }

    /// Whether an address is a trusted proxy. IPv4-mapped IPv6 addresses are converted to IPv4.
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

/// The error for a text that is neither a network nor an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProxy {
    /// The text has a slash and is not a network.
    #[error("`{text}` is not a network: write for example `10.0.0.0/8` or `2001:db8::/32`")]
    Network {
        /// The text.
        text: String,
        /// The parse error.
        source: ipnet::AddrParseError,
    },
    /// The text has no slash and is not an address.
    #[error(
        "`{text}` is not an address: write for example `192.0.2.1`, `::1` or the network `10.0.0.0/8`"
    )]
    Address {
        /// The text.
        text: String,
        /// The parse error.
        source: AddrParseError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_addresses_are_parsed() {
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
}
