//! What the commands that talk to a running server share: its address, its HTTP, and progress on stderr.

pub(crate) mod http;
pub(crate) mod progress;
mod target;
pub(crate) mod tls;

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

pub(crate) use target::Target;

/// How to be let in, and whom to trust.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Key {
    /// The server's key, sent as `Authorization: Bearer`
    #[arg(long = "api-key", value_name = "KEY", env = "REELTIME_API_KEY", hide_env_values = true)]
    pub(crate) key: Option<SecretString>,
    /// Certificates in PEM of authorities to trust beside the system's, for https
    #[arg(long, value_name = "FILE", env = "REELTIME_CA")]
    pub(crate) ca: Option<PathBuf>,
}

/// A length of time as people read it: `1:02.5`, `1:00:00.0`.
pub(crate) fn clock(seconds: f64) -> String {
    // No recording lasts longer than an f64 counts tenths exactly; what is negative or no number is nothing.
    let tenths = (seconds.max(0.0) * 10.0).round() as u64;
    let (minutes, tenths) = (tenths / 600, tenths % 600);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let (seconds, tenth) = (tenths / 10, tenths % 10);
    match hours {
        0 => format!("{minutes}:{seconds:02}.{tenth}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}.{tenth}"),
    }
}

/// A number of bytes as people read it: `1.5 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64 / 1024.0;
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Text from outside for a terminal: no control character gets through, and it is at most `most` characters long.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    if text.chars().count() <= most {
        return text.chars().map(clean).collect();
    }
    text.chars().take(most.saturating_sub(1)).map(clean).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_rounded_as_a_whole() {
        assert_eq!(clock(0.0), "0:00.0");
        assert_eq!(clock(59.97), "1:00.0");
        assert_eq!(clock(3_725.25), "1:02:05.3");
        assert_eq!((clock(-1.0), clock(f64::NAN)), ("0:00.0".into(), "0:00.0".into()));
        assert_eq!((size(0), size(1023), size(1024)), ("0 B".into(), "1023 B".into(), "1.0 KiB".into()));
        assert_eq!((size((1 << 20) - 1), size(3 << 29)), ("1.0 MiB".into(), "1.5 GiB".into()));
    }

    #[test]
    fn a_name_from_outside_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\n", 20), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(printable("äöüäöü", 4), "äöü…");
        assert_eq!(printable("äöüä", 4), "äöüä");
    }
}
