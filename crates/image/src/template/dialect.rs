//! From Django's syntax to Jinja's, and a list of what is let through at all.

use super::{MAX_SOURCE, TemplateError};

/// Tags that stay as they are. Nothing that remembers a value, loads a file or defines a word.
const TAGS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

/// Marks of an expression that stay as they are: what compares, calls and groups, and nothing that computes.
const MARKS: &[u8] = b".,()<>=|-";

/// Translates a template.
pub(super) fn translate(source: &str) -> Result<String, TemplateError> {
    if source.len() > MAX_SOURCE {
        return Err(TemplateError::TooLong);
    }
    let mut translation = Translation { source, at: 0, out: String::with_capacity(source.len()) };
    translation.run()?;
    Ok(translation.out)
}

struct Translation<'a> {
    source: &'a str,
    at: usize,
    out: String,
}

impl<'a> Translation<'a> {
    fn run(&mut self) -> Result<(), TemplateError> {
        while let Some(start) = self.next_opening() {
            self.out.push_str(&self.source[self.at..start]);
            self.at = start;
            match &self.source[start..start + 2] {
                "{{" => self.variable()?,
                "{%" => self.tag()?,
                _ => {
                    let end = self.rest().find("#}").ok_or_else(|| self.wrong("\"{#\" is not closed".into()))?;
                    self.at += end + 2;
                }
            }
        }
        self.out.push_str(self.rest());
        Ok(())
    }

    fn next_opening(&self) -> Option<usize> {
        let found = ["{{", "{%", "{#"].iter().filter_map(|mark| self.rest().find(mark)).min()?;
        Some(self.at + found)
    }

    fn variable(&mut self) -> Result<(), TemplateError> {
        let inside = self.inside("{{", "}}")?;
        let expression = self.expression(inside)?;
        self.out.push_str("{{");
        self.out.push_str(&expression);
        self.out.push_str("}}");
        self.at += inside.len() + 4;
        Ok(())
    }

    fn tag(&mut self) -> Result<(), TemplateError> {
        let inside = self.inside("{%", "%}")?;
        let (open, plain) = inside.strip_prefix('-').map_or(("{%", inside), |rest| ("{%-", rest));
        let (close, plain) = plain.strip_suffix('-').map_or(("%}", plain), |rest| ("-%}", rest));
        let plain = plain.trim();
        let (name, rest) = plain.split_once(char::is_whitespace).unwrap_or((plain, ""));
        let after = self.at + inside.len() + 4;
        let tag = match name {
            "autoescape" if rest.trim() == "off" => String::new(),
            "endautoescape" => String::new(),
            "comment" => {
                self.at = self.end_of_comment(after)?;
                return Ok(());
            }
            "ifequal" | "ifnotequal" => {
                let sign = if name == "ifequal" { "==" } else { "!=" };
                let (left, right) = two(rest).ok_or_else(|| self.wrong(format!("{name:?} compares two values")))?;
                format!("{open} if {} {sign} {} {close}", self.expression(left)?, self.expression(right)?)
            }
            "endifequal" | "endifnotequal" => format!("{open} endif {close}"),
            _ if TAGS.contains(&name) => format!("{open} {name} {} {close}", self.expression(rest)?),
            _ => return Err(self.wrong(format!("tag {name:?} is not in the language of templates"))),
        };
        self.out.push_str(&tag);
        self.at = after;
        Ok(())
    }

    /// Where the comment ends whose content begins at `from`.
    fn end_of_comment(&self, from: usize) -> Result<usize, TemplateError> {
        let end = self.source[from..].find("endcomment").map(|found| from + found);
        let closed = end.and_then(|end| Some(end + self.source[end..].find("%}")? + 2));
        closed.ok_or_else(|| self.wrong("\"comment\" is not closed".into()))
    }

    /// What stands between two marks; a mark within quotes is none.
    fn inside(&self, open: &str, close: &str) -> Result<&'a str, TemplateError> {
        let text = &self.source[self.at + open.len()..];
        let mut at = 0;
        while at < text.len() {
            if text[at..].starts_with(close) {
                return Ok(&text[..at]);
            }
            at += word_length(&text[at..]);
        }
        Err(self.wrong(format!("{open:?} is not closed")))
    }

    /// Translates an expression word by word.
    fn expression(&self, text: &str) -> Result<String, TemplateError> {
        let mut out = String::with_capacity(text.len() + 8);
        let mut rest = text;
        // Whether the last word was a pipe, and whether it named a filter, to which a colon gives an argument.
        let (mut piped, mut filter) = (false, false);
        while let Some(first) = rest.bytes().next() {
            let (word, after) = rest.split_at(word_length(rest));
            if filter && first == b':' {
                let argument = after.trim_start();
                let (argument, left) = argument.split_at(operand_length(argument));
                out.push_str(&format!("({})", self.expression(argument)?));
                (rest, piped, filter) = (left, false, false);
                continue;
            }
            let space = first.is_ascii_whitespace();
            out.push_str(match word {
                "&&" => " and ",
                "||" => " or ",
                "!" => " not ",
                "<>" | "!=" => "!=",
                _ if space || is_word(first) || matches!(first, b'"' | b'\'') || MARKS.contains(&first) => word,
                _ => return Err(self.wrong(format!("{word:?} is not in the language of templates"))),
            });
            if !space {
                filter = piped && is_word(first);
                piped = word == "|";
            }
            rest = after;
        }
        Ok(out)
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn wrong(&self, what: String) -> TemplateError {
        TemplateError::Language { line: 1 + self.source[..self.at].matches('\n').count(), what }
    }
}

/// The length of the first word, text in quotes or mark.
fn word_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes[0] {
        quote @ (b'"' | b'\'') => {
            let mut escaped = false;
            let end = bytes[1..].iter().position(|byte| {
                let ends = *byte == quote && !escaped;
                escaped = *byte == b'\\' && !escaped;
                ends
            });
            end.map_or(text.len(), |end| end + 2)
        }
        first if is_word(first) => bytes.iter().position(|byte| !is_word(*byte)).unwrap_or(text.len()),
        _ if ["&&", "||", "<>", "!="].iter().any(|mark| text.starts_with(mark)) => 2,
        _ => text.chars().next().map_or(1, char::len_utf8),
    }
}

/// The length of one value: a text in quotes, or a name with dots.
fn operand_length(text: &str) -> usize {
    match text.as_bytes().first() {
        None => 0,
        Some(b'"' | b'\'') => word_length(text),
        Some(_) => text.bytes().position(|byte| !is_word(byte) && byte != b'.').unwrap_or(text.len()),
    }
}

/// Splits two values with a space between them.
fn two(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let (left, right) = text.split_at(operand_length(text));
    let right = right.trim();
    (!left.is_empty() && !right.is_empty()).then_some((left, right))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
