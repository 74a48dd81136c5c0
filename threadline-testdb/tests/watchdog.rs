//! Test processes that end without dropping their cluster. Each test runs this very program
//! again, as a process that starts a cluster and then ends badly.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use common::{await_true, exists, folder_exists};
use threadline_testdb::Cluster;

const ENDING: &str = "TESTDB_ENDING";

/// Not a test of its own: what the other process does. Does nothing without the variable.
#[test]
fn the_other_process() {
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

struct Other {
    process: Child,
    postmaster: u32,
    folder: String,
}

fn start(ending: &str) -> Other {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_other_process", "--nocapture"])
        .env(ENDING, ending)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let told = lines
        .map_while(Result::ok)
        .find(|line| line.starts_with("cluster "))
        .unwrap();
    let mut words = told.split(' ').skip(1);
    Other {
        postmaster: words.next().unwrap().parse().unwrap(),
        folder: words.next().unwrap().to_owned(),
        process,
    }
}

fn leaves_nothing(mut other: Other) {
    other.process.wait().unwrap();
    await_true("the server is gone", || !exists(other.postmaster));
    await_true("its folder is gone", || !folder_exists(&other.folder));
}

#[test]
fn a_killed_test_process_leaves_no_server_behind() {
    let mut other = start("wait");
    assert!(exists(other.postmaster));
    assert!(folder_exists(&other.folder));

    other.process.kill().unwrap();

    leaves_nothing(other);
}

#[test]
fn a_cluster_in_a_static_goes_with_its_process() {
    leaves_nothing(start("return"));
}

#[test]
fn an_exit_without_unwinding_leaves_no_server_behind() {
    leaves_nothing(start("exit"));
}

#[test]
fn an_abort_leaves_no_server_behind() {
    leaves_nothing(start("abort"));
}
