//! Reading the rows of a table in the order of its key.

use diesel::pg::Pg;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{Array, Bool, Oid, Text};
use threadline_core::identifier::{quote_identifier, quote_literal};

use crate::captured_table::CapturedTable;

/// A column of the index, and the operators of its order.
#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
pub(super) struct KeyPart {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    type_name: String,
    #[diesel(sql_type = Text)]
    less: String,
    #[diesel(sql_type = Text)]
    equal: String,
    #[diesel(sql_type = Text)]
    greater: String,
    #[diesel(sql_type = Bool)]
    is_builtin: bool,
}

/// The statement that reads the key's columns in the order of a unique index; no rows without one.
pub(super) fn key_parts(table: &CapturedTable) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
    diesel::sql_query(include_str!("key_walk.sql"))
        .into_boxed::<Pg>()
        .bind::<Oid, _>(table.relation)
        .bind::<Array<Text>, _>(table.key_columns.clone())
}

impl KeyPart {
    fn column(&self) -> String {
        format!("r.{}", quote_identifier(&self.name))
    }

    /// The value of this column in a position, a `jsonb` expression of the key's values as texts by column.
    fn value(&self, position: &str) -> String {
        format!(
            "({position} ->> {})::{}",
            quote_literal(&self.name),
            self.type_name
        )
    }
}

/// The order in which the rows `r` of a table are read.
#[derive(Debug)]
pub(super) struct KeyWalk(Vec<KeyPart>);

impl KeyWalk {
    /// None without key columns: there is no order.
    pub(super) fn new(parts: Vec<KeyPart>) -> Option<Self> {
        (!parts.is_empty()).then_some(Self(parts))
    }

    fn join(&self, separator: &str, part: impl FnMut(&KeyPart) -> String) -> String {
        self.0.iter().map(part).collect::<Vec<_>>().join(separator)
    }

    /// The position of a row: its key's values as texts, by column.
    pub(super) fn position(&self) -> String {
        let pairs = self.join(", ", |part| {
            format!("{}, {}::text", quote_literal(&part.name), part.column())
        });
        format!("jsonb_build_object({pairs})")
    }

    pub(super) fn order(&self) -> String {
        self.join(", ", |part| {
            format!("{} USING {}", part.column(), part.less)
        })
    }

    /// The condition that a row comes after a position.
    pub(super) fn is_after(&self, position: &str) -> String {
        if self.0.iter().all(|part| part.is_builtin) {
            // A row comparison is one range of the index.
            let columns = self.join(", ", KeyPart::column);
            let values = self.join(", ", |part| part.value(position));
            return format!("ROW({columns}) > ROW({values})");
        }
        self.0.iter().rev().fold(String::new(), |rest, part| {
            let (column, value) = (part.column(), part.value(position));
            let later = format!("{column} {} {value}", part.greater);
            if rest.is_empty() {
                later
            } else {
                format!("({later} OR {column} {} {value} AND ({rest}))", part.equal)
            }
        })
    }

    /// The condition that a row is at a position.
    pub(super) fn is_at(&self, position: &str) -> String {
        self.join(" AND ", |part| {
            format!("{} {} {}", part.column(), part.equal, part.value(position))
        })
    }

    /// The key's values under unique names, to find the row again.
    pub(super) fn values(&self) -> String {
        let named = |(nr, part): (usize, &KeyPart)| format!("{} AS key_{nr}", part.column());
        let values: Vec<_> = self.0.iter().enumerate().map(named).collect();
        values.join(", ")
    }

    /// The condition that a row has the key in [`KeyWalk::values`] of a row `page`.
    pub(super) fn has_values(&self, page: &str) -> String {
        let equal = |(nr, part): (usize, &KeyPart)| {
            format!("{} {} {page}.key_{nr}", part.column(), part.equal)
        };
        let values: Vec<_> = self.0.iter().enumerate().map(equal).collect();
        values.join(" AND ")
    }
}
