//! Databases, templates, URLs and scripts, on one cluster for all tests of this file.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

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
fn a_template_requested_concurrently_is_prepared_once() {
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
fn a_failed_preparation_is_an_error_and_is_retried() {
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
fn a_connection_left_open_by_the_preparation_does_not_prevent_copies() {
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
fn a_dropped_database_is_removed_despite_open_connections() {
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
fn a_closed_database_is_removed() {
    let database = cluster().create_database().unwrap();
    let name = database.name().to_owned();

    database.close().unwrap();

    assert!(!has_database(&name));
}

#[test]
fn urls_and_keyword_strings_are_accepted_by_libpq() {
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
fn a_failing_script_is_rolled_back_with_the_servers_message() {
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
fn a_script_that_copies_from_or_to_the_client_fails() {
    let database = cluster().create_database().unwrap();
    database.execute_script("create table t (id int)").unwrap();

    for script in ["copy t from stdin", "copy t to stdout"] {
        let error = database.execute_script(script).unwrap_err();
        assert!(error.to_string().contains("COPY"), "{error}");
    }
}

#[test]
fn an_existing_server_is_not_stopped() {
    let database = cluster().create_database().unwrap();
    let existing = Cluster::existing(&database.url()).unwrap();
    let name = {
        let template = existing
            .template("existing", |_| Ok::<(), Error>(()))
            .unwrap();
        template.create_database().unwrap().name().to_owned()
    };

    assert_eq!(existing.version(), cluster().version());
    assert!(matches!(existing.kill(), Err(Error::ExistingServer { .. })));
    assert!(matches!(
        existing.restart(),
        Err(Error::ExistingServer { .. })
    ));
    assert!(!has_database(&name));
    drop(existing);
    database.execute_script("select 1").unwrap();
}

#[test]
fn a_template_on_an_existing_server_is_dropped_with_the_cluster() {
    let existing = Cluster::existing(&cluster().url()).unwrap();
    let mut url = String::new();
    existing
        .template("existing", |template_url| {
            template_url.clone_into(&mut url);
            Ok::<(), Error>(())
        })
        .unwrap();
    let name = url.rsplit('/').next().unwrap();
    assert!(has_database(name));

    drop(existing);

    assert!(!has_database(name));
}

#[test]
fn an_unreachable_server_is_an_error_with_its_address() {
    let error = Cluster::existing("postgres://u@%2Fnowhere/d").unwrap_err();

    assert!(
        error.to_string().contains("/nowhere/.s.PGSQL.5432"),
        "{error}"
    );
}

#[test]
fn password_scram_and_md5_logins_succeed() {
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

        let wrong = Cluster::existing(&url.replace("clock", "watch")).unwrap_err();
        assert!(
            matches!(wrong, Error::Sql(SqlError::Server { .. })),
            "{wrong}"
        );
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

#[test]
fn a_database_is_created_and_dropped_inside_an_async_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();

    let name = runtime.block_on(async {
        let database = cluster().create_database().unwrap();
        database.execute_script("create table t ()").unwrap();
        database.name().to_owned()
    });

    assert!(!has_database(&name));
}

#[test]
fn a_notice_does_not_end_a_script() {
    let database = cluster().create_database().unwrap();

    let script = "do $$ begin raise notice 'a notice'; end $$; create table t ()";
    database.execute_script(script).unwrap();

    let found = database.query_text("select to_regclass('t')").unwrap();
    assert_eq!(found.as_deref(), Some("t"));
}
