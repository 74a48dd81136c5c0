//! The client's address in `X-Forwarded-For` and `Forwarded`.

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;

use crate::header::{DropReason, Headers, report_dropped};
use crate::trusted_proxies::{ForwardedHeader, TrustedProxies};

/// The maximum length of a header line. Real chains of proxies are far shorter.
const MAX_BYTES: usize = 4096;

/// The first address that is not a trusted proxy, beginning with the peer and then reading the header
/// from right to left. If all addresses are trusted or the next entry is invalid, the last address.
pub(crate) fn client(proxies: &TrustedProxies, headers: &impl Headers, peer: IpAddr) -> IpAddr {
    if !proxies.contains(peer) {
        return peer;
    }
    let header = proxies.forwarded_header();
    let mut client_address = peer;
    for value in headers.values(&header.name()).rev() {
        match read_line(proxies, header, value, &mut client_address) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            Err(reason) => {
                report_dropped(&header.name(), reason);
                break;
            }
        }
    }
    client_address
}

/// Reads one line of the header. Breaks at the first address that is not a trusted proxy.
fn read_line(
    proxies: &TrustedProxies,
    header: ForwardedHeader,
    value: &[u8],
    client_address: &mut IpAddr,
) -> Result<ControlFlow<()>, DropReason> {
    if value.len() > MAX_BYTES {
        return Err(DropReason::TooLong);
    }
    for hop in value.rsplit(|byte| *byte == b',') {
        let hop = str::from_utf8(hop).map_err(|_| DropReason::NotText)?;
        let address = match header {
            ForwardedHeader::XForwardedFor => address(hop.trim()),
            ForwardedHeader::Forwarded => forwarded_for(hop),
        };
        *client_address = address.ok_or(DropReason::Malformed)?;
        if !proxies.contains(*client_address) {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Parses an address with or without port or brackets.
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

/// Parses the address of `for` in one element of `Forwarded`.
///
/// Elements are split at commas, and a quoted string can contain commas. A part of a split string has
/// an unpaired quote or an escaped one; both are rejected, so that commas in a proxy's `host="…"`
/// cannot add elements.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in element.trim().split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        let value = unquote(value)?;
        if name.eq_ignore_ascii_case("for") && found.replace(address(value)?).is_some() {
            return None;
        }
    }
    found
}

/// Removes the quotes around a value; `None` if it has other quotes or a backslash.
fn unquote(value: &str) -> Option<&str> {
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
    fn x_forwarded_for_is_read_as_far_as_proxies_are_trusted() {
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
    fn invalid_elements_of_forwarded_end_the_search() {
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
        fn entries_left_of_the_client_are_ignored(left in "[ -~]{0,80}") {
            for (header, own) in [
                (ForwardedHeader::XForwardedFor, "1.1.1.1"),
                (ForwardedHeader::Forwarded, "for=1.1.1.1"),
            ] {
                let line = format!("{left}, {own}");
                prop_assert_eq!(found(header, "10.0.0.1", &[line.as_bytes()]), "1.1.1.1");
            }
        }

        #[test]
        fn headers_of_an_untrusted_peer_are_ignored(value in "[ -~]{0,80}") {
            let header = ForwardedHeader::XForwardedFor;
            prop_assert_eq!(found(header, "9.9.9.9", &[value.as_bytes()]), "9.9.9.9");
        }
    }
}
