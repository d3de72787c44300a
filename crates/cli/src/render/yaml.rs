//! YAML exactly as the genuine client writes it (go-yaml 2.4): key order, indentation, quoting, folding at 80 columns.

use serde::Serialize;

use super::node::{Node, node};
use super::yaml_scalar::write_text;

/// Writes a value as a YAML document.
pub(crate) fn yaml<T: Serialize + ?Sized>(value: &T) -> String {
    let mut out = String::new();
    match node(value) {
        Ok(node) => block(&node, 0, Place::Document, &mut out),
        // Every API object has a form; a value of another kind is shown as what is wrong with it.
        Err(error) => out.push_str(&format!("# {error}")),
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// Where a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Document,
    AfterKey,
    AfterDash,
}

/// Writes a value; `indent` is the column of its own entries, the cursor stands behind the key, the dash or at the start.
fn block(value: &Node, indent: usize, place: Place, out: &mut String) {
    match value {
        Node::Null => scalar("null", place, out),
        Node::Plain(text) => scalar(text, place, out),
        Node::Text(text) => {
            if place == Place::AfterKey {
                out.push(' ');
            }
            write_text(text, indent, out);
        }
        Node::List(items) if items.is_empty() => scalar("[]", place, out),
        Node::List(items) => list(items, indent, place, out),
        Node::Object(entries) | Node::Map(entries) if entries.is_empty() => scalar("{}", place, out),
        Node::Object(entries) => map(&entries.iter().collect::<Vec<_>>(), indent, place, out),
        Node::Map(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| key_cmp(a, b));
            map(&sorted, indent, place, out);
        }
    }
}

fn scalar(text: &str, place: Place, out: &mut String) {
    if place == Place::AfterKey {
        out.push(' ');
    }
    out.push_str(text);
}

fn list(items: &[Node], indent: usize, place: Place, out: &mut String) {
    // Lists below a key stand in the key's own column.
    let column = if place == Place::AfterKey { indent.saturating_sub(2) } else { indent };
    for (at, item) in items.iter().enumerate() {
        if at > 0 || place == Place::AfterKey {
            new_line(column, out);
        }
        out.push_str("- ");
        block(item, column + 2, Place::AfterDash, out);
    }
}

fn map(entries: &[&(String, Node)], indent: usize, place: Place, out: &mut String) {
    for (at, (key, value)) in entries.iter().enumerate() {
        if at > 0 || place == Place::AfterKey {
            new_line(indent, out);
        }
        write_text(key, indent, out);
        out.push(':');
        block(value, indent + 2, Place::AfterKey, out);
    }
}

fn new_line(column: usize, out: &mut String) {
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out.push_str(&" ".repeat(column));
}

/// Compares map keys as go-yaml does: letters by value, others before letters, numbers by value.
fn key_cmp(left: &str, right: &str) -> std::cmp::Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut digits = false;
    for at in 0..a.len().min(b.len()) {
        if a[at] == b[at] {
            digits = a[at].is_ascii_digit();
            continue;
        }
        let less = match (a[at].is_alphabetic(), b[at].is_alphabetic()) {
            (true, true) => a[at] < b[at],
            (true, false) => digits,
            (false, true) => !digits,
            (false, false) => number_less(&a, &b, at),
        };
        return if less { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater };
    }
    a.len().cmp(&b.len())
}

fn number_less(a: &[char], b: &[char], at: usize) -> bool {
    let in_number = a[..at].iter().rev().take_while(|c| c.is_ascii_digit()).any(|c| *c != '0');
    let start: u64 = u64::from((a[at] == '0' || b[at] == '0') && in_number);
    let number = |chars: &[char]| {
        let run = chars[at..].iter().map_while(|c| c.to_digit(10));
        run.fold((start, at), |(value, end), digit| (value.saturating_mul(10).saturating_add(u64::from(digit)), end + 1))
    };
    let ((an, ai), (bn, bi)) = (number(a), number(b));
    if an != bn {
        return an < bn;
    }
    if ai != bi { ai < bi } else { a[at] < b[at] }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::expect;

    use super::*;

    #[test]
    fn objects_keep_their_order_and_maps_are_sorted() {
        let profile = coffer_api::Profile {
            config: [("user.x10", "a"), ("user.x9", "b"), ("user.lit", "#cloud-config\nusers:\n  - a\n")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            description: String::new(),
            devices: BTreeMap::from([("eth0".to_owned(), BTreeMap::from([("type".to_owned(), "nic".to_owned())]))]),
            name: "p1".to_owned(),
            used_by: vec!["/1.0/instances/b1".to_owned()],
        };
        expect![[r#"
            config:
              user.lit: |
                #cloud-config
                users:
                  - a
              user.x9: b
              user.x10: a
            description: ""
            devices:
              eth0:
                type: nic
            name: p1
            used_by:
            - /1.0/instances/b1
        "#]]
        .assert_eq(&yaml(&profile));
        expect![[r#"
            - config: {}
              description: ""
              devices: {}
              name: ""
              used_by: []
            - config: {}
              description: ""
              devices: {}
              name: ""
              used_by: []
        "#]]
        .assert_eq(&yaml(&[coffer_api::Profile::default(), coffer_api::Profile::default()]));
    }

    #[test]
    fn times_are_plain_and_texts_that_look_like_times_are_not() {
        let snapshot = coffer_api::StorageVolumeSnapshot { description: "2026-11-23T16:48:06Z".to_owned(), ..Default::default() };
        expect![[r#"
            config: {}
            description: "2026-11-23T16:48:06Z"
            expires_at: null
            name: ""
            content_type: ""
            created_at: 0001-01-01T00:00:00Z
        "#]]
        .assert_eq(&yaml(&snapshot));
    }

    #[test]
    fn empty_lists_and_maps() {
        assert_eq!(yaml::<[u8]>(&[]), "[]\n");
        assert_eq!(yaml(&BTreeMap::<String, String>::new()), "{}\n");
    }
}
