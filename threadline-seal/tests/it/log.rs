//! A log in a directory: export, checkpoints, tiles and key.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use threadline_seal::checkpoint::Checkpoint;
use threadline_seal::digest::Digest;
use threadline_seal::field::{Fields, Secret};
use threadline_seal::instant::format_micros;
use threadline_seal::key::SigningKey;
use threadline_seal::record::{Entry, RecordKind};
use threadline_seal::sealed_line::{Body, SealedLine};
use threadline_seal::tile_builder::TileBuilder;
use threadline_seal::tree::Frontier;
use threadline_seal::verify::{Answer, Finding, Summary, Verification};

pub(crate) const ORIGIN: &str = "example.com/trail";

/// The time of the record with an id.
pub(crate) fn micros(id: i64) -> i64 {
    1_795_253_400_000_000 + id
}

pub(crate) fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs
        .iter()
        .map(|(path, value)| ((*path).to_owned(), (*value).to_owned()))
        .collect()
}

pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[7; 32]).unwrap()
}

pub(crate) fn secret(leaf: u64) -> Secret {
    let digest = Digest::of(&[b"secret", &leaf.to_be_bytes()]);
    Secret::from_bytes(digest.as_bytes()[..16].try_into().unwrap())
}

/// The lines of a log that is not published yet.
#[derive(Clone, Default)]
pub(crate) struct Lines(pub(crate) Vec<SealedLine>);

impl Lines {
    /// A log with its genesis record.
    pub(crate) fn begin() -> Self {
        let mut lines = Self::default();
        let began_at = format_micros(micros(0));
        let genesis = [
            ("from_id", "1"),
            ("began_at", &began_at),
            ("origin", ORIGIN),
        ];
        lines.push(RecordKind::Genesis, 1, fields(&genesis));
        lines
    }

    pub(crate) fn push(&mut self, kind: RecordKind, id: i64, fields: Fields) -> u64 {
        let leaf = self.0.len() as u64;
        let line = SealedLine::seal(leaf, kind, id, fields, secret(leaf)).unwrap();
        self.0.push(line);
        leaf
    }

    pub(crate) fn change(&mut self, id: i64) -> u64 {
        let email = format!("\"member{id}@example.com\"");
        self.change_with(
            id,
            &[("data_after/email", &email), ("data_after/n", "1.10")],
        )
    }

    pub(crate) fn change_with(&mut self, id: i64, more: &[(&str, &str)]) -> u64 {
        let (text, at) = (id.to_string(), format_micros(micros(id)));
        let mut all = fields(&[
            ("id", &text),
            ("captured_at", &at),
            ("op", "update"),
            ("table_schema", "public"),
            ("table_name", "members"),
            ("transaction_id", "000303c4-c5f8-7600-0000-0000000003e9"),
        ]);
        all.extend(fields(more));
        self.push(RecordKind::Change, id, all)
    }

    pub(crate) fn removal(&mut self, id: i64, kind: &str, scope: &str) -> u64 {
        let (text, at) = (id.to_string(), format_micros(micros(id)));
        let removal = [
            ("order_id", text.as_str()),
            ("removed_at", &at),
            ("kind", kind),
            ("reason", "request 5"),
            ("scope", scope),
        ];
        self.push(RecordKind::Removal, id, fields(&removal))
    }

    /// Erases a field of a leaf, as the database does.
    pub(crate) fn erase(&mut self, leaf: u64, path: &str, replacement: Option<&str>) {
        let line = &mut self.0[usize::try_from(leaf).unwrap()];
        let (mut fields, mut erased, mut salts) = match line.body.clone() {
            Body::Complete { fields, secret } => {
                let salts = fields
                    .keys()
                    .map(|path| (path.clone(), secret.salt(path)))
                    .collect();
                (fields, std::collections::BTreeMap::new(), salts)
            }
            Body::Erased {
                fields,
                erased,
                salts,
            } => (fields, erased, salts),
            _ => panic!("the record was removed"),
        };
        let value = fields.remove(path).unwrap();
        let salt = salts.remove(path).unwrap();
        erased.insert(path.to_owned(), salt.commit(path, &value));
        if let Some(value) = replacement {
            fields.insert(path.to_owned(), value.to_owned());
        }
        line.body = Body::Erased {
            fields,
            erased,
            salts,
        };
    }

    /// Removes a record, as retention does.
    pub(crate) fn remove(&mut self, leaf: u64) {
        self.0[usize::try_from(leaf).unwrap()].body = Body::Removed;
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0.iter().map(|line| line.entry).collect()
    }

    pub(crate) fn checkpoint(&self, size: u64) -> Checkpoint {
        let mut frontier = Frontier::default();
        for entry in &self.entries()[..usize::try_from(size).unwrap()] {
            frontier.push(entry.leaf_hash());
        }
        Checkpoint::new(ORIGIN, size, frontier.root())
    }

    /// Writes everything to a new directory, with checkpoints of some sizes.
    pub(crate) fn publish(&self, sizes: &[u64]) -> Log {
        let log = Log {
            directory: TempDir::new().unwrap(),
        };
        log.write("vkey", &format!("{}\n", key().verifier_key()));
        log.write_export(self.0.iter().map(SealedLine::to_json));
        for size in sizes {
            log.write_checkpoint(&self.checkpoint(*size));
        }
        self.write_tiles(log.directory.path());
        log
    }

    pub(crate) fn write_tiles(&self, directory: &Path) {
        let mut builder = TileBuilder::default();
        let mut files: Vec<_> = self
            .entries()
            .into_iter()
            .flat_map(|entry| builder.push(entry))
            .collect();
        files.extend(builder.partial_files());
        for file in files {
            write(&directory.join(file.path), &file.bytes);
        }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A published log.
pub(crate) struct Log {
    pub(crate) directory: TempDir,
}

impl Log {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        write(&self.path(name), text.as_bytes());
    }

    pub(crate) fn write_export(&self, lines: impl Iterator<Item = String>) {
        let text: String = lines.map(|line| line + "\n").collect();
        self.write("export.ndjson", &text);
    }

    pub(crate) fn write_checkpoint(&self, checkpoint: &Checkpoint) {
        let note = checkpoint.sign(&key()).to_string();
        self.write(&checkpoint.path(), &note);
        self.write("checkpoint", &note);
    }

    pub(crate) fn verification(&self) -> Verification {
        Verification::new(vec![key().verifier_key().clone()], self.directory.path())
    }

    pub(crate) fn with_export(&self) -> Verification {
        self.verification().export(self.path("export.ndjson"))
    }
}

pub(crate) fn verified(verification: &Verification) -> Summary {
    match verification.run().unwrap() {
        Answer::Verified(summary) => summary,
        answer => panic!("{answer:?}"),
    }
}

pub(crate) fn finding(verification: &Verification) -> Finding {
    match verification.run().unwrap() {
        Answer::NotVerified(finding) => finding,
        answer => panic!("{answer:?}"),
    }
}
