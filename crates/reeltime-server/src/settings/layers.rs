//! Where each value comes from: flag, else environment, else file, else default.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::redact::{REDACTED, redacted};
use super::table::{SETTINGS, Setting};
use super::text;
use crate::exit::Usage;

/// The file that is read where it exists and no other is named.
const DEFAULT_FILE: &str = "reeltime.toml";

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// On the command line.
    Flag(String),
    /// In this environment variable.
    Environment(String),
    /// In this file, on this line (from 1).
    File(PathBuf, usize),
    /// Nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path, line) => write!(f, "{} line {line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What the three layers say, before any of it is understood.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    /// Flags by setting name.
    pub(crate) flags: BTreeMap<&'static str, String>,
    /// The environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// The file's path as given by flag or variable.
    pub(crate) file: Option<PathBuf>,
}

/// A setting with its text and origin.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) setting: &'static Setting,
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

impl Found {
    /// Reads the text; an error names the place and says what to do.
    pub(crate) fn read<T>(&self, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Usage> {
        parse(&self.text).map_err(|why| self.refuse(&why))
    }

    /// An error about this value; a secret is not repeated.
    pub(crate) fn refuse(&self, why: &str) -> Usage {
        Usage(format!("{}: {} = \"{}\" {why}", self.origin, self.setting.name, self.shown()))
    }

    /// The text, as far as people may see it.
    pub(crate) fn shown(&self) -> Cow<'_, str> {
        match self.setting {
            setting if setting.secret && !self.text.is_empty() => REDACTED.into(),
            setting if setting.takes_url() => redacted(&self.text),
            _ => self.text.as_str().into(),
        }
    }
}

impl Layers {
    /// One row for each setting, in the table's order.
    pub(crate) fn resolve(&self) -> Result<Vec<Found>, Usage> {
        let mut file = self.read_file()?;
        Ok(SETTINGS.iter().map(|setting| self.find(setting, &mut file)).collect())
    }

    fn find(&self, setting: &'static Setting, file: &mut File) -> Found {
        let found = |text: String, origin| Found { setting, text, origin };
        if let Some(text) = self.flags.get(setting.name) {
            return found(text.clone(), Origin::Flag(setting.flag()));
        }
        if let Some((name, text)) = self.variable(&setting.variable()) {
            return found(text, Origin::Environment(name));
        }
        if let Some((text, origin)) = file.remove(setting.name) {
            return found(text, origin);
        }
        if let Some((name, text)) = self.shared_variable(setting) {
            return found(text, Origin::Environment(name));
        }
        found(setting.default.to_owned(), Origin::Default)
    }

    /// An empty variable counts as unset, as it does in a shell's `${NAME:-default}`.
    fn variable(&self, name: &str) -> Option<(String, String)> {
        let text = self.environment.get(name).filter(|text| !text.is_empty())?;
        Some((name.to_owned(), text.clone()))
    }

    /// Of several variables the first speaks, unless a later one says `false`: off means off.
    fn shared_variable(&self, setting: &Setting) -> Option<(String, String)> {
        let off = |text: &str| text::boolean(text) == Ok(false);
        let set = setting.also.iter().filter_map(|name| self.variable(name));
        set.reduce(|first, next| if off(&next.1) { next } else { first })
    }

    fn read_file(&self) -> Result<File, Usage> {
        let path = match &self.file {
            Some(path) => path.clone(),
            None if Path::new(DEFAULT_FILE).exists() => DEFAULT_FILE.into(),
            None => return Ok(File::default()),
        };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Usage(format!("cannot read the config file {}: {error}; check --config", path.display()))
        })?;
        parse_file(&path, &text)
    }
}

type File = BTreeMap<String, (String, Origin)>;

fn parse_file(path: &Path, text: &str) -> Result<File, Usage> {
    let at = |start: usize| line_of(text, start);
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| at(span.start));
        let why = error.message().trim();
        Usage(format!("{} line {line} is not TOML: {why}; correct it or take it out", path.display()))
    })?;
    let mut values = File::new();
    for (key, value) in table.get_ref() {
        let line = at(key.span().start);
        let refuse = |why: &str| Usage(format!("{} line {line}: {why}", path.display()));
        check_key(key.get_ref()).map_err(|why| refuse(&why))?;
        let text = scalar(value.get_ref())
            .ok_or_else(|| refuse(&format!("`{}` takes one value, as in {0} = \"…\"", key.get_ref())))?;
        values.insert(key.get_ref().to_string(), (text, Origin::File(path.to_owned(), line)));
    }
    Ok(values)
}

fn check_key(key: &str) -> Result<(), String> {
    if SETTINGS.iter().any(|setting| setting.name == key) {
        return Ok(());
    }
    let near = SETTINGS.iter().map(|s| (distance(s.name, key), s.name)).min();
    let hint =
        near.filter(|(far, _)| *far <= 3).map(|(_, name)| format!("did you mean `{name}`? Otherwise "));
    Err(format!(
        "`{}` is not a setting; {}take the line out (`reeltime config` lists all settings)",
        key.escape_debug(),
        hint.unwrap_or_default()
    ))
}

/// The text of one value; an array of strings is joined with commas, as a flag would have it.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    if let Some(array) = value.as_array() {
        let texts: Option<Vec<_>> = array.iter().map(|item| item.get_ref().as_str()).collect();
        return Some(texts?.join(","));
    }
    let number = value.as_integer().map(|n| n.as_str()).or(value.as_float().map(|n| n.as_str()));
    let text = value.as_str().or(number).map(str::to_owned);
    text.or(value.as_bool().map(|yes| yes.to_string()))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Levenshtein's distance, to guess which setting a misspelt key meant.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let cost = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, cost);
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(flags: &[(&'static str, &str)], environment: &[(&str, &str)]) -> Layers {
        Layers {
            flags: flags.iter().map(|(k, v)| (*k, (*v).to_owned())).collect(),
            environment: environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            file: None,
        }
    }

    fn find(layers: &Layers, name: &str, file: &str) -> (String, Origin) {
        let mut file = parse_file(Path::new("f.toml"), file).unwrap();
        let setting = SETTINGS.iter().find(|s| s.name == name).unwrap();
        let found = layers.find(setting, &mut file);
        (found.text, found.origin)
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
        let file = "# first\nlisten = \"file:1\"\n";
        let both = layers(&[("listen", "flag:1")], &[("REELTIME_LISTEN", "env:1")]);
        assert_eq!(find(&both, "listen", file), ("flag:1".into(), Origin::Flag("listen".into())));
        let environment = layers(&[], &[("REELTIME_LISTEN", "env:1")]);
        let expected = ("env:1".into(), Origin::Environment("REELTIME_LISTEN".into()));
        assert_eq!(find(&environment, "listen", file), expected);
        let none = layers(&[], &[("REELTIME_LISTEN", "")]);
        assert_eq!(find(&none, "listen", file), ("file:1".into(), Origin::File("f.toml".into(), 2)));
        assert_eq!(find(&none, "listen", ""), ("127.0.0.1:7400".into(), Origin::Default));
    }

    #[test]
    fn another_programs_variable_loses_to_ours_and_to_the_file() {
        let theirs = layers(&[], &[("BACKEND_RECORD_GAIN", "3")]);
        assert_eq!(find(&theirs, "transcribe_gain", "").0, "3");
        assert_eq!(find(&theirs, "transcribe_gain", "transcribe_gain = 1.5").0, "1.5");
        let both = layers(&[], &[("BACKEND_RECORD_GAIN", "3"), ("REELTIME_TRANSCRIBE_GAIN", "1")]);
        assert_eq!(find(&both, "transcribe_gain", "").0, "1");
    }

    #[test]
    fn either_of_two_switches_turns_it_off() {
        for (a, b, expected) in [("true", "false", "false"), ("false", "true", "false"), ("true", "", "true")]
        {
            let set = layers(&[], &[("ENABLE_AUDIO_RECORDING", a), ("ENABLE_BACKEND_RECORDING", b)]);
            assert_eq!(find(&set, "transcribe_record", "").0, expected, "{a} {b}");
        }
    }

    #[test]
    fn a_bad_file_is_named_with_line_key_and_what_to_do() {
        let error = |text| parse_file(Path::new("f.toml"), text).unwrap_err().0;
        let unknown = error("listen = \"a:1\"\nlisen = 3");
        assert!(
            unknown.starts_with("f.toml line 2: `lisen` is not a setting; did you mean `listen`?"),
            "{unknown}"
        );
        let corrupt = error("listen = \"a:1\"\n\ndata_dir = = 3");
        assert!(corrupt.starts_with("f.toml line 3 is not TOML: "), "{corrupt}");
        let table = error("[listen]\nport = 3");
        assert!(table.contains("`listen` takes one value"), "{table}");
    }

    #[test]
    fn numbers_booleans_and_lists_become_the_text_of_a_flag() {
        let nothing = Layers::default();
        assert_eq!(find(&nothing, "api_keys", "api_keys = [\"a\", \"b\"]").0, "a,b");
        assert_eq!(find(&nothing, "max_connections", "max_connections = 5").0, "5");
        assert_eq!(find(&nothing, "transcribe_record", "transcribe_record = false").0, "false");
    }

    #[test]
    fn the_distance_of_words_is_levenshteins() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
