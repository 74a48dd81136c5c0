//! Where the trail lives.

use crate::identifier::is_plain_identifier;

/// The schema that holds the trail, its functions and its views.
///
/// Fixed when this crate is built, once, for the generated SQL and for every query: set the
/// environment variable `THREADLINE_STORAGE_SCHEMA` for the build, for instance in the host's
/// `.cargo/config.toml`. The default is `threadline`. Anything but a plain lower-case identifier
/// stops the build.
pub const STORAGE_SCHEMA: &str = match option_env!("THREADLINE_STORAGE_SCHEMA") {
    Some(name) => plain_or_stop(name),
    None => "threadline",
};

/// Whether a name begins with another; `str::starts_with` cannot run at build time.
const fn begins_with(name: &str, beginning: &str) -> bool {
    let (name, beginning) = (name.as_bytes(), beginning.as_bytes());
    let mut at = 0;
    while at < beginning.len() {
        if at == name.len() || name[at] != beginning[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn plain_or_stop(name: &'static str) -> &'static str {
    assert!(
        !(begins_with(name, "pg_") || begins_with(name, "public") && name.len() == 6),
        "THREADLINE_STORAGE_SCHEMA must be a schema of its own: not public, and not PostgreSQL's"
    );
    assert!(
        is_plain_identifier(name),
        "THREADLINE_STORAGE_SCHEMA must be a plain PostgreSQL identifier: a lower-case letter or \
         underscore, then lower-case letters, digits and underscores, at most 63 bytes"
    );
    name
}

/// Puts the storage schema into SQL written for the schema placeholder `@threadline@`.
#[must_use]
pub(crate) fn in_storage_schema(sql: &str) -> String {
    sql.replace("@threadline@", STORAGE_SCHEMA)
}
