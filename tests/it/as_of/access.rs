//! The privileges that reading a row as of an instant needs.

use super::accounts;
use crate::harness::captured;

#[test]
fn row_as_of_needs_no_usage_on_the_schema_of_the_table() {
    let trail = captured(
        "CREATE SCHEMA vault; CREATE TABLE vault.safes (id int PRIMARY KEY, content text)",
        &["vault.safes"],
    );
    trail.run("INSERT INTO vault.safes VALUES (1, 'gold')");
    let role = format!("outsider_{}", std::process::id());
    trail.run(&format!(
        "CREATE ROLE {role}; GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO {role}"
    ));
    let known = trail.query_text(&format!(
        "SET ROLE {role}; SELECT image ->> 'content' FROM threadline.row_as_of('vault', 'safes', '1', now())"
    ));
    assert_eq!(known, "gold");
    trail.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn row_as_of_needs_select_on_the_trail() {
    let trail = accounts();
    trail.run("INSERT INTO as_of_accounts VALUES (1, 'ada', 10)");
    let role = format!("reader_{}", std::process::id());
    trail.run(&format!("CREATE ROLE {role}"));
    let call = format!(
        "SET ROLE {role}; SELECT state FROM threadline.row_as_of('public', 'as_of_accounts', '1', now())"
    );
    let refused = trail.expect_error(&call);
    assert!(refused.contains("permission denied"), "{refused}");
    trail.run(&format!(
        "GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO {role}"
    ));
    assert_eq!(trail.query_text(&call), "row");
    trail.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
