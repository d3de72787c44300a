//! Which volume: its kind, whose it is, its name, its place below a pool.

use std::fmt;
use std::path::{Path, PathBuf};

use coffer_model::{Fingerprint, InstanceName, ProjectName, SnapshotName, VolumeKey, VolumeKind, VolumeName};

/// A volume or a snapshot of one, named so that it cannot point out of its pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Volume {
    kind: VolumeKind,
    directory: String,
    snapshot: Option<SnapshotName>,
}

impl Volume {
    /// The root volume of an instance.
    #[must_use]
    pub fn instance(project: &ProjectName, name: &InstanceName) -> Self {
        Self { kind: VolumeKind::Container, directory: project.prefix(name.as_str()), snapshot: None }
    }

    /// An unpacked image.
    #[must_use]
    pub fn image(fingerprint: &Fingerprint) -> Self {
        Self { kind: VolumeKind::Image, directory: fingerprint.as_str().to_owned(), snapshot: None }
    }

    /// A user's volume. Unlike an instance's it carries its project's name in the default project too.
    #[must_use]
    pub fn custom(project: &ProjectName, name: &VolumeName) -> Self {
        Self::of_key(&VolumeKey { project: project.clone(), name: name.clone() })
    }

    /// A user's volume by its key.
    #[must_use]
    pub fn of_key(key: &VolumeKey) -> Self {
        Self { kind: VolumeKind::Custom, directory: key.to_string(), snapshot: None }
    }

    /// A snapshot of this volume; of a snapshot, another one of the same volume.
    #[must_use]
    pub fn snapshot(&self, name: &SnapshotName) -> Self {
        Self { snapshot: Some(name.clone()), ..self.clone() }
    }

    /// The volume that this is a snapshot of; itself if it is none.
    #[must_use]
    pub fn origin(&self) -> Self {
        Self { snapshot: None, ..self.clone() }
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> VolumeKind {
        self.kind
    }

    /// The snapshot's name, if it is one.
    #[must_use]
    pub fn snapshot_name(&self) -> Option<&SnapshotName> {
        self.snapshot.as_ref()
    }

    /// Whose it is and its name without the snapshot, as they stand on disk: `[PROJECT_]NAME`.
    #[must_use]
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Where it stands below its pool: `containers/NAME`, `containers-snapshots/NAME/SNAPSHOT`.
    #[must_use]
    pub fn below_pool(&self) -> PathBuf {
        match (&self.snapshot, Self::snapshots_home(self.kind)) {
            (Some(snapshot), Some(home)) => Path::new(home).join(&self.directory).join(snapshot.as_str()),
            _ => Path::new(Self::home(self.kind)).join(&self.directory),
        }
    }

    /// The volume that a name on disk means, if it is one that this server would write.
    #[must_use]
    pub fn parse(kind: VolumeKind, directory: &str) -> Option<Self> {
        let volume = match (kind, directory.split_once('_')) {
            (VolumeKind::Container, None) => Self::instance(&ProjectName::default_project(), &directory.parse().ok()?),
            (VolumeKind::Container, Some((project, name))) => Self::instance(&project.parse().ok()?, &name.parse().ok()?),
            (VolumeKind::Image, _) => Self::image(&directory.parse().ok()?),
            (VolumeKind::Custom, _) => Self::of_key(&directory.parse().ok()?),
        };
        (volume.directory == directory).then_some(volume)
    }

    /// The kinds whose volumes a pool holds.
    pub(crate) const KINDS: [VolumeKind; 3] = [VolumeKind::Container, VolumeKind::Image, VolumeKind::Custom];

    /// The directory below the pool that holds volumes of a kind.
    pub(crate) fn home(kind: VolumeKind) -> &'static str {
        match kind {
            VolumeKind::Container => "containers",
            VolumeKind::Image => "images",
            VolumeKind::Custom => "custom",
        }
    }

    /// The directory below the pool that holds the snapshots of volumes of a kind, if they can have some.
    pub(crate) fn snapshots_home(kind: VolumeKind) -> Option<&'static str> {
        match kind {
            VolumeKind::Container => Some("containers-snapshots"),
            VolumeKind::Custom => Some("custom-snapshots"),
            VolumeKind::Image => None,
        }
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            VolumeKind::Container => "instance volume",
            VolumeKind::Image => "image volume",
            VolumeKind::Custom => "volume",
        };
        match &self.snapshot {
            None => write!(f, "{kind} {}", self.directory),
            Some(snapshot) => write!(f, "{kind} snapshot {}/{snapshot}", self.directory),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: VolumeKind, directory: &str, expect: &str) {
        assert_eq!(Volume::parse(kind, directory).map_or_else(|| "-".into(), |volume| volume.to_string()), expect);
    }

    #[test]
    fn names_on_disk_are_read_back() {
        check(VolumeKind::Container, "web", "instance volume web");
        check(VolumeKind::Container, "dev_web", "instance volume dev_web");
        check(VolumeKind::Container, "default_web", "-");
        check(VolumeKind::Container, "dev_we_b", "-");
        check(VolumeKind::Custom, "default_my_data", "volume default_my_data");
        check(VolumeKind::Custom, "data", "-");
        check(VolumeKind::Image, "../x", "-");
    }
}
