//! What clients send as JSON, and what does not fit there, in words for the person who wrote the client.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Error;

use super::failure::Failure;

/// What a body says.
///
/// # Errors
/// With the field that does not fit, and what it must be.
pub(super) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| unfit(&error))?;
    json.end().map_err(|error| no_json(&error))?;
    Ok(read)
}

/// As [`from_json`], of what is JSON already.
pub(super) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_path_to_error::deserialize(value).map_err(|error| unfit(&error))
}

fn no_json(error: &serde_json::Error) -> Failure {
    Failure::invalid(format!("The body is no JSON: {error}"))
}

fn unfit(error: &Error<serde_json::Error>) -> Failure {
    let (path, inner) = (error.path().to_string(), error.inner());
    if !inner.is_data() {
        return no_json(inner);
    }
    let text = inner.to_string();
    // The path says better than a line and a column where it is.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    Failure::invalid(told(if path == "." { "" } else { &path }, text))
}

/// A sentence about the field at `path`, or about the whole where that is empty.
fn told(path: &str, text: &str) -> String {
    let missing = text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    if let Some(name) = missing {
        let dot = if path.is_empty() { "" } else { "." };
        return format!("{path}{dot}{name} is missing");
    }
    let field = if path.is_empty() { "The body" } else { path };
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("{field} must be {}", plain(expected)),
        None => format!("{field}: {text}"),
    }
}

/// What is expected, without the names that programs have for it.
fn plain(expected: &str) -> &str {
    match expected {
        "u32" => "a whole number from 0 to 4,294,967,295",
        "u64" => "a whole number, 0 or more",
        "f64" => "a number",
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "an object",
        _ if expected.starts_with("struct ") => "an object",
        _ => expected,
    }
}
