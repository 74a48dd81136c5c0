//! The one place where names and texts become SQL.
//!
//! Every identifier in generated SQL goes through [`quote_identifier`], every text through
//! [`quote_literal`], every function body through [`dollar_quote`]. Nothing else in the workspace
//! puts a name between quotes.

/// The longest name PostgreSQL stores, in bytes (`NAMEDATALEN - 1`).
pub const MAX_IDENTIFIER_BYTES: usize = 63;

/// Quotes an identifier, always, doubling the quotes inside it.
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

/// Quotes a text as a string constant that means the same whatever
/// `standard_conforming_strings` says.
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

/// Wraps a body in dollar quotes whose tag does not occur in it.
///
/// A column may be called anything, also `$capture$`; the tag then gets a number.
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

/// Whether a name can be written without quotes and means itself: a lower-case ASCII letter or
/// underscore, then letters, digits and underscores, at most [`MAX_IDENTIFIER_BYTES`] long.
#[must_use]
pub const fn is_plain_identifier(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_IDENTIFIER_BYTES {
        return false;
    }
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let letter = byte.is_ascii_lowercase() || byte == b'_';
        if !(letter || (at > 0 && byte.is_ascii_digit())) {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_occurs_in_the_body_is_not_used() {
        assert_eq!(dollar_quote("t", "a $t$ b"), "$t_1$a $t$ b$t_1$");
    }

    #[test]
    fn only_lower_case_ascii_words_are_plain() {
        for plain in ["threadline", "_audit", "audit_2"] {
            assert!(is_plain_identifier(plain), "{plain}");
        }
        for odd in ["", "Audit", "2nd", "a-b", "a b", "ä", &"x".repeat(64)] {
            assert!(!is_plain_identifier(odd), "{odd}");
        }
    }
}
