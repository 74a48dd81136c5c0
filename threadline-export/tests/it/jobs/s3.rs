//! Exports to Amazon S3, which moto stands in for.

use std::io::{BufRead, BufReader};
use std::path::{Path as FilePath, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};

use futures_util::TryStreamExt;
use threadline_export::jobs::{self, Content, JobState};
use threadline_export::storage::object_store::aws::{AmazonS3, AmazonS3Builder};
use threadline_export::storage::object_store::path::Path;
use threadline_export::storage::object_store::{ObjectStore, ObjectStoreExt};
use threadline_export::storage::{Storage, Storages};

use super::{all_changes, enqueue, find, result, rita, run_pending, skip_delays};
use crate::harness::{Trail, block_on};
use crate::python::python_with;

/// A service with the bucket `audit`. It ends with its standard input.
struct Service {
    process: Child,
    port: u16,
}

impl Service {
    /// None if moto cannot be installed.
    fn start() -> Option<Self> {
        static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
        let create = || python_with("moto", &["moto[server]"], "import moto.server, flask");
        let python = PYTHON.get_or_init(create).as_ref()?;
        let script = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/jobs/s3_double.py");
        let mut process = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut port).unwrap();
        let port = port.trim().parse().expect("a port");
        Some(Self { process, port })
    }

    fn bucket(&self, name: &str) -> Arc<AmazonS3> {
        let store = AmazonS3Builder::new()
            .with_endpoint(format!("http://127.0.0.1:{}", self.port))
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(name)
            .with_access_key_id("test")
            .with_secret_access_key("test");
        Arc::new(store.build().unwrap())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn storages(store: &Arc<AmazonS3>) -> Storages {
    let storage = Storage::new(store.clone())
        .signer(store.clone())
        .prefix("trail");
    Storages::new().with("local", storage)
}

fn keys(store: &AmazonS3) -> Vec<String> {
    let listed = store
        .list(None)
        .map_ok(|object| object.location.to_string());
    let mut keys: Vec<_> = block_on(listed.try_collect()).unwrap();
    keys.sort();
    keys
}

#[test]
fn an_export_of_several_parts_is_uploaded_downloaded_by_url_and_deleted_when_it_expires() {
    let Some(service) = Service::start() else {
        return;
    };
    let store = service.bucket("audit");
    let trail = Trail::with_table("notes", "id int PRIMARY KEY, body text");
    // 20 megabytes: three parts.
    trail.run(
        "INSERT INTO notes SELECT n, repeat('0123456789', 100000) FROM generate_series(1, 20) AS n",
    );
    let job = enqueue(&trail, &all_changes());
    // A worker was killed after its upload.
    let killed = Path::from(format!("trail/exports/{}/1/changes.ndjson", job.id));
    block_on(store.put(&killed, "x".into())).unwrap();
    trail.run("UPDATE threadline.audit_jobs SET attempt = 1");
    let storages = storages(&store);
    assert_eq!(run_pending(&trail, &storages), 1);

    let done = find(&trail, &job);
    assert_eq!((done.state, done.attempt), (JobState::Completed, 2));
    let result = result(&done);
    let object = format!("trail/{}", result.object);
    assert_eq!(
        keys(&store),
        [object.clone(), format!("{object}.manifest.json")]
    );
    let uploaded = block_on(store.head(&Path::from(object))).unwrap();
    assert_eq!(uploaded.size, result.bytes);
    // S3 appends the number of parts to the entity tag.
    let tag = uploaded.e_tag.unwrap();
    assert!(tag.trim_matches('"').ends_with("-3"), "{tag}");

    let file = block_on(async {
        let actor = rita();
        let mut conn = trail.connect().await;
        let download = jobs::download(&mut conn, &storages, job.id, Some(&actor)).await;
        let download = download.unwrap();
        let Content::SignedUrl(url) = download.content else {
            panic!("the storage signs URLs");
        };
        assert!(url.contains("X-Amz-Signature="), "{url}");
        assert!(url.contains("X-Amz-Expires=600"), "{url}");
        let response = reqwest::get(&url).await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        response.text().await.unwrap()
    });
    assert_eq!(file.len() as u64, result.bytes);
    assert_eq!(file.lines().count(), 20);

    trail.run("UPDATE threadline.audit_jobs SET expires_at = clock_timestamp()");
    run_pending(&trail, &storages);
    let expired = find(&trail, &job);
    assert_eq!(expired.state, JobState::Expired);
    assert!(expired.object_gone_at.is_some());
    assert_eq!(keys(&store), [""; 0]);
}

#[test]
fn an_export_to_a_missing_bucket_is_tried_again() {
    let Some(service) = Service::start() else {
        return;
    };
    let trail = Trail::with_changes(3);
    let job = enqueue(&trail, &all_changes());
    run_pending(&trail, &storages(&service.bucket("missing")));
    let failed = find(&trail, &job);
    assert_eq!(failed.state, JobState::Queued);
    assert_eq!(failed.error_code.as_deref(), Some("storage_not_found"));
    skip_delays(&trail);
    run_pending(&trail, &storages(&service.bucket("audit")));
    assert_eq!(find(&trail, &job).state, JobState::Completed);
}
