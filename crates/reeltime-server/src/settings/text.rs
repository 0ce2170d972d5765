//! Values as people write them: `200ms`, `64MiB`, `false`. Each parser's error ends in an example.

use std::time::Duration;

use base64::Engine as _;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use reeltime::recorder::Rendition;
use reeltime::ship::When;
use reeltime_core::media::{Container, UnknownContainer};
use reqwest::Url;
use secrecy::SecretString;

/// A length of time: a number and `ms`, `s`, `m`, `h` or `d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "is not a length of time; write for example 200ms, 30s, 5m or 1h".to_owned();
    let (number, unit) = split_unit(text).ok_or_else(wrong)?;
    let millis = match unit {
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" | "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        "" if number == 0.0 => 0.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * millis / 1_000.0).map_err(|_| wrong())
}

/// A length of time that is not zero, for an interval.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than zero; write for example 200ms".to_owned()),
        long => Ok(long),
    }
}

/// A number of bytes: plain, or with `KiB`, `MiB`, `GiB`, `TiB` (or `KB` … for powers of ten).
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "is not a number of bytes; write for example 67108864, 64MiB or 10GB".to_owned();
    let (number, unit) = split_unit(text).ok_or_else(wrong)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    let total = number * factor as f64;
    // Above 2^53 a float no longer counts single bytes, and no disk is that large.
    if total < 9e15 { Ok(total as u64) } else { Err(wrong()) }
}

/// Whether what follows a scheme is a place alone. A user or a query would become part of a file's name, and be told
/// wherever that is.
pub(crate) fn is_path(rest: &str) -> bool {
    !rest.contains('?') && !rest.split('/').next().unwrap_or(rest).contains('@')
}

/// A header and its value.
pub(crate) type Header = (HeaderName, SecretString);

/// Where a collector takes spans, its address or that and a path; and what says who logs in, where the address does.
pub(crate) fn collector(text: &str) -> Result<(Uri, Option<Header>), String> {
    let wrong = || "is no address of a collector; write for example http://127.0.0.1:4318".to_owned();
    let mut url = Url::parse(text).map_err(|_| wrong())?;
    let login = login(&url);
    let bare = url.set_username("").is_ok() && url.set_password(None).is_ok();
    if !bare || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong());
    }
    let whole = url.as_str().trim_end_matches('/');
    let whole = if whole.ends_with("/v1/traces") { whole.to_owned() } else { format!("{whole}/v1/traces") };
    let uri = whole.parse::<Uri>().ok();
    let uri = uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
    Ok((uri.ok_or_else(wrong)?, login))
}

/// Who logs in at a URL, as a header (RFC 7617).
fn login(url: &Url) -> Option<Header> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text| percent_decode_str(text).collect::<Vec<u8>>();
    let login = [decoded(url.username()), decoded(url.password().unwrap_or(""))].join(&b':');
    let value = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(login));
    Some((AUTHORIZATION, value.into()))
}

/// Headers, as `name=value,name=value`; values may be percent-encoded.
pub(crate) fn headers(text: &str) -> Result<Vec<Header>, String> {
    let wrong = || "is no list of headers; write for example authorization=Bearer%20TOKEN".to_owned();
    let one = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        HeaderValue::from_str(&value).ok()?;
        Some((name.trim().parse().ok()?, SecretString::from(value.into_owned())))
    };
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs.map(|pair| one(pair).ok_or_else(wrong)).collect()
}

/// Yes or no.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

/// A whole number of at least 1.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("is not a whole number of at least 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

/// A factor within 1.0 to 4.0; what lies outside is brought to the nearer end.
pub(crate) fn gain(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(number) if number.is_finite() => Ok(number.clamp(1.0, 4.0)),
        Ok(_) | Err(_) => Err("is not a factor; write for example 2.0".to_owned()),
    }
}

/// A file's format.
pub(crate) fn format(text: &str) -> Result<Container, String> {
    text.parse().map_err(|error: UnknownContainer| format!("names what cannot be made: {error}"))
}

/// Bits per second, as `128k` or `128000`.
pub(crate) fn bitrate(text: &str) -> Result<u32, String> {
    let (digits, times) = text.strip_suffix(['k', 'K']).map_or((text, 1), |digits| (digits, 1_000));
    let bits = digits.parse::<u32>().ok().and_then(|bits| bits.checked_mul(times));
    let possible = bits.filter(|bits| (8_000..=320_000).contains(bits));
    possible.ok_or_else(|| "is not a bit rate from 8k to 320k; write for example 128k".to_owned())
}

/// What is kept: formats with their layouts, or `none`.
pub(crate) fn renditions(text: &str) -> Result<Vec<Rendition>, String> {
    let named = text.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "none");
    let one = |name: &str| {
        let (format, layout) = name.split_once(':').unwrap_or((name, "mono"));
        let format = format.parse().map_err(|error| format!("names what cannot be made: {error}"))?;
        let layout = layout.parse().map_err(|error| format!("names a layout that there is not: {error}"))?;
        Ok(Rendition { format, layout })
    };
    named.map(one).collect()
}

/// How long after a recording's end its peaks are made; `None` where that is left to who asks for them.
pub(crate) fn peaks(text: &str) -> Result<Option<Duration>, String> {
    match text.split_once(':').unwrap_or((text, "30s")) {
        ("request", _) if text == "request" => Ok(None),
        ("after", time) => duration(time).map(Some),
        _ => Err("is neither request nor after; write for example after, or after:5m".to_owned()),
    }
}

/// A host and a port.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then_some(port));
    match port.map(str::parse::<u16>) {
        Some(Ok(_)) => Ok(text.to_owned()),
        Some(Err(_)) | None => {
            Err("is not an address; write host:port, for example 127.0.0.1:7400".to_owned())
        }
    }
}

fn split_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

/// When to ship.
pub(super) fn when(text: &str) -> Result<When, String> {
    match text {
        "auto" => Ok(When::Auto),
        "always" => Ok(When::Always),
        "never" => Ok(When::Never),
        _ => Err("is none of auto, always and never".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_collector_is_an_address_and_its_headers_may_be_encoded() {
        let to = |text| collector(text).map(|(url, _)| url.to_string());
        assert_eq!(to("http://127.0.0.1:4318").as_deref(), Ok("http://127.0.0.1:4318/v1/traces"));
        assert_eq!(to("https://otlp.example/base/").as_deref(), Ok("https://otlp.example/base/v1/traces"));
        assert_eq!(to("http://a/v1/traces").as_deref(), Ok("http://a/v1/traces"));
        assert!(to("127.0.0.1:4318").is_err() && to("grpc://a:4317").is_err() && to("").is_err());
        let (url, login) = collector("http://us%40er:pass@host:1").unwrap();
        assert_eq!(url.to_string(), "http://host:1/v1/traces");
        // "us@er:pass"
        assert_eq!(login.unwrap().1.expose_secret(), "Basic dXNAZXI6cGFzcw==");
        assert!(collector("http://host?token=t").is_err() && collector("http://a").unwrap().1.is_none());
        let told = headers("authorization=Bearer%20a+b, x-team = voice,").unwrap();
        let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        assert_eq!(told, [("authorization", "Bearer a+b"), ("x-team", "voice")]);
        assert!(headers("token").is_err() && headers("a b=c").is_err() && headers("a=b%0Ac").is_err());
    }

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(duration("1.5 s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in ["", "ten", "5", "-1s", "1 fortnight", "1e300s", "99999999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong:?} was read");
        }
    }

    #[test]
    fn an_interval_of_zero_is_refused() {
        assert!(interval("0s").is_err());
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
    }

    #[test]
    fn bytes_are_read_in_both_systems() {
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("10 GB"), Ok(10_000_000_000));
        assert_eq!(bytes("123"), Ok(123));
        for wrong in ["", "MiB", "1 XB", "-1", "99999999999TiB"] {
            assert!(bytes(wrong).is_err(), "{wrong:?} was read");
        }
    }

    #[test]
    fn a_gain_is_brought_into_its_range() {
        assert_eq!(gain("9"), Ok(4.0));
        assert_eq!(gain("0.1"), Ok(1.0));
        assert_eq!(gain("2.5"), Ok(2.5));
        assert!(gain("NaN").is_err() && gain("loud").is_err());
    }

    #[test]
    fn what_is_kept_is_named_by_format_and_layout() {
        let kept = renditions("wav, MP3:stereo,").unwrap();
        let names: Vec<_> = kept.iter().map(|kept| (kept.format.name(), kept.layout.name())).collect();
        assert_eq!(names, [("wav", "mono"), ("mp3", "stereo")]);
        assert_eq!(renditions("none"), Ok(vec![]));
        assert!(renditions("aiff").is_err() && renditions("wav:round").is_err());
    }

    #[test]
    fn an_address_needs_a_host_and_a_port() {
        assert!(
            address("127.0.0.1:0").is_ok() && address("[::1]:80").is_ok() && address("localhost:80").is_ok()
        );
        for wrong in ["7400", ":7400", "localhost", "localhost:http", "1.2.3.4:70000"] {
            assert!(address(wrong).is_err(), "{wrong:?} was read");
        }
    }
}
