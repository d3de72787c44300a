//! Patterns of paths: `*` and `?` within a name, `**` for any number of names.

/// A pattern, and the names in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    parts: Vec<String>,
}

impl Pattern {
    /// Reads a pattern; slashes at the ends and `.` mean nothing.
    pub(crate) fn new(text: &str) -> Self {
        Self { parts: text.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect() }
    }

    /// The names before the first that stands for others.
    pub(crate) fn literal(&self) -> String {
        let literal: Vec<&str> = self.parts.iter().map(String::as_str).take_while(|part| !part.contains(['*', '?'])).collect();
        literal.join("/")
    }

    /// Whether it stands for more than one path.
    pub(crate) fn is_wild(&self) -> bool {
        self.parts.iter().any(|part| part.contains(['*', '?']))
    }

    /// Whether the whole path fits.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        fits(&self.parts, &names)
    }

    /// Whether something below the directory `path` can fit.
    pub(crate) fn reaches_below(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        for (at, part) in self.parts.iter().enumerate() {
            match names.get(at) {
                _ if part == "**" => return true,
                Some(name) if name_fits(part.as_bytes(), name.as_bytes()) => {}
                Some(_) => return false,
                None => return true,
            }
        }
        false
    }
}

fn fits(parts: &[String], names: &[&str]) -> bool {
    match (parts.split_first(), names.split_first()) {
        (None, None) => true,
        (Some((part, rest)), _) if part == "**" => (0..=names.len()).any(|skipped| fits(rest, &names[skipped..])),
        (Some((part, parts)), Some((name, names))) => name_fits(part.as_bytes(), name.as_bytes()) && fits(parts, names),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// Whether one name fits, without ever going back more than to the last star.
fn name_fits(part: &[u8], name: &[u8]) -> bool {
    let (mut at, mut here, mut star) = (0, 0, None);
    while here < name.len() {
        match part.get(at) {
            Some(b'*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[here] => {
                at += 1;
                here += 1;
            }
            _ => match star {
                Some((back, from)) => {
                    star = Some((back, from + 1));
                    (at, here) = (back + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    part[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &str, expect: bool) {
        assert_eq!(Pattern::new(pattern).matches(path), expect, "{pattern} {path}");
    }

    #[test]
    fn names_and_stars() {
        check("etc/ssh/ssh_host_*_key", "etc/ssh/ssh_host_rsa_key", true);
        check("etc/ssh/ssh_host_*_key", "etc/ssh/ssh_host_rsa_key.pub", false);
        check("var/log/**", "var/log/apt/history.log", true);
        check("**/__pycache__", "usr/lib/python3/__pycache__", true);
        check("*", "a/b", false);
        check("a?c", "abc", true);
        check("*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaac", false);
        check("./a//b/", "a/b", true);
    }

    #[test]
    fn only_what_can_fit_is_walked() {
        let pattern = Pattern::new("/var/cache/apt/*.bin");
        assert_eq!(pattern.literal(), "var/cache/apt");
        assert!(pattern.reaches_below("var/cache/apt") && !pattern.reaches_below("var/cache/apt/archives"));
        assert!(Pattern::new("var/**/x").reaches_below("var/a/b/c"));
    }
}
