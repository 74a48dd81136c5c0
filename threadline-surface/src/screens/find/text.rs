//! The forms of a text in the find box.

use threadline_core::table::TableName;

use crate::href::Href;
use crate::request::GrantedRequest;

/// A text without the spaces and quotes around it that come with pasting.
pub(super) fn trimmed(text: &str) -> Result<String, String> {
    let text = text
        .trim()
        .trim_matches(['`', '\u{201c}', '\u{201d}'])
        .trim();
    if text.is_empty() {
        return Err("paste an id, an actor, a table and key, or a time".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("paste one line without control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// The address of this console, if the text is one.
pub(super) fn own_address(request: &GrantedRequest, text: &str) -> Option<Href> {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let path = match rest {
        Some(rest) => &rest[rest.find('/')?..],
        None if text.starts_with('/') => text,
        None => return None,
    };
    Href::returned(&request.base, path.split('#').next()?)
}

/// The trace id of a traceparent: `00-<trace id>-<parent id>-<flags>`.
pub(super) fn trace_id(text: &str) -> Option<&str> {
    let fields: Vec<_> = text.split('-').collect();
    let [version, trace, parent, flags] = fields.as_slice() else {
        return None;
    };
    let is_hex = |field: &str, length| {
        field.len() == length && field.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let is_valid =
        is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    is_valid.then_some(*trace)
}

/// The ways to read a text as a table and a key. Names of tables may have quotes and spaces in them.
pub(super) fn table_and_key(text: &str) -> Vec<(TableName, Vec<String>)> {
    text.char_indices()
        .filter(|(place, space)| {
            // The last of several spaces.
            let next = text[*place..].chars().nth(1);
            space.is_whitespace() && next.is_some_and(|next| !next.is_whitespace())
        })
        .filter_map(|(place, _)| {
            let table = text[..place].trim().parse().ok()?;
            Some((table, key_texts(text[place..].trim())))
        })
        .collect()
}

/// The key as one text, or as `column=value` pairs if all its words are pairs.
fn key_texts(text: &str) -> Vec<String> {
    let words: Vec<_> = text.split_whitespace().map(ToOwned::to_owned).collect();
    let are_pairs = words.iter().all(|word| {
        word.split_once('=')
            .is_some_and(|(name, _)| !name.is_empty())
    });
    if words.len() > 1 && are_pairs {
        return words;
    }
    vec![text.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_has_a_trace_id_and_other_texts_have_none() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let text = format!("00-{id}-00f067aa0ba902b7-01");
        assert_eq!(trace_id(&text), Some(id));
        for text in [
            id,
            "00-1-2-3",
            "000303c2-476f-25e9-0000-0000000002f8",
            "a-b-c-d",
        ] {
            assert_eq!(trace_id(text), None, "{text}");
        }
    }

    #[test]
    fn a_table_may_have_spaces_and_a_key_several_columns() {
        let read = |text| table_and_key(text);
        let invoices: TableName = "invoices".parse().unwrap();
        assert_eq!(
            read("invoices  a b"),
            [
                (invoices, vec!["a b".to_owned()]),
                ("invoices  a".parse().unwrap(), vec!["b".to_owned()])
            ]
        );
        assert_eq!(read("lines order=7 line=2")[0].1, ["order=7", "line=2"]);
        let odd = TableName::new("odd s", "t 1");
        assert!(read(r#""odd s"."t 1" 4"#).contains(&(odd, vec!["4".to_owned()])));
        assert!(read("invoices").is_empty());
    }
}
