//! The catalogue on SQLite: the default, for one process, or a few on one machine.
//!
//! One connection writes and several read. Writes that wait at the same moment go into one transaction
//! (see [`writer`]), so a thousand calls that end together cost a few syncs, not thousands. WAL and
//! `synchronous = FULL`: a change is on the disk before its answer is given.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use reeltime_core::id::{NodeId, RecordingId};
use reeltime_core::keys::ObjectKey;
use reeltime_core::time::UtcMicros;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Sqlite, SqliteConnection};

use super::{
    Call, Catalogue, CatalogueError, Claim, Filter, Listing, NewObject, NewRecording, Object, ObjectState,
    Page, Publication, Published, Recording, Removed, StateChange, Tenure, Upload, UploadedPart,
};
use failure::Failure;
use writer::Writer;

mod failure;
mod figures;
mod nodes;
mod read;
mod segments;
mod uploads;
mod write;
mod writer;

/// How many connections read at the same time.
const READERS: u32 = 4;
/// What a connection keeps of the file, in KiB below zero (`PRAGMA cache_size`): the system keeps it as well.
const CACHE: &str = "-512";
/// How long another process may hold the database before that is an error.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/sqlite");

/// A catalogue in one SQLite file. See the [trait](Catalogue) for what it does.
#[derive(Debug)]
pub struct SqliteCatalogue {
    path: Arc<Path>,
    readers: SqlitePool,
    writer: Writer,
    /// For whom it speaks.
    node: OnceLock<NodeId>,
}

impl SqliteCatalogue {
    /// Opens the catalogue at `path`, and makes or upgrades it where needed. Its folder must exist.
    ///
    /// # Errors
    /// [`CatalogueError`] says what to do about a file that is locked, damaged, of a later version or cannot
    /// be written.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, CatalogueError> {
        let path: Arc<Path> = path.into().into();
        let writer = connect(&path).await.map_err(|failure| failure.explain(&path))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(options(&path).pragma("query_only", "ON"));
        Ok(Self { writer: Writer::start(writer, path.clone()), readers, path, node: OnceLock::new() })
    }

    async fn reader(&self) -> Result<PoolConnection<Sqlite>, CatalogueError> {
        self.explain(self.readers.acquire().await.map_err(Failure::from))
    }

    fn explain<T>(&self, answer: Result<T, Failure>) -> Result<T, CatalogueError> {
        answer.map_err(|failure| failure.explain(&self.path))
    }
}

async fn connect(path: &Path) -> Result<SqliteConnection, Failure> {
    let mut connection = options(path).connect().await?;
    MIGRATIONS.run(&mut connection).await?;
    Ok(connection)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", CACHE)
        .disable_statement_logging()
}

#[async_trait]
impl Catalogue for SqliteCatalogue {
    async fn begin(&self, recording: &NewRecording) -> Result<(), CatalogueError> {
        let (recording, node) = (recording.clone(), self.node());
        self.writer.write(move |db| Box::pin(async move { write::begin(db, &recording, node).await })).await
    }

    async fn change_state(
        &self,
        tenant: &str,
        id: RecordingId,
        change: &StateChange,
    ) -> Result<(), CatalogueError> {
        let (tenant, change) = (tenant.to_owned(), change.clone());
        self.writer
            .write(move |db| Box::pin(async move { write::change_state(db, &tenant, id, &change).await }))
            .await
    }

    async fn stage(&self, object: &NewObject) -> Result<(), CatalogueError> {
        let (object, node) = (object.clone(), self.node());
        self.writer.write(move |db| Box::pin(async move { write::stage(db, &object, node).await })).await
    }

    async fn publish(&self, publication: &Publication) -> Result<Published, CatalogueError> {
        let recording = publication.recording;
        let (publication, node) = (publication.clone(), self.node());
        self.writer
            .write(move |db| Box::pin(async move { write::publish(db, &publication, node).await }))
            .await?;
        Ok(Published { recording })
    }

    async fn get(&self, tenant: &str, id: RecordingId) -> Result<Option<Recording>, CatalogueError> {
        self.explain(read::recording(&mut *self.reader().await?, tenant, id).await)
    }

    async fn list(&self, tenant: &str, filter: &Filter, page: Page) -> Result<Listing, CatalogueError> {
        self.explain(read::list(&mut *self.reader().await?, tenant, filter, page).await)
    }

    async fn call(&self, tenant: &str, id: &str) -> Result<Option<Call>, CatalogueError> {
        self.explain(read::call(&mut *self.reader().await?, tenant, id).await)
    }

    async fn objects(&self, tenant: &str, id: RecordingId) -> Result<Vec<Object>, CatalogueError> {
        self.explain(read::objects(&mut *self.reader().await?, tenant, id).await)
    }

    async fn delete(&self, tenant: &str, id: RecordingId) -> Result<Option<Removed>, CatalogueError> {
        let tenant = tenant.to_owned();
        let keys = self
            .writer
            .write(move |db| Box::pin(async move { write::delete(db, &tenant, id).await }))
            .await?;
        Ok(keys.map(|keys| Removed { recording: id, keys }))
    }

    async fn mark(&self, tenant: &str, key: &ObjectKey) -> Result<bool, CatalogueError> {
        let (tenant, key) = (tenant.to_owned(), key.clone());
        self.writer.write(move |db| Box::pin(async move { write::mark(db, &tenant, &key).await })).await
    }

    async fn forget(&self, tenant: &str, key: &ObjectKey) -> Result<(), CatalogueError> {
        let (tenant, key) = (tenant.to_owned(), key.clone());
        self.writer.write(move |db| Box::pin(async move { write::forget(db, &tenant, &key).await })).await
    }

    async fn objects_in(
        &self,
        tenant: &str,
        state: ObjectState,
        before: UtcMicros,
        limit: u32,
    ) -> Result<Vec<Object>, CatalogueError> {
        self.explain(
            read::objects_in(&mut *self.reader().await?, tenant, state, before, limit, self.node()).await,
        )
    }

    async fn key_taken(&self, key: &ObjectKey) -> Result<bool, CatalogueError> {
        self.explain(read::key_taken(&mut *self.reader().await?, key).await)
    }

    async fn begin_upload(&self, upload: &Upload) -> Result<(), CatalogueError> {
        let upload = upload.clone();
        self.writer.write(move |db| Box::pin(async move { uploads::begin(db, &upload).await })).await
    }

    async fn note_part(
        &self,
        upload: &Upload,
        number: u32,
        part: &UploadedPart,
    ) -> Result<(), CatalogueError> {
        let (upload, part) = (upload.clone(), part.clone());
        self.writer
            .write(move |db| Box::pin(async move { uploads::note_part(db, &upload, number, &part).await }))
            .await
    }

    async fn upload(
        &self,
        tenant: &str,
        key: &ObjectKey,
    ) -> Result<Option<(Upload, Vec<(u32, UploadedPart)>)>, CatalogueError> {
        self.explain(uploads::with_parts(&mut *self.reader().await?, tenant, key).await)
    }

    async fn uploads(&self, tenant: &str) -> Result<Vec<Upload>, CatalogueError> {
        self.explain(uploads::all(&mut *self.reader().await?, tenant, self.node()).await)
    }

    async fn end_upload(&self, tenant: &str, key: &ObjectKey) -> Result<(), CatalogueError> {
        let (tenant, key) = (tenant.to_owned(), key.clone());
        self.writer.write(move |db| Box::pin(async move { uploads::end(db, &tenant, &key).await })).await
    }

    fn node(&self) -> Option<NodeId> {
        self.node.get().copied()
    }

    async fn start_node(&self, node: NodeId, until: UtcMicros) -> Result<Tenure, CatalogueError> {
        let _ = self.node.set(node);
        self.writer.write(move |db| Box::pin(nodes::start(db, node, until))).await
    }

    async fn renew_node(&self, node: NodeId, epoch: u64, until: UtcMicros) -> Result<bool, CatalogueError> {
        self.writer.write(move |db| Box::pin(nodes::renew(db, node, epoch, until))).await
    }

    async fn claim(&self, by: NodeId, now: UtcMicros) -> Result<Vec<Claim>, CatalogueError> {
        if !self.explain(nodes::any(&mut *self.reader().await?, by, now).await)? {
            return Ok(Vec::new());
        }
        self.writer.write(move |db| Box::pin(nodes::claim(db, by, now))).await
    }

    async fn has_claims(&self, by: NodeId) -> Result<bool, CatalogueError> {
        self.explain(nodes::has_claims(&mut *self.reader().await?, by).await)
    }

    async fn settle(&self, claim: Claim, lost: Option<UtcMicros>) -> Result<(), CatalogueError> {
        match lost {
            Some(at) => self.writer.write(move |db| Box::pin(nodes::settle(db, claim, at))).await,
            None => self.writer.write(move |db| Box::pin(nodes::release(db, claim))).await,
        }
    }

    async fn take_recording(
        &self,
        tenant: &str,
        id: RecordingId,
        by: NodeId,
        now: UtcMicros,
    ) -> Result<bool, CatalogueError> {
        let tenant = tenant.to_owned();
        self.writer
            .write(move |db| Box::pin(async move { nodes::take_recording(db, &tenant, id, by, now).await }))
            .await
    }

    async fn owner(&self, tenant: &str, id: RecordingId) -> Result<Option<NodeId>, CatalogueError> {
        self.explain(nodes::owner(&mut *self.reader().await?, tenant, id).await)
    }

    async fn knows_node(&self, node: NodeId) -> Result<bool, CatalogueError> {
        self.explain(nodes::knows(&mut *self.reader().await?, node).await)
    }

    async fn enter_node(&self, node: NodeId, epoch: u64) -> Result<bool, CatalogueError> {
        self.writer.write(move |db| Box::pin(nodes::enter(db, node, epoch))).await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
