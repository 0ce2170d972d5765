//! Settings: each from its flag, else the environment, else the config file, else its default.
//!
//! [`table`] names them, [`layers`] finds them, [`text`] reads them; [`Settings`] is what the rest sees.

mod layers;
mod table;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reeltime::recorder::Rendition;
use reeltime::source::transcribe::RecordedCopy;
use reeltime_core::keys::{KeyTemplate, TemplateError};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

pub(crate) use layers::{Found, Layers};
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
    /// The folder of objects.
    pub(crate) store: PathBuf,
    /// The SQLite file.
    pub(crate) database: PathBuf,
    /// Where files lie in the store.
    pub(crate) key_template: KeyTemplate,
    /// What is kept of several speakers.
    pub(crate) renditions: Vec<Rendition>,
    /// Bytes of files made on demand.
    pub(crate) cache_budget: u64,
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
        Ok(Recording {
            store: self.location("store_url", &["file"])?.unwrap_or_else(|| data_dir.join("objects")),
            database: self
                .location("database_url", &["sqlite"])?
                .unwrap_or_else(|| data_dir.join("reeltime.db")),
            data_dir,
            key_template: self.read("key_template", |text| {
                text.parse().map_err(|error: TemplateError| format!("is no key template: {error}"))
            })?,
            renditions: self.read("renditions", text::renditions)?,
            cache_budget: self.read("cache_budget", text::bytes)?,
            render_limit: self.read("render_limit", text::count)?,
            flush_interval: self.read("flush_interval", text::interval)?,
            sync_interval: self.read("sync_interval", text::interval)?,
            resume_window: self.read("resume_window", text::duration)?,
            call_linger: self.read("call_linger", text::duration)?,
            idle_timeout: self.read("idle_timeout", text::interval)?,
            drain_timeout: self.read("drain_timeout", text::duration)?,
            reserve: self.read("reserve", text::bytes)?,
            spool_budget: self.read("spool_budget", text::bytes)?,
        })
    }

    /// A URL of a scheme that this version has, as a path.
    fn location(&self, name: &str, schemes: &[&str]) -> Result<Option<PathBuf>, Usage> {
        let Some(url) = self.text(name) else { return Ok(None) };
        let path = url.split_once("://").filter(|(scheme, _)| schemes.contains(scheme));
        let why = match (path, url.split_once(':')) {
            (Some((_, path)), _) if !path.is_empty() => return Ok(Some(path.into())),
            (None, Some((scheme @ ("s3" | "vercel-blob" | "postgres" | "postgresql"), _))) => {
                format!(
                    "needs {scheme}, which this version does not have yet; use {}:///path",
                    schemes.join(" or ")
                )
            }
            (Some(_) | None, _) => {
                format!("is not a URL of this kind; write {}:///path", schemes.join(" or "))
            }
        };
        Err(self.row(name).refuse(&why))
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
                "store_url" if row.text.is_empty() => row.text = url("file", &settings.recording.store),
                "database_url" if row.text.is_empty() => {
                    row.text = url("sqlite", &settings.recording.database);
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
        let row = |found: &Found| json!({ "name": found.setting.name, "value": shown(found), "origin": found.origin.to_string() });
        json!({ "settings": self.0.iter().map(row).collect::<Vec<_>>() })
    }
}

/// A relative path stays one.
fn url(scheme: &str, path: &Path) -> String {
    format!("{scheme}://{}", path.display())
}

fn shown(found: &Found) -> &str {
    if found.setting.secret && !found.text.is_empty() { "[redacted]" } else { &found.text }
}

impl fmt::Display for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for found in &self.0 {
            writeln!(f, "{:<20} {:<24} {}", found.setting.name, shown(found), found.origin)?;
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
        assert_eq!(settings.recording.store, PathBuf::from("./reeltime-data/objects"));
        assert_eq!(settings.recording.reserve, 64 << 20);
        assert_eq!(settings.limits.max_message, 512 << 10);
        assert!(settings.transcribe.record && settings.access.api_keys.is_empty());
    }

    #[test]
    fn a_store_or_format_of_a_later_version_is_refused_with_what_to_use() {
        for (name, value) in [
            ("REELTIME_STORE_URL", "s3://bucket/prefix"),
            ("REELTIME_STORE_URL", "vercel-blob:///prefix"),
            ("REELTIME_DATABASE_URL", "postgres://host/db"),
        ] {
            let error = with(&[(name, value)]).unwrap_err().0;
            assert!(error.starts_with(&format!("environment {name}: ")), "{error}");
            assert!(error.contains("does not have yet; use "), "{error}");
        }
        let unknown = with(&[("BACKEND_RECORD_FORMAT", "aiff")]).unwrap_err().0;
        assert!(unknown.contains("use wav, flac, ogg, mp3, webm or mp4"), "{unknown}");
        assert!(with(&[("REELTIME_STORE_URL", "gopher://x")]).unwrap_err().0.contains("write file:///path"));
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
        assert_eq!((recording.store, recording.database), ("/srv/o".into(), "/srv/c.db".into()));
    }

    #[test]
    fn secrets_are_shown_nowhere() {
        let canary = "canary-5f0c";
        let layers = layers(&[("REELTIME_API_KEYS", canary), ("REELTIME_URL_SECRET", canary)]);
        let overview = Overview::load(&layers).unwrap();
        let settings = Settings::load(&layers).unwrap();
        for shown in [overview.to_string(), overview.json().to_string(), format!("{settings:?}")] {
            assert!(!shown.contains(canary), "{shown}");
        }
        assert!(overview.to_string().contains("[redacted]"));
    }
}
