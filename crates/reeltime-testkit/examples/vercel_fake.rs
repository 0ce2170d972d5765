//! The Vercel Blob service for tests as a process: prints its address, and runs until it is killed.
//! `vercel_fake [private|public]`

use reeltime::store::vercel::Access;
use reeltime_testkit::vercel::{TOKEN, VercelBlob};

#[tokio::main]
#[allow(clippy::print_stdout)]
async fn main() -> std::io::Result<()> {
    let access = match std::env::args().nth(1).as_deref() {
        Some("public") => Access::Public,
        _ => Access::Private,
    };
    let service = VercelBlob::start(access).await?;
    println!("{} {TOKEN}", service.api_url());
    std::future::pending().await
}
