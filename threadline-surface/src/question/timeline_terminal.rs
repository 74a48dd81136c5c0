//! The commands of a timeline.

use threadline_core::identifier::quote_literal;
use threadline_core::row_key::RowKeyInput;

use super::filters::ChangeFilters;
use crate::page::Terminal;

/// The command, the SQL and the Rust of a timeline. SQL is given for filters that are columns of the view. To
/// follow there is a command.
pub(crate) fn timeline_terminal(filters: &ChangeFilters, is_following: bool) -> Terminal {
    let mut filters = filters.fixed();
    if is_following {
        filters.from = None;
        let arguments = ["timeline", "--follow"].map(ToOwned::to_owned);
        return Terminal::command(arguments.into_iter().chain(filters.arguments()));
    }
    let mut arguments = vec!["timeline".to_owned()];
    arguments.extend(filters.arguments());
    let terminal = Terminal::command(arguments).rust(rust(&filters));
    match sql(&filters) {
        Some(sql) => terminal.sql(sql),
        None => terminal,
    }
}

fn sql(filters: &ChangeFilters) -> Option<String> {
    let mut conditions = Vec::new();
    for (name, value) in filters.pairs() {
        let value = quote_literal(&value);
        conditions.push(match name {
            "table" => {
                let table = filters.fields.table.as_ref()?;
                let (schema, name) = (quote_literal(table.schema()), quote_literal(table.name()));
                format!("table_schema = {schema} AND table_name = {name}")
            }
            "schema" => format!("table_schema = {value}"),
            "changed" => format!("{value} = ANY (changed_fields)"),
            "op" | "actor" | "on_behalf_of" => format!("{name} = {value}"),
            "unattributed" => "actor IS NULL".to_owned(),
            "correlation" | "request" | "job" => format!("{name}_id = {value}"),
            "action" => format!("action_name = {value}"),
            "from" => format!("captured_at >= {value}"),
            "to" => format!("captured_at <= {value}"),
            _ => return None,
        });
    }
    let conditions = match conditions.as_slice() {
        [] => String::new(),
        some => format!("\nWHERE {}", some.join("\n    AND ")),
    };
    Some(format!(
        "SELECT * FROM threadline.audit_timeline{conditions}\nORDER BY captured_at DESC, id DESC LIMIT 50;"
    ))
}

fn rust(filters: &ChangeFilters) -> String {
    let mut calls = String::new();
    for (name, value) in filters.pairs() {
        let parsed = format!("{value:?}.parse()?");
        let call = match name {
            "key" => continue,
            "table" if filters.fields.key.is_some() => format!("row({parsed}, &key)"),
            "schema" => format!("schema({value:?})"),
            "changed" => format!("changed_field({parsed})"),
            "unattributed" => "attribution(Attribution::Unattributed)".to_owned(),
            "correlation" | "request" | "job" => format!("{name}_id({parsed})"),
            "action" => format!("action({value:?})"),
            "category" => format!("action_category({value:?})"),
            "status" => format!("action_status({parsed})"),
            "scan_values" => format!("scanning_values({parsed})"),
            _ => format!("{name}({parsed})"),
        };
        calls.push_str("\n    .");
        calls.push_str(&call);
    }
    let keys = filters.fields.key.as_ref().map(RowKeyInput::texts);
    let key = match (&filters.fields.table, keys.as_deref().unwrap_or_default()) {
        (Some(table), [key]) => format!(
            "let key = threadline::resolve_key(&mut conn, &{:?}.parse()?, &{key:?}.parse()?).await?;\n",
            table.to_string()
        ),
        (Some(table), keys @ [_, ..]) => format!(
            "let key = RowKeyInput::from_pairs(&{keys:?})?;\n\
             let key = threadline::resolve_key(&mut conn, &{:?}.parse()?, &key).await?;\n",
            table.to_string()
        ),
        _ => String::new(),
    };
    format!(
        "{key}let query = Timeline::new(){calls};\nthreadline::timeline(&mut conn, &query).await?"
    )
}
