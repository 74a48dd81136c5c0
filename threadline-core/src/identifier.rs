//! Quoting of identifiers, string literals and function bodies for generated SQL.

/// The maximum length of an identifier in PostgreSQL in bytes (`NAMEDATALEN - 1`).
pub const MAX_IDENTIFIER_BYTES: usize = 63;

/// Quotes an identifier and doubles the quotes inside it.
///
/// ```
/// use threadline_core::identifier::quote_identifier;
/// assert_eq!(quote_identifier("orders"), r#""orders""#);
/// assert_eq!(quote_identifier(r#"odd "name""#), r#""odd ""name""""#);
/// ```
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text as a string literal with the same value under any setting of
/// `standard_conforming_strings`.
///
/// ```
/// use threadline_core::identifier::quote_literal;
/// assert_eq!(quote_literal("it's"), "'it''s'");
/// assert_eq!(quote_literal(r"a\b"), r"E'a\\b'");
/// ```
#[must_use]
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// Quotes a text with dollar quotes. The tag gets a number if it occurs in the text.
///
/// ```
/// use threadline_core::identifier::dollar_quote;
/// assert_eq!(dollar_quote("body", "SELECT 1"), "$body$SELECT 1$body$");
/// assert_eq!(dollar_quote("body", "'$body$'"), "$body_1$'$body$'$body_1$");
/// ```
#[must_use]
pub fn dollar_quote(tag: &str, body: &str) -> String {
    let mut quote = format!("${tag}$");
    let mut attempt = 1;
    while body.contains(&quote) {
        quote = format!("${tag}_{attempt}$");
        attempt += 1;
    }
    format!("{quote}{body}{quote}")
}

/// Whether a name consists of a lower-case ASCII letter or underscore followed by lower-case
/// letters, digits and underscores, and has at most [`MAX_IDENTIFIER_BYTES`] bytes. Unless it is a
/// keyword, such a name needs no quotes.
///
/// ```
/// use threadline_core::identifier::is_plain_identifier;
/// assert!(is_plain_identifier("order_lines"));
/// assert!(!is_plain_identifier("Order Lines"));
/// ```
#[must_use]
pub const fn is_plain_identifier(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_IDENTIFIER_BYTES {
        return false;
    }
    let mut index = 0;
    while index < bytes.len() {
        let byte = bytes[index];
        let is_letter = byte.is_ascii_lowercase() || byte == b'_';
        if !(is_letter || (index > 0 && byte.is_ascii_digit())) {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollar_quotes_avoid_tags_in_the_text() {
        assert_eq!(dollar_quote("t", "a $t$ b"), "$t_1$a $t$ b$t_1$");
    }

    #[test]
    fn only_lower_case_ascii_words_are_plain_identifiers() {
        for plain in ["threadline", "_audit", "audit_2"] {
            assert!(is_plain_identifier(plain), "{plain}");
        }
        for odd in ["", "Audit", "2nd", "a-b", "a b", "ä", &"x".repeat(64)] {
            assert!(!is_plain_identifier(odd), "{odd}");
        }
    }
}
