//! The one table of settings. A row gives the flag, the environment variable, the key in the file, the default
//! and the help, so that none of them can drift apart.

/// One setting: `listen_on` is `--listen-on`, `REELTIME_LISTEN_ON` and `listen_on = …` in the file.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The key in the file; the other spellings are made from it.
    pub(crate) name: &'static str,
    /// What stands for the value in `--help`.
    pub(crate) placeholder: &'static str,
    /// The default as text; empty where there is none.
    pub(crate) default: &'static str,
    /// One line of help.
    pub(crate) help: &'static str,
    /// Never shown.
    pub(crate) secret: bool,
    /// Variables of other programs that mean the same; they lose to `REELTIME_*`.
    pub(crate) also: &'static [&'static str],
}

impl Setting {
    /// The long flag, without its dashes.
    pub(crate) fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("REELTIME_{}", self.name.to_uppercase())
    }
}

const fn row(
    name: &'static str,
    placeholder: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting { name, placeholder, default, help, secret: false, also: &[] }
}

const fn secret(name: &'static str, placeholder: &'static str, help: &'static str) -> Setting {
    Setting { secret: true, ..row(name, placeholder, "", help) }
}

const fn shared(row: Setting, also: &'static [&'static str]) -> Setting {
    Setting { also, ..row }
}

/// Every setting but `config`, which says where to read them.
pub(crate) const SETTINGS: &[Setting] = &[
    row("listen", "HOST:PORT", "127.0.0.1:7400", "Where to listen; port 0 takes any free one"),
    row("data_dir", "DIR", "./reeltime-data", "Spool, SQLite database and objects"),
    row("store_url", "URL", "", "Where recordings go: file:///path; by default `objects` in the data folder"),
    row("database_url", "URL", "", "The catalogue: sqlite:///path/file.db; by default in the data folder"),
    row(
        "key_template",
        "TEXT",
        reeltime::recorder::DEFAULT_KEY_TEMPLATE,
        "Where a recording's files lie in the store",
    ),
    row(
        "renditions",
        "FORMAT[:LAYOUT],…",
        "wav:mono",
        "What is kept of a recording of several speakers beside each track, as `wav:mono,mp3:stereo`; or none",
    ),
    row("cache_budget", "BYTES", "2GiB", "Files made on demand that are kept in the data folder; 0: none"),
    row("render_limit", "N", "32", "Files made on demand at a time; beyond, clients are told to come back"),
    row("flush_interval", "TIME", "200ms", "A killed process loses at most this much of what it received"),
    row("sync_interval", "TIME", "1s", "A power loss costs at most this and the flush interval"),
    row("resume_window", "TIME", "30s", "How long a lost session waits for its client to come back"),
    row("call_linger", "TIME", "2s", "How long a recording waits for another session of its call"),
    row("idle_timeout", "TIME", "5m", "A session that sends nothing for this long is ended"),
    row("drain_timeout", "TIME", "3s", "How long live sessions have to end when the server stops"),
    row("reserve", "BYTES", "64MiB", "Disk space kept for live sessions: new ones are refused below it"),
    row(
        "spool_budget",
        "BYTES",
        "0",
        "The most the spool may hold, before new sessions are refused; 0: no limit",
    ),
    row("max_connections", "N", "10000", "Connections at a time"),
    row("max_handshakes", "N", "4096", "Connections at a time that have not finished their first request"),
    row("header_timeout", "TIME", "10s", "How long a client has to send the head of a request"),
    row("max_message", "BYTES", "512KiB", "The largest WebSocket message"),
    secret("api_keys", "KEY,…", "Keys for `Authorization: Bearer`, as they are or as sha256:HEX"),
    secret(
        "url_secret",
        "TEXT",
        "Signs URLs; by default made at the first start and kept in the data folder",
    ),
    row(
        "public_url",
        "URL",
        "",
        "What links start with, as https://rec.example; by default as the request came",
    ),
    row("log", "FILTER", "info", "What to log, for example `debug` or `warn,reeltime=debug`"),
    row("log_format", "text|json", "text", "How log lines look"),
    shared(
        row("transcribe_record", "BOOL", "true", "Whether the transcribe socket records"),
        &["ENABLE_AUDIO_RECORDING", "ENABLE_BACKEND_RECORDING"],
    ),
    shared(
        row(
            "transcribe_format",
            "FORMAT",
            "wav",
            "The transcribe socket's files: wav, flac, mp3, ogg, webm or mp4",
        ),
        &["BACKEND_RECORD_FORMAT"],
    ),
    shared(
        row("transcribe_dir", "DIR", "./recordings", "Where the transcribe socket puts its files, flat"),
        &["BACKEND_RECORD_DIR"],
    ),
    shared(
        row(
            "transcribe_gain",
            "FACTOR",
            "2.0",
            "How much louder the transcribe socket's files are, 1.0 to 4.0",
        ),
        &["BACKEND_RECORD_GAIN"],
    ),
    shared(
        row("transcribe_bitrate", "RATE", "128k", "The bit rate of compressed files; WAV has none"),
        &["BACKEND_RECORD_BITRATE"],
    ),
];
