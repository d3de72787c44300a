//! What can go wrong between a client and its server.

use std::io;
use std::path::PathBuf;

/// Why a call did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refused the request and said why.
    #[error("{text}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// The server's words.
        text: String,
    },
    /// The operation the request started has failed or was cancelled.
    #[error("{text}")]
    OperationFailed {
        /// The server's words.
        text: String,
    },
    /// Nobody answers on the socket.
    #[error("{} {}", connecting_text(cause), socket.display())]
    Connecting {
        /// The unix socket.
        socket: PathBuf,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// A command's pipes could not be made or handed over.
    #[error("handing the command's pipes to the server")]
    Pipes {
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// No connection over the network.
    #[error(transparent)]
    Dialling(#[from] coffer_web::DialError),
    /// The connection broke.
    #[error("talking to the server about {path}")]
    Exchanging {
        /// Path of the request.
        path: String,
        /// What broke.
        #[source]
        cause: hyper::Error,
    },
    /// The request could not be written as HTTP.
    #[error("writing the request for {path}")]
    Writing {
        /// Path of the request.
        path: String,
        /// What is wrong with it.
        #[source]
        cause: hyper::http::Error,
    },
    /// The answer is not what the API promises.
    #[error("reading the answer to {path}")]
    Reading {
        /// Path of the request.
        path: String,
        /// Where it departs from the API.
        #[source]
        cause: serde_json::Error,
    },
    /// The answer lacks something the API promises.
    #[error("the answer to {path} lacks {what}")]
    Lacking {
        /// Path of the request.
        path: String,
        /// What is missing.
        what: &'static str,
    },
    /// The file server refused, or the conversation with it broke.
    #[error(transparent)]
    Sftp(#[from] coffer_sftp::SessionError),
    /// A file inside an instance can't be had or made.
    #[error("{path} in the instance")]
    File {
        /// The path inside.
        path: String,
        /// What the file server said.
        #[source]
        cause: coffer_sftp::SessionError,
    },
    /// A websocket broke.
    #[error("talking on a websocket of the server")]
    Websocket {
        /// What broke.
        #[source]
        cause: io::Error,
    },
    /// A local file could not be read or written.
    #[error("using the file {}", file.display())]
    LocalFile {
        /// The file.
        file: PathBuf,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
}

/// Says what is wrong with a socket and what to do about it.
fn connecting_text(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => "no server is there (start cofferd, or name its directory with COFFER_DIR): socket",
        io::ErrorKind::ConnectionRefused => "the server has gone (start cofferd again): socket",
        io::ErrorKind::PermissionDenied => "you may not talk to the server (be root, or join the group of its socket): socket",
        _ => "the server can't be reached: socket",
    }
}

impl ClientError {
    /// Returns the HTTP status, if the server refused the request.
    pub fn code(&self) -> Option<u16> {
        match self {
            ClientError::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Tells whether the server does not know the object.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Tells whether there is something already where something new was to be.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }
}
