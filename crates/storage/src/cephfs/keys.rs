//! The configuration keys of `cephfs` pools.

use coffer_model::Config;
use coffer_model::key::Key;

use crate::ceph;
use crate::config::keys_of_pool;

/// Why nothing of the cluster is made here.
const MAKE: &str = "make the file system with Ceph's own program: ceph fs volume create NAME";

/// The keys of a `cephfs` pool.
pub static CEPHFS_POOL: &[Key] = keys_of_pool![
    row(
        "source",
        Value::Line,
        "",
        "The file system that holds the volumes, and a directory in it, which is made: `FILE-SYSTEM` or `FILE-SYSTEM/DIRECTORY`. It must be empty.",
    ),
    row("volatile.initial_source", Value::Line, "", "The source as it was given when the pool was made."),
    row("volatile.pool.pristine", Value::Bool, "", "Whether the directory was made for this pool and goes with it."),
    row("cephfs.cluster_name", Value::Line, "ceph", "The name of the cluster, whose configuration is in `/etc/ceph/NAME.conf`."),
    row("cephfs.user.name", Value::Line, "admin", "The user in the cluster, whose key is in `/etc/ceph/CLUSTER.client.NAME.keyring`."),
    row("cephfs.path", Value::Line, "/", "The directory in the file system, where the source names none."),
    row(
        "cephfs.fscache",
        Value::Bool,
        "false",
        "Whether files are kept on this host's disk too, for which it must run `cachefilesd`. Takes effect when the pool is mounted anew.",
    ),
    refused("cephfs.create_missing", Value::Bool, MAKE, "Whether a missing file system is made."),
    refused("cephfs.data_pool", Value::Line, MAKE, "The OSD pool for the data of a new file system."),
    refused("cephfs.meta_pool", Value::Line, MAKE, "The OSD pool for names and attributes of a new file system."),
    refused("cephfs.osd_pg_num", Value::Int(1, 65_536), MAKE, "How many placement groups the OSD pools of a new file system have."),
    refused("cephfs.osd_pool_size", Value::Int(1, 10), MAKE, "How many copies the OSD pools of a new file system keep."),
    row("volume.size", Value::Size, "", "The size of new volumes."),
];

/// The keys that say what a pool is made of, which `ceph` does not have too.
pub(crate) const FIXED: [&str; 3] = ["cephfs.cluster_name", "cephfs.user.name", "cephfs.path"];

/// Checks the values that a program of Ceph's will be given.
///
/// # Errors
/// The key, and a sentence for the user.
pub(crate) fn check(config: &Config) -> Result<(), (&'static str, String)> {
    for key in ["cephfs.cluster_name", "cephfs.user.name"] {
        if let Some(name) = config.get(key)
            && !ceph::is_name(name)
        {
            return Err((key, format!("{name:?} is no name that Ceph takes: it may hold letters, digits and - _ .")));
        }
    }
    match config.get("cephfs.path") {
        Some(path) if !path.strip_prefix('/').is_some_and(is_path) => {
            Err(("cephfs.path", format!("{path:?} is no directory of a file system: it begins with a slash and names each directory once")))
        }
        _ => Ok(()),
    }
}

/// Says whether a text can be a source: a file system, and perhaps a directory in it.
pub(crate) fn is_source(text: &str) -> bool {
    match text.split_once('/') {
        None => ceph::is_name(text),
        Some((name, path)) => ceph::is_name(name) && !path.is_empty() && is_path(path),
    }
}

/// Says whether a text is a path below a file system's top. A comma or a colon would have a meaning among mount options.
fn is_path(text: &str) -> bool {
    let fits = |part: &str| {
        let letters = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        // Ceph's own names in each directory begin with a dot.
        letters && !part.is_empty() && !part.starts_with('.')
    };
    text.is_empty() || text.split('/').all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        for fine in ["files", "files/coffer", "files/a/b-c_d.e"] {
            assert!(is_source(fine), "{fine}");
        }
        for bad in ["", "/files", "files/", "files//a", "files/../a", "files/.snap", "files/a,secret=x", "-x/a", "a b"] {
            assert!(!is_source(bad), "{bad}");
        }
    }

    #[test]
    fn paths() {
        let check = |path: &str| check(&[("cephfs.path", path)].into_iter().collect()).is_ok();
        assert!(check("/") && check("/a/b"));
        assert!(!check("a") && !check("/../a") && !check("/a:b"));
    }
}
