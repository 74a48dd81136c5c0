//! `feed deliver` against a receiver on a TCP socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

/// A received request. It has no response yet.
pub(crate) struct Request {
    stream: TcpStream,
    id: String,
    body: String,
}

impl Request {
    /// Waits for the next request.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut id, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim().split_once(": ") {
                Some(("webhook-id", value)) => value.clone_into(&mut id),
                Some(("content-length", value)) => length = value.parse().unwrap(),
                None if line.trim().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        Self { stream, id, body }
    }

    pub(crate) fn respond(mut self, status: u16) {
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        self.stream.write_all(head.as_bytes()).unwrap();
    }
}

/// A database with two changes.
fn trail() -> Database {
    let database = installed(ORDERS);
    let folder = tempfile::tempdir().unwrap();
    let print = ["gen-triggers", "--tables", "orders", "--print"];
    let sql = out(&threadline(folder.path(), Some(&database), &print));
    let changes =
        "INSERT INTO orders VALUES (1, 'open', 'secret-card'), (2, 'open', 'secret-card')";
    database
        .execute_script(&format!("{sql} {changes}"))
        .unwrap();
    database
}

#[test]
fn a_killed_delivery_is_repeated_with_the_same_ids() {
    let database = trail();
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let arguments = [
        "feed",
        "deliver",
        "siem",
        "--create",
        "--once",
        "--to",
        &url,
        "--allow-private-addresses",
    ];
    let start = || {
        command(folder.path(), Some(&database), &arguments)
            .spawn()
            .unwrap()
    };

    let mut killed = start();
    let first = Request::accept(&listener);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let position = "SELECT acknowledged_to::text FROM threadline.audit_feed_consumers";
    assert_eq!(database.query_text(position).unwrap().unwrap(), "0");
    let expire = "UPDATE threadline.audit_feed_consumers SET leased_until = clock_timestamp()";
    database.execute_script(expire).unwrap();

    let mut repeated = start();
    let second = Request::accept(&listener);
    assert_eq!((&second.id, &second.body), (&first.id, &first.body));
    assert_eq!(second.body.lines().count(), 2);
    assert!(!second.body.contains("secret-card"), "{}", second.body);
    second.respond(200);
    assert_eq!(repeated.wait().unwrap().code(), Some(0));
    assert_ne!(database.query_text(position).unwrap().unwrap(), "0");
}

#[test]
fn a_delivery_reports_wrong_usage_and_bad_answers() {
    let database = trail();
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &str| {
        let arguments: Vec<_> = arguments.split(' ').collect();
        let output = threadline(folder.path(), Some(&database), &arguments);
        (code(&output), err(&output))
    };
    for (arguments, message) in [
        ("--to http://siem.example.com/", "not https"),
        ("--to https://10.0.0.1/", "not public"),
        (
            "--to https://user:secret-password@siem.example.com/",
            "user name",
        ),
        ("--to https://siem.example.com/ --batch 0", "1 to 10000"),
        (
            "--to https://siem.example.com/ --secret-env NO_SUCH_VARIABLE",
            "NO_SUCH_VARIABLE",
        ),
        ("--to https://siem.example.com/ --secret-env HOME", "whsec_"),
    ] {
        let (code, err) = run(&format!("feed deliver siem {arguments}"));
        assert_eq!(code, 2, "{arguments}: {err}");
        assert!(
            err.contains(message) && !err.contains("secret-password"),
            "{err}"
        );
    }
    let local = "--once --to http://127.0.0.1:9/ --allow-private-addresses";
    let (code, err) = run(&format!("feed deliver siem {local}"));
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("there is no consumer `siem`"), "{err}");
}

#[test]
fn an_item_that_was_set_aside_is_sent_again_on_request() {
    let database = trail();
    let folder = tempfile::tempdir().unwrap();
    database
        .execute_script(
            "INSERT INTO threadline.audit_feed_consumers (name, acknowledged_to) VALUES ('siem', 0);
             INSERT INTO threadline.audit_delivery_failures (consumer, item_id, attempts, last_error)
             SELECT 'siem', min(id), 10, 'http_400' FROM threadline.audit_changes",
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let arguments = [
        "feed",
        "deliver",
        "siem",
        "--retry-failed",
        "--to",
        &url,
        "--allow-private-addresses",
    ];
    for (status, exit) in [(422, 1), (200, 0)] {
        let mut retry = command(folder.path(), Some(&database), &arguments)
            .spawn()
            .unwrap();
        Request::accept(&listener).respond(status);
        assert_eq!(retry.wait().unwrap().code(), Some(exit));
    }
    let left = database.query_text("SELECT count(*)::text FROM threadline.audit_delivery_failures");
    assert_eq!(left.unwrap().unwrap(), "0");
}
