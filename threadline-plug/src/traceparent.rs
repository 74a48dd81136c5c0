//! The trace id of W3C Trace Context, the correlation of last resort.

use http::HeaderName;
use threadline_core::context::ContextId;

use crate::header::{DropReason, Headers, report_dropped};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// `00-` + 32 + `-` + 16 + `-` + 2.
const VERSION_0_BYTES: usize = 55;

/// Later versions may append fields; nobody needs this much of them.
const MAX_BYTES: usize = 512;

/// The trace id of the request, if it says so in due form.
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
    let length_is_right = version != "00" || text.len() == VERSION_0_BYTES;
    let sound = version != "ff" && length_is_right && !is_zero(trace_id) && !is_zero(parent_id);
    sound.then_some(trace_id)
}

/// Lowercase hexadecimal digits, exactly so many.
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
    const SOUND: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_sound_traceparent_gives_its_trace_id() {
        for sound in [
            SOUND,
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later",
        ] {
            assert_eq!(parse(sound.as_bytes()).unwrap().as_str(), TRACE, "{sound}");
        }
    }

    #[test]
    fn anything_else_is_dropped() {
        let long = format!("{SOUND}-{}", "x".repeat(600));
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
    fn a_repeated_traceparent_is_none() {
        let mut headers = HeaderMap::new();
        headers.append(&TRACEPARENT, HeaderValue::from_static(SOUND));
        assert!(trace_id(&headers).is_some());
        headers.append(&TRACEPARENT, HeaderValue::from_static(SOUND));
        assert!(trace_id(&headers).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&value);
        }
    }
}
