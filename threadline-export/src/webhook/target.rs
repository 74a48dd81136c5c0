//! The address of a receiver.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use super::address::is_public;

/// Whether requests may be sent to private, loopback and link-local addresses, and without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrivateAddresses {
    /// They are refused, and the URL has to be `https`.
    #[default]
    Refused,
    /// They are allowed, and the URL can be `http`.
    Allowed,
}

/// The URL of a receiver. `Debug` and `Display` show scheme, host and port only, because path and query can
/// have a token.
///
/// ```
/// use threadline_export::webhook::{PrivateAddresses, WebhookTarget};
///
/// let target = WebhookTarget::parse("https://siem.example.com/in?token=1", PrivateAddresses::Refused)?;
/// assert_eq!(target.to_string(), "https://siem.example.com");
/// assert!(WebhookTarget::parse("https://169.254.169.254/", PrivateAddresses::Refused).is_err());
/// # Ok::<(), threadline_export::webhook::InvalidWebhookTarget>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookTarget {
    url: Url,
    private: PrivateAddresses,
}

/// A URL to which nothing is sent. The message does not have the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidWebhookTarget {
    /// The text is not a URL with a host.
    #[error("the URL of the receiver is not valid: write https://host/path")]
    Url,
    /// The scheme is not `https`, or not `http` where that is allowed.
    #[error(
        "the URL of the receiver is not https; http is allowed together with private addresses"
    )]
    Scheme,
    /// The URL has a user name or a password.
    #[error(
        "the URL of the receiver has a user name or a password: the signature authenticates requests"
    )]
    UserInfo,
    /// The host is an address that is not public.
    #[error(
        "the URL of the receiver has an address that is not public; allow private addresses to use it"
    )]
    PrivateAddress,
}

impl WebhookTarget {
    /// Parses and checks a URL. The addresses of a host name are checked for every connection.
    ///
    /// # Errors
    /// [`InvalidWebhookTarget`].
    pub fn parse(url: &str, private: PrivateAddresses) -> Result<Self, InvalidWebhookTarget> {
        let url = Url::parse(url).map_err(|_| InvalidWebhookTarget::Url)?;
        match (url.scheme(), private) {
            ("https", _) | ("http", PrivateAddresses::Allowed) => {}
            _ => return Err(InvalidWebhookTarget::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidWebhookTarget::UserInfo);
        }
        let host = url.host_str().ok_or(InvalidWebhookTarget::Url)?;
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        if private == PrivateAddresses::Refused
            && address.is_some_and(|address| !is_public(address))
        {
            return Err(InvalidWebhookTarget::PrivateAddress);
        }
        Ok(Self { url, private })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn private_addresses(&self) -> PrivateAddresses {
        self.private
    }
}

impl fmt::Display for WebhookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url.origin().ascii_serialization())
    }
}

impl fmt::Debug for WebhookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookTarget({self}, {:?})", self.private)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_reach_private_addresses_are_rejected() {
        for (url, error) in [
            ("https://127.0.0.1/", InvalidWebhookTarget::PrivateAddress),
            ("https://0x7f.1/", InvalidWebhookTarget::PrivateAddress),
            ("https://2130706433/", InvalidWebhookTarget::PrivateAddress),
            ("https://[::1]:8443/", InvalidWebhookTarget::PrivateAddress),
            (
                "https://[::ffff:10.0.0.1]/",
                InvalidWebhookTarget::PrivateAddress,
            ),
            (
                "https://169.254.169.254/",
                InvalidWebhookTarget::PrivateAddress,
            ),
            ("http://example.com/", InvalidWebhookTarget::Scheme),
            ("file:///etc/passwd", InvalidWebhookTarget::Scheme),
            ("https://user@example.com/", InvalidWebhookTarget::UserInfo),
            (
                "https://:secret@example.com/",
                InvalidWebhookTarget::UserInfo,
            ),
            ("example.com", InvalidWebhookTarget::Url),
        ] {
            let target = WebhookTarget::parse(url, PrivateAddresses::Refused);
            assert_eq!(target.unwrap_err(), error, "{url}");
        }
    }

    #[test]
    fn private_addresses_and_http_are_allowed_together() {
        for url in [
            "http://127.0.0.1:8080/in",
            "https://10.0.0.1/",
            "http://[::1]/",
        ] {
            assert!(
                WebhookTarget::parse(url, PrivateAddresses::Allowed).is_ok(),
                "{url}"
            );
        }
        let user_info = WebhookTarget::parse("http://a:b@127.0.0.1/", PrivateAddresses::Allowed);
        assert_eq!(user_info.unwrap_err(), InvalidWebhookTarget::UserInfo);
    }
}
