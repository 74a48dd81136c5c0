//! Converts Diesel's `table!` into an [`AuditedTable`], without a database.
//!
//! Column names and the primary key are read from the SQL that Diesel renders, so `sql_name`
//! applies. Types are read from Diesel's type metadata.

use diesel::associations::HasTable;
use diesel::debug_query;
use diesel::expression::{Expression, QueryMetadata};
use diesel::pg::{Pg, PgMetadataLookup, PgTypeMetadata};
use diesel::query_builder::QueryFragment;
use diesel::query_source::Table;

use crate::column_type::ColumnType;
use crate::table::{AuditedTable, AuditedTableBuilder, Column, TableName};
use crate::table_name::identifier_parts;

/// The first of the made-up OIDs for types that are not built in: two for each type, scalar and
/// array.
const FIRST_UNKNOWN_OID: u32 = 4_000_000_000;

/// The names of types that are not built in, in the order of their made-up OIDs.
#[derive(Default)]
struct UnknownTypes(Vec<String>);

impl PgMetadataLookup for UnknownTypes {
    fn lookup_type(&mut self, type_name: &str, _schema: Option<&str>) -> PgTypeMetadata {
        let index = u32::try_from(self.0.len()).unwrap_or(u32::MAX / 2);
        self.0.push(type_name.to_owned());
        let oid = FIRST_UNKNOWN_OID.saturating_add(index.saturating_mul(2));
        PgTypeMetadata::new(oid, oid.saturating_add(1))
    }
}

impl UnknownTypes {
    fn resolve(&self, oid: u32) -> ColumnType {
        if let Some(known) = ColumnType::from_oid(oid) {
            return known;
        }
        let unknown = oid.checked_sub(FIRST_UNKNOWN_OID).and_then(|offset| {
            let name = self.0.get(usize::try_from(offset / 2).ok()?)?;
            Some(if offset % 2 == 0 {
                name.clone()
            } else {
                format!("{name}[]")
            })
        });
        ColumnType::Other(unknown.unwrap_or_else(|| format!("oid {oid}")))
    }
}

/// The bounds on the `table` struct of a `table!`, which each one for PostgreSQL satisfies.
pub trait DieselTable: Table + Default + QueryFragment<Pg>
where
    Self::AllColumns: QueryFragment<Pg>,
    Self::PrimaryKey: QueryFragment<Pg>,
{
}

impl<T> DieselTable for T
where
    T: Table + Default + QueryFragment<Pg>,
    T::AllColumns: QueryFragment<Pg>,
    T::PrimaryKey: QueryFragment<Pg>,
{
}

/// Creates a builder with the name, columns, types and primary key of a `table!`.
///
/// The builder has all columns of the table, whether or not a model has a field for them.
///
/// ```
/// use threadline_core::diesel_table::from_diesel_table;
///
/// diesel::table! {
///     billing.invoices (id) {
///         id -> BigInt,
///         total_cents -> BigInt,
///     }
/// }
///
/// let table = from_diesel_table::<invoices::table>().build()?;
/// assert_eq!(table.name().to_string(), "billing.invoices");
/// assert_eq!(table.key().columns(), ["id"]);
/// # Ok::<(), threadline_core::table::InvalidTable>(())
/// ```
#[must_use]
pub fn from_diesel_table<T>() -> AuditedTableBuilder
where
    T: DieselTable + HasTable<Table = T>,
    T::AllColumns: QueryFragment<Pg> + Expression,
    T::PrimaryKey: QueryFragment<Pg>,
    Pg: QueryMetadata<<T::AllColumns as Expression>::SqlType>,
{
    let name = match qualified_names(&debug_query::<Pg, _>(&T::table()).to_string()).pop() {
        Some(mut parts) if parts.len() > 1 => {
            let name = parts.pop().unwrap_or_default();
            TableName::new(parts.pop().unwrap_or_default(), name)
        }
        Some(mut parts) => TableName::new("public", parts.pop().unwrap_or_default()),
        None => TableName::new("public", ""),
    };
    let mut unknown = UnknownTypes::default();
    let mut types = Vec::new();
    <Pg as QueryMetadata<<T::AllColumns as Expression>::SqlType>>::row_metadata(
        &mut unknown as &mut dyn PgMetadataLookup,
        &mut types,
    );
    let columns = column_names(&debug_query::<Pg, _>(&T::all_columns()).to_string())
        .into_iter()
        .zip(types)
        .map(|(name, metadata)| {
            let oid = metadata.and_then(|metadata| metadata.oid().ok());
            let column_type = oid.map_or_else(
                || ColumnType::Other("unknown".to_owned()),
                |oid| unknown.resolve(oid),
            );
            Column::new(name, column_type)
        });
    let key = column_names(&debug_query::<Pg, _>(&T::default().primary_key()).to_string());
    AuditedTable::builder(name).columns(columns).key(key)
}

/// The column names in a list of columns rendered by Diesel.
fn column_names(rendered: &str) -> Vec<String> {
    qualified_names(rendered)
        .into_iter()
        .filter_map(|mut parts| parts.pop())
        .collect()
}

/// The qualified names in a list rendered by Diesel, without the comment about binds at its end.
fn qualified_names(rendered: &str) -> Vec<Vec<String>> {
    let sql = rendered
        .rfind(" -- binds:")
        .map_or(rendered, |end| &rendered[..end]);
    let mut names = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    for (at, byte) in sql.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                names.extend(identifier_parts(&sql[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names.extend(identifier_parts(&sql[start..]));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::RowKey;

    mod odd {
        diesel::table! {
            #[sql_name = "Odd, \"Lines\""]
            billing.odd_lines (order_id, line_no) {
                order_id -> diesel::sql_types::Uuid,
                #[sql_name = "line.no"]
                line_no -> diesel::sql_types::Integer,
                tags -> diesel::sql_types::Array<diesel::sql_types::Nullable<diesel::sql_types::Text>>,
                mood -> crate::diesel_table::tests::Mood,
                moods -> diesel::sql_types::Array<crate::diesel_table::tests::Mood>,
            }
        }
    }

    #[derive(Debug, diesel::sql_types::SqlType, diesel::query_builder::QueryId)]
    #[diesel(postgres_type(name = "mood"))]
    pub struct Mood;

    #[test]
    fn names_types_and_key_are_read_from_the_table_macro() {
        let table = from_diesel_table::<odd::odd_lines::table>()
            .build()
            .unwrap();
        assert_eq!(table.name(), &TableName::new("billing", "Odd, \"Lines\""));
        assert_eq!(
            table.key(),
            &RowKey::Columns(vec!["order_id".into(), "line.no".into()])
        );
        let types: Vec<_> = table
            .columns()
            .iter()
            .map(|c| c.column_type.clone())
            .collect();
        assert_eq!(
            types,
            [
                ColumnType::builtin("uuid"),
                ColumnType::builtin("int4"),
                ColumnType::array_of("text"),
                ColumnType::Other("mood".into()),
                ColumnType::Other("mood[]".into()),
            ]
        );
    }
}
