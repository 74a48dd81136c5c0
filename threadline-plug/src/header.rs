//! Header values from strangers: read when they are sound, dropped with an event when not.

use http::HeaderName;
use threadline_core::context::{ContextId, InvalidContextId, MAX_ID_BYTES};
use threadline_core::telemetry;

/// The headers of a request, whichever version of the `http` crate they come from.
pub(crate) trait Headers {
    /// All values under a name, in the order they came in.
    fn values(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]>;
}

impl Headers for http::HeaderMap {
    fn values(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.get_all(name).iter().map(http::HeaderValue::as_bytes)
    }
}

/// Why a header value was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// Nothing is left after trimming.
    Empty,
    /// It is longer than such a value may be.
    TooLong,
    /// It is not UTF-8.
    NotText,
    /// It holds a control character.
    ControlCharacter,
    /// It does not have the form the header prescribes.
    Malformed,
    /// It was sent more than once, and which one counts is nowhere said.
    Repeated,
}

impl DropReason {
    /// The word in the event.
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

/// Says that a value was dropped, never which. At debug level, because any stranger can cause it.
pub(crate) fn report_dropped(header: &HeaderName, reason: DropReason) {
    telemetry::context_dropped(header.as_str(), reason.as_str());
}

/// The first value under a name, if it can be an id.
pub(crate) fn context_id(headers: &impl Headers, name: &HeaderName) -> Option<ContextId> {
    let value = headers.values(name).next()?;
    parse_id(value)
        .inspect_err(|reason| report_dropped(name, *reason))
        .ok()
}

/// Lengths are checked before anything looks at the bytes.
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
    fn hostile_values_are_dropped_for_the_reason_they_are_hostile() {
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
    fn an_id_of_the_greatest_length_is_read() {
        assert_eq!(parse_id(&[b'a'; 256]).unwrap().as_str().len(), 256);
    }

    #[test]
    fn the_first_of_several_values_counts() {
        let mut headers = HeaderMap::new();
        headers.append(ID, HeaderValue::from_static("one"));
        headers.append(ID, HeaderValue::from_static("two"));
        assert_eq!(context_id(&headers, &ID).unwrap().as_str(), "one");
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_a_sound_id(value in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(id) = parse_id(&value) {
                prop_assert!((1..=256).contains(&id.as_str().len()));
                prop_assert!(!id.as_str().chars().any(char::is_control));
            }
        }
    }
}
