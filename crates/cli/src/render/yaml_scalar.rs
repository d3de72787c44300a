//! Texts in YAML: when they need quotes, which ones, and where long ones are folded.

use std::fmt::Write;

use super::text::hidden;

/// Column after which a long text is continued on the next line.
const WIDTH: usize = 80;

/// Writes a text; `indent` is the column of continued lines.
pub(super) fn write_text(text: &str, indent: usize, out: &mut String) {
    let shape = Shape::of(text);
    if text.contains('\n') {
        if shape.block_allowed { literal(text, indent, out) } else { double_quoted(text, indent, out) }
    } else if looks_otherwise(text) {
        double_quoted(text, indent, out);
    } else if shape.plain_allowed {
        folded(text, indent, out, |c, out| out.push(c));
    } else if shape.single_allowed {
        out.push('\'');
        folded(text, indent, out, |c, out| {
            out.push(c);
            if c == '\'' {
                out.push(c);
            }
        });
        out.push('\'');
    } else {
        double_quoted(text, indent, out);
    }
}

/// What a text's characters allow.
///
/// Source: libyaml, `yaml_emitter_analyze_scalar`.
struct Shape {
    plain_allowed: bool,
    single_allowed: bool,
    block_allowed: bool,
}

impl Shape {
    fn of(text: &str) -> Shape {
        let chars: Vec<char> = text.chars().collect();
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut special, mut space_before_break) = (false, false);
        for (at, c) in chars.iter().copied().enumerate() {
            let next_blank = chars.get(at + 1).is_none_or(|c| blank(*c));
            let after_blank = at == 0 || blank(chars[at - 1]);
            indicators |= match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' if at == 0 => true,
                '?' | '-' if at == 0 => next_blank,
                ':' => next_blank,
                '#' => after_blank,
                _ => false,
            };
            special |= !printable(c);
            space_before_break |= c == ' ' && chars.get(at + 1) == Some(&'\n');
        }
        let edge_space = text.starts_with(' ') || text.ends_with(' ');
        let safe = !special && !space_before_break;
        Shape {
            plain_allowed: safe && !indicators && !edge_space && !text.is_empty(),
            single_allowed: safe,
            block_allowed: safe && !text.ends_with(' '),
        }
    }
}

fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// libyaml's printable characters, less those that a terminal might obey.
fn printable(c: char) -> bool {
    c == '\n' || !(hidden(c) || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}'))
}

/// Writes characters one by one and breaks the line at single spaces beyond the width.
fn folded(text: &str, indent: usize, out: &mut String, mut put: impl FnMut(char, &mut String)) {
    let mut column = out.rsplit('\n').next().map_or(0, |line| line.chars().count());
    let mut after_space = false;
    let mut chars = text.chars().enumerate().peekable();
    let last = text.chars().count().saturating_sub(1);
    while let Some((at, c)) = chars.next() {
        let next_space = chars.peek().is_some_and(|(_, next)| *next == ' ');
        if c == ' ' && !after_space && column > WIDTH && at > 0 && at < last && !next_space {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else {
            put(c, out);
            column += 1;
        }
        after_space = c == ' ';
    }
}

fn literal(text: &str, indent: usize, out: &mut String) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    if !text.ends_with('\n') {
        out.push('-');
    } else if text.ends_with("\n\n") || text == "\n" {
        out.push('+');
    }
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str(line);
        }
    }
    out.push('\n');
    if !text.ends_with('\n') {
        out.pop();
    }
}

fn double_quoted(text: &str, indent: usize, out: &mut String) {
    out.push('"');
    let mut column = out.rsplit('\n').next().map_or(0, |line| line.chars().count());
    let mut after_space = false;
    let last = text.chars().count().saturating_sub(1);
    let mut chars = text.chars().enumerate().peekable();
    while let Some((at, c)) = chars.next() {
        let from = out.len();
        match c {
            ' ' if !after_space && column > WIDTH && at > 0 && at < last => {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                if chars.peek().is_some_and(|(_, next)| *next == ' ') {
                    out.push('\\');
                }
                column = indent;
                after_space = true;
                continue;
            }
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if printable(c) => out.push(c),
            c => escape(c, out),
        }
        column += out[from..].chars().count();
        after_space = c == ' ';
    }
    out.push('"');
}

fn escape(c: char, out: &mut String) {
    let named = match c {
        '\0' => "\\0",
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\t' => "\\t",
        '\x0b' => "\\v",
        '\x0c' => "\\f",
        '\r' => "\\r",
        '\x1b' => "\\e",
        '\u{85}' => "\\N",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        _ => "",
    };
    let _ = match u32::from(c) {
        _ if !named.is_empty() => out.write_str(named),
        code @ 0..=0xff => write!(out, "\\x{code:02X}"),
        code @ 0..=0xffff => write!(out, "\\u{code:04X}"),
        code => write!(out, "\\U{code:08X}"),
    };
}

/// Tells whether a reader would take a plain text for something else: a number, a truth, a time, nothing.
fn looks_otherwise(text: &str) -> bool {
    const WORDS: [&str; 12] = ["y", "yes", "on", "n", "no", "off", "true", "false", "null", ".nan", ".inf", "~"];
    let cased = |word: &str| {
        let capital = word[..1].to_ascii_uppercase() + &word[1..];
        text == word || text == capital || text == word.to_ascii_uppercase()
    };
    text.is_empty()
        || WORDS.iter().any(|word| cased(word))
        || matches!(text, "+.inf" | "-.inf" | "+.Inf" | "-.Inf" | "+.INF" | "-.INF" | ".NaN")
        || is_number(text)
        || is_base_sixty(text)
        || is_date(text)
}

fn is_number(text: &str) -> bool {
    let compact = text.replace('_', "");
    let unsigned = compact.strip_prefix(['+', '-']).unwrap_or(&compact);
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return false;
    }
    let digits_of = |prefixes: [&str; 2], base: u32| {
        let rest = prefixes.iter().find_map(|prefix| unsigned.strip_prefix(prefix));
        rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(base)))
    };
    if digits_of(["0x", "0X"], 16) || digits_of(["0b", "0B"], 2) || digits_of(["0o", "0O"], 8) {
        return true;
    }
    is_decimal(unsigned)
}

/// `12`, `1.5`, `.5`, `1e3`.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, ""), |(whole, fraction)| (whole, fraction));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let exponent_good = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    (!whole.is_empty() || !fraction.is_empty()) && digits(whole) && digits(fraction) && exponent_good
}

/// `190:20:30`, which older readers take for a number.
fn is_base_sixty(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (body, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = body.split(':');
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '_');
    let first = parts.next().is_some_and(|first| first.starts_with(|c: char| c.is_ascii_digit()) && digits(first));
    let rest: Vec<_> = parts.collect();
    let sixty = |part: &&str| matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
    first && !rest.is_empty() && rest.iter().all(sixty) && digits(fraction)
}

/// `2022-01-02`, alone or followed by a time of day.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return false;
    }
    let end = text.find(['T', 't', ' ']).unwrap_or(text.len());
    let (date, time) = text.split_at(end);
    let mut parts = date.split('-').skip(1);
    let (month, day) = (parts.next(), parts.next());
    let number =
        |part: Option<&str>, most: u8| part.and_then(|part| part.parse().ok()).is_some_and(|value: u8| (1..=most).contains(&value));
    let date_good = number(month, 12) && number(day, 31) && parts.next().is_none();
    date_good && (time.is_empty() || (time.len() > 1 && time[1..].starts_with(|c: char| c.is_ascii_digit()) && time.contains(':')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, written: &str) {
        let mut out = String::from("  user.x: ");
        write_text(text, 4, &mut out);
        assert_eq!(out.strip_prefix("  user.x: "), Some(written));
    }

    #[test]
    fn quotes_as_the_genuine_client() {
        check("yes", r#""yes""#);
        check("[a", "'[a'");
        check("a: b", "'a: b'");
        check("a:", "'a:'");
        check(":a", ":a");
        check("a,b", "a,b");
        check("a\x1b[31mb", r#""a\e[31mb""#);
        check("- a", "'- a'");
        check("-a", "-a");
        check("2022-01-02", r#""2022-01-02""#);
        check(".", ".");
        check(r#"a "b""#, r#"a "b""#);
        check("1e3", r#""1e3""#);
        check("=", "=");
        check("1.5", r#""1.5""#);
        check("a #b", "'a #b'");
        check("0x1f", r#""0x1f""#);
        check("00:16:31:11:22:33", r#""00:16:31:11:22:33""#);
        check("00:16:3e:11:22:33", "00:16:3e:11:22:33");
        check("null", r#""null""#);
        check("012", r#""012""#);
        check("%a", "'%a'");
        check("+1", r#""+1""#);
        check("it's", "it's");
        check("?a", "?a");
        check(" lead", "' lead'");
        check("trail ", "'trail '");
        check("*a", "'*a'");
        check("a\tb", r#""a\tb""#);
        check("~", r#""~""#);
        check("1_000", r#""1_000""#);
        check("é☃", "é☃");
        check("10.77.0.1/24", "10.77.0.1/24");
        check("", r#""""#);
        check("a\u{9b}b\u{202e}", r#""a\x9Bb\u202E""#);
    }

    #[test]
    fn several_lines_are_literal_where_they_can() {
        check("#cloud-config\nusers:\n  - a\n", "|\n    #cloud-config\n    users:\n      - a\n");
        check("  x\ny", "|2-\n      x\n    y");
        check("a \nb", r#""a \nb""#);
        check("a\n\n", "|+\n    a\n\n");
    }

    #[test]
    fn long_texts_are_folded() {
        check(
            "this is a very long text with many words that should be longer than eighty characters in one line to see folding happen or not at all",
            "this is a very long text with many words that should be longer than eighty\n    characters in one line to see folding happen or not at all",
        );
    }
}
