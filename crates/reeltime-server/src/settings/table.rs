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

    /// Whether a URL may stand in it, and so a password.
    pub(crate) fn takes_url(&self) -> bool {
        self.placeholder.contains("URL")
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
    row(
        "store_url",
        "URL",
        "",
        "Where recordings go: file:///path, s3://bucket/prefix, vercel-blob:///prefix; by default in the data folder",
    ),
    shared(
        row("s3_endpoint", "URL", "", "An S3 other than AWS, as https://s3.example.com"),
        &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
    ),
    shared(row("s3_region", "NAME", "", "The region of the bucket"), &["AWS_REGION", "AWS_DEFAULT_REGION"]),
    shared(
        row("s3_access_key_id", "ID", "", "Who we are to S3; by default the machine's role"),
        &["AWS_ACCESS_KEY_ID"],
    ),
    shared(
        secret("s3_secret_access_key", "KEY", "The secret of s3_access_key_id"),
        &["AWS_SECRET_ACCESS_KEY"],
    ),
    shared(secret("s3_session_token", "TOKEN", "Where the keys are temporary"), &["AWS_SESSION_TOKEN"]),
    row(
        "s3_path_style",
        "auto|BOOL",
        "auto",
        "host/bucket/key (true) or bucket.host/key (false); auto: true where there is an endpoint",
    ),
    row("s3_encryption", "NAME", "none", "What S3 encrypts with: none, sse-s3, sse-kms or sse-c"),
    secret("s3_encryption_key", "KEY", "The id of the KMS key for sse-kms; 32 bytes in base64 for sse-c"),
    row(
        "s3_unsigned_payload",
        "BOOL",
        "false",
        "Leave bodies out of the signature, which saves CPU; TLS protects them",
    ),
    row("s3_part_concurrency", "N", "2", "Parts of 5 MiB of one object that are sent at a time"),
    shared(secret("vercel_token", "TOKEN", "The token of the Vercel Blob store"), &["BLOB_READ_WRITE_TOKEN"]),
    row("vercel_access", "NAME", "private", "What the Vercel Blob store was made as: private or public"),
    shared(
        row("vercel_api_url", "URL", "", "Another address of the Vercel Blob API than Vercel's own"),
        &["VERCEL_BLOB_API_URL"],
    ),
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
    row(
        "peaks",
        "after[:TIME]|request",
        "after",
        "When waveforms are computed: of samples at once, of the rest some time (30s) after the end; or when asked for",
    ),
    row(
        "live_uploads",
        "BOOL",
        "true",
        "Upload files while they grow, where the store takes uploads in parts",
    ),
    row(
        "live_horizon",
        "TIME",
        "5s",
        "How far a mix of a live recording may stay behind: for so long a silent speaker is waited for",
    ),
    row("upload_budget", "BYTES", "64MiB", "Memory for parts on their way to the store, 5 MiB each"),
    row(
        "segments_auto_finalize",
        "TIME",
        "24h",
        "A recording of segments that its client does not finalize is finalized after so long",
    ),
    row(
        "segments_direct",
        "BOOL",
        "false",
        "Segments that come in are sent to the store itself, where it signs addresses",
    ),
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
    row("upload_workers", "N", "", "Recordings published at a time; by default 4, or 16 into a folder"),
    row("upload_bandwidth", "BYTES", "0", "Bytes a second that uploads may take together; 0: no limit"),
    row(
        "ship",
        "auto|always|never",
        "auto",
        "Whether live audio goes to the store as it comes; auto: to a remote one",
    ),
    row(
        "ship_interval",
        "TIME",
        "2s",
        "How often it does: losing the machine costs at most this and a second; 0: never",
    ),
    row("node_lease", "TIME", "15s", "A node that gives no sign of life for this long is taken for dead"),
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
        row(
            "otlp_endpoint",
            "URL",
            "",
            "An OpenTelemetry collector that traces go to over OTLP/HTTP, as http://127.0.0.1:4318",
        ),
        &["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
    ),
    shared(
        secret("otlp_headers", "NAME=VALUE,…", "What is sent to it with them, as a token"),
        &["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"],
    ),
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
    row(
        "segments",
        "off|store|URL",
        "off",
        "Where each speaker's utterances go, cut at silences: to the store, or to the recording API at an https URL",
    ),
    secret("segments_api_key", "KEY", "What the recording API knows us by"),
    shared(
        row("segments_silence", "TIME", "1500ms", "The silence that ends a segment, 500ms to 10s"),
        &["RECORDING_SILENCE_THRESHOLD"],
    ),
    shared(
        row("segments_shortest", "TIME", "250ms", "What is loud for less is no segment, 100ms to 5s"),
        &["RECORDING_MIN_SEGMENT_DURATION"],
    ),
    shared(
        row(
            "segments_max_size",
            "MB",
            "10",
            "The largest segment, 1 to 50 MB: a longer one goes on in the next",
        ),
        &["RECORDING_MAX_SEGMENT_SIZE_MB"],
    ),
    shared(
        row("segments_parallel", "N", "5", "Segments sent at the same time, 1 to 50"),
        &["RECORDING_SEGMENT_PARALLEL_LIMIT"],
    ),
    shared(
        row("segments_rms", "LEVEL", "500", "From which root mean square on 20 ms are speech, 1 to 32767"),
        &["RECORDING_VAD_RMS_THRESHOLD"],
    ),
    shared(
        row(
            "segments_tail",
            "CHUNKS",
            "50",
            "How much of the silence at its end a segment keeps, in chunks of 20 ms, 0 to 500",
        ),
        &["RECORDING_VAD_SILENCE_CHUNKS"],
    ),
    shared(
        row("segments_format", "FORMAT", "flac", "The segments' files: wav, flac or opus"),
        &["RECORDING_OUTPUT_FORMAT"],
    ),
    shared(
        row(
            "segments_max_duration",
            "TIME",
            "120m",
            "What comes later in a recording is not cut, 1m to 300m",
        ),
        &["RECORDING_MAX_DURATION_MINUTES"],
    ),
    shared(
        row(
            "segments_keep_local",
            "BOOL",
            "false",
            "Whether segments that have arrived stay in the data folder",
        ),
        &["RECORDING_KEEP_LOCAL_AFTER_UPLOAD"],
    ),
    shared(
        row("segments_max_recordings", "N", "5", "Recordings that are cut at the same time, 1 to 1000"),
        &["MAX_CONCURRENT_RECORDINGS"],
    ),
];
