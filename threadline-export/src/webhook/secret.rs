//! The secret of a receiver, and the signature of a request.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The secret that sender and receiver share: `whsec_` and 24 to 64 random bytes as base64. `Debug` does not
/// show it.
///
/// ```
/// use threadline_export::webhook::WebhookSecret;
///
/// let secret: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
/// assert_eq!(format!("{secret:?}"), "WebhookSecret(..)");
/// let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
/// assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
/// # Ok::<(), threadline_export::webhook::InvalidWebhookSecret>(())
/// ```
#[derive(Clone)]
pub struct WebhookSecret(Vec<u8>);

/// A text that is not the secret of a receiver. The message does not have the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the secret of the receiver is not valid: write `whsec_` and 24 to 64 random bytes as base64, for example \
     from `echo whsec_$(openssl rand -base64 32)`"
)]
pub struct InvalidWebhookSecret;

impl WebhookSecret {
    /// The value of the header `webhook-signature`: `v1,` and the base64 of the HMAC-SHA256 of
    /// `id.timestamp.body`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        // HMAC accepts keys of every length, so this is never an error.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return String::new();
        };
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

impl FromStr for WebhookSecret {
    type Err = InvalidWebhookSecret;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let encoded = text.strip_prefix("whsec_").ok_or(InvalidWebhookSecret)?;
        let key = STANDARD.decode(encoded).map_err(|_| InvalidWebhookSecret)?;
        if (24..=64).contains(&key.len()) {
            Ok(Self(key))
        } else {
            Err(InvalidWebhookSecret)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_without_prefix_or_of_another_length_are_rejected() {
        let encoded = |bytes: usize| STANDARD.encode(vec![7; bytes]);
        for bad in [
            String::new(),
            encoded(32),
            "whsec_".to_owned(),
            format!("whsec_{}", encoded(23)),
            format!("whsec_{}", encoded(65)),
            "whsec_not base64 not base64 not base64!".to_owned(),
        ] {
            assert!(bad.parse::<WebhookSecret>().is_err(), "{bad}");
        }
        assert!(
            format!("whsec_{}", encoded(24))
                .parse::<WebhookSecret>()
                .is_ok()
        );
    }
}
