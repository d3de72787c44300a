//! LXD's filter language: `field op value [and|or [not] …]`, read left to right.
//!
//! Operators are `eq` and `ne`; a field is a path of keys into the object as the API shows it, and config keys with dots
//! are found too (`config.user.role`). Text matches without regard to case and as a whole, `*` standing for anything.
//!
//! Source: LXD 5.0 `doc/rest-api.md`, section "Filtering".

use serde_json::Value;

/// A parsed filter; the empty filter takes everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter(Vec<Clause>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Clause {
    and: bool,
    not: bool,
    field: String,
    equal: bool,
    value: String,
}

/// Why a filter cannot be read.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("invalid filter {filter:?}: {why}; write FIELD eq VALUE [and|or [not] …]")]
pub struct FilterError {
    filter: String,
    why: &'static str,
}

impl Filter {
    /// Reads a filter. Words may stand in double or single quotes.
    ///
    /// # Errors
    /// [`FilterError`] when a clause is incomplete or an operator is unknown.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let refuse = |why| FilterError { filter: text.to_owned(), why };
        let mut words = words(text).ok_or_else(|| refuse("a quote is not closed"))?.into_iter().peekable();
        let mut clauses = Vec::new();
        let mut and = true;
        while words.peek().is_some() {
            let not = words.next_if(|word| word == "not").is_some();
            let field = words.next().ok_or_else(|| refuse("a field is missing"))?;
            let equal = match words.next().as_deref() {
                Some("eq") => true,
                Some("ne") => false,
                Some(_) => return Err(refuse("the operator must be eq or ne")),
                None => return Err(refuse("an operator is missing")),
            };
            let value = words.next().ok_or_else(|| refuse("a value is missing"))?;
            clauses.push(Clause { and, not, field, equal, value });
            match words.next().as_deref() {
                None => break,
                Some("and") => and = true,
                Some("or") => and = false,
                Some(_) => return Err(refuse("clauses are joined by and or or")),
            }
            if words.peek().is_none() {
                return Err(refuse("a clause is missing at the end"));
            }
        }
        Ok(Self(clauses))
    }

    /// Says whether the filter takes everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says whether an object passes.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        let mut result = true;
        for clause in &self.0 {
            let found = lookup(object, &clause.field).is_some_and(|value| same(value, &clause.value));
            let passes = (found == clause.equal) != clause.not;
            result = if clause.and { result && passes } else { result || passes };
        }
        result
    }
}

/// Walks into the object; the longest key that fits the rest of the path wins, so that keys may hold dots.
fn lookup<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    let map = object.as_object()?;
    if let Some(value) = map.get(field) {
        return Some(value);
    }
    field.match_indices('.').rev().find_map(|(at, _)| lookup(map.get(&field[..at])?, &field[at + 1..]))
}

fn same(value: &Value, pattern: &str) -> bool {
    match value {
        Value::String(text) => {
            glob(&pattern.trim_start_matches('^').trim_end_matches('$').replace(".*", "*").to_lowercase(), &text.to_lowercase())
        }
        Value::Bool(flag) => pattern.parse() == Ok(*flag),
        Value::Number(number) => number.to_string() == pattern,
        Value::Null => pattern.is_empty(),
        Value::Array(items) => items.iter().any(|item| same(item, pattern)),
        Value::Object(_) => false,
    }
}

fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = if first == '"' || first == '\'' {
            rest[1..].split_once(first)?
        } else {
            rest.split_once(char::is_whitespace).unwrap_or((rest, ""))
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: &str, expect: bool) {
        let object = serde_json::json!({
            "name": "web", "status": "Running", "ephemeral": false, "profiles": ["default", "dev"],
            "config": {"user.role": "front end", "limits.cpu": "2"}, "devices": {"eth0": {"type": "nic"}},
        });
        assert_eq!(Filter::parse(filter).map(|filter| filter.matches(&object)), Ok(expect), "{filter}");
    }

    #[test]
    fn clauses() {
        check("", true);
        check("name eq WEB", true);
        check("name eq we", false);
        check("name eq w.*", true);
        check("status ne stopped and ephemeral eq false", true);
        check("name eq x or config.user.role eq \"front end\"", true);
        check("not devices.eth0.type eq nic", false);
        check("profiles eq dev", true);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["name", "name eq", "name like x", "name eq x name eq y", "name eq x and", "name eq \"x"] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }
}
