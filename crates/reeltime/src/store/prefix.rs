//! The part of a store that is ours, where others keep things in it too.

use std::fmt;
use std::str::FromStr;

use reeltime_core::keys::{KeyError, ObjectKey};

/// What stands before every key in the store; may be empty. Read from text, where slashes around it do not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// `rest`, a key or the beginning of keys, as it stands in the store.
    pub fn join(&self, rest: &str) -> String {
        if self.0.is_empty() { rest.to_owned() } else { format!("{}/{rest}", self.0) }
    }

    /// The key of what stands in the store as `full`; `None` where that is none of ours.
    pub fn strip(&self, full: &str) -> Option<ObjectKey> {
        let rest = match self.0.as_str() {
            "" => full,
            prefix => full.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        ObjectKey::new(rest).ok()
    }
}

impl FromStr for Prefix {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text.trim_matches('/') {
            "" => Ok(Self::default()),
            text => ObjectKey::new(text).map(|key| Self(key.into())),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_below_the_prefix_and_come_back() {
        for (text, joined) in [("", "k/x.wav"), ("/a/b/", "a/b/k/x.wav")] {
            let prefix: Prefix = text.parse().unwrap();
            assert_eq!(prefix.join("k/x.wav"), joined);
            assert_eq!(prefix.strip(joined), Some(ObjectKey::new("k/x.wav").unwrap()));
        }
    }

    #[test]
    fn what_lies_beside_the_prefix_is_not_ours() {
        let prefix: Prefix = "a/b".parse().unwrap();
        for other in ["a/bc/x", "a/b", "a/b/", "a/b//x", "b/x", "a/b/.tmp"] {
            assert_eq!(prefix.strip(other), None, "{other}");
        }
        assert!("a//b".parse::<Prefix>().is_err() && "../a".parse::<Prefix>().is_err());
    }
}
