//! Runs the SQL and the commands of the guides, each guide in its own database. Their Rust is compiled
//! as doc tests, which `src/lib.rs` includes.
//!
//! HTML comments, which GitHub does not show, control the run:
//!
//! | comment | meaning |
//! |---|---|
//! | `<!-- database: saas -->` | at the top: a database with the tables of `examples/saas`, without a trail |
//! | `<!-- database: saas captured -->` | the same, with the trail and capture |
//! | `<!-- database: empty -->` | an empty database |
//! | `<!-- setup: SQL -->` | SQL that runs like a block |
//! | `<!-- gives: TEXT -->` | the first value that the next block returns |
//! | `<!-- fails: TEXT -->` | the next block fails, and its message contains this text |
//! | `<!-- prints: TEXT -->` | the output of the next command contains this text |
//! | `<!-- exit: N -->` | the exit code of the next command, if it is not 0 |
//! | `<!-- not run: WHY -->` | the next block is not run, and why |
//!
//! Without a `database` comment a guide starts with an empty trail. In `sh` blocks `threadline` and
//! `cargo xtask` run in a folder with a `migrations` directory, and `diesel migration run` applies
//! the migrations. `$DATABASE_URL` is the database, `$TRANSACTION` the id of the newest audit
//! transaction.

mod contents;
pub(crate) mod markdown;
pub(crate) mod run;

use std::fs;

use self::markdown::guides;
pub(crate) use self::markdown::{Part, parts, root};
use self::run::GuideRun;
pub(crate) use self::run::{command_line, shown, target_dir};

fn run_guide(guide: &str) {
    let text = fs::read_to_string(root().join("guides").join(guide)).expect("the guide");
    GuideRun::new(guide, &text).run(&text);
}

macro_rules! guide_tests {
    ($($test:ident: $guide:literal),+ $(,)?) => {
        const RUN_GUIDES: &[&str] = &[$($guide),+];
        $(
            #[test]
            fn $test() {
                run_guide($guide);
            }
        )+
    };
}

guide_tests! {
    index_runs_as_written: "README.md",
    how_it_works_runs_as_written: "how-it-works.md",
    domain_reference_runs_as_written: "domain-reference.md",
    redaction_runs_as_written: "redaction.md",
    console_runs_as_written: "console.md",
    supported_tables_runs_as_written: "supported-tables.md",
    archive_runs_as_written: "archive.md",
    attribution_runs_as_written: "attribution.md",
    background_exports_runs_as_written: "background-exports.md",
    audited_attribute_runs_as_written: "audited-attribute.md",
    cookbook_runs_as_written: "cookbook.md",
    telemetry_runs_as_written: "telemetry.md",
    roles_and_trust_runs_as_written: "roles-and-trust.md",
    pgbouncer_runs_as_written: "pgbouncer.md",
    investigate_runs_as_written: "investigate.md",
    brownfield_runs_as_written: "brownfield.md",
    as_of_runs_as_written: "as-of.md",
    upgrading_runs_as_written: "upgrading.md",
    evidence_runs_as_written: "evidence.md",
    erasure_runs_as_written: "erasure.md",
    export_runs_as_written: "export.md",
    feed_runs_as_written: "feed.md",
    production_checklist_runs_as_written: "production-checklist.md",
    restore_runs_as_written: "restore.md",
    retention_runs_as_written: "retention.md",
    scale_runs_as_written: "scale.md",
    seals_runs_as_written: "seals.md",
}

/// `getting_started` follows its guide in an application of its own. The commands of performance.md take hours;
/// the others have no SQL and no commands.
const NOT_RUN: [&str; 5] = [
    "commands.md",
    "for-administrators.md",
    "getting-started.md",
    "performance.md",
    "stability.md",
];

#[test]
fn every_guide_is_run_and_its_rust_is_compiled() {
    let facade = fs::read_to_string(root().join("src/lib.rs")).expect("the facade");
    for (guide, text) in guides() {
        // Its Rust is compiled with the application.
        if guide == "getting-started.md" {
            continue;
        }
        assert!(
            RUN_GUIDES.contains(&guide.as_str()) || NOT_RUN.contains(&guide.as_str()),
            "{guide}"
        );
        let has_rust = text
            .lines()
            .any(|line| line.trim_start().starts_with("```rust"));
        let compiled = facade.contains(&format!("include_str!(\"../guides/{guide}\")"));
        assert!(
            compiled || !has_rust,
            "src/lib.rs includes no guides/{guide}"
        );
    }
}

#[test]
fn no_code_block_in_a_guide_is_marked_ignore() {
    for (guide, text) in guides() {
        for line in text
            .lines()
            .filter(|line| line.trim_start().starts_with("```"))
        {
            assert!(!line.contains("ignore"), "{guide}: {line}");
        }
    }
}
