//! Settings: each from its flag, else the environment, else the config file, else its default.
//!
//! [`table`] names them, [`layers`] finds them, [`text`] reads them; [`Settings`] is what the rest sees.

mod layers;
mod redact;
mod segments;
mod store;
mod table;
mod text;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Uri};
use reeltime::recorder::Rendition;
use reeltime::segments::send::SegmentsConfig;
use reeltime::ship::Shipping;
use reeltime::source::transcribe::RecordedCopy;
use reeltime::store::s3::S3Options;
use reeltime::store::vercel::VercelOptions;
use reeltime_core::keys::{KeyTemplate, TemplateError};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

pub(crate) use layers::{Found, Layers};
pub(crate) use redact::redacted;
pub(crate) use store::StoreUrl;
pub(crate) use table::{SETTINGS, Setting};
pub(crate) use text::duration;

use crate::exit::Usage;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to log, and how.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// A `tracing` filter.
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

/// What bounds the listener and its connections.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) max_connections: usize,
    /// Connections whose first request is not finished.
    pub(crate) max_handshakes: usize,
    pub(crate) header_timeout: Duration,
    /// Bytes of one WebSocket message.
    pub(crate) max_message: usize,
}

/// An OpenTelemetry collector.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    /// Where spans are posted; who logs in there is among the headers.
    pub(crate) url: Uri,
    /// What goes with them, as a token.
    pub(crate) headers: Vec<(HeaderName, SecretString)>,
}

/// Who may do what from where.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) api_keys: Vec<SecretString>,
    /// Signs URLs; made and kept in the data folder where absent.
    pub(crate) url_secret: Option<SecretString>,
    /// What links start with, without a slash at the end.
    pub(crate) public_url: Option<String>,
}

/// What the recorder is opened with.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    pub(crate) data_dir: PathBuf,
    pub(crate) store: StoreUrl,
    /// How to speak to it where it is S3.
    pub(crate) s3: S3Options,
    /// How to speak to it where it is Vercel Blob.
    pub(crate) vercel: VercelOptions,
    /// The SQLite file.
    pub(crate) database: PathBuf,
    /// Where files lie in the store.
    pub(crate) key_template: KeyTemplate,
    /// What is kept of several speakers.
    pub(crate) renditions: Vec<Rendition>,
    /// Bytes of files made on demand.
    pub(crate) cache_budget: u64,
    pub(crate) peaks_after: Option<Duration>,
    /// Whether files are uploaded while they grow.
    pub(crate) live_uploads: bool,
    pub(crate) live_horizon: Duration,
    /// Bytes of parts held in memory.
    pub(crate) upload_budget: u64,
    pub(crate) segments_auto_finalize: Duration,
    /// Whether segments are sent to the store itself.
    pub(crate) segments_direct: bool,
    pub(crate) render_limit: usize,
    pub(crate) flush_interval: Duration,
    pub(crate) sync_interval: Duration,
    pub(crate) resume_window: Duration,
    pub(crate) call_linger: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    /// Bytes of disk kept for live sessions.
    pub(crate) reserve: u64,
    /// Bytes the spool may hold; 0: no limit.
    pub(crate) spool_budget: u64,
    /// Recordings published at a time; `None`: as the store is.
    pub(crate) upload_workers: Option<usize>,
    /// Bytes a second of all uploads; 0: no limit.
    pub(crate) upload_bandwidth: u64,
    pub(crate) ship: Shipping,
    pub(crate) node_lease: Duration,
    /// How segments are cut and sent, where they are.
    pub(crate) segments: Option<SegmentsConfig>,
}

/// The transcribe socket's own.
#[derive(Clone, Debug)]
pub(crate) struct Transcribe {
    pub(crate) record: bool,
    pub(crate) dir: PathBuf,
    pub(crate) copy: RecordedCopy,
}

/// All settings, understood.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Host and port.
    pub(crate) listen: String,
    pub(crate) log: Log,
    /// Where traces go; nowhere by default.
    pub(crate) collector: Option<Collector>,
    pub(crate) limits: Limits,
    pub(crate) access: Access,
    pub(crate) recording: Recording,
    pub(crate) transcribe: Transcribe,
}

impl Settings {
    /// From all layers, with a sentence for the first value that makes no sense.
    pub(crate) fn load(layers: &Layers) -> Result<Self, Usage> {
        let rows = Rows(layers.resolve()?);
        Ok(Self {
            listen: rows.read("listen", text::address)?,
            log: rows.log()?,
            collector: rows.collector()?,
            limits: rows.limits()?,
            access: rows.access()?,
            recording: rows.recording()?,
            transcribe: rows.transcribe()?,
        })
    }
}

struct Rows(Vec<Found>);

impl Rows {
    fn row(&self, name: &str) -> &Found {
        let found = self.0.iter().find(|found| found.setting.name == name);
        found.unwrap_or_else(|| unreachable!("`{name}` stands in the table of settings"))
    }

    fn read<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Usage> {
        self.row(name).read(parse)
    }

    fn text(&self, name: &str) -> Option<String> {
        let text = &self.row(name).text;
        (!text.is_empty()).then(|| text.clone())
    }

    fn log(&self) -> Result<Log, Usage> {
        let format = self.read("log_format", |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("is neither text nor json".to_owned()),
        })?;
        let filter = self.read("log", |text| {
            let parsed = tracing_subscriber::EnvFilter::try_new(text);
            parsed
                .map(|_| text.to_owned())
                .map_err(|_| "is not a log filter; write for example debug".to_owned())
        })?;
        Ok(Log { filter, format })
    }

    fn collector(&self) -> Result<Option<Collector>, Usage> {
        if self.text("otlp_endpoint").is_none() {
            return Ok(None);
        }
        let (url, login) = self.read("otlp_endpoint", text::collector)?;
        // What is said in so many words counts more than what stands in the address: the last one does.
        let headers = login.into_iter().chain(self.read("otlp_headers", text::headers)?).collect();
        Ok(Some(Collector { url, headers }))
    }

    fn limits(&self) -> Result<Limits, Usage> {
        Ok(Limits {
            max_connections: self.read("max_connections", text::count)?,
            max_handshakes: self.read("max_handshakes", text::count)?,
            header_timeout: self.read("header_timeout", text::interval)?,
            max_message: self.read("max_message", |text| {
                let bytes = text::bytes(text)?;
                usize::try_from(bytes)
                    .ok()
                    .filter(|n| (1_024..=16 << 20).contains(n))
                    .ok_or_else(|| "is not within 1KiB to 16MiB".to_owned())
            })?,
        })
    }

    fn access(&self) -> Result<Access, Usage> {
        let keys = self.text("api_keys").unwrap_or_default();
        let keys = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
        Ok(Access {
            api_keys: keys.map(SecretString::from).collect(),
            url_secret: self.text("url_secret").map(SecretString::from),
            public_url: self.text("public_url").map(|url| url.trim_end_matches('/').to_owned()),
        })
    }

    fn recording(&self) -> Result<Recording, Usage> {
        let data_dir = self.read("data_dir", folder)?;
        let store = self.store_url()?.unwrap_or_else(|| StoreUrl::Folder(data_dir.join("objects")));
        Ok(Recording {
            // Variables that other programs use as well are of no concern to other stores.
            s3: if let StoreUrl::S3 { bucket, .. } = &store {
                self.s3(bucket)?
            } else {
                S3Options::default()
            },
            vercel: if matches!(store, StoreUrl::VercelBlob { .. }) {
                self.vercel()?
            } else {
                VercelOptions::default()
            },
            store,
            database: self.database()?.unwrap_or_else(|| data_dir.join("reeltime.db")),
            data_dir,
            key_template: self.read("key_template", |text| {
                text.parse().map_err(|error: TemplateError| format!("is no key template: {error}"))
            })?,
            renditions: self.read("renditions", text::renditions)?,
            cache_budget: self.read("cache_budget", text::bytes)?,
            peaks_after: self.read("peaks", text::peaks)?,
            live_uploads: self.read("live_uploads", text::boolean)?,
            live_horizon: self.read("live_horizon", text::duration)?,
            upload_budget: self.read("upload_budget", text::bytes)?,
            segments_auto_finalize: self.read("segments_auto_finalize", text::interval)?,
            segments_direct: self.read("segments_direct", text::boolean)?,
            render_limit: self.read("render_limit", text::count)?,
            flush_interval: self.read("flush_interval", text::interval)?,
            sync_interval: self.read("sync_interval", text::interval)?,
            resume_window: self.read("resume_window", text::duration)?,
            call_linger: self.read("call_linger", text::duration)?,
            idle_timeout: self.read("idle_timeout", text::interval)?,
            drain_timeout: self.read("drain_timeout", text::duration)?,
            reserve: self.read("reserve", text::bytes)?,
            spool_budget: self.read("spool_budget", text::bytes)?,
            upload_workers: self.read("upload_workers", |text| match text {
                "" => Ok(None),
                number => text::count(number).map(Some),
            })?,
            upload_bandwidth: self.read("upload_bandwidth", text::bytes)?,
            ship: Shipping {
                when: self.read("ship", text::when)?,
                interval: self.read("ship_interval", text::duration)?,
            },
            node_lease: self.read("node_lease", text::interval)?,
            segments: self.segments()?,
        })
    }

    /// The SQLite file; `None` where none is named.
    fn database(&self) -> Result<Option<PathBuf>, Usage> {
        self.text("database_url").map(|_| self.read("database_url", sqlite)).transpose()
    }

    fn transcribe(&self) -> Result<Transcribe, Usage> {
        let copy = RecordedCopy {
            gain: self.read("transcribe_gain", text::gain)?,
            format: self.read("transcribe_format", text::format)?,
            bitrate: Some(self.read("transcribe_bitrate", text::bitrate)?),
        };
        let record = self.read("transcribe_record", text::boolean)?;
        if record && let Err(error) = copy.check() {
            return Err(self.row("transcribe_format").refuse(&format!("is not possible: {error}")));
        }
        Ok(Transcribe { record, dir: self.read("transcribe_dir", folder)?, copy })
    }
}

fn sqlite(url: &str) -> Result<PathBuf, String> {
    match url.split_once("://") {
        Some(("sqlite", path)) if !path.is_empty() && text::is_path(path) => Ok(path.into()),
        Some(("postgres" | "postgresql", _)) => {
            Err("needs PostgreSQL, which this version does not have yet; use sqlite:///path".to_owned())
        }
        Some(_) | None => Err("is not the address of a database; write sqlite:///path".to_owned()),
    }
}

fn folder(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("is empty; name a folder".to_owned()) } else { Ok(text.into()) }
}

/// What `reeltime config` prints.
pub(crate) struct Overview(Vec<Found>);

impl Overview {
    /// Reads all layers; values that make no sense are an error here too.
    pub(crate) fn load(layers: &Layers) -> Result<Self, Usage> {
        let settings = Settings::load(layers)?;
        let mut found = layers.resolve()?;
        for row in &mut found {
            match row.setting.name {
                // Where none is given: what follows from the data folder.
                "store_url" if row.text.is_empty() => row.text = settings.recording.store.to_string(),
                "database_url" if row.text.is_empty() => {
                    row.text = format!("sqlite://{}", settings.recording.database.display());
                }
                // As it is heeded.
                "transcribe_gain" => row.text = format!("{:?}", settings.transcribe.copy.gain),
                _ => {}
            }
        }
        Ok(Self(found))
    }

    /// One object for each setting.
    pub(crate) fn json(&self) -> Value {
        let row = |found: &Found| json!({ "name": found.setting.name, "value": found.shown(), "origin": found.origin.to_string() });
        json!({ "settings": self.0.iter().map(row).collect::<Vec<_>>() })
    }
}

impl fmt::Display for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for found in &self.0 {
            writeln!(f, "{:<20} {:<24} {}", found.setting.name, found.shown(), found.origin)?;
        }
        Ok(())
    }
}

/// The bytes of a secret, for the few places that compute with it.
pub(crate) fn reveal(secret: &SecretString) -> &[u8] {
    secret.expose_secret().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeltime::store::vercel::Access as BlobAccess;
    use reeltime_core::media::Container;

    fn with(environment: &[(&str, &str)]) -> Result<Settings, Usage> {
        Settings::load(&layers(environment))
    }

    fn layers(environment: &[(&str, &str)]) -> Layers {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Layers { environment, ..Layers::default() }
    }

    #[test]
    fn every_default_is_valid() {
        let settings = with(&[]).unwrap();
        assert_eq!(settings.listen, "127.0.0.1:7400");
        assert_eq!(settings.recording.store, StoreUrl::Folder("./reeltime-data/objects".into()));
        assert_eq!(settings.recording.reserve, 64 << 20);
        assert_eq!(settings.limits.max_message, 512 << 10);
        assert!(settings.transcribe.record && settings.access.api_keys.is_empty());
    }

    #[test]
    fn a_database_or_format_that_there_is_not_is_refused_with_what_to_use() {
        let error = with(&[("REELTIME_DATABASE_URL", "postgres://host/db")]).unwrap_err().0;
        assert!(error.starts_with("environment REELTIME_DATABASE_URL: "), "{error}");
        assert!(error.contains("does not have yet; use "), "{error}");
        let unknown = with(&[("BACKEND_RECORD_FORMAT", "aiff")]).unwrap_err().0;
        assert!(unknown.contains("use wav, flac, ogg, mp3, webm or mp4"), "{unknown}");
        assert!(with(&[("REELTIME_STORE_URL", "gopher://x")]).unwrap_err().0.contains("write file:///path"));
    }

    #[test]
    fn s3_is_set_up_from_the_usual_variables() {
        let settings = with(&[
            ("REELTIME_STORE_URL", "s3://bucket/prefix"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
            ("AWS_ENDPOINT_URL", "http://other:1"),
            ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000"),
        ]);
        let recording = settings.unwrap().recording;
        assert_eq!(recording.store.to_string(), "s3://bucket/prefix");
        let s3 = recording.s3;
        assert_eq!(s3.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(s3.region.as_deref(), Some("eu-central-1"));
        let keys = s3.credentials.unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.session_token), ("id", "secret", None));
    }

    #[test]
    fn half_of_what_s3_needs_is_refused_and_does_not_matter_to_a_folder() {
        let at = ("REELTIME_STORE_URL", "s3://bucket");
        let half = with(&[at, ("AWS_ACCESS_KEY_ID", "id")]).unwrap_err().0;
        assert!(half.contains("set AWS_SECRET_ACCESS_KEY as well"), "{half}");
        let keyless = with(&[at, ("REELTIME_S3_ENCRYPTION", "sse-kms")]).unwrap_err().0;
        assert!(keyless.contains("set s3_encryption_key as well"), "{keyless}");
        let sse_c = ("REELTIME_S3_ENCRYPTION", "sse-c");
        let short = with(&[at, sse_c, ("REELTIME_S3_ENCRYPTION_KEY", "canary-5f0c")]).unwrap_err().0;
        assert!(short.starts_with("environment REELTIME_S3_ENCRYPTION_KEY: "), "{short}");
        assert!(short.contains("write 32 bytes in base64") && !short.contains("canary-5f0c"), "{short}");
        assert!(with(&[("AWS_ACCESS_KEY_ID", "id")]).is_ok());
    }

    #[test]
    fn a_bucket_that_cannot_stand_before_its_endpoint_is_refused_with_what_to_set() {
        let at = ("REELTIME_STORE_URL", "s3://calls/rec");
        let in_host = ("REELTIME_S3_PATH_STYLE", "false");
        let before_ip = with(&[at, in_host, ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")]).unwrap_err().0;
        assert!(before_ip.starts_with("environment AWS_ENDPOINT_URL_S3: s3_endpoint ="), "{before_ip}");
        assert!(before_ip.contains("set s3_path_style=true"), "{before_ip}");
        let capitals = [("REELTIME_STORE_URL", "s3://Calls"), in_host];
        let capitals = with(&capitals).unwrap_err().0;
        assert!(capitals.starts_with("environment REELTIME_STORE_URL: "), "{capitals}");
        let region = with(&[at, ("AWS_REGION", "eu west")]).unwrap_err().0;
        assert!(region.starts_with("environment AWS_REGION: "), "{region}");
        assert!(with(&[at, in_host, ("AWS_ENDPOINT_URL_S3", "http://localhost:9000")]).is_ok());
    }

    #[test]
    fn vercel_blob_is_set_up_from_its_own_variables() {
        let at = ("REELTIME_STORE_URL", "vercel-blob:///prefix");
        let token = ("BLOB_READ_WRITE_TOKEN", "vercel_blob_rw_store_canary-5f0c");
        let vercel = with(&[at, token]).unwrap().recording.vercel;
        assert_eq!(
            (vercel.token.as_str(), vercel.access, vercel.api_url),
            (token.1, BlobAccess::Private, None)
        );
        let other = [("VERCEL_BLOB_API_URL", "http://127.0.0.1:1/api"), ("REELTIME_VERCEL_ACCESS", "public")];
        let vercel = with(&[at, token, other[0], other[1]]).unwrap().recording.vercel;
        assert_eq!(
            (vercel.access, vercel.api_url.as_deref()),
            (BlobAccess::Public, Some("http://127.0.0.1:1/api"))
        );

        let missing = with(&[at]).unwrap_err().0;
        assert!(missing.contains("set BLOB_READ_WRITE_TOKEN"), "{missing}");
        let wrong = with(&[at, token, ("REELTIME_VERCEL_ACCESS", "open")]).unwrap_err().0;
        assert!(wrong.contains("neither private nor public"), "{wrong}");
        let overview = Overview::load(&layers(&[at, token])).unwrap();
        assert!(!format!("{overview}{}", overview.json()).contains("canary-5f0c"));
        assert!(!format!("{:?}", with(&[at, token])).contains("canary-5f0c"));
    }

    #[test]
    fn the_transcribe_sockets_format_and_bit_rate_are_read() {
        let settings = with(&[("BACKEND_RECORD_FORMAT", "FLAC"), ("BACKEND_RECORD_BITRATE", "64k")]).unwrap();
        let copy = settings.transcribe.copy;
        assert_eq!((copy.format, copy.bitrate), (Container::Flac, Some(64_000)));
        let wrong = with(&[("BACKEND_RECORD_BITRATE", "fast")]).unwrap_err().0;
        assert!(wrong.contains("write for example 128k"), "{wrong}");
    }

    #[test]
    fn urls_become_paths() {
        let settings =
            with(&[("REELTIME_STORE_URL", "file:///srv/o"), ("REELTIME_DATABASE_URL", "sqlite:///srv/c.db")]);
        let recording = settings.unwrap().recording;
        assert_eq!(recording.store, StoreUrl::Folder("/srv/o".into()));
        assert_eq!(recording.database, PathBuf::from("/srv/c.db"));
    }

    #[test]
    fn passwords_in_urls_are_shown_nowhere_whether_the_url_is_taken_or_refused() {
        let wrong = |name: &str, url: &str| {
            let environment = [
                ("REELTIME_STORE_URL", "s3://bucket"),
                ("BLOB_READ_WRITE_TOKEN", "vercel_blob_rw_a_b"),
                (name, url),
            ];
            let layers = layers(&environment);
            match Overview::load(&layers) {
                Ok(overview) => format!("{overview}{}", overview.json()),
                Err(error) => error.0,
            }
        };
        let urls = SETTINGS.iter().filter(|setting| setting.takes_url()).map(Setting::variable);
        let urls: Vec<_> = urls.collect();
        assert_eq!(urls.len(), 7, "{urls:?}");
        for name in &urls {
            for scheme in ["https", "s3", "file", "sqlite", "postgres", "vercel-blob", "gopher"] {
                for rest in ["u:canary-5f0c@host/x", "host/x?password=canary-5f0c", "/x?token=canary-5f0c"] {
                    let shown = wrong(name, &format!("{scheme}://{rest}"));
                    assert!(!shown.contains("canary-5f0c"), "{name} {scheme}://{rest}: {shown}");
                }
            }
            let shown = wrong(name, "u:canary-5f0c@host");
            assert!(!shown.contains("canary-5f0c"), "{name}: {shown}");
        }
    }

    #[test]
    fn secrets_are_shown_nowhere() {
        // In base64, so that it may be a key as well.
        let canary = "Y2FuYXJ5LTVmMGMtY2FuYXJ5LTVmMGMtY2FuYXJ5LTE=";
        let layers = layers(&[
            ("REELTIME_API_KEYS", canary),
            ("REELTIME_URL_SECRET", canary),
            ("REELTIME_STORE_URL", "s3://bucket"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", canary),
            ("AWS_SESSION_TOKEN", canary),
            ("REELTIME_S3_ENCRYPTION", "sse-c"),
            ("REELTIME_S3_ENCRYPTION_KEY", canary),
        ]);
        let overview = Overview::load(&layers).unwrap();
        let settings = Settings::load(&layers).unwrap();
        for shown in [overview.to_string(), overview.json().to_string(), format!("{settings:?}")] {
            assert!(!shown.contains(canary), "{shown}");
        }
        assert!(overview.to_string().contains("[redacted]"));
    }
}
