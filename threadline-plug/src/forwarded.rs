//! The walk through `X-Forwarded-For` and `Forwarded`, from the right.

use std::net::{IpAddr, SocketAddr};

use crate::header::{DropReason, Headers, report_dropped};
use crate::remote::{ForwardedHeader, TrustedProxies};

/// No honest chain of proxies writes more than this into one header line.
const MAX_BYTES: usize = 4096;

/// The first address from the right that is not a trusted proxy, beginning with the peer; the last
/// one that was vouched for, where all are trusted or the next is none.
pub(crate) fn client(proxies: &TrustedProxies, headers: &impl Headers, peer: IpAddr) -> IpAddr {
    if !proxies.contains(peer) {
        return peer;
    }
    let header = proxies.forwarded_header();
    let mut nearest = peer;
    for value in headers.values(&header.name()).rev() {
        match walk(proxies, header, value, &mut nearest) {
            Ok(Walk::Goes) => {}
            Ok(Walk::Ends) => break,
            Err(reason) => {
                report_dropped(&header.name(), reason);
                break;
            }
        }
    }
    nearest
}

enum Walk {
    Goes,
    Ends,
}

/// Through one line of the header.
fn walk(
    proxies: &TrustedProxies,
    header: ForwardedHeader,
    value: &[u8],
    nearest: &mut IpAddr,
) -> Result<Walk, DropReason> {
    if value.len() > MAX_BYTES {
        return Err(DropReason::TooLong);
    }
    for hop in value.rsplit(|byte| *byte == b',') {
        let hop = str::from_utf8(hop).map_err(|_| DropReason::NotText)?;
        let address = match header {
            ForwardedHeader::XForwardedFor => address(hop.trim()),
            ForwardedHeader::Forwarded => forwarded_for(hop),
        };
        *nearest = address.ok_or(DropReason::Malformed)?;
        if !proxies.contains(*nearest) {
            return Ok(Walk::Ends);
        }
    }
    Ok(Walk::Goes)
}

/// An address, with or without a port or brackets.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse().map(IpAddr::V6).ok()
    };
    plain
        .or_else(with_port)
        .or_else(bracketed)
        .map(|address| address.to_canonical())
}

/// The `for` of one element of `Forwarded`.
///
/// The element was cut out at commas, which a quoted string may hold. What is left of a string cut
/// in two has a lone quote, or one behind a backslash, so both are refused: a client that smuggles
/// commas into a proxy's `host="…"` does not get to write elements of its own.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in element.trim().split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        let value = unquoted(value)?;
        if name.eq_ignore_ascii_case("for") && found.replace(address(value)?).is_some() {
            return None;
        }
    }
    found
}

/// A value without its quotes; none if quotes or backslashes are anywhere else.
fn unquoted(value: &str) -> Option<&str> {
    let inner = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    (!inner.contains(['"', '\\'])).then_some(inner)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn found(header: ForwardedHeader, peer: &str, lines: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header.name(), HeaderValue::from_bytes(line).unwrap());
        }
        let proxies = TrustedProxies::parse(["10.0.0.0/8", "fd00::/8"]).unwrap();
        let peer = peer.parse().unwrap();
        client(&proxies.header(header), &headers, peer).to_string()
    }

    #[test]
    fn x_forwarded_for_is_believed_as_far_as_proxies_are_trusted() {
        let long = [b"1.1.1.1, ".repeat(500).as_slice(), b"2.2.2.2"].concat();
        let table: [(&str, &[&[u8]], &str); 20] = [
            ("9.9.9.9", &[b"1.1.1.1"], "9.9.9.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[b"1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &[b"6.6.6.6, 1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &[b"6.6.6.6, 1.1.1.1, 10.2.2.2"], "1.1.1.1"),
            ("10.0.0.1", &[b"6.6.6.6", b"1.1.1.1,10.2.2.2"], "1.1.1.1"),
            ("10.0.0.1", &[b"1.1.1.1", b"10.2.2.2"], "1.1.1.1"),
            ("10.0.0.1", &[b"10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            ("10.0.0.1", &[b"1.1.1.1:5555"], "1.1.1.1"),
            ("10.0.0.1", &[b"[2001:db8::7]:80"], "2001:db8::7"),
            ("10.0.0.1", &[b"[2001:db8::7]"], "2001:db8::7"),
            ("10.0.0.1", &[b"2001:db8::7"], "2001:db8::7"),
            ("10.0.0.1", &[b"::ffff:1.1.1.1"], "1.1.1.1"),
            ("fd00::1", &[b"1.1.1.1, fd12::1"], "1.1.1.1"),
            ("10.0.0.1", &[b"1.1.1.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &[b"1.1.1.1, unknown, 10.2.2.2"], "10.2.2.2"),
            ("10.0.0.1", &[b"1.1.1.1,"], "10.0.0.1"),
            ("10.0.0.1", &[b""], "10.0.0.1"),
            ("10.0.0.1", &[b"1.1.1.1, \xff\xfe"], "10.0.0.1"),
            ("10.0.0.1", &[&long], "10.0.0.1"),
        ];
        for (peer, lines, expected) in table {
            let shown: Vec<_> = lines.iter().map(|l| String::from_utf8_lossy(l)).collect();
            let address = found(ForwardedHeader::XForwardedFor, peer, lines);
            assert_eq!(address, expected, "{peer} {shown:?}");
        }
    }

    #[test]
    fn forwarded_is_read_strictly() {
        let table: [(&[u8], &str); 14] = [
            (b"for=1.1.1.1", "1.1.1.1"),
            (b"For=1.1.1.1;proto=https;by=10.0.0.1", "1.1.1.1"),
            (b"proto=https; for=1.1.1.1", "1.1.1.1"),
            (b"for=6.6.6.6, for=1.1.1.1, for=10.9.9.9", "1.1.1.1"),
            (b"for=\"1.1.1.1:80\"", "1.1.1.1"),
            (b"for=\"[2001:db8::17]:4711\"", "2001:db8::17"),
            (b"for=\"[2001:db8::17]\"", "2001:db8::17"),
            (b"for=unknown", "10.0.0.1"),
            (b"for=_hidden", "10.0.0.1"),
            (b"proto=https", "10.0.0.1"),
            (b"for=1.1.1.1;for=2.2.2.2", "10.0.0.1"),
            (b"for=\"1.1.1.1", "10.0.0.1"),
            (b"for=1.1.1.1;host=\"x, for=6.6.6.6;a=\"", "10.0.0.1"),
            (
                b"for=1.1.1.1;host=\"x\\\", for=6.6.6.6;a=\\\"\"",
                "10.0.0.1",
            ),
        ];
        for (line, expected) in table {
            let shown = String::from_utf8_lossy(line);
            let address = found(ForwardedHeader::Forwarded, "10.0.0.1", &[line]);
            assert_eq!(address, expected, "{shown}");
        }
    }

    proptest! {
        #[test]
        fn what_stands_left_of_the_client_changes_nothing(left in "[ -~]{0,80}") {
            for (header, own) in [
                (ForwardedHeader::XForwardedFor, "1.1.1.1"),
                (ForwardedHeader::Forwarded, "for=1.1.1.1"),
            ] {
                let line = format!("{left}, {own}");
                prop_assert_eq!(found(header, "10.0.0.1", &[line.as_bytes()]), "1.1.1.1");
            }
        }

        #[test]
        fn a_peer_nobody_trusts_is_the_client_whatever_it_sends(value in "[ -~]{0,80}") {
            let header = ForwardedHeader::XForwardedFor;
            prop_assert_eq!(found(header, "9.9.9.9", &[value.as_bytes()]), "9.9.9.9");
        }
    }
}
