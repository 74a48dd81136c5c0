//! The xtask of a host for tests. Its models declare the tables in `declared.json` in the current directory, so
//! that a test can change the code of the host.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::ExitCode;

use threadline_core::__private::{AuditedTable, Registration, inventory};
use threadline_core::actor::ActorType;
use threadline_core::expected_gap::ExpectedGap;
use threadline_core::table::InvalidTableName;
use threadline_diesel::coverage::Coverage;
use threadline_diesel::erasure::SubjectMap;
use threadline_diesel::evidence::{Check, CheckOptions, EvidencePlan, days};
use threadline_xtask::Host;

const GAPS: &[ExpectedGap] = &[ExpectedGap::new("cache", "rebuilt every night")];

/// The declaration at a position, or else the last one.
fn declared(position: usize) -> AuditedTable {
    let json = fs::read_to_string("declared.json").unwrap();
    let mut tables: Vec<AuditedTable> = serde_json::from_str(&json).unwrap();
    tables.truncate(position + 1);
    tables.pop().unwrap()
}

inventory::submit! { Registration::new(module_path!(), "First", || Ok(declared(0))) }
inventory::submit! { Registration::new(module_path!(), "Second", || Ok(declared(1))) }
inventory::submit! { Registration::new(module_path!(), "Third", || Ok(declared(2))) }

fn evidence_plan() -> anyhow::Result<EvidencePlan> {
    let gaps = Coverage::new().expecting(GAPS[0])?;
    let options = CheckOptions::registered()?.coverage(gaps);
    Ok(EvidencePlan::new(options)
        .every(Check::Coverage, days(1))
        .every(Check::Policy, days(1)))
}

/// The values of table `t` belong to the person whose id is its key.
fn subject_map() -> Result<SubjectMap, InvalidTableName> {
    let map = SubjectMap::new().actor(ActorType::User);
    Ok(map.row("t".parse()?, ["v"]).action_texts())
}

fn main() -> ExitCode {
    let host = Host::new(&["test_host"]).expected_gaps(GAPS);
    threadline_xtask::main(host.evidence_plan(evidence_plan).subject_map(subject_map))
}
