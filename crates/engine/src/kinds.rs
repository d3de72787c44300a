//! Whose fault an error is: the one place that decides it.

use coffer_image::unpack::FailureKind;
use coffer_store::StoreError;

use crate::error::{EngineError, ErrorKind};

impl EngineError {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Exists { .. } | Self::Busy { .. } | Self::VolumeBusy { .. } => ErrorKind::Conflict,
            Self::Changed { .. } => ErrorKind::Precondition,
            Self::Forbidden(_) => ErrorKind::Forbidden,
            Self::InUse { .. } | Self::Refused(_) | Self::State { .. } | Self::Name(_) | Self::Gate(_) | Self::Key(_) => {
                ErrorKind::BadRequest
            }
            Self::Store(error) => store(error),
            Self::Storage(error) => storage(error),
            Self::Network(error) => network(error),
            Self::Receive(error) => receive(error),
            Self::Remote(error) => remote(error),
            Self::Registry(error) => registry(error),
            Self::Unpack(error) => match error.kind() {
                FailureKind::BadImage => ErrorKind::BadRequest,
                FailureKind::NoRoom | FailureKind::System => ErrorKind::Internal,
            },
            Self::File { cause, .. } | Self::Files { cause, .. } => files(cause),
            Self::FileServer { .. } | Self::Export(_) | Self::Monitor { .. } | Self::System { .. } => ErrorKind::Internal,
        }
    }
}

fn store(error: &StoreError) -> ErrorKind {
    match error {
        StoreError::Exists(_) => ErrorKind::Conflict,
        StoreError::NotFound(_) => ErrorKind::NotFound,
        StoreError::InUse { .. } => ErrorKind::BadRequest,
        _ => ErrorKind::Internal,
    }
}

fn storage(error: &coffer_storage::StorageError) -> ErrorKind {
    use coffer_storage::Class;
    match error.class() {
        Class::Invalid | Class::InUse => ErrorKind::BadRequest,
        Class::NotFound => ErrorKind::NotFound,
        Class::Exists => ErrorKind::Conflict,
        Class::NoSpace | Class::Unavailable | Class::Failed => ErrorKind::Internal,
    }
}

fn remote(error: &coffer_remote::RemoteError) -> ErrorKind {
    use coffer_remote::RemoteError;
    match error {
        RemoteError::NoImage { .. } => ErrorKind::NotFound,
        RemoteError::SignsNothing { .. } => ErrorKind::Forbidden,
        RemoteError::Url(_) | RemoteError::Ambiguous { .. } => ErrorKind::BadRequest,
        _ => ErrorKind::Internal,
    }
}

fn registry(error: &coffer_remote::oci::OciError) -> ErrorKind {
    use coffer_remote::oci::OciError;
    match error {
        OciError::NoImage { .. } => ErrorKind::NotFound,
        OciError::Url(_) | OciError::Reference(_) | OciError::Strange { .. } => ErrorKind::BadRequest,
        OciError::Denied { .. } => ErrorKind::Forbidden,
        _ => ErrorKind::Internal,
    }
}

fn files(error: &coffer_sftp::SessionError) -> ErrorKind {
    use coffer_sftp::Status;
    match error.status() {
        Some(Status::NoSuchFile) => ErrorKind::NotFound,
        Some(Status::PermissionDenied | Status::ReadOnly) => ErrorKind::Forbidden,
        Some(Status::Exists | Status::NotEmpty) => ErrorKind::Conflict,
        Some(Status::NotADirectory | Status::IsADirectory | Status::NotRegular | Status::BadName | Status::LinkLoop) => {
            ErrorKind::BadRequest
        }
        Some(
            Status::Ok
            | Status::Eof
            | Status::Failure
            | Status::BadMessage
            | Status::Unsupported
            | Status::NoSpace
            | Status::Quota
            | Status::BadHandle,
        )
        | None => ErrorKind::Internal,
    }
}

fn receive(error: &coffer_image::ReceiveError) -> ErrorKind {
    use coffer_image::ReceiveError;
    match error {
        ReceiveError::TooLarge { .. } | ReceiveError::Empty { .. } | ReceiveError::SecondRootfs => ErrorKind::BadRequest,
        ReceiveError::Create(_) | ReceiveError::Write { .. } | ReceiveError::Name { .. } => ErrorKind::Internal,
    }
}

fn network(error: &coffer_network::NetworkError) -> ErrorKind {
    use coffer_network::NetworkError;
    match error {
        NetworkError::Config(_)
        | NetworkError::NotABridge { .. }
        | NetworkError::NoInterface { .. }
        | NetworkError::ExternalHasAddresses { .. }
        | NetworkError::AddressOutside { .. } => ErrorKind::BadRequest,
        NetworkError::NameInUse { .. } | NetworkError::AddressInUse { .. } | NetworkError::NameTaken { .. } | NetworkError::Full { .. } => {
            ErrorKind::Conflict
        }
        NetworkError::Kernel { .. } | NetworkError::File { .. } | NetworkError::Program { .. } | NetworkError::Dnsmasq { .. } => {
            ErrorKind::Internal
        }
    }
}
