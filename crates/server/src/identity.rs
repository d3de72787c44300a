//! Names of users and groups, as the host's files have them. Source: passwd(5), group(5).

use std::fs;
use std::path::Path;

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// The name of a user; its number where it has none.
#[must_use]
pub fn user_name(uid: u32) -> String {
    if uid == 0 {
        return "root".into();
    }
    let text = fs::read_to_string(Path::new(USERS)).unwrap_or_default();
    name_of(&text, uid).map_or_else(|| uid.to_string(), str::to_owned)
}

/// The number of a group that is given by name or number.
#[must_use]
pub fn group_id(group: &str) -> Option<u32> {
    let text = fs::read_to_string(Path::new(GROUPS)).unwrap_or_default();
    id_of(&text, group).or_else(|| group.parse().ok())
}

fn name_of(table: &str, id: u32) -> Option<&str> {
    let fits = |line: &&str| line.split(':').nth(2).and_then(|field| field.parse().ok()) == Some(id);
    table.lines().find(fits)?.split(':').next()
}

fn id_of(table: &str, name: &str) -> Option<u32> {
    let fits = |line: &&str| line.split(':').next() == Some(name);
    table.lines().find(fits)?.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        let table = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\nbroken\n";
        assert_eq!(name_of(table, 1000), Some("ann"));
        assert_eq!(name_of(table, 7), None);
        assert_eq!(id_of("adm:x:4:\ncoffer:x:990:ann\n", "coffer"), Some(990));
        assert_eq!(id_of("adm:x:4:\n", "ad"), None);
    }

    #[test]
    fn root_has_its_name() {
        assert_eq!(user_name(0), "root");
        assert_eq!(user_name(u32::MAX), u32::MAX.to_string());
    }
}
