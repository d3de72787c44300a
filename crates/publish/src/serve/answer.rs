//! What a request is answered.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, RANGE,
};
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::body::FileBody;
use super::range::{Asked, asked};
use crate::tree::Tree;

/// Answers one request.
pub(super) async fn answer<B>(tree: &std::sync::Arc<Tree>, request: &Request<B>) -> Response<FileBody> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED);
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    let Some(path) = path(request.uri().path()) else { return plain(StatusCode::NOT_FOUND) };
    let (tree, named) = (tree.clone(), path.clone());
    let opened = tokio::task::spawn_blocking(move || open(&tree, &named)).await;
    let Ok(Some(found)) = opened else { return plain(StatusCode::NOT_FOUND) };
    let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let mut answer = if is_known(&found, header(IF_NONE_MATCH), header(IF_MODIFIED_SINCE)) {
        plain(StatusCode::NOT_MODIFIED)
    } else {
        part(&found, asked(header(RANGE), found.size), *request.method() == Method::HEAD)
    };
    let fields = [
        (ETAG, found.tag.as_str()),
        (LAST_MODIFIED, &found.modified),
        (ACCEPT_RANGES, "bytes"),
        (CONTENT_TYPE, if path.ends_with(".json") { "application/json" } else { "application/octet-stream" }),
    ];
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// A file that was found.
struct Found {
    file: File,
    size: u64,
    tag: String,
    modified: String,
    seconds: i64,
}

/// The path below the tree that an address means. One with a hidden part, or one that leads anywhere but down, is none.
fn path(address: &str) -> Option<String> {
    let decoded = decode(address.strip_prefix('/')?)?;
    let plain = decoded.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    (plain && !decoded.chars().any(char::is_control)).then_some(decoded)
}

/// Reads `%XX`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn open(tree: &Tree, path: &str) -> Option<Found> {
    let file = tree.root.open_file(path).ok()?;
    let metadata = file.metadata().ok()?;
    // A key that somebody keeps in the tree, for one.
    if metadata.mode() & 0o004 == 0 {
        return None;
    }
    let seconds = metadata.mtime();
    let modified = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::from_second(seconds).ok()?).ok()?;
    let tag = format!("\"{:x}-{:x}-{:x}\"", metadata.ino(), metadata.len(), metadata.mtime_nsec().wrapping_add(seconds << 30));
    Some(Found { size: metadata.len(), file, tag, modified, seconds })
}

/// Says whether the client has this file. A tag says more than a time. Source: RFC 9110, section 13.
fn is_known(found: &Found, tags: Option<&str>, since: Option<&str>) -> bool {
    match (tags, since) {
        (Some(tags), _) => tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == found.tag),
        (None, Some(since)) => jiff::fmt::rfc2822::parse(since).is_ok_and(|since| found.seconds <= since.timestamp().as_second()),
        (None, None) => false,
    }
}

fn part(found: &Found, asked: Asked, head: bool) -> Response<FileBody> {
    let size = found.size;
    let (status, range) = match asked {
        Asked::Whole => (StatusCode::OK, 0..size),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Beyond => {
            let mut answer = plain(StatusCode::RANGE_NOT_SATISFIABLE);
            insert(&mut answer, CONTENT_RANGE, &format!("bytes */{size}"));
            return answer;
        }
    };
    let length = range.end - range.start;
    let content = (status == StatusCode::PARTIAL_CONTENT).then(|| format!("bytes {}-{}/{size}", range.start, range.end - 1));
    let Ok(file) = found.file.try_clone() else { return plain(StatusCode::SERVICE_UNAVAILABLE) };
    let mut answer = Response::new(if head || length == 0 { FileBody::empty() } else { FileBody::of(file, range) });
    *answer.status_mut() = status;
    insert(&mut answer, CONTENT_LENGTH, &length.to_string());
    if let Some(content) = content {
        insert(&mut answer, CONTENT_RANGE, &content);
    }
    answer
}

fn insert(answer: &mut Response<FileBody>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

fn plain(status: StatusCode) -> Response<FileBody> {
    let mut answer = Response::new(FileBody::empty());
    *answer.status_mut() = status;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expect: Option<&str>) {
        assert_eq!(path(address).as_deref(), expect, "{address}");
    }

    #[test]
    fn addresses_mean_files_below_the_tree() {
        check("/streams/v1/index.json", Some("streams/v1/index.json"));
        check("/images/a%20b", Some("images/a b"));
        check("/images/a%2fb", Some("images/a/b"));
        for outside in [
            "",
            "/",
            "//",
            "/a//b",
            "/../etc/passwd",
            "/%2e%2e/etc/passwd",
            "/a/%2E%2e/b",
            "/.git/config",
            "/a%00",
            "/a%0a",
            "/a%f",
            "/a%zz",
        ] {
            check(outside, None);
        }
    }
}
