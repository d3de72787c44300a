//! Identities: uids, gids, capabilities, keyrings, resource limits.

use std::io;

use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Becomes a user and group with exactly these supplementary groups, for this thread. A process that just joined or made
/// a user namespace becomes one of its ids that way.
///
/// # Errors
/// `EINVAL` if an id has no mapping, `EPERM` without `CAP_SETUID` and `CAP_SETGID`.
///
/// Source: setgroups(2), setresgid(2), setresuid(2).
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    rustix::thread::set_thread_groups(&groups)?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    Ok(rustix::thread::set_thread_res_uid(uid, uid, uid)?)
}

/// Runs `work` on a thread of its own, whose files belong to another user and group, with all the capabilities of this one.
///
/// What the kernel makes a file system with it keeps for all that is done with that: overlayfs writes as whoever mounted it.
///
/// # Errors
/// `EPERM` without `CAP_SETUID` and `CAP_SETGID`; `EAGAIN` if there can be no more threads; what `work` answers.
///
/// Source: credentials(7): each thread has its own; prctl(2): a change of them makes the process one that cannot be dumped.
pub fn as_owner<T: Send>(uid: u32, gid: u32, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let dumpable = rustix::process::dumpable_behavior()?;
    let other = || {
        let real = (rustix::process::getuid(), rustix::process::getgid());
        let all = rustix::thread::capabilities(None)?;
        rustix::thread::set_thread_res_gid(real.1, Gid::from_raw(gid), real.1)?;
        // The real and the saved one stay, and so does what is permitted.
        rustix::thread::set_thread_res_uid(real.0, Uid::from_raw(uid), real.0)?;
        rustix::thread::set_capabilities(None, CapabilitySets { effective: all.permitted, ..all })?;
        work()
    };
    let done = std::thread::scope(|scope| std::thread::Builder::new().spawn_scoped(scope, other).map(std::thread::ScopedJoinHandle::join))?;
    rustix::process::set_dumpable_behavior(dumpable)?;
    done.unwrap_or_else(|_| Err(io::Error::other("the thread that was to do it has panicked")))
}

/// Takes a capability out of the bounding set: no program executed from here on can get it. One that the kernel does not
/// know is fine.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
///
/// Source: prctl(2), `PR_CAPBSET_DROP`.
pub fn drop_from_bounding_set(capability: u8) -> io::Result<()> {
    let capability = CapabilitySet::from_bits_retain(1 << capability);
    match rustix::thread::remove_capability_from_bounding_set(capability) {
        Err(rustix::io::Errno::INVAL) => Ok(()),
        other => Ok(other?),
    }
}

/// Takes away inheritable and ambient capabilities, and those of `drop` (bit n is capability n) from the others.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
///
/// Source: capset(2), prctl(2) `PR_CAP_AMBIENT`.
pub fn restrict_capabilities(drop: u64) -> io::Result<()> {
    let now = rustix::thread::capabilities(None)?;
    let kept = CapabilitySet::from_bits_retain(!drop);
    let (effective, permitted) = (now.effective & kept, now.permitted & kept);
    rustix::thread::set_capabilities(None, CapabilitySets { effective, permitted, inheritable: CapabilitySet::empty() })?;
    Ok(rustix::thread::clear_ambient_capability_set()?)
}

/// Has the files that this thread makes and walks belong to a user and groups, with just these capabilities in force (bit n is
/// capability n). Who it is to signals and to `/proc` stays.
///
/// # Errors
/// `EPERM` without `CAP_SETUID` and `CAP_SETGID`, or for a capability that is not permitted.
///
/// Source: setfsuid(2): it cannot say that it failed, so it is asked what it did; capset(2).
pub fn walk_as(uid: u32, gid: u32, groups: &[u32], capabilities: u64) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    rustix::thread::set_thread_groups(&groups)?;
    // SAFETY: it takes a number and touches no memory.
    let set_gid = |gid: u32| unsafe { libc::setfsgid(gid) as u32 };
    // SAFETY: as above.
    let set_uid = |uid: u32| unsafe { libc::setfsuid(uid) as u32 };
    set_gid(gid);
    set_uid(uid);
    if (set_uid(u32::MAX), set_gid(u32::MAX)) != (uid, gid) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    put_in_force(capabilities)
}

/// Puts just these permitted capabilities in force for this thread (bit n is capability n).
///
/// # Errors
/// `EPERM` for one that is not permitted.
///
/// Source: capset(2).
pub fn put_in_force(capabilities: u64) -> io::Result<()> {
    let now = rustix::thread::capabilities(None)?;
    let effective = CapabilitySet::from_bits_retain(capabilities);
    Ok(rustix::thread::set_capabilities(None, CapabilitySets { effective, ..now })?)
}

/// Lets no program executed from here on gain rights by set-id bits or file capabilities.
///
/// # Errors
/// None in practice.
///
/// Source: prctl(2), `PR_SET_NO_NEW_PRIVS`.
pub fn set_no_new_privs() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Starts a new session keyring: keys of whoever started us are out of reach.
///
/// # Errors
/// `EDQUOT` if the user has too many keys, `ENOSYS` in a kernel without keys.
///
/// Source: keyctl(2), `KEYCTL_JOIN_SESSION_KEYRING`.
pub fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring; no other pointer is passed.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Finds a resource by its name in lower case without `RLIMIT_`.
#[must_use]
pub fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

/// Sets a resource limit of this process; absent means unlimited.
///
/// # Errors
/// `EPERM` if the hard limit would grow without `CAP_SYS_RESOURCE`, `EINVAL` if the soft limit is above the hard one.
///
/// Source: setrlimit(2).
pub fn set_limit(resource: Resource, soft: Option<u64>, hard: Option<u64>) -> io::Result<()> {
    Ok(rustix::process::setrlimit(resource, Rlimit { current: soft, maximum: hard })?)
}

/// Lowers limits of this process, soft and hard, named as for [`resource`]. One that is lower already stays: raising one
/// takes a right that we may not have.
///
/// # Errors
/// `EINVAL` for a name that is none.
pub fn lower_limits(limits: &[(&str, u64)]) -> io::Result<()> {
    for (name, most) in limits {
        let resource = resource(name).ok_or(io::ErrorKind::InvalidInput)?;
        let most = rustix::process::getrlimit(resource).maximum.map_or(*most, |now| now.min(*most));
        set_limit(resource, Some(most), Some(most))?;
    }
    Ok(())
}

/// Sets a resource limit of process `pid`, a child of ours that was not waited for; absent means unlimited.
///
/// # Errors
/// As [`set_limit`]; `ESRCH` if `pid` is no process.
///
/// Source: prlimit(2).
pub fn set_limit_of(pid: u32, resource: Resource, soft: Option<u64>, hard: Option<u64>) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    rustix::process::prlimit(Some(pid), resource, Rlimit { current: soft, maximum: hard })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_loses_capabilities_for_itself_only() {
        let thread = std::thread::spawn(|| {
            drop_from_bounding_set(16).unwrap();
            drop_from_bounding_set(63).unwrap();
            restrict_capabilities(1 << 16).unwrap();
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let of = |key: &str| {
                let line = status.lines().find(|line| line.starts_with(key)).unwrap();
                u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
            };
            assert_eq!((of("CapBnd") & 1 << 16, of("CapEff") & 1 << 16, of("CapInh"), of("CapAmb")), (0, 0, 0, 0));
            assert_ne!(of("CapEff"), 0);
        });
        thread.join().unwrap();
    }

    #[test]
    fn resources_have_names() {
        assert_eq!(resource("nofile"), Some(Resource::Nofile));
        assert_eq!(resource("NOFILE"), None);
    }
}
