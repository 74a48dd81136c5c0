//! Quoting for SQL, keyword strings and URLs.

/// Quotes an SQL identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes an SQL string literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A value in a keyword string.
pub(crate) fn keyword_value(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Percent-encodes all but the characters that mean nothing anywhere in a URL.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// The opposite. Says what is wrong with a text that is not percent-encoded UTF-8.
pub(crate) fn decode(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "it holds a broken percent sequence";
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(WRONG)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| WRONG)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| WRONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_stays_in_its_quotes() {
        assert_eq!(identifier(r#"a"b"#), r#""a""b""#);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(keyword_value(r"it's \"), r"'it\'s \\'");
    }

    #[test]
    fn any_text_survives_a_url() {
        for text in ["", "plain", "a/b c%d@e:f", "grüße"] {
            assert_eq!(decode(&encode(text)).as_deref(), Ok(text));
        }
        assert!(decode("%4").is_err());
        assert!(decode("%zz").is_err());
    }
}
