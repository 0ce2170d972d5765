//! Progress on stderr: a bar each on a terminal, else plain lines now and then.

use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How often a plain line is said.
const EVERY: Duration = Duration::from_secs(5);

/// Where progress is shown.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    /// None: plain lines.
    bars: Option<MultiProgress>,
}

impl Screen {
    /// Bars where stderr is a terminal.
    pub(crate) fn new() -> Self {
        Self { bars: io::stderr().is_terminal().then(MultiProgress::new) }
    }

    /// Says a line of its own, above the bars.
    pub(crate) fn say(&self, line: &str) {
        match &self.bars {
            // The terminal is gone: so is who would read it.
            Some(bars) => drop(bars.println(line)),
            None => eprintln!("{line}"),
        }
    }

    /// A bar of this name, which takes `width` columns, `total` units long where that is known.
    pub(crate) fn bar(&self, name: &str, width: usize, total: Option<u64>) -> Bar {
        let shown = self.bars.as_ref().map(|bars| {
            let bar = ProgressBar::new(total.unwrap_or(0)).with_style(style(total.is_some()));
            bars.add(bar).with_prefix(Cow::Owned(format!("{name:<width$}")))
        });
        Bar { shown, name: name.to_owned(), said: Mutex::new(Instant::now()) }
    }
}

fn style(known: bool) -> ProgressStyle {
    let template = if known { "{prefix} {bar:24} {msg}" } else { "{prefix} {msg}" };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The progress of one thing.
#[derive(Debug)]
pub(crate) struct Bar {
    shown: Option<ProgressBar>,
    name: String,
    said: Mutex<Instant>,
}

impl Bar {
    /// It is at `at`, in words `text`.
    pub(crate) fn set(&self, at: u64, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.shown {
            bar.set_position(at);
            bar.set_message(text());
            return;
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.elapsed() >= EVERY {
            *said = Instant::now();
            eprintln!("{}: {}", self.name, text());
        }
    }

    /// It is over; the last words stay.
    pub(crate) fn end(&self, text: &str) {
        match &self.shown {
            Some(bar) => bar.abandon_with_message(text.to_owned()),
            None => eprintln!("{}: {text}", self.name),
        }
    }
}

/// ` (20%)`, where the total is known.
pub(crate) fn percent(at: u64, total: Option<u64>) -> String {
    match total {
        Some(total) if total > 0 => format!(" ({}%)", (at as f64 * 100.0 / total as f64).min(100.0) as u64),
        _ => String::new(),
    }
}
