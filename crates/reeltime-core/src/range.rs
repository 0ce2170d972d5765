//! The `Range` header of HTTP (RFC 9110 §14): which bytes of a file are asked for.
//!
//! A range that is malformed, of another unit, or one of several is ignored, as §14.2 allows: the answer is
//! then the whole file. The length is an argument, so the same code serves a recording that still grows:
//! there it is the length known at this moment.

use std::ops::Range;

/// What is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// 200 with everything.
    Whole,
    /// 206 with these bytes: never empty, never beyond the length.
    Bytes(Range<u64>),
    /// 416 with `Content-Range: bytes */length` (§15.5.17).
    Unsatisfiable {
        /// The length there is, in bytes.
        length: u64,
    },
}

/// One range as it was asked for, before the length is known (§14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// `first-last`, both included.
    Between(u64, u64),
    /// `first-`.
    From(u64),
    /// `-count`: the last bytes.
    Last(u64),
}

/// Resolves a `Range` header, if there is one, against `length` in bytes. Without a length nothing can be
/// cut, and the range is ignored.
pub fn resolve(header: Option<&[u8]>, length: Option<u64>) -> Resolved {
    match (header.and_then(parse), length) {
        (Some(asked), Some(length)) => asked.against(length),
        (None, _) | (_, None) => Resolved::Whole,
    }
}

/// The value of `Content-Range` for a 206 (§14.4); `total` is `None` while the file still grows.
pub fn content_range(range: &Range<u64>, total: Option<u64>) -> String {
    let last = range.end.saturating_sub(1);
    match total {
        Some(total) => format!("bytes {}-{last}/{total}", range.start),
        None => format!("bytes {}-{last}/*", range.start),
    }
}

impl Asked {
    fn against(self, length: u64) -> Resolved {
        let range = match self {
            Self::Between(first, last) => first..last.saturating_add(1).min(length),
            Self::From(first) => first..length,
            // Any suffix of nothing is all of it (§14.1.2), and a 206 cannot say so.
            Self::Last(count) if count > 0 && length == 0 => return Resolved::Whole,
            Self::Last(count) => length.saturating_sub(count)..length,
        };
        if range.start < range.end { Resolved::Bytes(range) } else { Resolved::Unsatisfiable { length } }
    }
}

/// The one range in `header`; `None` where it is malformed, of another unit, or one of several.
fn parse(header: &[u8]) -> Option<Asked> {
    let (unit, set) = std::str::from_utf8(header).ok()?.split_once('=')?;
    if !unit.trim_matches(BLANK).eq_ignore_ascii_case("bytes") {
        return None;
    }
    // Empty elements of a list do not count (§5.6.1.2).
    let mut specs = set.split(',').map(|spec| spec.trim_matches(BLANK)).filter(|spec| !spec.is_empty());
    let only = specs.next()?;
    if specs.next().is_some() { None } else { parse_spec(only) }
}

/// Optional white space in a header (§5.6.3).
const BLANK: [char; 2] = [' ', '\t'];

fn parse_spec(spec: &str) -> Option<Asked> {
    let (first, last) = spec.split_once('-')?;
    match (first, last) {
        ("", count) => number(count).map(Asked::Last),
        (first, "") => number(first).map(Asked::From),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Asked::Between(first, last))
        }
    }
}

/// Digits alone. What is more than 64 bits hold is beyond any file, so the largest number stands for it.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_1000(header: &str) -> Resolved {
        resolve(Some(header.as_bytes()), Some(1000))
    }

    #[test]
    fn single_ranges_are_cut_to_the_length() {
        let cases = [
            ("bytes=0-499", 0..500),
            ("bytes=500-999", 500..1000),
            ("bytes=0-0", 0..1),
            ("bytes=-500", 500..1000),
            ("bytes=-5000", 0..1000),
            ("bytes=999-", 999..1000),
            ("bytes=0-", 0..1000),
            ("bytes=900-99999999999999999999999", 900..1000),
            ("bytes=-99999999999999999999999", 0..1000),
            ("BYTES=1-2", 1..3),
            ("bytes= 1-2 ,", 1..3),
            ("bytes=,,1-2", 1..3),
        ];
        for (header, range) in cases {
            assert_eq!(of_1000(header), Resolved::Bytes(range), "{header}");
        }
    }

    #[test]
    fn what_lies_beyond_the_end_is_unsatisfiable() {
        for header in ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(of_1000(header), Resolved::Unsatisfiable { length: 1000 }, "{header}");
        }
        assert_eq!(resolve(Some(b"bytes=0-"), Some(0)), Resolved::Unsatisfiable { length: 0 });
        assert_eq!(resolve(Some(b"bytes=-5"), Some(0)), Resolved::Whole);
    }

    #[test]
    fn malformed_foreign_and_multiple_ranges_are_ignored() {
        let ignored = [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-1",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=1 - 2",
            "items=0-1",
            "bytes=0-1,5-6",
            "bytes=0-1,x",
            "bytes=0x1-2",
            "bytes=--1",
            "bytes=\u{661}-\u{662}",
        ];
        for header in ignored {
            assert_eq!(of_1000(header), Resolved::Whole, "{header:?}");
        }
        assert_eq!(resolve(Some(b"bytes=\xff-1"), Some(1000)), Resolved::Whole);
        assert_eq!(resolve(None, Some(1000)), Resolved::Whole);
        assert_eq!(resolve(Some(b"bytes=0-1"), None), Resolved::Whole);
    }

    #[test]
    fn content_range_counts_its_last_byte() {
        assert_eq!(content_range(&(0..500), Some(1000)), "bytes 0-499/1000");
        assert_eq!(content_range(&(7..8), None), "bytes 7-7/*");
    }

    proptest! {
        #[test]
        fn any_answer_lies_within_the_length(
            header in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "bytes=[0-9, -]{0,30}".prop_map(String::into_bytes),
            ],
            length: u64,
        ) {
            match resolve(Some(&header), Some(length)) {
                Resolved::Bytes(range) => prop_assert!(range.start < range.end && range.end <= length),
                Resolved::Unsatisfiable { length: told } => prop_assert_eq!(told, length),
                Resolved::Whole => {}
            }
        }

        #[test]
        fn a_range_within_the_file_is_answered_exactly(first in 0u64..1000, more in 0u64..2000) {
            let header = format!("bytes={first}-{}", first + more);
            prop_assert_eq!(of_1000(&header), Resolved::Bytes(first..(first + more + 1).min(1000)));
        }
    }
}
