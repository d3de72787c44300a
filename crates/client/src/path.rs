//! Paths of requests, with every variable part encoded.

use std::fmt::{self, Write};

/// Path and query of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiPath {
    path: String,
    query: String,
}

impl ApiPath {
    /// Starts from a path that is part of the API, such as `/1.0/instances`; it may already hold a query.
    pub fn new(fixed: &str) -> ApiPath {
        let (path, query) = fixed.split_once('?').unwrap_or((fixed, ""));
        ApiPath { path: path.to_owned(), query: query.to_owned() }
    }

    /// Appends one segment that a user or server chose.
    #[must_use]
    pub fn segment(mut self, name: &str) -> ApiPath {
        self.path.push('/');
        encode(name, &mut self.path);
        self
    }

    /// Appends a part that is part of the API, such as `state`.
    #[must_use]
    pub fn then(mut self, fixed: &str) -> ApiPath {
        self.path.push('/');
        self.path.push_str(fixed);
        self
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, key: &str, value: &str) -> ApiPath {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        encode(key, &mut self.query);
        self.query.push('=');
        encode(value, &mut self.query);
        self
    }

    /// Tells whether the query already names `key`.
    pub fn has_query(&self, key: &str) -> bool {
        self.query.split('&').any(|pair| pair.split('=').next() == Some(key))
    }
}

impl fmt::Display for ApiPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.query.is_empty() { Ok(()) } else { write!(f, "?{}", self.query) }
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub(crate) fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_parts_are_encoded() {
        let path =
            ApiPath::new("/1.0/images/aliases").segment("debian/12 x").then("state").query("filter", "a eq b").query("recursion", "1");
        assert_eq!(path.to_string(), "/1.0/images/aliases/debian%2F12%20x/state?filter=a%20eq%20b&recursion=1");
        assert!(path.has_query("recursion") && !path.has_query("project"));
    }

    #[test]
    fn a_query_may_be_there_already() {
        assert_eq!(ApiPath::new("/1.0/x?a=1").query("b", "2").to_string(), "/1.0/x?a=1&b=2");
    }
}
