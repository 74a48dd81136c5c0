//! The two functions of a table: one for rows, one for statements.

use sha2::{Digest, Sha256};

use super::changes;
use super::expressions;
use super::image;
use super::probe;
use super::template::{fill, indent};
use crate::identifier::{MAX_IDENTIFIER_BYTES, quote_identifier, quote_literal};
use crate::storage::STORAGE_SCHEMA;
use crate::table::{ActorPolicy, AuditedTable, ImageForm, TableName};

const ROW_BODY: &str = include_str!("../../sql/capture/row_body.sql");
const STATEMENT_BODY: &str = include_str!("../../sql/capture/statement_body.sql");
const DRIFTED_UPDATE: &str = include_str!("../../sql/capture/drifted_update.sql");
const UNLESS_ROWS: &str = include_str!("../../sql/capture/unless_rows.sql");
const TRANSACTION: &str = include_str!("../../sql/capture/transaction.sql");
const NOTED: &str = include_str!("../../sql/capture/noted.sql");
const NOTED_ACTION: &str = include_str!("../../sql/capture/noted_action.sql");
const READ_CONTEXT: &str = include_str!("../../sql/capture/read_context.sql");
const ROW_ATTRIBUTION: &str = include_str!("../../sql/capture/row_attribution.sql");
const ATTRIBUTION: &str = include_str!("../../sql/capture/attribution.sql");
const ROW_HIDDEN: &str = include_str!("../../sql/capture/row_hidden.sql");
const ROW_SUSPENDED: &str = include_str!("../../sql/capture/row_suspended.sql");
const STATEMENT_SUSPENDED: &str = include_str!("../../sql/capture/statement_suspended.sql");
const STRICT: &str = include_str!("../../sql/capture/strict.sql");
const STRICT_STATEMENT: &str = include_str!("../../sql/capture/strict_statement.sql");
const STRICT_FIRST: &str = include_str!("../../sql/capture/strict_first.sql");
const FIRST_CHANGE: &str = include_str!("../../sql/capture/first_change.sql");
const FIRST_TRANSACTION: &str = include_str!("../../sql/capture/first_transaction.sql");
const NOTE: &str = include_str!("../../sql/capture/note.sql");

/// In which subtransaction the transaction's row was made: in that of the row that was written, for
/// the trigger runs at the end of its statement. A transaction's own id is told from a subtransaction's;
/// which one that is, is looked up at the next change.
const ROW_RECORDED_IN: &str = "CASE
        WHEN NEW.xmin OPERATOR(pg_catalog.=) pg_catalog.xid(pg_catalog.pg_current_xact_id())
            THEN pg_catalog.txid_current()
        ELSE 1
    END";

/// A statement's rows do not tell, so it is looked up at the next change. A transaction that is
/// serializable is spared that: to read among its neighbours' rows would let it fail.
const STATEMENT_RECORDED_IN: &str = "CASE
        WHEN pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'serializable'
            THEN pg_catalog.txid_current()
        ELSE 1
    END";

/// The quoted, qualified name of one of a table's functions.
///
/// Ends in a digest of the table's full name, so that no two tables ever share a function, however
/// their names are cut to fit.
pub(super) fn function_name(table: &TableName, kind: &str) -> String {
    let digest = Sha256::digest(format!("{}\0{}", table.schema(), table.name()));
    let suffix = format!("_{}", hex::encode(&digest[..4]));
    let mut readable = format!("capture_{kind}_{}_{}", table.schema(), table.name());
    let mut room = (MAX_IDENTIFIER_BYTES - suffix.len()).min(readable.len());
    while !readable.is_char_boundary(room) {
        room -= 1;
    }
    readable.truncate(room);
    format!(
        "{}.{}",
        quote_identifier(STORAGE_SCHEMA),
        quote_identifier(&format!("{readable}{suffix}"))
    )
}

/// What both bodies of a table have in common.
struct Shared<'a> {
    table: &'a AuditedTable,
    schema_literal: String,
    name_literal: String,
    pin: String,
    unpin: String,
}

impl<'a> Shared<'a> {
    fn new(table: &'a AuditedTable) -> Self {
        let (pin, unpin) = match expressions::session_is_unusual(table) {
            None => (String::new(), String::new()),
            Some(unusual) => (
                format!(
                    "    -- Stored values must not depend on the settings of this session.\n    \
                     IF {unusual} THEN\n        \
                     v_session := {STORAGE_SCHEMA}.pin_session();\n    END IF;\n\n"
                ),
                format!(
                    "IF v_session IS NOT NULL THEN\n    \
                     PERFORM {STORAGE_SCHEMA}.unpin_session(v_session);\nEND IF;\n"
                ),
            ),
        };
        Self {
            table,
            schema_literal: quote_literal(table.name().schema()),
            name_literal: quote_literal(table.name().name()),
            pin,
            unpin,
        }
    }

    /// Fills in a template: the names that every template may use, and its own.
    fn fill(&self, template: &str, own: &[(&str, &str)]) -> String {
        let common = [
            ("threadline", STORAGE_SCHEMA),
            ("schema_literal", &self.schema_literal),
            ("name_literal", &self.name_literal),
        ];
        fill(template, &[&common, own].concat())
    }

    /// A template that only a table in strict mode needs.
    fn strict(&self, template: &str) -> String {
        match self.table.actor() {
            ActorPolicy::Required => self.fill(template, &[]),
            ActorPolicy::Optional => String::new(),
        }
    }

    /// The statements that ask for the attribution of a change that is not a transaction's first.
    fn attribution(&self, suspended: &str) -> String {
        let suspended = self.fill(suspended, &[("unpin", &self.unpin_at(16))]);
        self.fill(ATTRIBUTION, &[("suspended", &suspended)])
    }

    /// The statement that adds the transaction's row at its first change.
    fn first_transaction(&self, occurred_at: &str) -> String {
        let statement = self.fill(
            FIRST_TRANSACTION.trim_end(),
            &[("occurred_at", occurred_at)],
        );
        indent(&statement, 12)
    }

    /// The statements that find out which transaction it is; `unless_rows` goes between them.
    fn transaction(&self, unless_rows: &str) -> String {
        let statements = self.fill(TRANSACTION.trim_end(), &[("unless_rows", unless_rows)]);
        indent(&statements, 8)
    }

    /// The statement that finds out whether the context is the one noted before.
    fn noted(&self) -> String {
        indent(&self.fill(NOTED.trim_end(), &[]), 8)
    }

    /// The statements that note the context; `recorded_in` says in which transaction or
    /// subtransaction its row was made, 1 if that is not known.
    fn note(&self, recorded_in: &str) -> String {
        let statements = self.fill(NOTE.trim_end(), &[("recorded_in", recorded_in)]);
        indent(&statements, 16)
    }

    fn unpin_at(&self, spaces: usize) -> String {
        if self.unpin.is_empty() {
            return String::new();
        }
        let pad = " ".repeat(spaces);
        format!("{pad}{}\n", indent(self.unpin.trim_end(), spaces))
    }
}

/// A table's name as a comment says it: it may hold a line break, which would end the comment.
fn comment_name(table: &AuditedTable) -> String {
    table.name().to_string().replace(['\n', '\r'], " ")
}

/// The statements of the row function that find out who and in which transaction.
fn row_attribution(shared: &Shared<'_>) -> String {
    let read_context = shared.fill(READ_CONTEXT, &[]);
    let first_transaction = shared.first_transaction("pg_catalog.clock_timestamp()");
    let strict_first = shared.strict(STRICT_FIRST);
    let note = shared.note(ROW_RECORDED_IN);
    let first_change = shared.fill(
        FIRST_CHANGE,
        &[
            ("read_context", &read_context),
            ("strict_first", &strict_first),
            ("first_transaction", &first_transaction),
            ("note", &note),
            ("unpin_deep", &shared.unpin_at(12)),
        ],
    );
    shared.fill(
        ROW_ATTRIBUTION.trim_end(),
        &[
            ("noted_action", NOTED_ACTION),
            ("first_change", &first_change),
            ("read_context", &read_context),
            ("strict_first", &strict_first),
            ("first_transaction", &first_transaction),
            ("note", &note),
            ("attribution", &shared.attribution(ROW_SUSPENDED)),
            ("strict", &shared.strict(STRICT)),
        ],
    )
}

/// The statements that take what is not stored of a row, `OLD` or `NEW`, where it is moving.
fn row_hidden(shared: &Shared<'_>, row: &str, spaces: usize) -> String {
    let pad = " ".repeat(spaces);
    let lines: Vec<_> = ROW_HIDDEN
        .lines()
        .map(|line| format!("{pad}{line}"))
        .collect();
    shared.fill(
        &lines.join("\n"),
        &[
            ("known_columns", &image::known_columns(shared.table)),
            ("hidden_values", &image::hidden_values(shared.table, row)),
            ("row", row),
        ],
    )
}

/// The body of the row function: updates always, inserts and deletes where rows must be seen one
/// by one.
pub(super) fn row_body(table: &AuditedTable) -> String {
    let shared = Shared::new(table);
    let collected = changes::collect_changes(table, 12);
    let drifted_update = |spaces| {
        let statements = shared.fill(DRIFTED_UPDATE.trim_end(), &[]);
        format!("{}{}", " ".repeat(spaces), indent(&statements, spaces))
    };
    let is_delta = table.image() == ImageForm::Delta;
    let data_after = if is_delta {
        "                -- delta form: the new values were collected above".to_owned()
    } else {
        image::take_updated_image(table, 16, &drifted_update(24))
    };
    let moved_delta = if is_delta {
        format!(
            "                v_data_after := {STORAGE_SCHEMA}.new_values(v_data_after, v_changed_from);\n"
        )
    } else {
        String::new()
    };
    shared.fill(
        ROW_BODY,
        &[
            ("table", &comment_name(table)),
            ("transaction", &shared.transaction("")),
            ("noted", &shared.noted()),
            ("attribution", &row_attribution(&shared)),
            ("hidden_old", &row_hidden(&shared, "OLD", 12)),
            ("hidden_new", &row_hidden(&shared, "NEW", 16)),
            ("moved_delta", &moved_delta),
            ("pin", &shared.pin),
            ("unpin", &shared.unpin_at(4)),
            ("unpin_deep", &shared.unpin_at(16)),
            ("unpin_deeper", &shared.unpin_at(20)),
            ("has_virtual", &probe::has_virtual(table)),
            ("new_probe", &probe::columns(table, "NEW")),
            ("old_probe", &probe::columns(table, "OLD")),
            ("changes", collected.trim_end_matches('\n')),
            ("data_after", &data_after),
            ("or_had_unclassified", &image::or_had_unclassified(table)),
            ("drifted_update12", &drifted_update(12)),
            ("drifted_update16", &drifted_update(16)),
            ("known_columns", &image::known_columns(table)),
            (
                "inserted",
                &image::take_image(table, "v_data_after", "NEW", 12),
            ),
            (
                "deleted",
                &image::take_image(table, "v_changed_from", "OLD", 12),
            ),
            ("new_table_pk", &expressions::table_pk(table, "NEW")),
            ("old_table_pk", &expressions::table_pk(table, "OLD")),
            ("new_row_key", &expressions::row_key(table, "NEW")),
            ("old_row_key", &expressions::row_key(table, "OLD")),
        ],
    )
}

/// The body of the statement function: inserts and deletes, all rows of a statement at once.
pub(super) fn statement_body(table: &AuditedTable) -> String {
    let shared = Shared::new(table);
    shared.fill(
        STATEMENT_BODY,
        &[
            ("table", &comment_name(table)),
            ("probe", &probe::columns(table, "r")),
            ("has_virtual", &probe::has_virtual(table)),
            ("transaction", &shared.transaction(UNLESS_ROWS)),
            ("noted", &shared.noted()),
            ("noted_action", NOTED_ACTION),
            ("read_context", &shared.fill(READ_CONTEXT, &[])),
            ("attribution", &shared.attribution(STATEMENT_SUSPENDED)),
            ("pin", &shared.pin),
            ("unpin", &shared.unpin_at(4)),
            ("table_pk", &expressions::table_pk(table, "r")),
            ("row_key", &expressions::row_key(table, "r")),
            ("image_columns", &image::image_columns(table, "r", 12)),
            ("strict", &shared.strict(STRICT_STATEMENT)),
            (
                "first_transaction",
                &shared.first_transaction("v_captured_at"),
            ),
            ("note", &shared.note(STATEMENT_RECORDED_IN)),
        ],
    )
}
