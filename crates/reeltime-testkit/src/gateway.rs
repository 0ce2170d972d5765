//! An S3 server of other people, in a process of its own: versitygw on a folder, or whichever `REELTIME_TEST_S3` names,
//! as `endpoint,region,bucket,key id,secret`.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reeltime::store::s3::{Credentials, S3Options};
use reeltime::store::{Prefix, S3Store};
use tempfile::TempDir;
use uuid::Uuid;

const KEY: &str = "reeltime-test";
const SECRET: &str = "not-a-secret-5c2e";
const BUCKET: &str = "recordings";

/// The server while a test runs, and stores on it.
#[derive(Debug)]
pub struct Gateway {
    /// The process and its folder; `None` where somebody else runs it.
    _process: Option<(Killed, TempDir)>,
    options: S3Options,
    bucket: String,
    prefix: Prefix,
}

#[derive(Debug)]
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Gateway {
    /// Starts versitygw on a free port with an empty bucket, or takes a prefix that nobody else has on the other server.
    ///
    /// # Errors
    /// Where versitygw is not installed (`./scripts/test` does it) or does not answer.
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        let prefix = Uuid::new_v4().to_string().parse()?;
        if let Ok(other) = std::env::var("REELTIME_TEST_S3") {
            return Self::other(&other, prefix);
        }
        let folder = tempfile::tempdir()?;
        let objects = folder.path().join("objects");
        std::fs::create_dir_all(objects.join(BUCKET))?;
        std::fs::create_dir(folder.path().join("metadata"))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let process = Command::new("versitygw")
            .args(["--port", &address, "--health", "/health", "--quiet", "posix", "--sidecar"])
            .arg(folder.path().join("metadata"))
            .arg(&objects)
            .env("ROOT_ACCESS_KEY", KEY)
            .env("ROOT_SECRET_KEY", SECRET)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start versitygw ({error}): ./scripts/test builds it"))?;
        let process = Killed(process);
        wait(&address).await?;
        let options = options(format!("http://{address}"), "us-east-1", KEY, SECRET);
        Ok(Self { _process: Some((process, folder)), options, bucket: BUCKET.to_owned(), prefix })
    }

    fn other(named: &str, prefix: Prefix) -> Result<Self, Box<dyn Error>> {
        let fields: Vec<&str> = named.split(',').collect();
        let [endpoint, region, bucket, key, secret] = fields[..] else {
            return Err("REELTIME_TEST_S3 is endpoint,region,bucket,key id,secret".into());
        };
        let options = options(endpoint.to_owned(), region, key, secret);
        Ok(Self { _process: None, options, bucket: bucket.to_owned(), prefix })
    }

    /// A store on its bucket. Each is a client of its own; all of one gateway see the same objects.
    ///
    /// # Errors
    /// Where the options make no sense.
    pub fn store(&self) -> Result<S3Store, Box<dyn Error>> {
        Ok(S3Store::open(&self.bucket, self.prefix.clone(), &self.options)?)
    }
}

fn options(endpoint: String, region: &str, id: &str, secret: &str) -> S3Options {
    let credentials = Credentials { id: id.to_owned(), secret: secret.to_owned(), session_token: None };
    S3Options {
        endpoint: Some(endpoint),
        region: Some(region.to_owned()),
        credentials: Some(credentials),
        ..S3Options::default()
    }
}

async fn wait(address: &str) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    while !is_healthy(address) {
        if begun.elapsed() > Duration::from_secs(30) {
            return Err("versitygw does not answer".into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn is_healthy(address: &str) -> bool {
    let ask = || {
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(b"GET /health HTTP/1.1\r\nHost: health\r\nConnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        socket.read_exact(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    ask().is_ok_and(|answer| answer == *b"HTTP/1.1 200")
}
