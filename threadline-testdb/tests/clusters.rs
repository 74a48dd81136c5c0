//! Starting, stopping, killing and dropping clusters.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use common::{exists, psql, wait_until};
use threadline_testdb::{Cluster, Error, Listen, MajorVersion, OnDrop};

#[test]
fn a_dropped_cluster_stops_its_server_and_removes_its_directory() {
    let cluster = Cluster::start().unwrap();
    let pid = cluster.postmaster_pid().unwrap();
    let directory = cluster.socket_dir().unwrap().to_owned();
    assert!(exists(pid));

    drop(cluster);

    assert!(!exists(pid));
    assert!(!directory.exists());
}

#[test]
fn a_panic_stops_the_server() {
    let outcome = std::thread::spawn(|| {
        let cluster = Cluster::start().unwrap();
        let pid = cluster.postmaster_pid().unwrap();
        std::panic::panic_any((pid, cluster.data_dir().unwrap()));
    })
    .join();

    let payload = outcome.unwrap_err();
    let (pid, data) = payload.downcast_ref::<(u32, std::path::PathBuf)>().unwrap();
    assert!(!exists(*pid));
    assert!(!data.exists());
}

#[test]
fn a_database_keeps_its_server_running() {
    let database = Cluster::start().unwrap().create_database().unwrap();

    assert_eq!(
        database.query_text("select 1").unwrap().as_deref(),
        Some("1")
    );
}

#[test]
fn the_socket_directory_is_closed_to_other_users() {
    let cluster = Cluster::start().unwrap();

    let directory = std::fs::metadata(cluster.socket_dir().unwrap()).unwrap();

    assert_eq!(directory.permissions().mode() & 0o777, 0o700);
}

#[test]
fn the_server_of_root_runs_as_an_unprivileged_user() {
    let cluster = Cluster::start().unwrap();
    let data = cluster.data_dir().unwrap();

    let owner = std::fs::metadata(&data).unwrap().uid();
    let process_user = tempfile::tempfile().unwrap().metadata().unwrap().uid();
    let expected = if process_user == 0 {
        65534
    } else {
        process_user
    };

    assert_eq!(owner, expected);
}

#[test]
fn a_killed_server_restarts_with_its_committed_data() {
    let cluster = Cluster::start().unwrap();
    let database = cluster.create_database().unwrap();
    database
        .execute_script("create table t (id int); insert into t values (7)")
        .unwrap();
    let before = cluster.postmaster_pid().unwrap();

    cluster.kill().unwrap();

    assert!(!exists(before));
    assert!(matches!(
        database.query_text("select 1"),
        Err(Error::Sql(_))
    ));
    assert!(matches!(cluster.kill(), Err(Error::NotRunning)));
    cluster.restart().unwrap();
    let found = database.query_text("select id from t").unwrap();
    assert_eq!(found.as_deref(), Some("7"));
    assert!(cluster.log().unwrap().contains("automatic recovery"));
}

#[test]
fn a_kill_ends_running_sessions() {
    let cluster = Cluster::start().unwrap();
    let database = cluster.create_database().unwrap();
    let sleeper = {
        let url = database.url();
        std::thread::spawn(move || {
            let database = Cluster::existing(&url).unwrap();
            database.execute_script("select pg_sleep(60)")
        })
    };
    let sleeping = "select 1 from pg_stat_activity where query = 'select pg_sleep(60)'";
    wait_until("the session sleeps", || {
        database.query_text(sleeping).unwrap().is_some()
    });

    cluster.kill().unwrap();

    let error = sleeper.join().unwrap().unwrap_err();
    assert!(error.to_string().contains("was interrupted"), "{error}");
}

#[test]
fn a_stopped_server_restarts_under_the_same_url() {
    let cluster = Cluster::builder().listen(Listen::Loopback).start().unwrap();
    let database = cluster.create_database().unwrap();
    let url = database.url();

    cluster.stop().unwrap();
    cluster.stop().unwrap();
    assert_eq!(cluster.postmaster_pid(), None);
    cluster.restart().unwrap();

    assert_eq!(psql(&url, "select 'back'"), "back");
    assert!(!cluster.log().unwrap().contains("automatic recovery"));
}

#[test]
fn a_cluster_dropped_after_a_kill_removes_its_data() {
    let cluster = Cluster::start().unwrap();
    let data = cluster.data_dir().unwrap();
    cluster.kill().unwrap();

    drop(cluster);

    assert!(!data.exists());
}

#[test]
fn a_kept_data_directory_needs_no_recovery() {
    let cluster = Cluster::builder().on_drop(OnDrop::Keep).start().unwrap();
    let data = cluster.data_dir().unwrap();
    let pid = cluster.postmaster_pid().unwrap();

    drop(cluster);

    assert!(!exists(pid));
    assert!(data.join("PG_VERSION").exists());
    assert!(!data.join("postmaster.pid").exists());
    std::fs::remove_dir_all(data.parent().unwrap()).unwrap();
}

#[test]
fn the_last_value_of_a_setting_applies() {
    let cluster = Cluster::builder()
        .setting("fsync", "on")
        .setting("my.note", "it's")
        .start()
        .unwrap();
    let database = cluster.create_database().unwrap();

    let shown = |name: &str| database.query_text(&format!("show {name}")).unwrap();
    assert_eq!(shown("fsync").as_deref(), Some("on"));
    assert_eq!(shown("my.note").as_deref(), Some("it's"));
    assert_eq!(shown("autovacuum").as_deref(), Some("off"));
    assert_eq!(shown("max_prepared_transactions").as_deref(), Some("20"));
}

#[test]
fn an_unknown_setting_is_an_error_with_the_server_log() {
    let error = Cluster::builder()
        .setting("no_such_setting", "1")
        .start()
        .unwrap_err();

    assert!(matches!(error, Error::Start { .. }), "{error}");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[test]
fn a_start_that_exceeds_the_timeout_is_an_error() {
    let error = Cluster::builder()
        .start_timeout(Duration::ZERO)
        .start()
        .unwrap_err();

    assert!(matches!(error, Error::StartTimeout { .. }), "{error}");
}

#[test]
fn a_missing_version_is_an_error_with_the_package_to_install() {
    let error = Cluster::builder()
        .version(MajorVersion::new(7))
        .start()
        .unwrap_err();

    assert!(
        error.to_string().starts_with("install a PostgreSQL"),
        "{error}"
    );
}

#[test]
fn clusters_started_concurrently_are_separate() {
    let threads: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(|| Cluster::builder().listen(Listen::Loopback).start()))
        .collect();
    let clusters: Vec<Cluster> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap().unwrap())
        .collect();

    for (index, cluster) in clusters.iter().enumerate() {
        let script = format!("create role role_{index}");
        cluster.execute_script(&script).unwrap();
        assert!(Path::new(cluster.socket_dir().unwrap()).exists());
    }
}
