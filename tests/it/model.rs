//! Random transactions compared with an in-memory model: the trail has the changes that the model
//! predicts.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::harness::{Recorded, captured};

/// A generated statement.
#[derive(Debug, Clone)]
enum Step {
    Insert {
        table: usize,
        key: i32,
        value: i32,
    },
    InsertMany {
        table: usize,
        from: i32,
        count: i32,
    },
    Upsert {
        table: usize,
        key: i32,
        value: i32,
    },
    Update {
        table: usize,
        key: i32,
        value: i32,
    },
    UpdateAll {
        table: usize,
        parity: i32,
        value: i32,
    },
    Rekey {
        table: usize,
        key: i32,
        to: i32,
    },
    Delete {
        table: usize,
        key: i32,
    },
    DeleteAll {
        table: usize,
        parity: i32,
    },
    Truncate {
        table: usize,
    },
    Savepoint,
    RollbackToSavepoint,
    ReleaseSavepoint,
}

#[derive(Debug, Clone)]
struct Transaction {
    steps: Vec<Step>,
    commit: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let (table, key, value) = (0..2_usize, 0..12_i32, 0..3_i32);
    prop_oneof![
        3 => (table.clone(), key.clone(), value.clone()).prop_map(|(table, key, value)| Step::Insert { table, key, value }),
        1 => (table.clone(), key.clone(), 0..5_i32).prop_map(|(table, from, count)| Step::InsertMany { table, from, count }),
        2 => (table.clone(), key.clone(), value.clone()).prop_map(|(table, key, value)| Step::Upsert { table, key, value }),
        3 => (table.clone(), key.clone(), value.clone()).prop_map(|(table, key, value)| Step::Update { table, key, value }),
        1 => (table.clone(), 0..2_i32, value).prop_map(|(table, parity, value)| Step::UpdateAll { table, parity, value }),
        2 => (table.clone(), key.clone(), key.clone()).prop_map(|(table, key, to)| Step::Rekey { table, key, to }),
        2 => (table.clone(), key).prop_map(|(table, key)| Step::Delete { table, key }),
        1 => (table.clone(), 0..2_i32).prop_map(|(table, parity)| Step::DeleteAll { table, parity }),
        1 => table.prop_map(|table| Step::Truncate { table }),
        2 => Just(Step::Savepoint),
        1 => Just(Step::RollbackToSavepoint),
        1 => Just(Step::ReleaseSavepoint),
    ]
}

fn work() -> impl Strategy<Value = Vec<Transaction>> {
    let transaction = (
        prop::collection::vec(step(), 1..10),
        prop::bool::weighted(0.85),
    )
        .prop_map(|(steps, commit)| Transaction { steps, commit });
    prop::collection::vec(transaction, 1..8)
}

/// The rows of a table in the model: value by key.
type Rows = BTreeMap<i32, i32>;

/// The changes that one statement makes, in no particular order.
type Expected = Vec<Value>;

#[derive(Debug, Clone, Default)]
struct Model {
    tables: [Rows; 2],
    recorded: Vec<Expected>,
}

fn name(table: usize) -> &'static str {
    ["odd one", "even"][table]
}

fn image(key: i32, value: i32) -> Value {
    json!({"id": key, "v": value})
}

fn inserted(table: usize, key: i32, value: i32) -> Value {
    json!({"op": "insert", "table": name(table), "key": key, "after": image(key, value), "from": null})
}

fn deleted(table: usize, key: i32, value: i32) -> Value {
    json!({"op": "delete", "table": name(table), "key": key, "after": null, "from": image(key, value)})
}

fn updated(table: usize, key: i32, value: i32, from: &Value) -> Value {
    json!({"op": "update", "table": name(table), "key": key, "after": image(key, value), "from": from})
}

impl Model {
    /// Applies a step to the model and returns its SQL, or `None` if the step is not possible.
    fn apply(&mut self, step: &Step) -> Option<String> {
        let mut expected = Expected::new();
        let sql = match *step {
            Step::Insert { table, key, value } => {
                if let Entry::Vacant(free) = self.tables[table].entry(key) {
                    free.insert(value);
                    expected.push(inserted(table, key, value));
                }
                format!(
                    "INSERT INTO \"{}\" VALUES ({key}, {value}) ON CONFLICT DO NOTHING",
                    name(table)
                )
            }
            Step::InsertMany { table, from, count } => {
                for key in from..from + count {
                    if let Entry::Vacant(free) = self.tables[table].entry(key) {
                        free.insert(0);
                        expected.push(inserted(table, key, 0));
                    }
                }
                format!(
                    "INSERT INTO \"{}\" SELECT g, 0 FROM generate_series({from}, {from} + {count} - 1) AS g ON CONFLICT DO NOTHING",
                    name(table)
                )
            }
            Step::Upsert { table, key, value } => {
                match self.tables[table].insert(key, value) {
                    None => expected.push(inserted(table, key, value)),
                    Some(old) if old != value => {
                        expected.push(updated(table, key, value, &json!({"v": old})));
                    }
                    Some(_) => {}
                }
                format!(
                    "INSERT INTO \"{}\" VALUES ({key}, {value}) ON CONFLICT (id) DO UPDATE SET v = excluded.v",
                    name(table)
                )
            }
            Step::Update { table, key, value } => {
                if let Some(old) = self.tables[table].get_mut(&key) {
                    if *old != value {
                        expected.push(updated(table, key, value, &json!({"v": *old})));
                    }
                    *old = value;
                }
                format!(
                    "UPDATE \"{}\" SET v = {value} WHERE id = {key}",
                    name(table)
                )
            }
            Step::UpdateAll {
                table,
                parity,
                value,
            } => {
                for (key, old) in &mut self.tables[table] {
                    if key % 2 == parity && *old != value {
                        expected.push(updated(table, *key, value, &json!({"v": *old})));
                        *old = value;
                    }
                }
                format!(
                    "UPDATE \"{}\" SET v = {value} WHERE id % 2 = {parity}",
                    name(table)
                )
            }
            Step::Rekey { table, key, to } => {
                if key == to || self.tables[table].contains_key(&to) {
                    return None;
                }
                if let Some(value) = self.tables[table].remove(&key) {
                    self.tables[table].insert(to, value);
                    expected.push(updated(table, to, value, &json!({"id": key})));
                }
                format!("UPDATE \"{}\" SET id = {to} WHERE id = {key}", name(table))
            }
            Step::Delete { table, key } => {
                if let Some(value) = self.tables[table].remove(&key) {
                    expected.push(deleted(table, key, value));
                }
                format!("DELETE FROM \"{}\" WHERE id = {key}", name(table))
            }
            Step::DeleteAll { table, parity } => {
                self.tables[table].retain(|key, value| {
                    let stays = key % 2 != parity;
                    if !stays {
                        expected.push(deleted(table, *key, *value));
                    }
                    stays
                });
                format!("DELETE FROM \"{}\" WHERE id % 2 = {parity}", name(table))
            }
            Step::Truncate { table } => {
                self.tables[table].clear();
                expected.push(json!({"op": "truncate", "table": name(table), "key": null, "after": null, "from": null}));
                format!("TRUNCATE \"{}\"", name(table))
            }
            Step::Savepoint | Step::RollbackToSavepoint | Step::ReleaseSavepoint => return None,
        };
        if !expected.is_empty() {
            self.recorded.push(expected);
        }
        Some(sql)
    }

    /// Applies a transaction to the model and returns its script.
    fn run(&mut self, transaction: &Transaction) -> String {
        let before = self.clone();
        let mut savepoints: Vec<Self> = Vec::new();
        let mut script = vec!["BEGIN".to_owned()];
        for step in &transaction.steps {
            match step {
                Step::Savepoint => {
                    savepoints.push(self.clone());
                    script.push(format!("SAVEPOINT s{}", savepoints.len()));
                }
                Step::RollbackToSavepoint => {
                    if let Some(saved) = savepoints.last() {
                        *self = saved.clone();
                        script.push(format!("ROLLBACK TO s{}", savepoints.len()));
                    }
                }
                Step::ReleaseSavepoint => {
                    if savepoints.pop().is_some() {
                        script.push(format!("RELEASE s{}", savepoints.len() + 1));
                    }
                }
                other => script.extend(self.apply(other)),
            }
        }
        if transaction.commit {
            script.push("COMMIT".to_owned());
        } else {
            *self = before;
            script.push("ROLLBACK".to_owned());
        }
        script.join("; ")
    }
}

fn as_document(change: &Recorded) -> Value {
    let key = change
        .row_key
        .as_ref()
        .map(|key| key.parse::<i32>().expect("a number"));
    json!({"op": change.op, "table": change.table, "key": key, "after": change.after, "from": change.from})
}

fn sorted(mut changes: Vec<Value>) -> Vec<String> {
    changes.sort_by_key(ToString::to_string);
    changes.iter().map(ToString::to_string).collect()
}

#[test]
fn random_transactions_are_recorded_as_the_model_predicts() {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(60);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&work(), |transactions| {
            let trail = captured(
                "CREATE TABLE \"odd one\" (id int PRIMARY KEY, v int); CREATE TABLE even (id int PRIMARY KEY, v int)",
                &["\"odd one\"", "even"],
            );
            let mut model = Model::default();
            for transaction in &transactions {
                trail.run(&model.run(transaction));
            }
            let mut changes = trail.changes().into_iter();
            for expected in &model.recorded {
                let actual: Vec<_> = changes.by_ref().take(expected.len()).map(|c| as_document(&c)).collect();
                prop_assert_eq!(sorted(actual), sorted(expected.clone()));
            }
            prop_assert_eq!(changes.count(), 0);
            let orphans = trail.query_text(
                "SELECT count(*) FROM threadline.audit_changes AS c FULL JOIN threadline.audit_transactions AS t \
                 ON t.id = c.transaction_id WHERE t.id IS NULL OR c.id IS NULL",
            );
            prop_assert_eq!(orphans, "0");
            Ok(())
        })
        .unwrap();
}
