//! The path at which the console is mounted.

use axum::extract::OriginalUri;
use axum::http::request::Parts;

/// The part of the original path that routers removed on the way: `/audit`, or empty at the root.
///
/// axum's routers keep the original address in the extensions.
pub(crate) fn base_path(parts: &Parts) -> String {
    let Some(OriginalUri(original)) = parts.extensions.get() else {
        return String::new();
    };
    let (original, inner) = (original.path(), parts.uri.path());
    original
        .strip_suffix(inner)
        .unwrap_or(original)
        .trim_end_matches('/')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn base(original: &str, inner: &str) -> String {
        let mut request = Request::new(());
        *request.uri_mut() = inner.parse().unwrap();
        request
            .extensions_mut()
            .insert(OriginalUri(original.parse().unwrap()));
        base_path(&request.into_parts().0)
    }

    #[test]
    fn the_base_is_the_original_path_without_the_inner_path() {
        assert_eq!(
            base("/audit/timeline?op=delete", "/timeline?op=delete"),
            "/audit"
        );
        assert_eq!(base("/t/acme/audit/timeline", "/timeline"), "/t/acme/audit");
        assert_eq!(base("/audit", "/"), "/audit");
        assert_eq!(base("/audit/", "/"), "/audit");
        assert_eq!(base("/timeline", "/timeline"), "");
        assert_eq!(base("/", "/"), "");
    }
}
