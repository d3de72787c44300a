//! `If-Match`: change an object only if it is still the one that the client read.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use crate::app::App;

/// The tag that an object must still have; `None` asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IfMatch(Option<String>);

/// Decides whether an object is still the one that was read.
pub type Guard<T> = Box<dyn Fn(&T) -> bool + Send + Sync>;

impl IfMatch {
    /// Asks that an object still has `tag`.
    #[cfg(test)]
    #[must_use]
    pub fn tag(tag: String) -> Self {
        Self(Some(tag))
    }

    /// Asks for nothing.
    #[cfg(test)]
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Asks for `tag` where the client did not ask for another.
    #[must_use]
    pub fn or_tag(&self, tag: String) -> Self {
        Self(Some(self.0.clone().unwrap_or(tag)))
    }

    /// Says whether the client asked for a certain tag.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Makes the question for the use case, by the function that computes an object's tag.
    #[must_use]
    pub fn guard<T: 'static>(self, tag: fn(&T) -> String) -> Option<Guard<T>> {
        let wanted = self.0?;
        Some(Box::new(move |object| tag(object) == wanted))
    }

    fn parse(header: &str) -> Self {
        let text = header.trim();
        let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
        Self((!text.is_empty() && text != "*").then(|| text.to_owned()))
    }
}

impl FromRequestParts<App> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        // A header that is no text matches nothing that we ever gave out.
        Ok(parts.headers.get(header::IF_MATCH).map_or(Self(None), |value| Self::parse(value.to_str().unwrap_or("-"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_stripped() {
        assert_eq!(IfMatch::parse("\"abc\""), IfMatch::tag("abc".into()));
        assert_eq!(IfMatch::parse("W/\"abc\""), IfMatch::tag("abc".into()));
        assert_eq!(IfMatch::parse("abc"), IfMatch::tag("abc".into()));
        assert_eq!(IfMatch::parse("*"), IfMatch(None));
        assert_eq!(IfMatch::parse(""), IfMatch(None));
    }

    #[test]
    fn only_the_tag_that_was_read_lets_through() {
        let guard = IfMatch::tag("3".into()).guard(|number: &u8| number.to_string()).unwrap();
        assert!(guard(&3) && !guard(&4));
        assert!(IfMatch(None).guard(|number: &u8| number.to_string()).is_none());
    }
}
