//! Databases, templates, URLs and scripts, on one cluster shared by all tests of this file.

mod common;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::psql;
use threadline_testdb::{Cluster, Error, SqlError};

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start().unwrap())
}

fn has_database(name: &str) -> bool {
    let sql = format!("select count(*) from pg_database where datname = '{name}'");
    psql(&cluster().url(), &sql) == "1"
}

#[test]
fn databases_from_a_template_are_isolated() {
    let template = cluster()
        .template("isolated", |url| {
            Cluster::existing(url)?.execute_script("create table t (id int)")
        })
        .unwrap();
    let one = template.create_database().unwrap();
    let two = template.create_database().unwrap();

    one.execute_script("insert into t values (1)").unwrap();

    let count = "select count(*) from t";
    assert_eq!(one.query_text(count).unwrap().as_deref(), Some("1"));
    assert_eq!(two.query_text(count).unwrap().as_deref(), Some("0"));
}

#[test]
fn a_template_is_prepared_once_however_many_ask() {
    let prepared = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let template = cluster().template("once", |url| {
                    prepared.fetch_add(1, Ordering::Relaxed);
                    Cluster::existing(url)?.execute_script("create table t (id int)")
                });
                let database = template.unwrap().create_database().unwrap();
                database.execute_script("select id from t").unwrap();
            });
        }
    });

    assert_eq!(prepared.load(Ordering::Relaxed), 1);
}

#[test]
fn a_failed_preparation_is_named_and_tried_again() {
    let failed = cluster().template("second try", |_| Err::<(), _>("no migrations"));
    let error = failed.unwrap_err();
    assert!(
        error.to_string().contains("`second try`: no migrations"),
        "{error}"
    );

    let template = cluster().template("second try", |_| Ok::<(), Error>(()));

    template.unwrap().create_database().unwrap();
}

#[test]
fn a_connection_left_open_by_the_preparation_does_not_hinder_copies() {
    let mut left_open = None;
    let template = cluster()
        .template("left open", |url| {
            let session = std::process::Command::new("psql")
                .args(["-X", "-c", "select pg_sleep(60)", url])
                .stderr(std::process::Stdio::null())
                .spawn()?;
            left_open = Some(session);
            std::thread::sleep(std::time::Duration::from_millis(150));
            Ok::<(), std::io::Error>(())
        })
        .unwrap();

    template.create_database().unwrap();

    assert!(!left_open.unwrap().wait().unwrap().success());
}

#[test]
fn a_dropped_database_is_gone_even_with_somebody_connected() {
    let database = cluster().create_database().unwrap();
    let name = database.name().to_owned();
    let mut session = std::process::Command::new("psql")
        .args(["-X", "-c", "select pg_sleep(60)", &database.url()])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    assert!(has_database(&name));

    drop(database);

    assert!(!has_database(&name));
    assert!(!session.wait().unwrap().success());
}

#[test]
fn a_closed_database_is_gone() {
    let database = cluster().create_database().unwrap();
    let name = database.name().to_owned();

    database.close().unwrap();

    assert!(!has_database(&name));
}

#[test]
fn urls_and_keyword_strings_work_with_libpq() {
    let database = cluster().create_database().unwrap();
    cluster()
        .execute_script("create role reader login")
        .unwrap();
    let who = "select current_user || '@' || current_database()";
    let expected = |role: &str| format!("{role}@{}", database.name());

    assert_eq!(psql(&database.url(), who), expected("postgres"));
    assert_eq!(psql(&database.keyword_string(), who), expected("postgres"));
    assert_eq!(psql(&database.url_as("reader"), who), expected("reader"));
}

#[test]
fn a_database_can_be_copied_by_name() {
    let original = cluster().create_database().unwrap();
    original.execute_script("create table t ()").unwrap();

    let copy = cluster().create_database_from(original.name()).unwrap();

    copy.execute_script("select from t").unwrap();
}

#[test]
fn a_failing_script_is_rolled_back_and_told_in_the_servers_words() {
    let database = cluster().create_database().unwrap();

    let error = database
        .execute_script("create table t (); select * from nowhere")
        .unwrap_err();

    let Error::Sql(SqlError::Server { code, message, .. }) = &error else {
        panic!("{error}");
    };
    assert_eq!(code, "42P01");
    assert!(message.contains("nowhere"), "{error}");
    let found = database.query_text("select to_regclass('t')").unwrap();
    assert_eq!(found, None);
}

#[test]
fn a_script_that_wants_data_from_the_client_ends_with_an_error() {
    let database = cluster().create_database().unwrap();
    database.execute_script("create table t (id int)").unwrap();

    assert!(database.execute_script("copy t from stdin").is_err());
    assert!(database.execute_script("copy t to stdout").is_ok());
}

#[test]
fn an_existing_server_is_used_and_not_stopped() {
    let database = cluster().create_database().unwrap();
    let guest = Cluster::existing(&database.url()).unwrap();
    let name = {
        let template = guest.template("guest", |_| Ok::<(), Error>(())).unwrap();
        template.create_database().unwrap().name().to_owned()
    };

    assert_eq!(guest.version(), cluster().version());
    assert!(matches!(guest.kill(), Err(Error::NotOurs { .. })));
    assert!(matches!(guest.restart(), Err(Error::NotOurs { .. })));
    assert!(!has_database(&name));
    drop(guest);
    database.execute_script("select 1").unwrap();
}

#[test]
fn a_guests_template_goes_with_the_guest() {
    let guest = Cluster::existing(&cluster().url()).unwrap();
    let mut url = String::new();
    guest
        .template("guest", |its| {
            its.clone_into(&mut url);
            Ok::<(), Error>(())
        })
        .unwrap();
    let name = url.rsplit('/').next().unwrap();
    assert!(has_database(name));

    drop(guest);

    assert!(!has_database(name));
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let error = Cluster::existing("postgres://u@%2Fnowhere/d").unwrap_err();

    assert!(
        error.to_string().contains("/nowhere/.s.PGSQL.5432"),
        "{error}"
    );
}

#[test]
fn passwords_in_clear_and_by_scram_are_both_answered() {
    for method in ["password", "scram-sha-256", "md5"] {
        let cluster = Cluster::builder()
            .listen(threadline_testdb::Listen::Loopback)
            .setting("password_encryption", "scram-sha-256")
            .start()
            .unwrap();
        let create = "create role app login createdb password 'o''clock @%'";
        cluster.execute_script(create).unwrap();
        let rules = format!("local all all trust\nhost all all 127.0.0.1/32 {method}\n");
        let file = cluster.data_dir().unwrap().join("pg_hba.conf");
        std::fs::write(file, rules).unwrap();
        let url = format!(
            "postgres://app:o'clock%20%40%25@127.0.0.1:{}/postgres",
            cluster.port()
        );
        let socket = cluster.socket_dir().unwrap().display().to_string();
        psql(
            &format!(
                "host={socket} port={} user=postgres dbname=postgres",
                cluster.port()
            ),
            "select pg_reload_conf(), pg_sleep(0.2)",
        );

        let database = Cluster::existing(&url).unwrap().create_database().unwrap();

        let two_rows = "select null union all select 'x'";
        assert_eq!(database.query_text(two_rows).unwrap(), None, "{method}");
        let value = database.query_text("select 'a b'").unwrap();
        assert_eq!(value.as_deref(), Some("a b"), "{method}");
        let error = database
            .execute_script("select * from nowhere")
            .unwrap_err();
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
}
