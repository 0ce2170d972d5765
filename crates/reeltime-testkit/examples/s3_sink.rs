//! An S3 server that reads what it is sent, remembers how much that was, and throws it away: with it a benchmark shows
//! what sending costs the sender, whatever a real server does with it. `s3_sink COMMAND…` runs a command beside it, which
//! finds its address in the variables of AWS and of `reeltime bench`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LAST_MODIFIED};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Bytes of each object, and of each upload, by path.
type Sizes = Arc<Mutex<HashMap<String, u64>>>;

#[tokio::main]
async fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().ok_or("s3_sink COMMAND…")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener));
    let mut command = std::process::Command::new(command);
    command.args(arguments).env("AWS_ENDPOINT_URL", address).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "anybody").env("AWS_SECRET_ACCESS_KEY", "anything");
    command.env("REELTIME_BENCH_STORE_URL", "s3://sink");
    let status = tokio::task::spawn_blocking(move || command.status()).await??;
    Ok(if status.success() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE })
}

async fn serve(listener: TcpListener) {
    let sizes = Sizes::default();
    while let Ok((socket, _)) = listener.accept().await {
        let sizes = Arc::clone(&sizes);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&sizes)));
            // A client that goes away is nothing to speak of.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, sizes: Sizes) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or("").to_owned());
    let mut sizes = sizes.lock().unwrap_or_else(PoisonError::into_inner);
    let in_parts = query.contains("uploadId=");
    let xml = match (head.method, in_parts) {
        (Method::PUT, true) => {
            *sizes.entry(format!("{path}?parts")).or_default() += length;
            String::new()
        }
        (Method::PUT, false) => {
            sizes.insert(path, length);
            String::new()
        }
        (Method::POST, true) => {
            let size = sizes.remove(&format!("{path}?parts")).unwrap_or(0);
            sizes.insert(path, size);
            "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>".to_owned()
        }
        (Method::POST, false) => {
            "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>".to_owned()
        }
        (Method::DELETE, _) => {
            sizes.remove(&path);
            String::new()
        }
        (Method::GET, _) if query.contains("list-type") => {
            "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>".to_owned()
        }
        (method, _) => return Ok(found(sizes.get(&path).copied(), &method)),
    };
    Ok(Response::builder()
        .header(ETAG, "\"e\"")
        .header(CONTENT_TYPE, "application/xml")
        .body(xml.into())
        .unwrap_or_default())
}

/// What is asked of an object: its size alone. Nothing can be read here.
fn found(size: Option<u64>, method: &Method) -> Response<Full<Bytes>> {
    let mut answer = Response::builder();
    let status = match size {
        None => StatusCode::NOT_FOUND,
        Some(_) if *method != Method::HEAD => StatusCode::FORBIDDEN,
        Some(size) => {
            answer = answer.header(CONTENT_LENGTH, size);
            StatusCode::OK
        }
    };
    let answer =
        answer.header(ETAG, "\"e\"").header(LAST_MODIFIED, "Thu, 01 Jan 2026 00:00:00 GMT").status(status);
    answer.body(Full::default()).unwrap_or_default()
}
