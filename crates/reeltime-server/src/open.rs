//! Opens the recorder on a data folder, as the settings say.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use reeltime::catalogue::SqliteCatalogue;
use reeltime::recorder::{Recorder, RecorderConfig, TRANSCRIBE_MOUNT};
use reeltime::spool::{FolderLock, LockError, SpoolConfig};
use reeltime::store::{FolderStore, MountedStore, S3Store, Store, VercelStore};
use reeltime_core::session::Patience;

use crate::settings::{Recording, Settings, StoreUrl};

/// The recorder's own settings.
pub(crate) fn config(settings: &Recording) -> RecorderConfig {
    let defaults = RecorderConfig::new(&settings.data_dir);
    RecorderConfig {
        spool: SpoolConfig {
            flush_interval: settings.flush_interval,
            sync_interval: settings.sync_interval,
            reserve: settings.reserve,
            budget: settings.spool_budget,
            ..defaults.spool
        },
        patience: Patience { idle: settings.idle_timeout, resume_window: settings.resume_window },
        call_linger: settings.call_linger,
        key_template: settings.key_template.clone(),
        renditions: settings.renditions.clone(),
        cache_budget: settings.cache_budget,
        peaks_after: settings.peaks_after,
        live_uploads: settings.live_uploads,
        live_horizon: settings.live_horizon,
        upload_budget: settings.upload_budget,
        upload_workers: settings.upload_workers,
        upload_bandwidth: settings.upload_bandwidth,
        ship: settings.ship,
        node_lease: settings.node_lease,
        segments: settings.segments.clone(),
        segments_auto_finalize: settings.segments_auto_finalize,
        segments_direct: settings.segments_direct,
        render_limit: settings.render_limit,
        ..defaults
    }
}

/// Takes the data folder for a command that a server would answer as well.
pub(crate) fn folder_to_read(folder: &Path) -> anyhow::Result<FolderLock> {
    FolderLock::take(folder).map_err(|error| match error {
        LockError::InUse { path } => anyhow::anyhow!(
            "the data folder {} is in use by a running server: ask that, with --to http://host:port",
            path.display()
        ),
        error @ LockError::Io { .. } => error.into(),
    })
}

/// Opens the data folder that was taken, and recovers what lies in its spool.
pub(crate) async fn recorder(
    settings: &Settings,
    lock: FolderLock,
    config: RecorderConfig,
) -> anyhow::Result<Recorder> {
    // It clears away what an earlier process left half written: `lock` says that no living one does.
    let catalogue = SqliteCatalogue::open(&settings.recording.database).await?;
    let store = store(settings).await?;
    Ok(Recorder::open(config, lock, Arc::new(catalogue), store).await?)
}

/// The store, with the transcribe socket's own folder inside it.
async fn store(settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    let main = main_store(&settings.recording).await.context("cannot open the store (--store-url)")?;
    if !settings.transcribe.record {
        return Ok(main);
    }
    let flat = &settings.transcribe.dir;
    let flat = FolderStore::open_flat(flat, settings.recording.data_dir.join("transcribe"))
        .await
        .with_context(|| {
            format!(
                "cannot use {} for the transcribe socket's files; choose another --transcribe-dir",
                flat.display()
            )
        })?;
    Ok(Arc::new(MountedStore::new(main, TRANSCRIBE_MOUNT, Arc::new(flat))))
}

/// The store of the settings, alone. One that lies elsewhere is not asked anything yet: it may be away.
pub(crate) async fn main_store(settings: &Recording) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match &settings.store {
        StoreUrl::Folder(path) => Arc::new(FolderStore::open(path).await?),
        StoreUrl::S3 { bucket, prefix } => Arc::new(S3Store::open(bucket, prefix.clone(), &settings.s3)?),
        StoreUrl::VercelBlob { prefix } => Arc::new(VercelStore::open(prefix.clone(), &settings.vercel)?),
    })
}
