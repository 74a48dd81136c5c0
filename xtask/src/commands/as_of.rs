//! `as-of`: what one row was as of an instant.

use std::io::{self, Write, stdout};

use anyhow::Context;
use threadline_diesel::as_of::{AsOf, ChangeRef, KnownRow, document_as_of};
use threadline_diesel::json::StoredJson;
use threadline_diesel::nonblocking;

use super::subject::{Subject, resolve_key};
use crate::cli::AsOfArgs;
use crate::connection::connect;
use crate::exit::{Answer, Failure};
use crate::show::{new_table, plain, print_json, shown_value};

pub(crate) async fn run(args: AsOfArgs) -> Result<Answer, Failure> {
    let mut conn = connect(&args.database).await?;
    let key = resolve_key(&mut conn, &args.table, &args.key).await?;
    let question = document_as_of(args.table.clone(), &key, args.instant);
    let answer = nonblocking::document_as_of(&mut conn, &question)
        .await
        .context("cannot read the trail")?;
    if matches!(&answer, AsOf::NotYetKnown(horizon) if horizon.first.is_none()) {
        let subject = Subject {
            table: args.table,
            key: Some(args.key),
            column: None,
            value: None,
        };
        subject.why_nothing(&mut conn).await?;
    }
    if args.output.json {
        print_json(&answer).context("cannot print")?;
    } else {
        print_answer(&answer).context("cannot print")?;
    }
    Ok(match answer {
        AsOf::NotYetKnown(_) => Answer::Bad,
        _ => Answer::Fine,
    })
}

fn print_answer(answer: &AsOf<StoredJson>) -> io::Result<()> {
    let mut out = stdout().lock();
    match answer {
        AsOf::Row(known) => writeln!(out, "{}", shown_row(known)),
        AsOf::Deleted(change) => writeln!(out, "it was gone by then: {}", shown_change(change)),
        AsOf::NotYetKnown(horizon) => match &horizon.first {
            Some(first) => writeln!(
                out,
                "nothing was known of it yet: its trail begins with {}",
                shown_change(first)
            ),
            None => writeln!(out, "nothing is known of it"),
        },
        _ => Ok(()),
    }
}

fn shown_row(known: &KnownRow<StoredJson>) -> String {
    let mut table = new_table();
    table.set_header(["column", "value"]);
    for (name, value) in known.row.fields() {
        let shown = if value.is_null() {
            String::new()
        } else {
            shown_value(&value)
        };
        table.add_row([plain(&name), shown]);
    }
    let told = if known.later {
        "no record yet; told by what came next,"
    } else {
        "since"
    };
    let mut text = format!("{table}\n\n{told} {}", shown_change(&known.change));
    if !known.unknown.is_empty() {
        let unknown: Vec<_> = known.unknown.iter().map(ToString::to_string).collect();
        text.push_str("\nnot known: ");
        text.push_str(&unknown.join(", "));
    }
    text
}

/// A change on one line: what, when, by whom.
fn shown_change(change: &ChangeRef) -> String {
    let actor = change.actor.as_ref().map_or_else(
        || "— nobody —".to_owned(),
        |actor| plain(&actor.to_string()),
    );
    format!(
        "{} at {} by {actor}, transaction {}",
        change.op,
        change.captured_at.format("%Y-%m-%d %H:%M:%S%.6f UTC"),
        change.transaction_id
    )
}
