//! The settings of the transcribe recorder, from the environment or without it.

use std::ffi::OsString;
use std::path::PathBuf;

use reeltime_core::media::Container;

use super::error::TranscribeError;

/// What the transcribe recorder is told. The default records nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct TranscribeConfig {
    /// Whether it records at all.
    pub enabled: bool,
    /// The folder of the files; made where it is missing.
    pub directory: PathBuf,
    /// The recorded copy is multiplied by this, 1.0 to 4.0; what lies outside is brought to the nearer end.
    pub gain: f32,
    /// The files' format. While a session goes on, its file is a WAV.
    pub format: Container,
    /// Bits per second, for formats that lose something; the nearest that is possible is taken.
    pub bitrate: u32,
}

impl Default for TranscribeConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            directory: PathBuf::from("./recordings"),
            gain: 2.0,
            format: Container::Wav,
            bitrate: 128_000,
        }
    }
}

impl TranscribeConfig {
    /// Reads the environment; see [`from_vars`](Self::from_vars).
    ///
    /// # Errors
    /// [`TranscribeError`] names the variable and what it should hold.
    pub fn from_env() -> Result<Self, TranscribeError> {
        Self::from_vars(|name| std::env::var_os(name))
    }

    /// Reads the settings from whatever `var` looks up. An empty value counts as absent; while recording is off, the
    /// other variables do not matter.
    ///
    /// | variable | default | holds |
    /// |---|---|---|
    /// | `ENABLE_AUDIO_RECORDING`, `ENABLE_BACKEND_RECORDING` | `false` | one that is true is enough |
    /// | `BACKEND_RECORD_FORMAT` | `wav` | `wav`, `mp3`, `flac`, `ogg`, `webm` or `mp4` |
    /// | `BACKEND_RECORD_DIR` | `./recordings` | the folder of the files |
    /// | `BACKEND_RECORD_GAIN` | `2.0` | a factor, brought into 1.0 to 4.0 |
    /// | `BACKEND_RECORD_BITRATE` | `128k` | of formats that lose something |
    ///
    /// # Errors
    /// [`TranscribeError`] names the variable and what it should hold.
    pub fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, TranscribeError> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let audio = read(&var, "ENABLE_AUDIO_RECORDING", boolean, YES_OR_NO)?;
        let backend = read(&var, "ENABLE_BACKEND_RECORDING", boolean, YES_OR_NO)?;
        let defaults = Self::default();
        if audio != Some(true) && backend != Some(true) {
            return Ok(defaults);
        }
        let known = "is not a format; set it to wav, mp3, flac, ogg, webm or mp4";
        let format = read(&var, "BACKEND_RECORD_FORMAT", format, known)?;
        let bitrate = read(
            &var,
            "BACKEND_RECORD_BITRATE",
            bitrate,
            "is not a bit rate from 8k to 320k; write for example 128k",
        )?;
        let gain = read(&var, "BACKEND_RECORD_GAIN", factor, "is not a factor; write for example 2.0")?;
        Ok(Self {
            enabled: true,
            directory: var("BACKEND_RECORD_DIR").map_or(defaults.directory, PathBuf::from),
            gain: gain.unwrap_or(defaults.gain),
            format: format.unwrap_or(defaults.format),
            bitrate: bitrate.unwrap_or(defaults.bitrate),
        })
    }
}

const YES_OR_NO: &str = "is neither true nor false";

fn read<T>(
    var: &impl Fn(&str) -> Option<OsString>,
    name: &'static str,
    parse: fn(&str) -> Option<T>,
    expected: &'static str,
) -> Result<Option<T>, TranscribeError> {
    let Some(value) = var(name) else { return Ok(None) };
    let parsed = value.to_str().and_then(|text| parse(text.trim()));
    let wrong = || TranscribeError::Setting { name, value: value.to_string_lossy().into_owned(), expected };
    parsed.map(Some).ok_or_else(wrong)
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn format(text: &str) -> Option<Container> {
    text.parse().ok()
}

fn factor(text: &str) -> Option<f32> {
    text.parse().ok().filter(|gain: &f32| gain.is_finite()).map(clamp)
}

/// Into 1.0 to 4.0; what is no number becomes 1.0.
pub(super) const fn clamp(gain: f32) -> f32 {
    if gain.is_nan() { 1.0 } else { gain.clamp(1.0, 4.0) }
}

/// Bits per second, from `128k` or `128000`.
fn bitrate(text: &str) -> Option<u32> {
    let (number, unit) = match text.strip_suffix(['k', 'K']) {
        Some(thousands) => (thousands, 1_000),
        None => (text, 1),
    };
    let bits = number.parse::<u32>().ok()?.checked_mul(unit)?;
    (8_000..=320_000).contains(&bits).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(vars: &[(&str, &str)]) -> Result<TranscribeConfig, TranscribeError> {
        TranscribeConfig::from_vars(|name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn either_switch_turns_it_on_and_nothing_else_does() {
        assert_eq!(from(&[]).unwrap(), TranscribeConfig::default());
        for (audio, backend, on) in [
            ("true", "", true),
            ("", "1", true),
            ("false", "TRUE", true),
            ("off", "no", false),
            ("", "", false),
        ] {
            let vars = [("ENABLE_AUDIO_RECORDING", audio), ("ENABLE_BACKEND_RECORDING", backend)];
            assert_eq!(from(&vars).unwrap().enabled, on, "{vars:?}");
        }
    }

    #[test]
    fn while_it_is_off_the_other_settings_do_not_matter() {
        assert!(!from(&[("BACKEND_RECORD_FORMAT", "mp3"), ("BACKEND_RECORD_GAIN", "loud")]).unwrap().enabled);
    }

    #[test]
    fn every_setting_is_read() {
        let config = from(&[
            ("ENABLE_AUDIO_RECORDING", "true"),
            ("BACKEND_RECORD_FORMAT", "MP3"),
            ("BACKEND_RECORD_DIR", "/calls"),
            ("BACKEND_RECORD_GAIN", "1.5"),
            ("BACKEND_RECORD_BITRATE", "192k"),
        ]);
        let expected = TranscribeConfig {
            enabled: true,
            directory: "/calls".into(),
            gain: 1.5,
            format: Container::Mp3,
            bitrate: 192_000,
        };
        assert_eq!(config.unwrap(), expected);
    }

    #[test]
    fn a_gain_is_brought_into_its_range() {
        for (text, gain) in [("9", 4.0), ("0.2", 1.0), ("-3", 1.0), ("2.5", 2.5), ("", 2.0)] {
            let vars = [("ENABLE_AUDIO_RECORDING", "1"), ("BACKEND_RECORD_GAIN", text)];
            assert_eq!(from(&vars).unwrap().gain, gain, "{text:?}");
        }
        assert_eq!([clamp(f32::NAN), clamp(f32::INFINITY)], [1.0, 4.0]);
    }

    #[test]
    fn a_wrong_value_is_told_with_its_variable() {
        for (name, value) in [
            ("ENABLE_AUDIO_RECORDING", "maybe"),
            ("BACKEND_RECORD_FORMAT", "aiff"),
            ("BACKEND_RECORD_GAIN", "NaN"),
            ("BACKEND_RECORD_BITRATE", "fast"),
            ("BACKEND_RECORD_BITRATE", "9999999k"),
            ("BACKEND_RECORD_BITRATE", "4k"),
        ] {
            let error = from(&[(name, value), ("ENABLE_BACKEND_RECORDING", "true")]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}={value:?} is n")), "{error}");
        }
    }

    #[test]
    fn bit_rates_are_read_with_and_without_their_unit() {
        assert_eq!(
            ["128k", "128K", "64000", "320k"].map(bitrate),
            [128_000, 128_000, 64_000, 320_000].map(Some)
        );
    }
}
