//! What people may see of a value: in `reeltime config`, in errors, and so in logs.

use std::borrow::Cow;

/// What stands where something secret stood.
pub(super) const REDACTED: &str = "[redacted]";

/// A URL without who logs in and without its query, where tokens stand. What was only meant to be one may have a slash
/// in its password, or no scheme: so everything before the last `@` goes.
pub(crate) fn redacted(url: &str) -> Cow<'_, str> {
    let start = url.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = url.split_at(start);
    // A path alone has nobody who logs in.
    let user = if rest.starts_with('/') { None } else { rest.rfind('@') };
    let told = &rest[user.unwrap_or(0)..];
    let query = told.find(['?', '#']);
    if user.is_none() && query.is_none() {
        return url.into();
    }
    let login = user.map_or("", |_| REDACTED);
    match query {
        Some(at) => format!("{scheme}{login}{}{REDACTED}", &told[..=at]).into(),
        None => format!("{scheme}{login}{told}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sees_who_logs_in_nor_a_query() {
        for (url, shown) in [
            ("https://u:canary@host:1/path", "https://[redacted]@host:1/path"),
            ("https://canary@host", "https://[redacted]@host"),
            ("https://u:ca/na?ry#1@host/path", "https://[redacted]@host/path"),
            ("u:canary@host/db", "[redacted]@host/db"),
            ("http:/u:canary@host", "[redacted]@host"),
            ("postgres://host/db?sslmode=on&password=canary", "postgres://host/db?[redacted]"),
            ("https://u:canary@host?canary#canary", "https://[redacted]@host?[redacted]"),
            ("https://host/#canary", "https://host/#[redacted]"),
        ] {
            assert_eq!(redacted(url), shown, "{url}");
        }
    }

    #[test]
    fn what_has_no_secret_is_seen_as_it_is() {
        for url in ["", "off", "https://host:1/path", "s3://bucket/p", "file:///srv/@calls", "sqlite://a.db"]
        {
            assert_eq!(redacted(url), url);
        }
    }
}
