//! Damaged archives, forged records, and storages that cannot be reached.

use std::fs;
use std::time::Duration;

use sha2_of::sha256;
use threadline_export::archive::{ArchiveError, RunOptions};

use super::Site;

/// SHA-256 in hexadecimal, by the program of the system.
mod sha2_of {
    use std::path::Path;
    use std::process::Command;

    pub(super) fn sha256(path: &Path) -> String {
        let output = Command::new("sha256sum")
            .arg(path)
            .output()
            .expect("sha256sum");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.split_whitespace().next().expect("a digest").to_owned()
    }
}

/// A small generator of numbers that look random.
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 33).expect("31 bits")
}

#[test]
fn a_flipped_bit_is_found_in_every_file() {
    let site = Site::new();
    site.archive();
    let mut state = 0x2026_1130;
    for file in site.files() {
        if !file.ends_with(".parquet") {
            continue;
        }
        let path = site.path().join(&file);
        let whole = fs::read(&path).unwrap();
        for _ in 0..3 {
            let mut damaged = whole.clone();
            let place = next(&mut state) % damaged.len();
            damaged[place] ^= 1 << (next(&mut state) % 8);
            fs::write(&path, &damaged).unwrap();
            let found = site.verify();
            assert!(!found.verified, "{file} at {place}");
            assert_eq!(found.finding.unwrap().object.unwrap(), file);
        }
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(!site.verify().verified);
        fs::remove_file(&path).unwrap();
        let finding = site.verify().finding.unwrap();
        assert_eq!(finding.reason, "the file does not exist");
        fs::write(&path, &whole).unwrap();
    }
    assert!(site.verify().verified);
}

/// Changes a file by a Python script, and gives its manifest the new size and digest.
fn forge(site: &Site, kind: &str, script: &str) -> Option<()> {
    let python = crate::read_back::python_with_readers()?;
    let manifest = &site.manifests()[0];
    let file = manifest
        .files
        .iter()
        .find(|file| file.kind.as_str() == kind);
    let file = file.expect("a file");
    let path = site.path().join(&file.object);
    let program = format!(
        "import sys, pyarrow.parquet as pq, pyarrow as pa
path = sys.argv[1]
table = pq.ParquetFile(path).read()
def put(column, row, value):
    global table
    at = table.schema.get_field_index(column)
    values = table.column(column).to_pylist()
    values[row] = value
    field = table.schema.field(at)
    table = table.set_column(at, field, pa.array(values, field.type))
{script}
pq.write_table(table, path, compression='zstd')"
    );
    let output = std::process::Command::new(python)
        .arg("-c")
        .arg(program)
        .arg(&path)
        .output()
        .expect("python");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let manifest_path = site
        .path()
        .join(format!("archive/_manifest/{}.json", manifest.day));
    let text = fs::read_to_string(&manifest_path).unwrap();
    let bytes = fs::metadata(&path).unwrap().len();
    let text = text.replace(&file.sha256, &sha256(&path)).replace(
        &format!("\"bytes\": {},", file.bytes),
        &format!("\"bytes\": {bytes},"),
    );
    fs::write(manifest_path, text).unwrap();
    Some(())
}

#[test]
fn a_changed_value_under_a_recomputed_digest_is_found() {
    for (kind, script, reason) in [
        ("changes", "put('actor', 0, 'user:1')", "fields differ"),
        (
            "changes",
            "put('data_after', 0, '{\"id\": 1}')",
            "fields differ",
        ),
        (
            "changes",
            "put('data_after', 0, '{\"id\": 1')",
            "malformed JSON",
        ),
        ("changes", "put('seal_leaf', 0, 1)", "of another record"),
        ("changes", "put('seal_leaf', 0, 999999)", "not sealed"),
        ("changes", "put('seal_secret', 0, None)", "secret is absent"),
        (
            "changes",
            "table = pa.concat_tables([table.slice(0, 1), table.slice(0, 1), table.slice(2)])",
            "there twice",
        ),
        ("changes", "table = table.slice(1)", "rows, and"),
        ("transactions", "put('db_user', 0, 'eve')", "fields differ"),
        ("actions", "put('reason', 0, 'none')", "fields differ"),
        ("records", "put('id', 0, 7777)", "of another record"),
        ("records", "put('fields', 0, '{}')", "fields"),
    ] {
        let site = Site::new();
        site.archive();
        if forge(&site, kind, script).is_none() {
            return;
        }
        let found = site.verify();
        let finding = found.finding.unwrap_or_else(|| panic!("{script}"));
        assert!(finding.reason.contains(reason), "{script}: {finding:?}");
    }
}

#[test]
fn a_forged_record_of_the_trail_is_not_archived() {
    for forgery in [
        "UPDATE threadline.audit_changes SET actor = 'user:1' WHERE op = 'delete'",
        "INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name)
             SELECT 2, captured_at, transaction_id, op, table_schema, table_name
             FROM threadline.audit_changes WHERE op = 'delete'",
        "UPDATE threadline.audit_transactions SET db_user = 'eve'
             WHERE id = (SELECT min(id::text)::uuid FROM threadline.audit_transactions)",
        "UPDATE threadline.audit_actions SET status = 'error'",
        "UPDATE threadline.audit_suspensions SET reason = 'none'",
    ] {
        let site = Site::new();
        site.trail
            .run(&format!("SET session_replication_role = replica; {forgery}"));
        let refused = site
            .try_archive(&RunOptions::new("local").wait(Duration::ZERO))
            .unwrap_err();
        assert!(
            matches!(refused, ArchiveError::NotAsSealed { .. }),
            "{forgery}: {refused}"
        );
        assert!(site.files().is_empty(), "{:?}", site.files());
    }
}

#[test]
fn a_storage_that_was_removed_is_an_error_and_nothing_is_written() {
    let site = Site::new();
    let storage = site.storage();
    fs::remove_dir(site.path()).unwrap();
    let outcome = crate::harness::block_on(async {
        let mut conn = site.trail.connect().await;
        let options = RunOptions::new("local").wait(Duration::ZERO);
        threadline_export::archive::run(&mut conn, &storage, &options, |_| {}).await
    });
    assert!(matches!(outcome, Err(ArchiveError::Storage(_))));
    assert!(!site.path().exists());
    fs::create_dir(site.path()).unwrap();
    assert_eq!(site.archive().days.len(), 3);
}

#[test]
fn the_archive_of_another_trail_is_refused() {
    let (site, other) = (Site::new(), Site::new());
    site.archive();
    let outcome = crate::harness::block_on(async {
        let mut conn = other.trail.connect().await;
        let options = RunOptions::new("local").wait(Duration::ZERO);
        threadline_export::archive::run(&mut conn, &site.storage(), &options, |_| {}).await
    });
    assert!(matches!(outcome, Err(ArchiveError::OtherTrail { .. })));
    assert!(site.verify().verified);
}

#[test]
fn files_without_a_manifest_are_replaced() {
    let site = Site::new();
    site.archive();
    let day = super::day(1);
    fs::remove_file(site.path().join(format!("archive/_manifest/{day}.json"))).unwrap();
    let directory = site.path().join(format!("archive/changes/v1/day={day}"));
    fs::write(directory.join("part-1-2.parquet"), "half").unwrap();
    fs::write(directory.join("part-1-2.parquet#1"), "half").unwrap();
    site.seal();
    assert_eq!(site.archive().days.len(), 1);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    assert!(site.verify().verified);
}
