//! The settings of segments, with the limits of the programs whose names they share.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use reeltime::segments::send::{ApiTarget, SegmentsConfig, Target};
use reeltime_core::cuts::Rules;
use reeltime_core::media::Container;
use secrecy::SecretString;

use super::{Rows, text};
use crate::exit::Usage;

impl Rows {
    /// What segments are cut by; nothing where they are off. What is not heeded must make sense all the same.
    pub(super) fn segments(&self) -> Result<Option<SegmentsConfig>, Usage> {
        let key = self.text("segments_api_key").map(SecretString::from);
        let target = self.read("segments", |text| target(text, key.clone()))?;
        let read = SegmentsConfig {
            rules: Rules {
                rms: self.read("segments_rms", |text| number(text, 1..=i16::MAX.unsigned_abs()))?,
                tail: 20
                    * self.read("segments_tail", |text| number(text, 0..=500).map(Duration::from_millis))?,
                silence: self.read("segments_silence", |text| millis(text, 500..=10_000))?,
                shortest: self.read("segments_shortest", |text| millis(text, 100..=5_000))?,
            },
            max_bytes: self.read("segments_max_size", |text| number(text, 1..=50))? * 1_000_000,
            parallel: self.read("segments_parallel", |text| number(text, 1..=50))?,
            format: self.read("segments_format", format)?,
            max_duration: self.read("segments_max_duration", minutes)?,
            keep_local: self.read("segments_keep_local", text::boolean)?,
            max_recordings: self.read("segments_max_recordings", |text| number(text, 1..=1_000))?,
            ..SegmentsConfig::new(Target::Store)
        };
        Ok(target.map(|target| SegmentsConfig { target, ..read }))
    }
}

fn target(text: &str, key: Option<SecretString>) -> Result<Option<Target>, String> {
    match text {
        "off" | "false" => Ok(None),
        "store" => Ok(Some(Target::Store)),
        url => match ApiTarget::new(url, key) {
            Ok(api) => Ok(Some(Target::Api(api))),
            Err(error) => Err(format!("{error}; or use off or store")),
        },
    }
}

/// A whole number within a range.
fn number<N>(text: &str, range: RangeInclusive<N>) -> Result<N, String>
where
    N: std::str::FromStr + PartialOrd + Display,
{
    let found = text.parse().ok().filter(|number| range.contains(number));
    found.ok_or_else(|| format!("is not a whole number from {} to {}", range.start(), range.end()))
}

/// A time; a number alone counts milliseconds.
fn millis(text: &str, range: RangeInclusive<u64>) -> Result<Duration, String> {
    time(text, "ms", range.start(), range.end(), Duration::from_millis)
}

/// A time; a number alone counts minutes.
fn minutes(text: &str) -> Result<Duration, String> {
    time(text, "m", &1, &300, |minutes| Duration::from_secs(60 * minutes))
}

fn time(
    text: &str,
    unit: &str,
    least: &u64,
    most: &u64,
    of: impl Fn(u64) -> Duration,
) -> Result<Duration, String> {
    let found = match text.parse::<u64>() {
        Ok(number) => text::duration(&format!("{number}{unit}")),
        Err(_) => text::duration(text),
    };
    let possible = found.ok().filter(|time| (of(*least)..=of(*most)).contains(time));
    possible.ok_or_else(|| format!("is not a time from {least}{unit} to {most}{unit}"))
}

fn format(text: &str) -> Result<Container, String> {
    match text.parse() {
        Ok(format @ (Container::Wav | Container::Flac | Container::Ogg)) => Ok(format),
        Ok(_) | Err(_) => Err("is no format of segments; use wav, flac or opus".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Layers, Settings};
    use super::*;

    fn with(environment: &[(&str, &str)]) -> Result<Option<SegmentsConfig>, Usage> {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::load(&Layers { environment, ..Layers::default() })
            .map(|settings| settings.recording.segments)
    }

    #[test]
    fn they_are_off_unless_somebody_says_where_they_go() {
        assert!(with(&[("RECORDING_SILENCE_THRESHOLD", "2000")]).unwrap().is_none());
        let config = with(&[("REELTIME_SEGMENTS", "store")]).unwrap().unwrap();
        let defaults = SegmentsConfig::new(Target::Store);
        assert_eq!(format!("{config:?}"), format!("{defaults:?}"));
    }

    #[test]
    fn the_names_that_others_use_are_read_with_their_units() {
        let config = with(&[
            ("REELTIME_SEGMENTS", "https://rec.example"),
            ("REELTIME_SEGMENTS_API_KEY", "canary-77"),
            ("RECORDING_SILENCE_THRESHOLD", "2000"),
            ("RECORDING_MIN_SEGMENT_DURATION", "100"),
            ("RECORDING_MAX_SEGMENT_SIZE_MB", "50"),
            ("RECORDING_SEGMENT_PARALLEL_LIMIT", "3"),
            ("RECORDING_VAD_RMS_THRESHOLD", "900"),
            ("RECORDING_VAD_SILENCE_CHUNKS", "10"),
            ("RECORDING_OUTPUT_FORMAT", "WAV"),
            ("RECORDING_MAX_DURATION_MINUTES", "300"),
            ("RECORDING_KEEP_LOCAL_AFTER_UPLOAD", "false"),
            ("MAX_CONCURRENT_RECORDINGS", "2"),
        ])
        .unwrap()
        .unwrap();
        let rules = Rules {
            rms: 900,
            tail: Duration::from_millis(200),
            silence: Duration::from_secs(2),
            shortest: Duration::from_millis(100),
        };
        assert_eq!((config.rules, config.max_bytes, config.parallel), (rules, 50_000_000, 3));
        assert_eq!((config.format, config.max_duration), (Container::Wav, Duration::from_secs(18_000)));
        assert_eq!((config.keep_local, config.max_recordings), (false, 2));
        assert_eq!(config.target.to_string(), "https://rec.example/");
        assert!(!format!("{config:?}").contains("canary-77"));
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_what_is_allowed() {
        for (name, value, allowed) in [
            ("RECORDING_SILENCE_THRESHOLD", "499", "from 500ms to 10000ms"),
            ("RECORDING_SILENCE_THRESHOLD", "11s", "from 500ms to 10000ms"),
            ("RECORDING_MIN_SEGMENT_DURATION", "99", "from 100ms to 5000ms"),
            ("RECORDING_MAX_SEGMENT_SIZE_MB", "51", "from 1 to 50"),
            ("RECORDING_VAD_RMS_THRESHOLD", "-1", "from 1 to 32767"),
            ("RECORDING_OUTPUT_FORMAT", "mp3", "wav, flac or opus"),
            ("RECORDING_MAX_DURATION_MINUTES", "301", "from 1m to 300m"),
            ("REELTIME_SEGMENTS", "http://rec.example", "not https"),
            ("REELTIME_SEGMENTS", "somewhere", "off or store"),
        ] {
            let error = with(&[(name, value)]).unwrap_err().0;
            assert!(
                error.starts_with(&format!("environment {name}: ")) && error.contains(allowed),
                "{error}"
            );
        }
    }
}
