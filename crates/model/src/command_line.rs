//! A command line as one text: words with quotes around them where they need it.

/// A text whose quotes don't end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has a quote or a backslash with nothing behind it")]
pub struct CommandLineError;

/// Writes words as one text, which [`split`] reads as the same words.
#[must_use]
pub fn join<W: AsRef<str>>(words: &[W]) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=@%+,".contains(character);
    let quoted = |word: &str| {
        if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    words.iter().map(|word| quoted(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// Reads words: blanks part them; in single quotes everything is itself, in double quotes all but backslash, outside a
/// backslash takes the next character as it is. Nothing is expanded.
///
/// # Errors
/// [`CommandLineError`].
pub fn split(text: &str) -> Result<Vec<String>, CommandLineError> {
    let (mut words, mut word, mut rest) = (Vec::new(), None::<String>, text.chars());
    while let Some(character) = rest.next() {
        match character {
            character if character.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next().ok_or(CommandLineError)? {
                        '\'' => break,
                        inside => word.push(inside),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next().ok_or(CommandLineError)? {
                        '"' => break,
                        '\\' => match rest.next().ok_or(CommandLineError)? {
                            escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        inside => word.push(inside),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(rest.next().ok_or(CommandLineError)?),
            character => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        assert_eq!(split(text).as_deref(), Ok(expect.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>().as_slice()), "{text}");
    }

    #[test]
    fn words() {
        check("", &[]);
        check("  /bin/sh   -c ", &["/bin/sh", "-c"]);
        check(r#"sh -c 'echo "$HOME"; true'"#, &["sh", "-c", r#"echo "$HOME"; true"#]);
        check(r#"a"b c"d e\ f ''"#, &["ab cd", "e f", ""]);
        check(r#""a\"b\\c\n""#, &[r#"a"b\c\n"#]);
        for open in ["'a", "\"a", "a\\", "\"a\\"] {
            assert_eq!(split(open), Err(CommandLineError), "{open}");
        }
    }

    #[test]
    fn what_is_joined_is_split_again() {
        let words = ["/run.sh", "", "a b", "it's", r"back\slash", "\"", "$(id)", "ü", "--x=y", "\t"];
        assert_eq!(split(&join(&words)).unwrap(), words);
        assert_eq!(join(&["nginx", "-g", "daemon off;"]), "nginx -g 'daemon off;'");
    }
}
