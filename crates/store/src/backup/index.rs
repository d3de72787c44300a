//! `index.yaml`: the first member of an exported instance or volume, which holds its whole configuration.

use serde::{Deserialize, Serialize};

use super::{BackupError, Document, LIMIT, lenient, parse_as};

/// The index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are LXD's, by their names")]
pub struct Index {
    #[serde(deserialize_with = "lenient::value")]
    pub name: String,
    #[serde(deserialize_with = "lenient::value")]
    pub backend: String,
    #[serde(deserialize_with = "lenient::value")]
    pub pool: String,
    #[serde(deserialize_with = "lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<String>,
    /// Whether the volumes are in the driver's own format.
    #[serde(deserialize_with = "lenient::value")]
    pub optimized: bool,
    #[serde(deserialize_with = "lenient::value")]
    pub optimized_header: bool,
    #[serde(rename = "type", deserialize_with = "lenient::value")]
    pub kind: String,
    /// The configuration; archives of the oldest kind leave it to the instance's own `backup.yaml`.
    pub config: Option<Document>,
}

/// The format of a driver's own that an export's volumes can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFormat {
    /// Streams of `btrfs send`.
    Btrfs,
    /// Streams of `zfs send`.
    Zfs,
}

impl StreamFormat {
    fn of(driver: &str) -> Option<Self> {
        match driver {
            "btrfs" => Some(Self::Btrfs),
            "zfs" => Some(Self::Zfs),
            _ => None,
        }
    }
}

/// Which streams an export holds.
#[derive(Serialize)]
struct Streams {
    subvolumes: Vec<Subvolume>,
}

/// One of them, in LXD's words.
#[derive(Serialize)]
struct Subvolume {
    path: &'static str,
    snapshot: String,
    readonly: bool,
}

/// What an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// An instance.
    Instance,
    /// A user's volume.
    Volume,
}

impl Content {
    /// LXD's word for it.
    fn word(self) -> &'static str {
        match self {
            Self::Instance => "container",
            Self::Volume => "custom",
        }
    }

    /// The names of the snapshots that a document describes, without that of what they are of.
    fn snapshots(self, config: &Document) -> Vec<String> {
        match self {
            Self::Instance => config.snapshots.iter().map(|snapshot| own(&snapshot.name)).collect(),
            Self::Volume => config.volume_snapshots.iter().map(|snapshot| own(&snapshot.name)).collect(),
        }
    }
}

impl Index {
    /// Describes an export. `backend` is the pool's driver.
    #[must_use]
    pub fn of(content: Content, name: &str, backend: &str, config: Document) -> Self {
        Self {
            name: name.to_owned(),
            backend: backend.to_owned(),
            pool: config.pool.as_ref().map(|pool| pool.name.clone()).unwrap_or_default(),
            snapshots: content.snapshots(&config),
            optimized: false,
            optimized_header: false,
            kind: content.word().into(),
            config: Some(config),
        }
    }

    /// Reads an index from text, with the text of the instance's own `backup.yaml` if it leaves the configuration to that.
    ///
    /// # Errors
    /// See [`BackupError`]. What this server cannot unpack is refused by name.
    pub fn parse(content: Content, text: &str, configuration: Option<&str>) -> Result<Self, BackupError> {
        let mut index: Self = parse_as(text)?;
        if index.config.is_none() {
            index.config = configuration.map(super::parse).transpose()?;
        }
        super::allow("type", &index.kind, content.word())?;
        if index.optimized && index.streams().is_none() {
            return Err(BackupError::Value {
                key: "optimized",
                value: format!("true of a pool of driver {}", index.backend),
                allowed: "those of btrfs and zfs (export it without --optimized-storage)",
            });
        }
        let config = index.config.as_ref().ok_or(BackupError::Missing("config"))?;
        let listed: Vec<String> = index.snapshots.iter().map(|name| own(name)).collect();
        if listed != content.snapshots(config) {
            return Err(BackupError::Value { key: "snapshots", value: listed.join(", "), allowed: "what config describes" });
        }
        Ok(index)
    }

    /// The format of the driver's own that the volumes are in, if they are.
    #[must_use]
    pub fn streams(&self) -> Option<StreamFormat> {
        StreamFormat::of(&self.backend).filter(|_| self.optimized)
    }

    /// Says that the volumes are in the driver's own format; of btrfs, each is a subvolume in which no other is nested, and the answer is
    /// the text of the member that says which they are.
    ///
    /// # Errors
    /// [`BackupError::Compose`].
    pub fn optimize(&mut self) -> Result<Option<String>, BackupError> {
        self.optimized = true;
        if self.streams() != Some(StreamFormat::Btrfs) {
            return Ok(None);
        }
        self.optimized_header = true;
        let subvolume = |snapshot: &str| Subvolume { path: "/", snapshot: snapshot.to_owned(), readonly: !snapshot.is_empty() };
        let snapshots = self.snapshots.iter().map(|snapshot| subvolume(snapshot));
        let header = Streams { subvolumes: snapshots.chain([subvolume("")]).collect() };
        serde_saphyr::to_string(&header).map(Some).map_err(|error| BackupError::Compose(Box::new(error)))
    }

    /// Puts the index in text.
    ///
    /// # Errors
    /// [`BackupError::TooLarge`].
    pub fn to_yaml(&self) -> Result<String, BackupError> {
        let text = serde_saphyr::to_string(self).map_err(|error| BackupError::Compose(Box::new(error)))?;
        if text.len() > LIMIT { Err(BackupError::TooLarge) } else { Ok(text) }
    }
}

/// A snapshot's own name, before which some servers write that of what it is of.
fn own(name: &str) -> String {
    name.rsplit('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What LXD 5.0.2 writes, shortened.
    const LXD: &str = "name: c1\nbackend: dir\npool: default\nsnapshots:\n- s1\noptimized: false\noptimized_header: false\ntype: container\nconfig:\n  container:\n    architecture: x86_64\n    config:\n      image.os: Busybox\n      volatile.uuid: 5f2\n    devices: {}\n    profiles:\n    - default\n    created_at: 2024-05-06T07:08:09.1Z\n    name: c1\n    status: Stopped\n    status_code: 102\n    last_used_at: 1970-01-01T00:00:00Z\n    type: container\n    project: default\n  snapshots:\n  - config: {}\n    name: s1\n    profiles: [default]\n  pool:\n    name: default\n    driver: dir\n  volume:\n    name: c1\n    type: container\n    content_type: filesystem\n    project: default\n";

    #[track_caller]
    fn check(text: &str, configuration: Option<&str>, expect: &str) {
        let said = match Index::parse(Content::Instance, text, configuration) {
            Ok(index) => {
                let config = index.config.unwrap();
                let snapshots = config.instance_snapshots().map(|all| all.len());
                format!("{} {} {:?} {:?}", index.name, index.pool, config.instance().map(|instance| instance.name.to_string()), snapshots)
            }
            Err(error) => coffer_base::chain(&error),
        };
        assert!(said.contains(expect), "{said}");
    }

    #[test]
    fn what_lxd_writes_is_read() {
        check(LXD, None, r#"c1 default Ok("c1") Ok(1)"#);
        // Newer ones call it otherwise and list the pools.
        let newer = LXD
            .replace("  container:\n", "  version: 2\n  instance:\n")
            .replace("  pool:\n    name: default\n    driver: dir\n", "  pools:\n  - name: default\n    driver: dir\n");
        check(&newer, None, r#"c1 default Ok("c1") Ok(1)"#);
        let (head, config) = LXD.split_once("config:\n").unwrap();
        let config: String = config.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line))).collect();
        check(head, Some(&config), r#"c1 default Ok("c1") Ok(1)"#);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        check("", None, "has no config");
        check(&LXD.replace("type: container\nconfig", "type: virtual-machine\nconfig"), None, "only container is supported");
        let optimized = LXD.replace("optimized: false\n", "optimized: true\n");
        check(&optimized, None, "export it without --optimized-storage");
        check(&optimized.replace("backend: dir", "backend: ceph"), None, "only those of btrfs and zfs");
        check(&optimized.replace("backend: dir", "backend: zfs"), None, "c1 default");
        check("name: c1\ntype: container\n", None, "has no config");
        check(&LXD.replace("snapshots:\n- s1\n", "snapshots: [s1, s2]\n"), None, "only what config describes is supported");
        check(&LXD.replace("snapshots:\n- s1\n", ""), None, "only what config describes is supported");
        check("a: &a [x]\nb: *a\n", None, "understanding");
    }

    #[test]
    fn it_survives_its_own_text() {
        let config = Index::parse(Content::Instance, LXD, None).unwrap().config.unwrap();
        let mut index = Index::of(Content::Instance, "c1", "btrfs", config);
        assert_eq!(Index::parse(Content::Instance, &index.to_yaml().unwrap(), None).unwrap(), index);
        let header = index.optimize().unwrap().unwrap();
        assert_eq!(index.streams(), Some(StreamFormat::Btrfs));
        assert_eq!(Index::parse(Content::Instance, &index.to_yaml().unwrap(), None).unwrap(), index);
        let lines: Vec<&str> = header.lines().map(|line| line.trim_start_matches([' ', '-'])).collect();
        let subvolume = |snapshot, readonly| [r#"path: /"#, snapshot, readonly];
        let expect = [subvolume("snapshot: s1", "readonly: true"), subvolume(r#"snapshot: """#, "readonly: false")].concat();
        assert_eq!(lines, [vec!["subvolumes:"], expect].concat());
        let mut of_zfs = Index { backend: "zfs".into(), optimized: false, optimized_header: false, ..index };
        assert_eq!((of_zfs.streams(), of_zfs.optimize().unwrap()), (None, None));
        assert_eq!((of_zfs.streams(), of_zfs.optimized_header), (Some(StreamFormat::Zfs), false));
    }
}
