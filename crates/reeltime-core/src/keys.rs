//! Object keys: where a recording's bytes lie in a store.
//!
//! Ids come from outside and may be anything: `..`, a slash, a NUL, a right-to-left mark. So no id becomes
//! a path as it is. [`safe_name`] maps every id to a name that is safe in a path, and no two different ids
//! to the same one; [`KeyTemplate`] builds keys from such names; [`ObjectKey`] cannot hold anything that
//! would leave the store's root.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::time::UtcMicros;

mod template;

pub use template::{KeyFields, KeyTemplate, TemplateError};

/// Ids whose escaped form is longer than this many bytes are cut, with a hash of the whole.
const MAX_NAME: usize = 120;
/// How much of a cut name stays readable, in bytes.
const KEPT: usize = 40;
/// A component of a key is at most this long: the limit of file names on the common file systems, in bytes.
const MAX_COMPONENT: usize = 255;
/// A key is at most this long: the limit of S3, in bytes.
const MAX_KEY: usize = 1024;

/// Maps any id to a name that is safe as one component of a path, and no two different ids to the same name.
///
/// - ASCII letters, digits, `.`, `_` and `-` stay as they are, but for a leading `.`.
/// - Every other byte of the UTF-8 becomes `~XX`, two upper-case hex digits; so does `~` itself.
/// - An empty id becomes `~_`.
/// - What would be longer than 120 bytes becomes its first 40, `~-` and the SHA-256 of the id in hex.
///
/// `~_` and `~-` occur in no other form, so the forms cannot meet.
///
/// ```
/// assert_eq!(reeltime_core::keys::safe_name("session-123"), "session-123");
/// assert_eq!(reeltime_core::keys::safe_name("../x"), "~2E.~2Fx");
/// ```
pub fn safe_name(id: &str) -> String {
    if id.is_empty() {
        return "~_".to_owned();
    }
    let escaped = escape(id);
    if escaped.len() <= MAX_NAME { escaped } else { shorten(&escaped, id) }
}

fn escape(id: &str) -> String {
    let mut name = String::with_capacity(id.len());
    for (at, byte) in id.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || (byte == b'.' && at > 0);
        if plain {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("~{byte:02X}"));
        }
    }
    name
}

/// The start of `name` and a hash that stands for all of `whole`; 106 bytes at most.
fn shorten(name: &str, whole: &str) -> String {
    let mut cut = KEPT.min(name.len());
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    let readable = name.get(..cut).unwrap_or_default();
    format!("{readable}~-{}", hex(&Sha256::digest(whole.as_bytes())))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key in a store: relative, of non-empty components parted by `/`, none of which begins with a dot
/// (so neither `.`, nor `..`, nor what a store keeps for itself), without control characters or backslashes,
/// at most 255 bytes a component and 1,024 in all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Checks that `key` can be a key.
    ///
    /// # Errors
    /// [`KeyError`] says which rule it breaks.
    pub fn new(key: impl Into<String>) -> Result<Self, KeyError> {
        let key = key.into();
        if key.is_empty() {
            return Err(KeyError::Empty);
        }
        if key.len() > MAX_KEY {
            return Err(KeyError::TooLong { bytes: key.len() });
        }
        key.split('/').try_for_each(check_component)?;
        Ok(Self(key))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components between the slashes; at least one, none empty.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The form of this key to try when `n - 1` others have taken it: `a/b.wav`, `a/b-2.wav`, `a/b-3.wav`, …
    ///
    /// # Errors
    /// [`KeyError`] where the suffix makes the key too long.
    pub fn unique(&self, n: u32) -> Result<Self, KeyError> {
        if n < 2 {
            return Ok(self.clone());
        }
        let name_at = self.0.rfind('/').map_or(0, |slash| slash + 1);
        let dot = self.0.rfind('.').filter(|dot| *dot > name_at).unwrap_or(self.0.len());
        let (stem, extension) = self.0.split_at(dot);
        Self::new(format!("{stem}-{n}{extension}"))
    }
}

fn check_component(component: &str) -> Result<(), KeyError> {
    if component.is_empty() {
        return Err(KeyError::EmptyComponent);
    }
    if component.starts_with('.') {
        return Err(KeyError::LeadingDot);
    }
    if component.len() > MAX_COMPONENT {
        return Err(KeyError::ComponentTooLong { bytes: component.len() });
    }
    match component.chars().find(|c| c.is_control() || *c == '\\') {
        Some(character) => Err(KeyError::Character { character }),
        None => Ok(()),
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = KeyError;
    fn try_from(key: String) -> Result<Self, KeyError> {
        Self::new(key)
    }
}

impl From<ObjectKey> for String {
    fn from(key: ObjectKey) -> Self {
        key.0
    }
}

/// Why a text cannot be an object key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No text at all.
    #[error("an object key is empty")]
    Empty,
    /// More than 1,024 bytes.
    #[error("an object key of {bytes} bytes is longer than 1024")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Two slashes in a row, or one at an end.
    #[error("an object key is relative and has no empty component: two slashes, or one at an end")]
    EmptyComponent,
    /// A component begins with a dot.
    #[error("a component of an object key begins with a dot")]
    LeadingDot,
    /// A component has more than 255 bytes.
    #[error("a component of an object key has {bytes} bytes, more than 255")]
    ComponentTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A control character or a backslash.
    #[error("an object key holds the character {character:?}")]
    Character {
        /// The character.
        character: char,
    },
}

/// The key of the recorder library: `{base_path}/{yyyy}/{mm}/{dd}/{call_id}.{format}`, the date in UTC.
///
/// Every component, those of `base_path` too, goes through [`safe_name`]; slashes around `base_path` do not
/// matter, and it may be empty.
///
/// # Errors
/// [`KeyError`] where `base_path` makes the key too long.
pub fn build_recording_key(
    base_path: &str,
    call_id: &str,
    format: &str,
    at: UtcMicros,
) -> Result<ObjectKey, KeyError> {
    let date = at.timestamp().strftime("%Y/%m/%d").to_string();
    let base = base_path.split('/').filter(|component| !component.is_empty()).map(safe_name);
    let file = format!("{}.{}", safe_name(call_id), safe_name(format));
    let components: Vec<String> = base.chain([date, file]).collect();
    ObjectKey::new(components.join("/"))
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn readable_ids_stay_as_they_are() {
        for id in ["session-123", "A_b.c-9", "0", "-", "a..", "x.wav"] {
            assert_eq!(safe_name(id), id);
        }
    }

    #[test]
    fn hostile_ids_become_one_harmless_component() {
        let cases = [
            ("", "~_"),
            (".", "~2E"),
            ("..", "~2E."),
            ("../../etc/passwd", "~2E.~2F..~2Fetc~2Fpasswd"),
            ("a\0b", "a~00b"),
            ("\u{202e}gnp.exe", "~E2~80~AEgnp.exe"),
            ("a~b", "a~7Eb"),
            ("~_", "~7E_"),
            ("~-", "~7E-"),
            ("a b", "a~20b"),
            ("a\\b", "a~5Cb"),
        ];
        for (id, name) in cases {
            assert_eq!(safe_name(id), name, "{id:?}");
        }
    }

    #[test]
    fn ids_that_only_look_alike_get_different_names() {
        let alike =
            ["a", "A", "\u{430}", "a\u{301}", "\u{e1}", "a~", "a~7E", "a ", " a", "", "~_", "a/", "a~2F"];
        let names: std::collections::BTreeSet<String> = alike.iter().map(|id| safe_name(id)).collect();
        assert_eq!(names.len(), alike.len());
    }

    #[test]
    fn a_long_id_is_cut_and_its_cut_form_belongs_to_it_alone() {
        let long = "x".repeat(121);
        let name = safe_name(&long);
        assert_eq!(name.len(), 40 + 2 + 64);
        assert_ne!(name, safe_name(&"x".repeat(122)));
        assert_ne!(name, safe_name(&name), "an id that is spelt like a cut name is another id");
        assert_eq!(safe_name(&"x".repeat(120)), "x".repeat(120));
    }

    #[test]
    fn the_key_of_the_recorder_library_matches_its_vector() {
        let date: jiff::Timestamp = "2025-01-02T00:00:00Z".parse().unwrap();
        let at = UtcMicros(date.as_microsecond());
        let key = build_recording_key("recordings/", "session-123", "wav", at).unwrap();
        assert_eq!(key.as_str(), "recordings/2025/01/02/session-123.wav");
        let bare = build_recording_key("", "../x", "wav", at).unwrap();
        assert_eq!(bare.as_str(), "2025/01/02/~2E.~2Fx.wav");
        let climbing = build_recording_key("/a/../b//", "c", "wav", at).unwrap();
        assert_eq!(climbing.as_str(), "a/~2E./b/2025/01/02/c.wav");
    }

    #[test]
    fn a_taken_key_gets_a_number_before_its_extension() {
        let key = |text: &str| ObjectKey::new(text).unwrap();
        assert_eq!(key("a.b/c.wav").unique(1).unwrap(), key("a.b/c.wav"));
        assert_eq!(key("a.b/c.wav").unique(2).unwrap(), key("a.b/c-2.wav"));
        assert_eq!(key("a.b/c").unique(3).unwrap(), key("a.b/c-3"));
        assert_eq!(key("c.tar.gz").unique(10).unwrap(), key("c.tar-10.gz"));
    }

    #[test]
    fn a_key_that_could_leave_the_root_is_refused() {
        let cases = [
            ("", KeyError::Empty),
            ("/a", KeyError::EmptyComponent),
            ("a//b", KeyError::EmptyComponent),
            ("a/", KeyError::EmptyComponent),
            ("a/../b", KeyError::LeadingDot),
            (".", KeyError::LeadingDot),
            (".tmp/x", KeyError::LeadingDot),
            ("a\0b", KeyError::Character { character: '\0' }),
            ("a\\b", KeyError::Character { character: '\\' }),
        ];
        for (key, error) in cases {
            assert_eq!(ObjectKey::new(key), Err(error), "{key:?}");
        }
        assert_eq!(ObjectKey::new("a".repeat(256)), Err(KeyError::ComponentTooLong { bytes: 256 }));
        assert_eq!(ObjectKey::new("a/".repeat(600)), Err(KeyError::TooLong { bytes: 1200 }));
        assert!(serde_json::from_str::<ObjectKey>("\"../x\"").is_err(), "nor by way of serde");
    }

    proptest! {
        #[test]
        fn different_ids_never_share_a_name(a in ".{0,60}", b in "[~_.a/-]{0,130}") {
            prop_assert_eq!(a == b, safe_name(&a) == safe_name(&b));
            let once = safe_name(&a);
            prop_assert_eq!(once == a, safe_name(&once) == safe_name(&a));
        }

        #[test]
        fn every_name_is_one_plain_component_of_a_path(id in any::<String>()) {
            let name = safe_name(&id);
            let path = Path::new("/root").join(&name);
            let components: Vec<_> = Path::new(&name).components().collect();
            prop_assert!(matches!(components.as_slice(), [Component::Normal(_)]));
            prop_assert_eq!(path.parent(), Some(Path::new("/root")));
            prop_assert!(name.len() <= MAX_NAME);
            prop_assert!(ObjectKey::new(name).is_ok());
        }

        #[test]
        fn any_accepted_key_stays_below_the_root(text in "[a./\\\\~ -]{0,12}") {
            if let Ok(key) = ObjectKey::new(text) {
                let below = Path::new(key.as_str()).components().all(|c| matches!(c, Component::Normal(_)));
                prop_assert!(below);
                prop_assert_eq!(Path::new(key.as_str()).components().count(), key.components().count());
            }
        }
    }
}
