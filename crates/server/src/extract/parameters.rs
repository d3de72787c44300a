//! The query's parameters.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use coffer_model::filter::Filter;

use crate::app::App;
use crate::refusal::Refusal;

/// The query's parameters. The last of several with one name counts.
#[derive(Debug, Clone, Default)]
pub struct Parameters(Vec<(String, String)>);

/// How much of each object a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recursion {
    /// Its URL.
    Urls,
    /// The object.
    Objects,
    /// The object with everything that belongs to it.
    Everything,
}

impl Parameters {
    /// Reads a query; absent is empty.
    #[must_use]
    pub fn parse(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// A parameter that is not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Whether a parameter is `true` or `1`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(coffer_model::config::truth)
    }

    /// How much of each object is wanted. `2;fields=…`, which newer clients send, is 2.
    ///
    /// # Errors
    /// If it is no number.
    pub fn recursion(&self) -> Result<Recursion, Refusal> {
        let text = self.get("recursion").unwrap_or("0");
        match text.split(';').next().unwrap_or_default().parse::<u8>() {
            Ok(0) => Ok(Recursion::Urls),
            Ok(1) => Ok(Recursion::Objects),
            Ok(_) => Ok(Recursion::Everything),
            Err(_) => Err(Refusal::bad_request(format!("invalid recursion {text:?}: it must be 0, 1 or 2"))),
        }
    }

    /// The filter; absent takes everything.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn filter(&self) -> Result<Filter, Refusal> {
        Filter::parse(self.get("filter").unwrap_or_default()).map_err(|error| Refusal::bad_request(error.to_string()))
    }
}

impl FromRequestParts<App> for Parameters {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Refusal> {
        let parameters = Self::parse(parts.uri.query());
        if parameters.get("project").is_some() && parameters.flag("all-projects") {
            return Err(Refusal::bad_request("project and all-projects do not go together"));
        }
        Ok(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expect: Option<Recursion>) {
        assert_eq!(Parameters::parse(Some(query)).recursion().ok(), expect, "{query}");
    }

    #[test]
    fn recursion() {
        check("", Some(Recursion::Urls));
        check("filter=&recursion=2", Some(Recursion::Everything));
        check("recursion=1", Some(Recursion::Objects));
        check("recursion=2;fields=state.disk", Some(Recursion::Everything));
        check("recursion=x", None);
    }

    #[test]
    fn empty_is_absent_and_escapes_are_read() {
        let parameters = Parameters::parse(Some("project=&filter=name+eq+%22a%20b%22"));
        assert_eq!(parameters.get("project"), None);
        assert_eq!(parameters.get("filter"), Some("name eq \"a b\""));
    }
}
