//! A strict reader of OpenMetrics text: what it takes, every scraper takes.
//!
//! Source: OpenMetrics 1.0, sections "ABNF" and "Overall Structure".

use std::collections::{BTreeMap, BTreeSet};

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// Reads a text, or says what is wrong with it.
pub fn read(text: &str) -> Result<Vec<Sample>, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("it does not end with # EOF")?;
    let mut families: BTreeSet<String> = BTreeSet::new();
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    let (mut family, mut kind) = (String::new(), None::<String>);
    let mut samples = Vec::new();
    for line in body.lines() {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').ok_or_else(|| wrong("no name"))?;
            let (name, content) = rest.split_once(' ').ok_or_else(|| wrong("no content"))?;
            check_name(name).map_err(|why| wrong(&why))?;
            if name != family {
                if !families.insert(name.to_owned()) {
                    return Err(wrong("the family stands twice"));
                }
                (family, kind) = (name.to_owned(), None);
            }
            match word {
                "HELP" => {}
                "TYPE" if kind.is_some() => return Err(wrong("a second type")),
                "TYPE" if ["counter", "gauge"].contains(&content) => kind = Some(content.to_owned()),
                _ => return Err(wrong("unknown metadata")),
            }
            continue;
        }
        let (sample, labels) = sample(line).map_err(|why| wrong(&why))?;
        let expect = match kind.as_deref() {
            Some("counter") => format!("{family}_total"),
            Some("gauge") => family.clone(),
            _ => return Err(wrong("a sample without a type")),
        };
        if sample.name != expect {
            return Err(wrong("a sample outside its family"));
        }
        if kind.as_deref() == Some("counter") && sample.value < 0.0 {
            return Err(wrong("a counter below zero"));
        }
        if !seen.insert((sample.name.clone(), labels)) {
            return Err(wrong("the sample stands twice"));
        }
        samples.push(sample);
    }
    Ok(samples)
}

fn check_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(fine) {
        return Err(format!("{name:?} is no name"));
    }
    Ok(())
}

/// Reads `name{label="value",…} number`; also answers the labels as they stand.
fn sample(line: &str) -> Result<(Sample, String), String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    check_name(name)?;
    let start = rest;
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").ok_or("no label")?;
            check_name(label)?;
            let (value, after) = quoted(after)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err(format!("label {label} stands twice"));
            }
            match after.chars().next() {
                Some(',') => rest = &after[1..],
                Some('}') => {
                    rest = &after[1..];
                    break;
                }
                _ => return Err("labels without an end".into()),
            }
        }
    }
    let as_written = start[..start.len() - rest.len()].to_owned();
    let number = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value: f64 = number.parse().map_err(|_| format!("{number:?} is no number"))?;
    Ok((Sample { name: name.to_owned(), labels, value }, as_written))
}

/// Reads up to the quote that ends a value.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                _ => return Err("an unknown escape".into()),
            },
            other => value.push(other),
        }
    }
    Err("a value without an end".into())
}

#[test]
fn the_reader_refuses_what_is_not_openmetrics() {
    let fine = "# HELP a b\n# TYPE a counter\na_total{l=\"x\\\"y\"} 1.5\n# TYPE g gauge\ng 2\n# EOF\n";
    let read_back = read(fine).unwrap();
    assert_eq!((read_back.len(), read_back[0].labels["l"].as_str(), read_back[1].value), (2, "x\"y", 2.0));
    for (text, why) in [
        ("# TYPE a gauge\na 1\n", "does not end"),
        ("a 1\n# EOF\n", "without a type"),
        ("# TYPE a counter\na 1\n# EOF\n", "outside its family"),
        ("# TYPE a gauge\na 1\na 2\n# EOF\n", "stands twice"),
        ("# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n# TYPE a gauge\n# EOF\n", "stands twice"),
        ("# TYPE a gauge\na{l=\"x} 1\n# EOF\n", "without an end"),
        ("# TYPE a gauge\na x\n# EOF\n", "no number"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}
