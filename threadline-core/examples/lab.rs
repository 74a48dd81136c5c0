use threadline_core::{capture::*, column_type::ColumnType as T, table::*};
fn main() {
    let t = AuditedTable::builder(TableName::new("public", "orders"));
    let t = t
        .columns(
            [
                ("id", "int8"),
                ("customer", "text"),
                ("status", "text"),
                ("amount", "numeric"),
                ("created_at", "timestamptz"),
                ("updated_at", "timestamptz"),
                ("note", "text"),
            ]
            .map(|(n, t)| Column::new(n, T::builtin(t))),
        )
        .column(Column::new("tags", T::array_of("text")))
        .columns(
            [
                ("meta", "jsonb"),
                ("qty", "int4"),
                ("active", "bool"),
                ("ref", "uuid"),
            ]
            .map(|(n, t)| Column::new(n, T::builtin(t))),
        )
        .key(["id"])
        .build()
        .unwrap();
    println!("{}", CaptureMigration::new([&t], |_| None).up());
}
