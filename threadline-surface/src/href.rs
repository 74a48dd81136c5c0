//! Addresses: the only way to an `href`, `action` or `src` of a page.
//!
//! An address is a path of the console under its base path, with values in the query only, so that no stored
//! text becomes a scheme, a host or a path.

use std::fmt;

use form_urlencoded::Serializer;
use maud::Render;

/// An address that a page may link to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Href(String);

impl Href {
    /// A path of the console.
    pub(crate) fn new(base: &str, path: &'static str) -> Self {
        Self(match (base, path) {
            // `/audit` rather than `/audit/`: routers of hosts may not know the second.
            ("", path) => path.to_owned(),
            (base, "/") => base.to_owned(),
            (base, path) => format!("{base}{path}"),
        })
    }

    /// An asset, whose name this crate chose.
    pub(crate) fn asset(base: &str, name: &str) -> Self {
        Self(format!("{base}/assets/{name}"))
    }

    /// An address that the host configured; none unless it is a path or an http address.
    pub(crate) fn of_host(address: &str) -> Option<Self> {
        let is_path = address.starts_with('/') && !address.starts_with("//");
        let is_http = ["https://", "http://"]
            .iter()
            .any(|scheme| address.starts_with(scheme));
        (is_path || is_http).then(|| Self(address.to_owned()))
    }

    /// The address that a form sends back, if it belongs to the console.
    pub(crate) fn returned(base: &str, address: &str) -> Option<Self> {
        let rest = address.strip_prefix(base)?;
        let is_inside = rest.is_empty() && !base.is_empty()
            || rest.starts_with('?')
            || rest.starts_with('/') && !rest.starts_with("//");
        let is_plain = address
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        // A browser resolves `..`, also as `%2e%2e`, to an address outside.
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let path = path.to_ascii_lowercase().replace("%2e", ".");
        let has_dots = path.split('/').any(|part| matches!(part, "." | ".."));
        (is_inside && is_plain && !has_dots).then(|| Self(address.to_owned()))
    }

    /// Adds a parameter.
    pub(crate) fn with(self, name: &str, value: impl fmt::Display) -> Self {
        let pair = Serializer::new(String::new())
            .append_pair(name, &value.to_string())
            .finish();
        let separator = if self.0.contains('?') { '&' } else { '?' };
        Self(format!("{}{separator}{pair}", self.0))
    }

    /// Adds parameters.
    pub(crate) fn with_all<N: AsRef<str>, V: fmt::Display>(
        self,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        pairs
            .into_iter()
            .fold(self, |href, (name, value)| href.with(name.as_ref(), value))
    }

    /// Links to a part of the page.
    pub(crate) fn fragment(id: &'static str) -> Self {
        Self(format!("#{id}"))
    }

    /// Links to a field of the form of the page.
    pub(crate) fn field(name: &'static str) -> Self {
        Self(format!("#field-{name}"))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Href {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Render for Href {
    fn render_to(&self, buffer: &mut String) {
        self.0.as_str().render_to(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_never_leave_the_query() {
        let href = Href::new("/audit", "/rows").with("key", "a/../b?x=1&y#z\" 'ü");
        assert_eq!(
            href.as_str(),
            "/audit/rows?key=a%2F..%2Fb%3Fx%3D1%26y%23z%22+%27%C3%BC"
        );
        assert_eq!(Href::new("/audit", "/").as_str(), "/audit");
        assert_eq!(Href::new("", "/").as_str(), "/");
    }

    #[test]
    fn addresses_outside_the_console_are_not_returned_to() {
        for inside in ["/audit", "/audit?x=1", "/audit/timeline?op=delete"] {
            assert!(Href::returned("/audit", inside).is_some(), "{inside}");
        }
        for outside in [
            "",
            "/",
            "//evil.example",
            "/auditor",
            "https://evil.example",
            "/audit//evil",
            "/audit/\\evil",
            "/audit/../logout",
            "/audit/x/%2E%2e/../logout?x=1",
            "javascript:alert(1)",
        ] {
            assert!(Href::returned("/audit", outside).is_none(), "{outside}");
        }
        assert!(Href::returned("", "//evil.example").is_none());
        assert!(Href::of_host("javascript:alert(1)").is_none());
    }
}
