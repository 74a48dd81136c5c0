//! The benchmark tables: one with 12 columns, one with 60, three small ones.
#![expect(clippy::format_push_string, reason = "the script is built in order")]

use anyhow::Result;
use threadline_core::column_type::ColumnType;
use threadline_core::table::{AuditedTable, Column, TableName};

const ORDERS: &[(&str, &str)] = &[
    ("id", "int8"),
    ("customer_id", "int8"),
    ("number", "text"),
    ("status", "text"),
    ("total", "numeric"),
    ("currency", "text"),
    ("placed_at", "timestamptz"),
    ("shipped_on", "date"),
    ("paid", "bool"),
    ("tags", "text[]"),
    ("details", "jsonb"),
    ("note", "text"),
];

const SMALL: &[(&str, &str)] = &[
    ("id", "int8"),
    ("label", "text"),
    ("amount", "int4"),
    ("changed_at", "timestamptz"),
];

/// The types of the columns of the wide table, repeated in this order.
const WIDE_TYPES: [&str; 6] = ["int4", "text", "numeric", "timestamptz", "bool", "int8"];

/// Initial rows of every table.
pub(crate) const ROWS: i64 = 20_000;

/// The values of an order of about 500 bytes. `id` is an SQL expression.
pub(crate) fn order_values(id: &str) -> String {
    format!(
        "{id}, {id} % 5000, 'N-' || {id}, 'open', 12.30, 'EUR', \
         '2026-01-01 12:00+00'::timestamptz, '2026-01-02'::date, false, \
         ARRAY['retail', 'priority'], \
         '{{\"channel\": \"web\", \"items\": 3, \"address\": \"12 Some Street, Some Town, Some Land\"}}'\
         ::jsonb, repeat('a note text ', 20)"
    )
}

fn wide() -> Vec<(String, &'static str)> {
    let further = (1..60).map(|n| (format!("c{n}"), WIDE_TYPES[n % WIDE_TYPES.len()]));
    std::iter::once(("id".to_owned(), "int8"))
        .chain(further)
        .collect()
}

fn owned(columns: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    columns
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), *kind))
        .collect()
}

fn all() -> Vec<(&'static str, Vec<(String, &'static str)>)> {
    vec![
        ("orders", owned(ORDERS)),
        ("wide", wide()),
        ("small_a", owned(SMALL)),
        ("small_b", owned(SMALL)),
        ("small_c", owned(SMALL)),
    ]
}

/// The names of the tables.
pub(crate) fn names() -> Vec<&'static str> {
    all().into_iter().map(|(name, _)| name).collect()
}

/// The script that creates and fills the tables.
pub(crate) fn schema() -> String {
    let mut script = String::new();
    for (name, columns) in all() {
        let columns: Vec<_> = columns
            .iter()
            .map(|(column, kind)| match column.as_str() {
                "id" => "id bigint PRIMARY KEY".to_owned(),
                other => format!("{other} {kind}"),
            })
            .collect();
        script += &format!("CREATE TABLE {name} ({});\n", columns.join(", "));
    }
    script += &format!(
        "INSERT INTO orders SELECT {} FROM generate_series(1, {ROWS}) AS g;\n\
         INSERT INTO wide (id, {}) SELECT g, {} FROM generate_series(1, {ROWS}) AS g;\n",
        order_values("g"),
        wide()[1..]
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
            .join(", "),
        wide()[1..]
            .iter()
            .map(|(_, kind)| sample_value(kind))
            .collect::<Vec<_>>()
            .join(", "),
    );
    for name in ["small_a", "small_b", "small_c"] {
        script += &format!(
            "INSERT INTO {name} SELECT g, 'label ' || g, g, now() \
             FROM generate_series(1, {ROWS}) AS g;\n"
        );
    }
    script
}

fn sample_value(kind: &str) -> &'static str {
    match kind {
        "text" => "'value ' || g",
        "numeric" => "g * 1.5",
        "timestamptz" => "now()",
        "bool" => "true",
        _ => "g",
    }
}

/// The declarations of the tables for Threadline.
pub(crate) fn audited() -> Result<Vec<AuditedTable>> {
    all()
        .into_iter()
        .map(|(name, columns)| audited_as(name, columns))
        .collect()
}

/// The declaration of `orders` under another name.
pub(crate) fn orders_as(name: &str) -> Result<AuditedTable> {
    audited_as(name, owned(ORDERS))
}

fn audited_as(name: &str, columns: Vec<(String, &'static str)>) -> Result<AuditedTable> {
    let columns = columns.into_iter().map(|(column, kind)| {
        let kind = match kind.strip_suffix("[]") {
            Some(element) => ColumnType::array_of(element),
            None => ColumnType::builtin(kind),
        };
        Column::new(column, kind)
    });
    Ok(AuditedTable::builder(TableName::new("public", name))
        .columns(columns)
        .key(["id"])
        .build()?)
}
