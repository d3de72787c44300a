//! What the store refuses or cannot do, in words that name the thing and the next step.

use std::fmt;
use std::path::PathBuf;

use coffer_model::ProjectName;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something of that name is there already.
    #[error("{0} already exists")]
    Exists(Subject),
    /// Nothing of that name is there.
    #[error("{0} does not exist")]
    NotFound(Subject),
    /// It cannot go while others need it.
    #[error("{what} is in use by {by}")]
    InUse {
        /// What should have gone.
        what: Subject,
        /// Who needs it, in words.
        by: String,
    },
    /// The disk has no room for the change.
    #[error("the disk that holds {} is full; nothing was changed; free some space there and try again", path.display())]
    Full {
        /// The database's file.
        path: PathBuf,
    },
    /// The database's content is not what was written.
    #[error(
        "database {} is damaged: {why}; it was left as it is; put an intact copy in its place (coffer.db.bak-N beside it, or a backup), or move it away and rebuild from the instances' backup.yaml",
        path.display()
    )]
    Corrupt {
        /// The database's file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The database has a version that this program does not know.
    #[error(
        "database {} was written by a newer coffer (its version is {found}, this program knows {known}); install that coffer again, or put coffer.db.bak-{known} in its place",
        path.display()
    )]
    Newer {
        /// The database's file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// Another server has the database.
    #[error("another server uses the database in {}; stop it first", directory.display())]
    Taken {
        /// The database's directory.
        directory: PathBuf,
    },
    /// Another program locked the database and keeps it locked.
    #[error("another program keeps database {} locked; end it and try again", path.display())]
    Busy {
        /// The database's file.
        path: PathBuf,
    },
    /// A step to a newer version failed.
    #[error("bringing database {} to version {version} ({step}); it keeps its version", path.display())]
    Migrate {
        /// The database's file.
        path: PathBuf,
        /// The version it should have got.
        version: u32,
        /// What the step does.
        step: &'static str,
        /// Why.
        #[source]
        cause: rusqlite::Error,
    },
    /// The database cannot be opened.
    #[error("opening database {}", path.display())]
    Open {
        /// The database's file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rusqlite::Error,
    },
    /// A file beside the database could not be handled.
    #[error("{doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A transaction could not be begun or committed.
    #[error("{doing} a transaction in the database")]
    Transaction {
        /// `beginning` or `committing`.
        doing: &'static str,
        /// Why.
        #[source]
        cause: rusqlite::Error,
    },
    /// Rows could not be read.
    #[error("reading {entity} entries from the database")]
    Read {
        /// What they are.
        entity: Entity,
        /// Why.
        #[source]
        cause: rusqlite::Error,
    },
    /// A row could not be written.
    #[error("writing {what} to the database")]
    Write {
        /// What it is.
        what: Subject,
        /// Why.
        #[source]
        cause: rusqlite::Error,
    },
    /// A value is not one that the store keeps.
    #[error("{what}: {why}")]
    Value {
        /// What it belongs to.
        what: Subject,
        /// What is wrong.
        why: String,
    },
}

/// The kinds of thing that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entity {
    /// A project.
    Project,
    /// A profile.
    Profile,
    /// An instance.
    Instance,
    /// A snapshot of an instance.
    Snapshot,
    /// A backup of an instance.
    Backup,
    /// An image.
    Image,
    /// An image's alias.
    Alias,
    /// A network.
    Network,
    /// A storage pool.
    Pool,
    /// A storage volume.
    Volume,
    /// A snapshot of a storage volume.
    VolumeSnapshot,
    /// The server's configuration.
    Server,
    /// A trusted certificate.
    Certificate,
    /// An operation that is remembered.
    Operation,
    /// A warning.
    Warning,
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Project => "project",
            Self::Profile => "profile",
            Self::Instance => "instance",
            Self::Snapshot => "snapshot",
            Self::Backup => "backup",
            Self::Image => "image",
            Self::Alias => "image alias",
            Self::Network => "network",
            Self::Pool => "storage pool",
            Self::Volume => "storage volume",
            Self::VolumeSnapshot => "storage volume snapshot",
            Self::Server => "server configuration",
            Self::Certificate => "certificate",
            Self::Operation => "operation",
            Self::Warning => "warning",
        })
    }
}

/// One thing by kind, name and project: `instance web in project dev`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its kind.
    pub entity: Entity,
    /// Its name.
    pub name: String,
    /// The project it is in, for what is in one.
    pub project: Option<ProjectName>,
}

impl Subject {
    /// Names something that is in no project.
    #[must_use]
    pub fn new(entity: Entity, name: impl fmt::Display) -> Self {
        Self { entity, name: name.to_string(), project: None }
    }

    /// Names something in a project.
    #[must_use]
    pub fn within(entity: Entity, project: &ProjectName, name: impl fmt::Display) -> Self {
        Self { entity, name: name.to_string(), project: Some(project.clone()) }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entity, name, project } = self;
        match project {
            Some(project) if !project.is_default() => write!(f, "{entity} {name} in project {project}"),
            _ if name.is_empty() => write!(f, "{entity}"),
            _ => write!(f, "{entity} {name}"),
        }
    }
}
