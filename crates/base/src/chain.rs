//! Error chains as one line of text.

use std::error::Error;

/// Writes an error and all its causes as one line, separated by `: `.
///
/// A cause whose text the line already ends with is left out, so that a transparent wrapper is not said twice.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("mounting volume web")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_follow_the_error_once() {
        let error = Outer(std::io::Error::other("no space left"));
        assert_eq!(chain(&error), "mounting volume web: no space left");
    }
}
