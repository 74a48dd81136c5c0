//! Statements whose tables are called by other names, with the binds they had.

use diesel::pg::{Pg, PgQueryBuilder};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryBuilder, QueryFragment};
use threadline_core::identifier::quote_identifier;
use threadline_core::table::TableName;

use crate::sql_tokens::{Kind, Token, tokens};

/// A table, and the name without a schema under which a statement is to find it.
#[derive(Debug, Clone)]
pub(crate) struct Renamed {
    pub(crate) table: TableName,
    pub(crate) name: String,
}

/// The SQL of a part of a statement, where names in it were changed; none where it is as Diesel
/// writes it.
#[derive(Debug, Clone)]
pub(crate) struct Rewritten(Option<String>);

/// A statement that names a table by its schema holds the mark of a comment in a text, so it
/// cannot be rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CannotRewrite;

/// A part of a statement as Diesel writes it.
pub(crate) fn rendered<F: QueryFragment<Pg>>(fragment: &F) -> QueryResult<String> {
    let mut builder = PgQueryBuilder::default();
    fragment.to_sql(&mut builder, &Pg)?;
    Ok(builder.finish())
}

/// The tokens that count, with their places.
pub(crate) fn significant<'t, 's>(tokens: &'t [Token<'s>]) -> Vec<(usize, &'t Token<'s>)> {
    tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| token.kind != Kind::Space)
        .collect()
}

/// Replaces `schema.table` by the table's other name.
pub(crate) fn renamed(sql: &str, tables: &[Renamed]) -> Option<String> {
    let all = tokens(sql);
    let counting = significant(&all);
    let mut pieces: Vec<String> = all.iter().map(|token| token.text.to_owned()).collect();
    let mut changed = false;
    for (at, window) in counting.windows(3).enumerate() {
        let [(first, schema), (_, dot), (last, name)] = window else {
            continue;
        };
        let follows_dot = at > 0 && counting[at - 1].1.is_mark(".");
        let is_call = counting.get(at + 3).is_some_and(|next| next.1.is_mark("("));
        if follows_dot || is_call || !dot.is_mark(".") {
            continue;
        }
        let (Some(schema), Some(name)) = (schema.name(), name.name()) else {
            continue;
        };
        let known = tables
            .iter()
            .find(|renamed| renamed.table.schema() == schema && renamed.table.name() == name);
        if let Some(known) = known {
            pieces[*first..*last].fill(String::new());
            pieces[*last] = quote_identifier(&known.name);
            changed = true;
        }
    }
    changed.then(|| pieces.concat())
}

impl Rewritten {
    /// What a part of a statement becomes. `original` is how Diesel writes it.
    pub(crate) fn new(original: &str, sql: Option<String>) -> Result<Self, CannotRewrite> {
        if sql.is_some() && (original.contains("/*") || original.contains("*/")) {
            return Err(CannotRewrite);
        }
        Ok(Self(sql))
    }

    /// Writes the part. Where it was rewritten, the original follows as a comment: so its binds are
    /// collected by Diesel itself, with their types and in their order, and whoever reads the log
    /// sees what was asked.
    pub(crate) fn walk<'b, F: QueryFragment<Pg>>(
        &'b self,
        fragment: &'b F,
        mut out: AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        let Some(sql) = &self.0 else {
            return fragment.walk_ast(out);
        };
        out.push_sql(sql);
        out.push_sql(" /* ");
        fragment.walk_ast(out.reborrow())?;
        out.push_sql(" */");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoices() -> [Renamed; 1] {
        [Renamed {
            table: TableName::new("billing", "invoices"),
            name: "as of 1".into(),
        }]
    }

    #[test]
    fn a_table_named_with_its_schema_gets_its_other_name() {
        let sql = r#"SELECT "billing"."invoices"."id" FROM "billing"."invoices" WHERE "billing"."invoices"."total" > $1"#;
        assert_eq!(
            renamed(sql, &invoices()).unwrap(),
            r#"SELECT "as of 1"."id" FROM "as of 1" WHERE "as of 1"."total" > $1"#
        );
        assert_eq!(
            renamed("SELECT id FROM billing . Invoices", &invoices()).unwrap(),
            r#"SELECT id FROM "as of 1""#
        );
    }

    #[test]
    fn nothing_else_is_touched() {
        for sql in [
            r#"SELECT 'billing.invoices', "x"."billing"."invoices""#,
            r#"SELECT "billing"."invoices"(1)"#,
            r#"SELECT "Billing"."invoices"."id" /* billing.invoices */"#,
        ] {
            assert_eq!(renamed(sql, &invoices()), None, "{sql}");
        }
    }
}
