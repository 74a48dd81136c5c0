//! Which keys a query is about, as PostgreSQL's plan tells.
//!
//! A plan shows at each place where a table is read what is asked of its rows there, whatever the
//! query looked like: a condition on the key with constants says that no other rows matter.

use serde_json::Value;
use threadline_core::table::TableName;

use super::plan::is_on_purpose;
use crate::rewriting::significant;
use crate::sql_tokens::{Kind, Token, tokens};

/// Keys as PostgreSQL shows them: a constant, or an array of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeysAsked {
    pub(crate) literal: String,
    pub(crate) of_type: &'static str,
    pub(crate) is_array: bool,
}

/// The keys of a table that the plan (of `EXPLAIN (VERBOSE, FORMAT JSON)`) of a query asks for, if at
/// the one place where it reads the table it asks for certain keys only.
pub(crate) fn keys_asked(plan: &Value, table: &TableName, column: &str) -> Option<KeysAsked> {
    let mut places = Vec::new();
    collect(plan, table, &mut places);
    let [place] = places.as_slice() else {
        return None;
    };
    ["Index Cond", "Recheck Cond", "Filter"]
        .iter()
        .filter_map(|field| place.get(*field)?.as_str())
        .find_map(|condition| asked_by(condition, column))
}

fn collect<'p>(node: &'p Value, table: &TableName, places: &mut Vec<&'p Value>) {
    match node {
        Value::Array(nodes) => nodes.iter().for_each(|node| collect(node, table, places)),
        Value::Object(fields) => {
            let is = |field: &str, wanted: &str| {
                fields.get(field).and_then(Value::as_str) == Some(wanted)
            };
            let alias = fields.get("Alias").and_then(Value::as_str);
            if is("Relation Name", table.name())
                && is("Schema", table.schema())
                && alias.is_some_and(is_on_purpose)
            {
                places.push(node);
            }
            fields
                .values()
                .for_each(|value| collect(value, table, places));
        }
        _ => {}
    }
}

/// The keys that a condition asks for, as PostgreSQL writes it: one comparison in brackets, or
/// several with AND between them in brackets of their own.
fn asked_by(condition: &str, column: &str) -> Option<KeysAsked> {
    let all = tokens(condition);
    let counting: Vec<_> = significant(&all)
        .into_iter()
        .map(|(_, token)| token)
        .collect();
    let inner = in_brackets(&counting)?;
    comparison(inner, column).or_else(|| {
        conjuncts(inner)?
            .into_iter()
            .find_map(|one| comparison(in_brackets(one)?, column))
    })
}

/// What stands between a bracket and the one that closes it, if that is all there is.
fn in_brackets<'t, 's>(all: &'t [&'t Token<'s>]) -> Option<&'t [&'t Token<'s>]> {
    let (first, rest) = all.split_first()?;
    let (_, inner) = rest.split_last()?;
    (first.is_mark("(") && end_of_group(all) == Some(all.len())).then_some(inner)
}

/// The length of the group in brackets with which something begins.
fn end_of_group(all: &[&Token<'_>]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in all.iter().enumerate() {
        if token.is_mark("(") {
            depth += 1;
        } else if token.is_mark(")") {
            depth = depth.checked_sub(1)?;
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// The groups between which there is nothing but AND.
fn conjuncts<'t, 's>(mut all: &'t [&'t Token<'s>]) -> Option<Vec<&'t [&'t Token<'s>]>> {
    let mut found = Vec::new();
    loop {
        let (group, rest) = all.split_at(end_of_group(all)?);
        found.push(group);
        match rest.split_first() {
            None => return Some(found),
            Some((and, rest)) if and.kind == Kind::Word && and.text == "AND" => all = rest,
            Some(_) => return None,
        }
    }
}

/// `column = constant` or `column = ANY (constant)`.
fn comparison(all: &[&Token<'_>], column: &str) -> Option<KeysAsked> {
    let equals = all.iter().position(|token| token.is_mark("="))?;
    let (left, right) = (&all[..equals], &all[equals + 1..]);
    if !is_column(left, column) {
        return None;
    }
    match right.split_first()? {
        (any, group) if any.kind == Kind::Word && any.text == "ANY" => {
            constant(in_brackets(group)?).filter(|keys| keys.is_array)
        }
        _ => constant(right).filter(|keys| !keys.is_array),
    }
}

/// The column, as it is or seen as a text.
fn is_column(all: &[&Token<'_>], column: &str) -> bool {
    match all {
        [open, inner @ .., close, colon, second, text]
            if open.is_mark("(") && close.is_mark(")") && colon.is_mark(":") =>
        {
            second.is_mark(":") && text.text == "text" && is_column(inner, column)
        }
        [name] => name.name().as_deref() == Some(column),
        [_, dot, name] => dot.is_mark(".") && name.name().as_deref() == Some(column),
        _ => false,
    }
}

/// `42`, `'42'::bigint`, `'{1,2}'::bigint[]`.
fn constant(all: &[&Token<'_>]) -> Option<KeysAsked> {
    match all {
        [number]
            if number.kind == Kind::Constant
                && number.text.bytes().all(|digit| digit.is_ascii_digit()) =>
        {
            Some(KeysAsked {
                literal: number.text.to_owned(),
                of_type: "integer",
                is_array: false,
            })
        }
        [text, colon, second, type_name @ ..] if colon.is_mark(":") && second.is_mark(":") => {
            let (type_name, is_array) = match type_name {
                [name @ .., open, close] if open.is_mark("[") && close.is_mark("]") => (name, true),
                name => (name, false),
            };
            let words: Vec<_> = type_name.iter().map(|word| word.text).collect();
            let of_type = match words.as_slice() {
                ["smallint"] => "smallint",
                ["integer"] => "integer",
                ["bigint"] => "bigint",
                ["uuid"] => "uuid",
                ["text"] => "text",
                ["character", "varying"] => "character varying",
                _ => return None,
            };
            // A text with backslashes is written in another way, and is not understood here.
            let quoted = text.text.strip_prefix('\'')?.strip_suffix('\'')?;
            Some(KeysAsked {
                literal: quoted.replace("''", "'"),
                of_type,
                is_array,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(condition: &str) -> Option<(String, &'static str, bool)> {
        asked_by(condition, "id").map(|keys| (keys.literal, keys.of_type, keys.is_array))
    }

    #[test]
    fn constants_that_the_key_must_equal_are_found() {
        for (condition, literal, of_type, is_array) in [
            (r#"("as it is now".id = 42)"#, "42", "integer", false),
            ("(id = '-5'::integer)", "-5", "integer", false),
            (
                r#"(("as it is now".id = '42'::bigint) AND ("as it is now".total > '0'::numeric))"#,
                "42",
                "bigint",
                false,
            ),
            (
                "((now.total > 0) AND (now.id = ANY ('{1,2}'::bigint[])))",
                "{1,2}",
                "bigint",
                true,
            ),
            ("((now.id)::text = 'it''s'::text)", "it's", "text", false),
        ] {
            let expected = Some((literal.to_owned(), of_type, is_array));
            assert_eq!(asked(condition), expected, "{condition}");
        }
    }

    #[test]
    fn nothing_else_is_taken_for_a_key() {
        for condition in [
            "(now.id > 42)",
            "((now.id = 1) OR (now.id = 2))",
            "((now.total = 1) AND ((now.id = 1) OR (now.id = 2)))",
            "(NOT (now.id = 1))",
            "(now.id = other.id)",
            "(now.other_id = 42)",
            "((now.id)::numeric = 4.2)",
            "((now.id + 1) = 42)",
            "(now.id <> ALL ('{1,2}'::bigint[]))",
            "(now.id = ANY (other.ids))",
            r"(now.id = E'\\x'::text)",
            "(now.id = (SubPlan 1))",
            "((now.id = 42) IS NOT TRUE)",
        ] {
            assert_eq!(asked(condition), None, "{condition}");
        }
    }
}
