//! Users and groups of a file system, by name.

use coffer_client::sftp::Sftp;
use coffer_sftp::{Attributes, Flags, Reading};

use crate::error::BuildError;

/// The largest list of users that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The numbers that `USER[:GROUP]` means; of a user alone, its own group.
pub(super) fn resolve(sftp: &mut Sftp, text: &str) -> Result<(u32, u32), BuildError> {
    if text.is_empty() {
        return Ok((0, 0));
    }
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let users = if user.parse::<u32>().is_ok() && group.is_none_or(|group| group.parse::<u32>().is_ok()) {
        String::new()
    } else {
        read(sftp, "/etc/passwd")?
    };
    let (uid, own) = match user.parse::<u32>() {
        Ok(uid) => (uid, entry(&users, |fields| fields.get(2) == Some(&user)).and_then(|fields| number(&fields, 3)).unwrap_or(0)),
        Err(_) => {
            let fields = entry(&users, |fields| fields.first() == Some(&user));
            let ids = fields.and_then(|fields| Some((number(&fields, 2)?, number(&fields, 3)?)));
            ids.ok_or_else(|| BuildError::Unknown { what: "user", name: user.to_owned() })?
        }
    };
    let gid = match group.map(|group| (group, group.parse::<u32>())) {
        None => own,
        Some((_, Ok(gid))) => gid,
        Some((group, Err(_))) => {
            let groups = read(sftp, "/etc/group")?;
            let found = entry(&groups, |fields| fields.first() == Some(&group)).and_then(|fields| number(&fields, 2));
            found.ok_or_else(|| BuildError::Unknown { what: "group", name: group.to_owned() })?
        }
    };
    Ok((uid, gid))
}

fn entry(text: &str, fits: impl Fn(&[&str]) -> bool) -> Option<Vec<&str>> {
    text.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fits(fields))
}

fn number(fields: &[&str], at: usize) -> Option<u32> {
    fields.get(at)?.parse().ok()
}

/// Reads a file inside; one that is not there is empty.
fn read(sftp: &mut Sftp, path: &str) -> Result<String, BuildError> {
    let told = |cause| BuildError::Inside { doing: "reading", path: path.to_owned(), cause };
    let size = match sftp.look(path.as_bytes(), true) {
        Err(error) if error.is_refusal() => return Ok(String::new()),
        looked => looked.map_err(told)?.size.unwrap_or(0).min(LARGEST),
    };
    let handle = sftp.open(path.as_bytes(), Flags::READ, Attributes::default()).map_err(told)?;
    let mut reading = Reading::new(handle, size);
    let mut bytes = Vec::new();
    loop {
        let piece = reading.next(sftp).map_err(told)?;
        if piece.is_empty() || bytes.len() as u64 > LARGEST {
            break;
        }
        bytes.extend_from_slice(&piece);
    }
    reading.close(sftp).map_err(told)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_name_and_number() {
        let text = "root:x:0:0::/root:/bin/sh\nwww:x:33:34::/:/bin/false\n";
        let www = entry(text, |fields| fields.first() == Some(&"www")).unwrap();
        assert_eq!((number(&www, 2), number(&www, 3)), (Some(33), Some(34)));
        assert!(entry(text, |fields| fields.get(2) == Some(&"1")).is_none());
    }
}
