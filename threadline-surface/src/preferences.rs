//! Preferences of an operator: theme, time zone, density and single keys, each in a cookie.

use axum::http::HeaderValue;
use axum::http::header::{COOKIE, HOST};
use axum::http::request::Parts;
use chrono_tz::Tz;

/// The seconds for which a browser keeps a preference: one year.
const MAX_AGE_SECONDS: u32 = 31_536_000;

const THEME: &str = "threadline-theme";
const ZONE: &str = "threadline-zone";
const DENSITY: &str = "threadline-density";
const KEYS: &str = "threadline-keys";

/// The preferences of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preferences {
    pub(crate) theme: Theme,
    pub(crate) zone: Tz,
    pub(crate) density: Density,
    pub(crate) keys: Keys,
}

/// The colours of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Theme {
    #[default]
    System,
    Light,
    Dark,
}

/// The space between the lines of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Density {
    #[default]
    Comfortable,
    Compact,
}

/// Whether single keys do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Keys {
    #[default]
    On,
    Off,
}

impl Keys {
    pub(crate) const ALL: [Self; 2] = [Self::On, Self::Off];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|keys| keys.as_str() == text)
    }
}

impl Theme {
    pub(crate) const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.as_str() == text)
    }
}

impl Density {
    pub(crate) const ALL: [Self; 2] = [Self::Comfortable, Self::Compact];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Comfortable => "comfortable",
            Self::Compact => "compact",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|density| density.as_str() == text)
    }
}

impl Preferences {
    /// The preferences of a request. Invalid cookies are ignored.
    pub(crate) fn from_parts(parts: &Parts, default_zone: Tz) -> Self {
        let cookie = |name: &str| {
            parts
                .headers
                .get_all(COOKIE)
                .iter()
                .filter_map(|header| header.to_str().ok())
                .flat_map(|header| header.split(';'))
                .filter_map(|pair| pair.trim().split_once('='))
                .find_map(|(key, value)| (key == name).then(|| value.to_owned()))
        };
        Self {
            theme: cookie(THEME)
                .and_then(|text| Theme::parse(&text))
                .unwrap_or_default(),
            zone: cookie(ZONE)
                .and_then(|text| text.parse().ok())
                .unwrap_or(default_zone),
            density: cookie(DENSITY)
                .and_then(|text| Density::parse(&text))
                .unwrap_or_default(),
            keys: cookie(KEYS)
                .and_then(|text| Keys::parse(&text))
                .unwrap_or_default(),
        }
    }

    /// The cookies that store the preferences.
    pub(crate) fn cookies(self, base: &str, is_secure: bool) -> Vec<HeaderValue> {
        let path = if base.is_empty() { "/" } else { base };
        let secure = if is_secure { "; Secure" } else { "" };
        [
            (THEME, self.theme.as_str()),
            (ZONE, self.zone.name()),
            (DENSITY, self.density.as_str()),
            (KEYS, self.keys.as_str()),
        ]
        .into_iter()
        .filter_map(|(name, value)| {
            HeaderValue::from_str(&format!(
                "{name}={value}; Path={path}; Max-Age={MAX_AGE_SECONDS}; HttpOnly; SameSite=Lax{secure}"
            ))
            .ok()
        })
        .collect()
    }
}

/// Whether cookies are `Secure`: unless the browser uses plain http to this machine, as in development.
pub(crate) fn is_secure(parts: &Parts) -> bool {
    let host = parts
        .headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let is_loopback = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    let is_https = parts
        .headers
        .get("x-forwarded-proto")
        .is_some_and(|scheme| scheme == "https");
    !is_loopback || is_https
}
