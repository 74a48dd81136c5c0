//! Commands that cannot run name the cause, and never the password.

use super::*;

const PASSWORD: &str = "s3cret?4nd";

/// Exit code and standard error of a command with this URL.
fn fail(url: &str, arguments: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("migrations")).unwrap();
    let arguments = [arguments, &["--database-url", url]].concat();
    let output = threadline(folder.path(), None, &arguments);
    let err = err(&output);
    for part in ["s3cret", "4nd", "p4ss"] {
        assert!(!err.contains(part), "{err}");
    }
    (code(&output), err)
}

#[test]
fn a_failed_connection_names_target_and_cause_without_the_password() {
    let database = database();
    let port = cluster().port();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed_port = closed.local_addr().unwrap().port();
    drop(closed);
    let encoded = PASSWORD.replace('?', "%3F");
    let socket = cluster().socket_dir().unwrap();
    let socket = socket.display().to_string().replace('/', "%2F");
    for (url, cause) in [
        (
            format!("postgres://ada:{encoded}@127.0.0.1:{closed_port}/shop"),
            format!(
                "database shop on 127.0.0.1:{closed_port} as ada: error connecting to server: Connection refused"
            ),
        ),
        (
            format!("postgres://postgres:{encoded}@{socket}:{port}/no_such_shop"),
            "as postgres: database \"no_such_shop\" does not exist".to_owned(),
        ),
        (
            format!(
                "postgres://nobody_here:{encoded}@{socket}:{port}/{}",
                database.name()
            ),
            "role \"nobody_here\" does not exist".to_owned(),
        ),
        (
            format!(
                "postgres://postgres:{encoded}@{socket}:{port}/{}?sslmode=require",
                database.name()
            ),
            "without TLS".to_owned(),
        ),
    ] {
        let (code, err) = fail(&url, &["timeline"]);
        assert_eq!(code, 3, "{err}");
        assert!(err.contains("cannot connect to database"), "{err}");
        assert!(err.contains(&cause), "{err}");
    }
}

#[test]
fn an_invalid_url_is_wrong_usage_without_the_password() {
    for url in [
        "postgres://ada:p4@s3cret@localhost/shop".to_owned(),
        "postgres://ada:p4@/s3cret@localhost/shop".to_owned(),
        "postgres://ada:p4@localhost?s3cret@4nd".to_owned(),
        "postgres://ada:p4ss#1@localhost:port/shop".to_owned(),
        "postgres://ada:p4ss@localhost/shop?port=x".to_owned(),
        "host=localhost password='p4ss unknown=1".to_owned(),
    ] {
        let (code, err) = fail(&url, &["timeline"]);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("the database URL is not valid"), "{err}");
    }
}

#[test]
fn every_command_reports_a_missing_trail_alike() {
    let database = database();
    database
        .execute_script("CREATE TABLE orders (id int PRIMARY KEY)")
        .unwrap();
    for command in [
        "timeline",
        "timeline --follow",
        "timeline --table orders",
        "history orders 1",
        "as-of orders 1 2026-01-01T00:00:00Z",
        "incident 019a0000-0000-7000-8000-000000000001",
        "diff 1",
        "actor user:42",
        "actions",
        "correlation c",
        "continuity",
        "redeploy-triggers orders",
        "export",
        "export --dry-run",
        "feed list",
        "feed create c",
        "feed lag c",
        "feed read c",
        "feed deliver c --once --to https://siem.example.com/",
        "coverage",
        "policy",
        "verify",
        "baseline --table orders",
        "baseline --table orders --execute --actor admin:rita",
        "retention plan --keep-days 30",
        "retention purge --keep-days 30 --execute",
        "retention runs",
    ] {
        let arguments: Vec<_> = command.split(' ').collect();
        let (code, err) = fail(&database.url(), &arguments);
        assert_eq!(code, 3, "{command}: {err}");
        assert!(
            err.starts_with("error: there is no trail in this database, or one of another release"),
            "{command}: {err}"
        );
    }
}
