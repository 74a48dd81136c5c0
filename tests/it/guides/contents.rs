//! What the guides must contain: links that resolve, and every object, column, finding and event.

use std::fs;
use std::path::Path;

use super::markdown::{anchors, guides, root};
use super::run::cluster;

#[test]
fn every_relative_link_in_the_guides_resolves() {
    for (guide, _) in guides() {
        check_links(&root().join("guides").join(guide));
    }
}

#[test]
fn every_relative_link_in_the_documents_at_the_root_resolves() {
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "examples/saas/README.md",
    ] {
        check_links(&root().join(document));
    }
}

/// Asserts that the files and headings of relative links in a Markdown file exist.
fn check_links(file: &Path) {
    let text = fs::read_to_string(file).expect("UTF-8");
    for target in text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
    {
        if target.contains("://") {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = if path.is_empty() {
            file.to_owned()
        } else {
            file.parent().expect("a folder").join(path)
        };
        assert!(path.exists(), "{}: {target}", file.display());
        if !anchor.is_empty() {
            let linked = fs::read_to_string(path).expect("UTF-8");
            assert!(
                anchors(&linked).contains(anchor),
                "{}: {target}",
                file.display()
            );
        }
    }
}

#[test]
fn every_finding_code_is_listed_in_supported_tables() {
    let guide = include_str!("../../../guides/supported-tables.md");
    for code in threadline::coverage::FindingCode::ALL {
        assert!(
            guide.contains(&format!("| `{code}` |")),
            "no row for {code}"
        );
    }
}

#[test]
fn the_domain_reference_lists_every_column() {
    let database = cluster().create_database().expect("a database");
    database
        .execute_script(&threadline::install::up_sql())
        .expect("the trail");
    let columns = database
        .query_text(
            "SELECT string_agg(DISTINCT attname, ' ') FROM pg_attribute JOIN pg_class ON oid = attrelid \
             WHERE relnamespace = 'threadline'::regnamespace AND relkind IN ('p', 'r') \
               AND NOT relispartition AND attnum > 0 AND NOT attisdropped",
        )
        .expect("the columns")
        .expect("columns");
    let guide = include_str!("../../../guides/domain-reference.md");
    for column in columns.split(' ') {
        assert!(
            guide.contains(&format!("`{column}`")),
            "column {column} is missing"
        );
    }
}

#[test]
fn the_guide_for_administrators_lists_every_object() {
    let trail = crate::harness::empty_trail();
    let names = trail.query_text(
        "SELECT string_agg(name, ' ') FROM (
            SELECT proname AS name FROM pg_proc WHERE pronamespace = 'threadline'::regnamespace
            UNION SELECT relname FROM pg_class WHERE relnamespace = 'threadline'::regnamespace
                AND relkind IN ('r', 'p', 'v', 'S') AND NOT relispartition AND relname NOT LIKE '%\\_runs\\_id\\_seq'
         ) AS object",
    );
    let guide = include_str!("../../../guides/for-administrators.md");
    for name in names.split(' ') {
        assert!(
            guide.contains(&format!("`{name}`")),
            "object {name} is missing"
        );
    }
    let counts = trail.query_text(
        "SELECT format('%s tables and %s indexes', count(*) FILTER (WHERE relkind IN ('r', 'p')),
            count(*) FILTER (WHERE relkind IN ('i', 'I')))
         FROM pg_class WHERE relnamespace = 'threadline'::regnamespace",
    );
    assert!(guide.contains(&counts), "{counts}");
}

#[test]
fn the_index_of_guides_lists_every_guide() {
    let index = include_str!("../../../guides/README.md");
    for (guide, _) in guides() {
        assert!(
            guide == "README.md" || index.contains(&format!("]({guide}")),
            "guides/README.md has no link to {guide}"
        );
    }
}

#[test]
fn the_guide_of_telemetry_lists_the_registered_events() {
    let guide = include_str!("../../../guides/telemetry.md");
    let registered: Vec<_> = threadline::telemetry::EVENTS
        .iter()
        .map(|event| {
            let fields: Vec<_> = event
                .fields
                .iter()
                .map(|field| format!("`{field}`"))
                .collect();
            let fields = if fields.is_empty() {
                "none".to_owned()
            } else {
                fields.join(", ")
            };
            format!(
                "| `{}` | {} | {fields} | `{}` |",
                event.name, event.level, event.counter
            )
        })
        .collect();
    let listed: Vec<_> = guide
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains("_total` |"))
        .collect();
    assert_eq!(listed, registered);
}

#[test]
fn findings_in_the_cookbook_exist() {
    let guide = include_str!("../../../guides/cookbook.md");
    let (_, findings) = guide
        .split_once("### Frequent findings")
        .expect("the section");
    let rows = findings.lines().filter(|line| line.starts_with("| `"));
    for code in rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split(','))
    {
        let code = code.trim().trim_matches('`');
        let known = threadline::coverage::FindingCode::ALL;
        assert!(
            known.iter().any(|known| known.to_string() == code),
            "{code}"
        );
    }
}
