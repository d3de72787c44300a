//! Names as users type them: `[remote:]name`, `[remote:]instance/snapshot`.

use std::convert::Infallible;
use std::str::FromStr;

use crate::error::CliError;

/// A name on a remote; either may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Target {
    /// Name of the remote; empty means the default.
    pub(crate) remote: String,
    /// Name on that remote.
    pub(crate) name: String,
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Target, Infallible> {
        Ok(match text.split_once(':') {
            // A path or a key may hold a colon; remote names hold no slash.
            Some((remote, name)) if !remote.contains('/') => Target { remote: remote.to_owned(), name: name.to_owned() },
            _ => Target { remote: String::new(), name: text.to_owned() },
        })
    }
}

impl Target {
    /// Returns the name, which must not be empty.
    pub(crate) fn required(&self, what: &'static str) -> Result<&str, CliError> {
        if self.name.is_empty() { Err(CliError::Missing { what }) } else { Ok(&self.name) }
    }

    /// Splits `instance/rest`.
    pub(crate) fn split(&self) -> (&str, Option<&str>) {
        match self.name.split_once('/') {
            Some((instance, rest)) => (instance, Some(rest)),
            None => (&self.name, None),
        }
    }

    /// Writes it as the user would.
    pub(crate) fn shown(&self) -> String {
        if self.remote.is_empty() { format!("local:{}", self.name) } else { format!("{}:{}", self.remote, self.name) }
    }
}

/// Splits arguments that may begin with `remote:` alone, as in `list images: debian`.
pub(crate) fn leading_remote(arguments: &[String]) -> (Target, &[String]) {
    match arguments.split_first() {
        Some((first, rest)) if first.ends_with(':') && !first.contains('=') => {
            (Target { remote: first.trim_end_matches(':').to_owned(), name: String::new() }, rest)
        }
        _ => (Target::default(), arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, remote: &str, name: &str) {
        let Ok(target) = text.parse::<Target>();
        assert_eq!((target.remote.as_str(), target.name.as_str()), (remote, name));
    }

    #[test]
    fn remotes_stand_before_a_colon() {
        check("c1", "", "c1");
        check("local:c1/s0", "local", "c1/s0");
        check("ubuntu:22.04", "ubuntu", "22.04");
        check("images:", "images", "");
        check("/1.0/images/aliases/a:b", "", "/1.0/images/aliases/a:b");
    }

    #[test]
    fn lists_may_begin_with_a_remote() {
        let arguments = ["images:".to_owned(), "debian".to_owned()];
        let (target, rest) = leading_remote(&arguments);
        assert_eq!((target.remote.as_str(), rest.len()), ("images", 1));
        assert_eq!(leading_remote(&arguments[1..]).1.len(), 1);
    }
}
