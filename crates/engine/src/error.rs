//! Why a use case refuses or fails.

use std::fmt::Display;

use coffer_model::{GateError, InstanceName, NameError, PoolName, Status, VolumeName};

/// Why a use case refuses or fails.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A thing that does not exist.
    #[error("{entity} {name} not found{}", near.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    NotFound {
        /// What kind of thing.
        entity: &'static str,
        /// Its name.
        name: String,
        /// What it may have been meant for.
        near: Option<String>,
    },
    /// A thing that exists already.
    #[error("{entity} {name} already exists")]
    Exists {
        /// What kind of thing.
        entity: &'static str,
        /// Its name.
        name: String,
    },
    /// A thing that others still use.
    #[error("{entity} {name} is in use by {users}")]
    InUse {
        /// What kind of thing.
        entity: &'static str,
        /// Its name.
        name: String,
        /// Who uses it.
        users: String,
    },
    /// A request that makes no sense; the text says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// The caller may not; the text says why.
    #[error("{0}")]
    Forbidden(String),
    /// The instance is in another state than the request needs.
    #[error("instance {instance} is {}: {wanted}", status.to_string().to_lowercase())]
    State {
        /// The instance.
        instance: InstanceName,
        /// Its state.
        status: Status,
        /// What it should be, in words.
        wanted: &'static str,
    },
    /// Somebody else is working on the instance.
    #[error("instance {instance} is busy: somebody else is {doing} it; try again when that is done")]
    Busy {
        /// The instance.
        instance: InstanceName,
        /// What is being done.
        doing: &'static str,
    },
    /// Somebody else is working on the volume.
    #[error("storage volume {volume} in pool {pool} is busy: somebody else is {doing} it; try again when that is done")]
    VolumeBusy {
        /// The volume.
        volume: VolumeName,
        /// Its pool.
        pool: PoolName,
        /// What is being done.
        doing: &'static str,
    },
    /// The object changed since the client read it.
    #[error("{entity} {name} was changed by somebody else meanwhile; read it again")]
    Changed {
        /// What kind of thing.
        entity: &'static str,
        /// Its name.
        name: String,
    },
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The gate refused.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// A key of the server's, a project's … configuration.
    #[error(transparent)]
    Key(#[from] coffer_model::key::KeyError),
    /// The store.
    #[error(transparent)]
    Store(#[from] coffer_store::StoreError),
    /// A pool or volume.
    #[error(transparent)]
    Storage(#[from] coffer_storage::StorageError),
    /// A network or NIC.
    #[error(transparent)]
    Network(#[from] coffer_network::NetworkError),
    /// Receiving an image.
    #[error(transparent)]
    Receive(#[from] coffer_image::ReceiveError),
    /// Handing out an image.
    #[error(transparent)]
    Export(#[from] coffer_image::export::ExportError),
    /// Reading an image.
    #[error(transparent)]
    Unpack(#[from] coffer_image::UnpackError),
    /// A server of images elsewhere.
    #[error(transparent)]
    Remote(#[from] coffer_remote::RemoteError),
    /// A registry of images.
    #[error(transparent)]
    Registry(#[from] coffer_remote::oci::OciError),
    /// The instance's monitor; the cause names the stage.
    #[error("instance {instance}: {doing}")]
    Monitor {
        /// The instance.
        instance: InstanceName,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        #[source]
        cause: crate::monitor::MonitorError,
    },
    /// What lies at a path inside an instance, or should.
    #[error("instance {instance}: {path}")]
    File {
        /// The instance.
        instance: InstanceName,
        /// The path inside.
        path: String,
        /// What the file server said.
        #[source]
        cause: coffer_sftp::SessionError,
    },
    /// Talking to an instance's file server, or what it is in the middle of.
    #[error("instance {instance}: its files")]
    Files {
        /// The instance.
        instance: InstanceName,
        /// What went wrong.
        #[source]
        cause: coffer_sftp::SessionError,
    },
    /// An instance's file server does not start.
    #[error("instance {instance}: opening its files")]
    FileServer {
        /// The instance.
        instance: InstanceName,
        /// Why.
        #[source]
        cause: coffer_file_server::StartError,
    },
    /// The operating system.
    #[error("{doing}")]
    System {
        /// What was tried.
        doing: String,
        /// What the kernel said.
        #[source]
        cause: std::io::Error,
    },
}

/// The class of an error: whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request makes no sense.
    BadRequest,
    /// There is no such thing.
    NotFound,
    /// It exists already, is in use or busy.
    Conflict,
    /// It changed since the client read it.
    Precondition,
    /// The caller may not.
    Forbidden,
    /// Something here failed.
    Internal,
}

impl EngineError {
    /// Says that a thing does not exist.
    pub fn not_found(entity: &'static str, name: impl Display) -> Self {
        Self::NotFound { entity, name: name.to_string(), near: None }
    }

    /// A thing that does not exist, among those of its kind that do.
    pub(crate) fn not_found_among<'a>(entity: &'static str, name: &str, there: impl IntoIterator<Item = &'a str>) -> Self {
        let near = coffer_base::near::nearest(name, there).map(ToOwned::to_owned);
        Self::NotFound { entity, name: name.to_owned(), near }
    }

    /// Says that a thing exists already.
    pub fn exists(entity: &'static str, name: impl Display) -> Self {
        Self::Exists { entity, name: name.to_string() }
    }

    /// Says that the operating system refused something.
    pub fn system(doing: impl Into<String>, cause: impl Into<std::io::Error>) -> Self {
        Self::System { doing: doing.into(), cause: cause.into() }
    }
}
