//! The trace id of W3C Trace Context, the correlation id of requests that have no other.

use http::HeaderName;
use threadline_core::context::ContextId;

use crate::header::{DropReason, Headers, report_dropped};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The length of version 0: `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const VERSION_0_BYTES: usize = 55;

/// The maximum length of later versions, which can append fields.
const MAX_BYTES: usize = 512;

/// The trace id of the header `traceparent`, if it is valid.
pub(crate) fn trace_id(headers: &impl Headers) -> Option<ContextId> {
    let mut values = headers.values(&TRACEPARENT);
    let value = values.next()?;
    let parsed = match values.next() {
        Some(_) => Err(DropReason::Repeated),
        None => parse(value),
    };
    parsed
        .inspect_err(|reason| report_dropped(&TRACEPARENT, *reason))
        .ok()
}

fn parse(value: &[u8]) -> Result<ContextId, DropReason> {
    if value.is_empty() {
        return Err(DropReason::Empty);
    }
    if value.len() > MAX_BYTES {
        return Err(DropReason::TooLong);
    }
    let text = str::from_utf8(value).map_err(|_| DropReason::NotText)?;
    let id = trace_id_of(text).ok_or(DropReason::Malformed)?;
    ContextId::new(id).map_err(|_| DropReason::Malformed)
}

fn trace_id_of(text: &str) -> Option<&str> {
    let mut fields = text.splitn(5, '-');
    let version = hex(fields.next()?, 2)?;
    let trace_id = hex(fields.next()?, 32)?;
    let parent_id = hex(fields.next()?, 16)?;
    hex(fields.next()?, 2)?;
    let has_valid_length = version != "00" || text.len() == VERSION_0_BYTES;
    let is_valid = version != "ff" && has_valid_length && !is_zero(trace_id) && !is_zero(parent_id);
    is_valid.then_some(trace_id)
}

/// Returns a field that consists of this number of lower-case hexadecimal digits.
fn hex(field: &str, length: usize) -> Option<&str> {
    let digits = field
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (digits && field.len() == length).then_some(field)
}

fn is_zero(field: &str) -> bool {
    field.bytes().all(|byte| byte == b'0')
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_traceparent_has_a_trace_id() {
        for valid in [
            VALID,
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later",
        ] {
            assert_eq!(parse(valid.as_bytes()).unwrap().as_str(), TRACE, "{valid}");
        }
    }

    #[test]
    fn an_invalid_traceparent_is_dropped_with_the_reason() {
        let long = format!("{VALID}-{}", "x".repeat(600));
        let table: [(&[u8], DropReason); 14] = [
            (b"", DropReason::Empty),
            (long.as_bytes(), DropReason::TooLong),
            (b"00-\xff", DropReason::NotText),
            (b"00", DropReason::Malformed),
            (TRACE.as_bytes(), DropReason::Malformed),
            (
                b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                DropReason::Malformed,
            ),
            (
                b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                DropReason::Malformed,
            ),
            (
                b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                DropReason::Malformed,
            ),
            (
                b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                DropReason::Malformed,
            ),
            (
                b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                DropReason::Malformed,
            ),
            (
                b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-",
                DropReason::Malformed,
            ),
            (
                b"00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
                DropReason::Malformed,
            ),
            (
                b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
                DropReason::Malformed,
            ),
            (
                b" 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                DropReason::Malformed,
            ),
        ];
        for (value, reason) in table {
            let shown = String::from_utf8_lossy(value);
            assert_eq!(parse(value), Err(reason), "{shown}");
        }
    }

    #[test]
    fn a_repeated_traceparent_is_dropped() {
        let mut headers = HeaderMap::new();
        headers.append(&TRACEPARENT, HeaderValue::from_static(VALID));
        assert!(trace_id(&headers).is_some());
        headers.append(&TRACEPARENT, HeaderValue::from_static(VALID));
        assert!(trace_id(&headers).is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(value in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&value);
        }
    }
}
