//! The two functions of a table: one for rows, one for statements.

use sha2::{Digest, Sha256};

use super::expressions;
use super::template::{fill, indent};
use crate::identifier::{MAX_IDENTIFIER_BYTES, quote_identifier, quote_literal};
use crate::storage::STORAGE_SCHEMA;
use crate::table::{ActorPolicy, AuditedTable, ImageForm, TableName};

const ROW_BODY: &str = include_str!("../../sql/capture/row_body.sql");
const STATEMENT_BODY: &str = include_str!("../../sql/capture/statement_body.sql");
const ATTRIBUTION: &str = include_str!("../../sql/capture/attribution.sql");
const ROW_SUSPENDED: &str = include_str!("../../sql/capture/row_suspended.sql");
const STATEMENT_SUSPENDED: &str = include_str!("../../sql/capture/statement_suspended.sql");
const STRICT: &str = include_str!("../../sql/capture/strict.sql");
const STRICT_FIRST: &str = include_str!("../../sql/capture/strict_first.sql");
const FIRST_CHANGE: &str = include_str!("../../sql/capture/first_change.sql");

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

/// Values that both bodies use.
struct Shared {
    comment_name: String,
    schema_literal: String,
    name_literal: String,
    strict: String,
    strict_first: String,
    pin: String,
    unpin: String,
}

impl Shared {
    fn new(table: &AuditedTable) -> Self {
        let schema_literal = quote_literal(table.name().schema());
        let name_literal = quote_literal(table.name().name());
        let refuse = |template| match table.actor() {
            ActorPolicy::Required => fill(
                template,
                &[
                    ("threadline", STORAGE_SCHEMA),
                    ("schema_literal", &schema_literal),
                    ("name_literal", &name_literal),
                ],
            ),
            ActorPolicy::Optional => String::new(),
        };
        let (strict, strict_first) = (refuse(STRICT), refuse(STRICT_FIRST));
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
            // A name may hold a line break, which would end the comment.
            comment_name: table.name().to_string().replace(['\n', '\r'], " "),
            schema_literal,
            name_literal,
            strict,
            strict_first,
            pin,
            unpin,
        }
    }

    /// The statements that find out who and in which transaction. `suspended` is what happens
    /// where capture is suspended, `first_change` what a transaction's first change may do instead.
    fn attribution(&self, suspended: &str, first_change: &str) -> String {
        fill(
            ATTRIBUTION.trim_end(),
            &[
                ("threadline", STORAGE_SCHEMA),
                ("schema_literal", &self.schema_literal),
                ("name_literal", &self.name_literal),
                ("suspended", suspended),
                ("first_change", first_change),
                ("strict", &self.strict),
            ],
        )
    }

    fn unpin_at(&self, spaces: usize) -> String {
        if self.unpin.is_empty() {
            return String::new();
        }
        let pad = " ".repeat(spaces);
        format!("{pad}{}\n", indent(self.unpin.trim_end(), spaces))
    }
}

/// The body of the row function: updates always, inserts and deletes where rows must be seen one
/// by one.
pub(super) fn row_body(table: &AuditedTable) -> String {
    let shared = Shared::new(table);
    let delta = table.image() == ImageForm::Delta;
    let changes = expressions::changes(table, table.image(), 12);
    let data_after = if delta {
        "            -- delta form: the new values were collected above".to_owned()
    } else {
        format!(
            "            v_data_after := {};",
            expressions::image(table, "NEW", 12)
        )
    };
    let suspended = fill(
        ROW_SUSPENDED,
        &[
            ("threadline", STORAGE_SCHEMA),
            ("schema_literal", &shared.schema_literal),
            ("name_literal", &shared.name_literal),
            ("unpin", &shared.unpin_at(12)),
        ],
    );
    let first_change = fill(
        FIRST_CHANGE,
        &[
            ("threadline", STORAGE_SCHEMA),
            ("schema_literal", &shared.schema_literal),
            ("name_literal", &shared.name_literal),
            ("strict", &shared.strict_first),
            ("unpin_deep", &shared.unpin_at(12)),
        ],
    );
    let known: Vec<_> = table
        .columns()
        .iter()
        .map(|column| quote_literal(&column.name))
        .collect();
    fill(
        ROW_BODY,
        &[
            ("threadline", STORAGE_SCHEMA),
            ("table", &shared.comment_name),
            ("schema_literal", &shared.schema_literal),
            ("name_literal", &shared.name_literal),
            (
                "attribution",
                &shared.attribution(&suspended, &first_change),
            ),
            ("root_literal", &quote_literal(&table.name().quoted())),
            ("pin", &shared.pin),
            ("unpin", &shared.unpin_at(4)),
            ("unpin_deep8", &shared.unpin_at(8)),
            ("unpin_deep", &shared.unpin_at(16)),
            ("unpin_deeper", &shared.unpin_at(20)),
            ("changes", changes.trim_end_matches('\n')),
            ("data_after", &data_after),
            ("previous_key", &expressions::previous_key(table, 12)),
            (
                "known_columns",
                &format!("ARRAY[{}]::pg_catalog.text[]", known.join(", ")),
            ),
            ("new_image", &expressions::image(table, "NEW", 12)),
            ("old_image", &expressions::image(table, "OLD", 12)),
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
    let suspended = fill(
        STATEMENT_SUSPENDED,
        &[
            ("threadline", STORAGE_SCHEMA),
            ("schema_literal", &shared.schema_literal),
            ("name_literal", &shared.name_literal),
        ],
    );
    fill(
        STATEMENT_BODY,
        &[
            ("threadline", STORAGE_SCHEMA),
            ("table", &shared.comment_name),
            ("schema_literal", &shared.schema_literal),
            ("name_literal", &shared.name_literal),
            ("attribution", &shared.attribution(&suspended, "")),
            ("pin", &shared.pin),
            ("unpin", &shared.unpin_at(4)),
            ("probe", &expressions::probe(table, "r")),
            ("table_pk", &expressions::table_pk(table, "r")),
            ("row_key", &expressions::row_key(table, "r")),
            ("image_columns", &expressions::image_columns(table, "r", 12)),
        ],
    )
}
