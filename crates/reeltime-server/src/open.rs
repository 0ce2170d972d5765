//! Opens the recorder on a data folder, as the settings say.

use std::sync::Arc;

use anyhow::Context;
use reeltime::catalogue::SqliteCatalogue;
use reeltime::recorder::{Recorder, RecorderConfig, TRANSCRIBE_MOUNT};
use reeltime::spool::{FolderLock, SpoolConfig};
use reeltime::store::{FolderStore, MountedStore, Store};
use reeltime_core::session::Patience;

use crate::settings::{Recording, Settings};

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
        render_limit: settings.render_limit,
        ..defaults
    }
}

/// Takes the data folder and recovers what lies in its spool.
pub(crate) async fn recorder(settings: &Settings, config: RecorderConfig) -> anyhow::Result<Recorder> {
    let recording = &settings.recording;
    // Opening the store clears away what an earlier process left half written: it must not be a living one's.
    let lock = FolderLock::take(&recording.data_dir)?;
    let catalogue = SqliteCatalogue::open(&recording.database).await?;
    let store = store(settings).await?;
    Ok(Recorder::open(config, lock, Arc::new(catalogue), store).await?)
}

/// The store, with the transcribe socket's own folder inside it.
async fn store(settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    let main =
        FolderStore::open(&settings.recording.store).await.context("cannot open the store (--store-url)")?;
    if !settings.transcribe.record {
        return Ok(Arc::new(main));
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
    Ok(Arc::new(MountedStore::new(Arc::new(main), TRANSCRIBE_MOUNT, Arc::new(flat))))
}
