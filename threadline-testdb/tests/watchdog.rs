//! Processes that end without dropping their cluster. Each test runs this program again as a child
//! process, which starts a cluster and ends in the way under test.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use common::{directory_exists, exists, wait_until};
use threadline_testdb::Cluster;

/// How the child process ends. Unset in the parent process.
const ENDING: &str = "TESTDB_ENDING";

/// The child process. As a test of the parent process it does nothing.
#[test]
fn child_process() {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    let Ok(ending) = std::env::var(ENDING) else {
        return;
    };
    let cluster = CLUSTER.get_or_init(|| Cluster::start().unwrap());
    println!(
        "\ncluster {} {}",
        cluster.postmaster_pid().unwrap(),
        cluster.socket_dir().unwrap().display()
    );
    match ending.as_str() {
        "return" => {}
        "exit" => std::process::exit(0),
        "abort" => std::process::abort(),
        _ => loop {
            std::thread::park();
        },
    }
}

struct TestProcess {
    child: Child,
    postmaster: u32,
    directory: String,
}

fn start(ending: &str) -> TestProcess {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_process", "--nocapture"])
        .env(ENDING, ending)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines
        .map_while(Result::ok)
        .find(|line| line.starts_with("cluster "))
        .unwrap();
    let mut words = line.split(' ').skip(1);
    TestProcess {
        postmaster: words.next().unwrap().parse().unwrap(),
        directory: words.next().unwrap().to_owned(),
        child,
    }
}

fn assert_cleaned_up(mut process: TestProcess) {
    process.child.wait().unwrap();
    wait_until("the server exits", || !exists(process.postmaster));
    wait_until("its directory is removed", || {
        !directory_exists(&process.directory)
    });
}

#[test]
fn the_server_of_a_killed_process_is_stopped() {
    let mut process = start("wait");
    assert!(exists(process.postmaster));
    assert!(directory_exists(&process.directory));

    process.child.kill().unwrap();

    assert_cleaned_up(process);
}

#[test]
fn the_server_of_a_static_cluster_is_stopped_with_its_process() {
    assert_cleaned_up(start("return"));
}

#[test]
fn the_server_of_a_process_that_exits_is_stopped() {
    assert_cleaned_up(start("exit"));
}

#[test]
fn the_server_of_an_aborted_process_is_stopped() {
    assert_cleaned_up(start("abort"));
}
