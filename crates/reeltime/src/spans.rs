//! What is traced: a recording from its first session until it is published, and what is done for it meanwhile. Nothing
//! here knows where traces go; where nobody collects them, a span costs a look at a flag.
//!
//! | span | lasts | beneath |
//! |---|---|---|
//! | `recording` | until it is published | what its first session was opened in, as a request |
//! | `session` | until its log is closed | its recording |
//! | `publish` | one attempt | its recording |
//! | `upload` | one look at what has grown of a live recording's tracks, or as long as a mix of it grows | its recording |
//! | `ship` | until a bundle of live sound is in the store | |
//! | `render` | until the file is made | what asked for it |
//! | `store put`, … | one request to the store | what asked for it |

//!
//! Numbers are signed, as OpenTelemetry's are.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use reeltime_core::log::LogHeader;
use tracing::{Instrument, Span, field, info_span};

use crate::recorder::LiveRecording;

/// A span that ends before its owner does.
#[derive(Debug)]
pub(crate) struct Lasting(Mutex<Span>);

impl Lasting {
    pub(crate) const fn new(span: Span) -> Self {
        Self(Mutex::new(span))
    }

    /// The span; none once it has ended.
    pub(crate) fn get(&self) -> Span {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it, once what is beneath it has ended.
    pub(crate) fn end(&self) -> Span {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), Span::none())
    }
}

/// Of a recording.
pub(crate) fn recording(id: impl Display, tenant: &str, call: Option<&str>) -> Lasting {
    Lasting::new(info_span!("recording", recording = %id, tenant, call))
}

/// Of a session that begins, within whatever opens it.
pub(crate) fn session(recording: &LiveRecording, header: &LogHeader) -> Lasting {
    let span = info_span!(
        parent: &recording.span.get(),
        "session",
        recording = %recording.id,
        session = %header.session,
        participant = header.participant,
        codec = header.format.codec.name(),
        rate = i64::from(header.format.rate),
        channels = i64::from(header.format.channels),
        reason = field::Empty,
        samples = field::Empty,
    );
    span.follows_from(Span::current());
    Lasting::new(span)
}

/// Of an attempt to publish.
pub(crate) fn publish(recording: &LiveRecording) -> Span {
    let tracks = recording.tracks().len() as i64;
    info_span!(parent: &recording.span.get(), "publish", recording = %recording.id, tracks, otel.status_code = field::Empty, error = field::Empty)
}

/// Of a look at what has grown, or of a mix that grows.
pub(crate) fn upload(recording: &LiveRecording) -> Span {
    info_span!(parent: &recording.span.get(), "upload", recording = %recording.id)
}

/// Of a bundle of live sound that goes to the store.
pub(crate) fn ship(bytes: usize) -> Span {
    info_span!("ship", bytes = bytes as i64)
}

/// Of a file that is made.
pub(crate) fn render(tracks: usize) -> Span {
    info_span!("render", tracks = tracks as i64)
}

/// Of a request to the store.
pub(crate) async fn store<T, E: Display>(
    (verb, key): (&'static str, &impl Display),
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let span = info_span!("store", otel.name = %format_args!("store {verb}"), otel.kind = "client", verb, %key, otel.status_code = field::Empty, error = field::Empty);
    let answer = asked.instrument(span.clone()).await;
    failed(&span, answer.as_ref().err());
    answer
}

/// Notes what a span's work failed with.
pub(crate) fn failed(span: &Span, error: Option<&impl Display>) {
    if let Some(error) = error {
        span.record("otel.status_code", "ERROR");
        span.record("error", field::display(error));
    }
}
