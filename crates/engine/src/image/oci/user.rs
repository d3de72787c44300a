//! Whom an image means by its user: numbers, or names in its own lists of accounts.

/// A user with its group, and its home where the image has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
}

/// A user that the image does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the image's process is to be {0:?}, which is no number and not in its /etc/passwd or /etc/group")]
pub(super) struct NoUser(String);

/// The largest id that an instance has.
const MOST: u32 = 65_535;

/// Finds the user that `USER[:GROUP]` means; an empty one is root.
pub(super) fn resolve(text: &str, passwd: &str, group: &str) -> Result<User, NoUser> {
    let missing = || NoUser(text.chars().filter(|character| !character.is_control()).take(80).collect());
    let (user, wanted_group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let account = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| match number {
        Some(number) => fields.get(2).and_then(|uid| uid.parse().ok()) == Some(number),
        None => fields.first() == Some(&user),
    });
    let field = |at: usize| account.as_ref().and_then(|fields| fields.get(at)).copied();
    let uid = number.or_else(|| field(2)?.parse().ok()).ok_or_else(missing)?;
    let gid = match wanted_group.filter(|group| !group.is_empty()) {
        Some(name) => name.parse().ok().or_else(|| named_group(group, name)).ok_or_else(missing)?,
        None => field(3).and_then(|gid| gid.parse().ok()).unwrap_or(0),
    };
    if uid > MOST || gid > MOST {
        return Err(missing());
    }
    let home = field(5).filter(|home| home.starts_with('/')).unwrap_or(if uid == 0 { "/root" } else { "/" });
    Ok(User { uid, gid, home: home.to_owned() })
}

fn named_group(group: &str, name: &str) -> Option<u32> {
    let mut lines = group.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|fields| fields.first() == Some(&name))?.get(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(u32, u32, &str)>) {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44::/srv:/bin/sh\nbroken\nhuge:x:4294967294:1::/:\n";
        let group = "root:x:0:\nstaff:x:50:web\n";
        let got = resolve(text, passwd, group).ok();
        assert_eq!(got, expect.map(|(uid, gid, home)| User { uid, gid, home: home.to_owned() }), "{text}");
    }

    #[test]
    fn users() {
        check("", Some((0, 0, "/root")));
        check("web", Some((33, 44, "/srv")));
        check("33", Some((33, 44, "/srv")));
        check("web:staff", Some((33, 50, "/srv")));
        check("1000:50", Some((1000, 50, "/")));
        check("1000", Some((1000, 0, "/")));
        check(":staff", Some((0, 50, "/root")));
        for missing in ["nobody", "web:none", "broken", "huge", "4294967295", "-1"] {
            check(missing, None);
        }
        assert_eq!(resolve("0", "", "").unwrap(), User { uid: 0, gid: 0, home: "/root".into() });
    }
}
