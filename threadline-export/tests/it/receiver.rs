//! A receiver of webhooks on a TCP socket.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// The response to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    /// A complete response.
    Status(u16),
    /// The status 503, with a header `Retry-After` in seconds.
    RetryAfter(u64),
    /// The status 503, with a header `Retry-After` as a date.
    RetryAt(DateTime<Utc>),
    /// No response.
    Hang,
    /// A response with the status 200 whose body does not end.
    SlowBody,
    /// A redirect to the metadata service of a cloud.
    Redirect,
    /// A connection that is closed within the headers.
    CloseInHeaders,
    /// A response with the status 200 whose body is cut.
    CloseInBody,
}

/// A received request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// The ids of the items.
    pub(crate) fn items(&self) -> Vec<i64> {
        let id = |line: &str| {
            let item: serde_json::Value = serde_json::from_str(line).expect("JSON");
            item["id"].as_i64().expect("an id")
        };
        self.body.lines().map(id).collect()
    }
}

type Respond = dyn Fn(&Received, usize) -> Reply + Send + Sync;

/// The requests that a receiver has got, in order.
#[derive(Default)]
struct Requests {
    received: Mutex<Vec<Received>>,
    accepted: Mutex<Vec<Received>>,
}

/// A receiver. Its thread ends with the process.
pub(crate) struct Receiver {
    address: SocketAddr,
    requests: Arc<Requests>,
}

impl Receiver {
    /// A receiver that responds as the function of the request and the number of requests before it says.
    pub(crate) fn start(
        respond: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::bind("127.0.0.1:0".parse().expect("an address"), respond)
    }

    pub(crate) fn bind(
        address: SocketAddr,
        respond: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Requests::default());
        let shared = Arc::clone(&requests);
        let respond: Arc<Respond> = Arc::new(respond);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                let (requests, respond) = (Arc::clone(&shared), Arc::clone(&respond));
                thread::spawn(move || serve(stream, &*respond, &requests));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/in?token=secret-token", self.address)
    }

    /// All requests, in order.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.requests.received.lock().expect("a lock").clone()
    }

    /// The ids of the items that were accepted with the status 200, in order.
    pub(crate) fn accepted_items(&self) -> Vec<i64> {
        let accepted = self.requests.accepted.lock().expect("a lock");
        accepted.iter().flat_map(Received::items).collect()
    }
}

fn serve(stream: TcpStream, respond: &Respond, requests: &Requests) {
    let Some(request) = read(&stream) else {
        return;
    };
    let before = {
        let mut received = requests.received.lock().expect("a lock");
        received.push(request.clone());
        received.len() - 1
    };
    let reply = respond(&request, before);
    if matches!(
        reply,
        Reply::Status(200..300) | Reply::SlowBody | Reply::CloseInBody
    ) {
        requests.accepted.lock().expect("a lock").push(request);
    }
    write(stream, reply);
}

fn read(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut headers = HashMap::new();
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received {
        headers,
        body: String::from_utf8(body).expect("UTF-8"),
    })
}

/// The client may close the connection early.
fn write(mut stream: TcpStream, reply: Reply) {
    let head = match reply {
        Reply::Status(status) => {
            format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        }
        Reply::RetryAfter(seconds) => unavailable(&seconds.to_string()),
        Reply::RetryAt(date) => unavailable(&date.format("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        Reply::Hang => {
            thread::sleep(Duration::from_secs(20));
            return;
        }
        Reply::SlowBody | Reply::CloseInBody => {
            "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nok".to_owned()
        }
        Reply::Redirect => {
            "HTTP/1.1 307 x\r\nlocation: http://169.254.169.254/latest/meta-data/\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n"
                .to_owned()
        }
        Reply::CloseInHeaders => "HTTP/1.1 200 OK\r\nconte".to_owned(),
    };
    let _ = stream.write_all(head.as_bytes());
    if matches!(reply, Reply::SlowBody) {
        for _ in 0..200 {
            thread::sleep(Duration::from_millis(100));
            if stream.write_all(b" ").is_err() {
                return;
            }
        }
    }
}

fn unavailable(retry_after: &str) -> String {
    format!(
        "HTTP/1.1 503 x\r\nretry-after: {retry_after}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
}
