//! Ids from request headers. Invalid values are dropped with an event.

use http::HeaderName;
use threadline_core::context::{ContextId, InvalidContextId, MAX_ID_BYTES};
use threadline_core::telemetry;

/// Header maps of different versions of the `http` crate.
pub(crate) trait Headers {
    /// All values of a header, in the order of the request.
    fn values(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]>;
}

impl Headers for http::HeaderMap {
    fn values(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.get_all(name).iter().map(http::HeaderValue::as_bytes)
    }
}

/// Why a header value was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// The value is empty after trimming.
    Empty,
    /// The value is too long.
    TooLong,
    /// The value is not UTF-8.
    NotText,
    /// The value has a control character.
    ControlCharacter,
    /// The value does not have the syntax of the header.
    Malformed,
    /// The header occurs more than once, and must not.
    Repeated,
}

impl DropReason {
    /// The `reason` in the event.
    fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "too long",
            Self::NotText => "not utf-8",
            Self::ControlCharacter => "control character",
            Self::Malformed => "malformed",
            Self::Repeated => "repeated",
        }
    }
}

/// Emits the event `context dropped`, without the value.
pub(crate) fn report_dropped(header: &HeaderName, reason: DropReason) {
    telemetry::context_dropped(header.as_str(), reason.as_str());
}

/// The first value of a header, if it is a valid id.
pub(crate) fn context_id(headers: &impl Headers, name: &HeaderName) -> Option<ContextId> {
    let value = headers.values(name).next()?;
    parse_id(value)
        .inspect_err(|reason| report_dropped(name, *reason))
        .ok()
}

/// Checks the length before it reads the value.
fn parse_id(value: &[u8]) -> Result<ContextId, DropReason> {
    if value.len() > MAX_ID_BYTES {
        return Err(DropReason::TooLong);
    }
    let text = str::from_utf8(value).map_err(|_| DropReason::NotText)?;
    ContextId::new(text).map_err(|error| match error {
        InvalidContextId::Empty => DropReason::Empty,
        InvalidContextId::TooLong(_) => DropReason::TooLong,
        InvalidContextId::ControlCharacter(_) => DropReason::ControlCharacter,
        _ => DropReason::Malformed,
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const ID: HeaderName = HeaderName::from_static("x-request-id");

    #[test]
    fn invalid_values_are_dropped_with_the_reason() {
        let megabyte = vec![b'a'; 1 << 20];
        let table: [(&[u8], DropReason); 8] = [
            (b"", DropReason::Empty),
            (b" \t ", DropReason::Empty),
            (&megabyte, DropReason::TooLong),
            (&[b'a'; 257], DropReason::TooLong),
            (b"a\xff\xfe", DropReason::NotText),
            (b"a\0b", DropReason::ControlCharacter),
            (b"a\r\nset-cookie: x", DropReason::ControlCharacter),
            ("a\u{85}b".as_bytes(), DropReason::ControlCharacter),
        ];
        for (value, reason) in table {
            let shown = String::from_utf8_lossy(&value[..value.len().min(20)]);
            assert_eq!(parse_id(value), Err(reason), "{shown}");
        }
    }

    #[test]
    fn an_id_of_the_maximum_length_is_accepted() {
        assert_eq!(parse_id(&[b'a'; 256]).unwrap().as_str().len(), 256);
    }

    #[test]
    fn the_first_of_several_values_is_used() {
        let mut headers = HeaderMap::new();
        headers.append(ID, HeaderValue::from_static("one"));
        headers.append(ID, HeaderValue::from_static("two"));
        assert_eq!(context_id(&headers, &ID).unwrap().as_str(), "one");
    }

    proptest! {
        #[test]
        fn accepted_values_are_valid_ids(value in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(id) = parse_id(&value) {
                prop_assert!((1..=256).contains(&id.as_str().len()));
                prop_assert!(!id.as_str().chars().any(char::is_control));
            }
        }
    }
}
