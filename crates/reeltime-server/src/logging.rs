//! Log lines go to stderr, so that stdout stays parseable; spans go to whoever collects traces.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::settings::{Log, LogFormat};

/// Something that follows events and spans.
pub(crate) type Follower = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging for the whole process; colours only on a terminal. `traces` is given the spans.
pub(crate) fn start(log: &Log, traces: Option<Follower>) {
    let lines =
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let lines: Follower = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let wanted = EnvFilter::new(&log.filter);
    // Without it every library would be asked at each of its finest words, frame by frame.
    let finest = wanted.max_level_hint().unwrap_or(LevelFilter::TRACE);
    // A line says all by itself: spans do not go before it.
    let wanted = wanted.and(filter_fn(|what| what.is_event()).with_max_level_hint(finest));
    let followers: Vec<Follower> = [lines.with_filter(wanted).boxed()].into_iter().chain(traces).collect();
    tracing_subscriber::registry().with(followers).init();
}
