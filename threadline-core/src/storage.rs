//! The schema of the trail.

use crate::identifier::is_plain_identifier;

/// The schema that contains the trail, its functions and its views.
///
/// It is `threadline`, unless the environment variable `THREADLINE_STORAGE_SCHEMA` names another
/// one when this crate is compiled, for example in the application's `.cargo/config.toml`. A name
/// that is not a plain lower-case identifier is a compile error.
pub const STORAGE_SCHEMA: &str = match option_env!("THREADLINE_STORAGE_SCHEMA") {
    Some(name) => checked_schema(name),
    None => "threadline",
};

/// `str::starts_with` as a `const fn`.
const fn starts_with(name: &str, prefix: &str) -> bool {
    let (name, prefix) = (name.as_bytes(), prefix.as_bytes());
    let mut index = 0;
    while index < prefix.len() {
        if index == name.len() || name[index] != prefix[index] {
            return false;
        }
        index += 1;
    }
    true
}

const fn checked_schema(name: &'static str) -> &'static str {
    assert!(
        !(starts_with(name, "pg_") || starts_with(name, "public") && name.len() == 6),
        "THREADLINE_STORAGE_SCHEMA must be a schema of its own, not `public` or a system schema"
    );
    assert!(
        is_plain_identifier(name),
        "THREADLINE_STORAGE_SCHEMA must be a plain PostgreSQL identifier: a lower-case letter or \
         underscore, then lower-case letters, digits and underscores, at most 63 bytes"
    );
    name
}

/// Replaces the placeholder `@threadline@` in SQL by the storage schema.
#[must_use]
pub(crate) fn in_storage_schema(sql: &str) -> String {
    sql.replace("@threadline@", STORAGE_SCHEMA)
}
