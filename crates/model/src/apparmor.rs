//! `raw.apparmor`: rules that are added to an instance's own AppArmor profile.

/// What a rule begins with, after its qualifiers. Rules that lead to other profiles are not among them.
const KINDS: [&str; 11] = ["capability", "dbus", "file", "mount", "network", "pivot_root", "ptrace", "remount", "signal", "umount", "unix"];

/// What may stand before a rule.
const QUALIFIERS: [&str; 4] = ["audit", "allow", "deny", "owner"];

/// Checks rules, a line each, so that no text of theirs is anything else than a rule of this profile.
///
/// # Errors
/// A sentence for the user, with the line.
///
/// Source: apparmor.d(5).
pub fn check(text: &str) -> Result<(), String> {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_comment(line)) {
        rule(line).map_err(|why| format!("{line:?} {why}"))?;
    }
    Ok(())
}

/// The rules alone.
pub fn rules(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_comment(line))
}

/// `#include` is a directive, however much it looks like a comment.
fn is_comment(line: &str) -> bool {
    line.starts_with('#') && !line.trim_start_matches('#').trim_start().starts_with("include")
}

fn rule(line: &str) -> Result<(), &'static str> {
    let Some(rule) = line.strip_suffix(',') else { return Err("is no rule on a line of its own that ends with a comma") };
    if rule.contains(char::is_control) || rule.contains('#') {
        return Err("holds a character that no rule has");
    }
    if !is_balanced(rule) {
        return Err("has braces or quotes that do not match");
    }
    // A comma ends a rule, but for those in lists and alternatives.
    if ends_before(rule) {
        return Err("holds more than one rule: write each on a line of its own");
    }
    let mut words = rule.split_whitespace().skip_while(|word| QUALIFIERS.contains(word)).peekable();
    let Some(first) = words.next() else { return Err("says nothing") };
    let path = first.starts_with(['/', '"']) || first.starts_with("@{");
    if !path && !KINDS.contains(&first) {
        return Err("is no rule about files, capabilities, the network, mounts, signals, ptrace, dbus or sockets");
    }
    if rule.contains("->") && path {
        return Err("leads to another profile");
    }
    Ok(())
}

/// Says whether braces, brackets and quotes match and none is closed before it was opened.
fn is_balanced(rule: &str) -> bool {
    let mut open = Vec::new();
    let mut quoted = false;
    for letter in rule.chars() {
        match letter {
            '"' => quoted = !quoted,
            '{' | '(' | '[' => open.push(letter),
            '}' | ')' | ']' => {
                let begun = open.pop();
                if !matches!((begun, letter), (Some('{'), '}') | (Some('('), ')') | (Some('['), ']')) {
                    return false;
                }
            }
            // A block begins with a brace that stands alone.
            _ => {}
        }
    }
    open.is_empty() && !quoted && !rule.split_whitespace().any(|word| matches!(word, "{" | "}"))
}

/// Says whether a rule ends before its text does.
fn ends_before(rule: &str) -> bool {
    let (mut depth, mut quoted) = (0_u32, false);
    rule.chars().any(|letter| {
        match letter {
            '"' => quoted = !quoted,
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0 && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_one_line() {
        for fine in [
            "",
            "# nothing\n\n",
            "deny /root/locked w,",
            "audit deny /srv/{a,b}/** rwklx,",
            "mount fstype=(tmpfs, ramfs) -> /mnt/**,",
            "  capability sys_time,\nnetwork inet stream,",
            "@{PROC}/sys/net/** rw,",
            "deny \"/a b\" w,",
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for (bad, why) in [
            ("deny /root w", "ends with a comma"),
            ("}\nprofile /usr/bin/x {", "ends with a comma"),
            ("} profile x { file,", "braces"),
            ("deny /a w, } profile x { /b w,", "braces"),
            ("deny /a w, deny /b w,", "more than one"),
            ("#include <abstractions/base>", "ends with a comma"),
            ("include <tunables/global>,", "is no rule about"),
            ("change_profile -> unconfined,", "is no rule about"),
            ("/bin/sh px -> unconfined,", "another profile"),
            ("file, # and more,", "no rule has"),
            ("deny,", "says nothing"),
        ] {
            assert!(check(bad).is_err_and(|said| said.contains(why)), "{bad}: {:?}", check(bad));
        }
    }

    #[test]
    fn comments_are_left_out() {
        assert_eq!(rules("# one\n file,\n\n deny /x w,").collect::<Vec<_>>(), ["file,", "deny /x w,"]);
    }
}
