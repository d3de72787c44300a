//! The SDK: everything a program needs to talk to a Coffer (or LXD) server.
//!
//! Never: prints, reads the terminal or decides anything for the user; holds per-byte work on exec streams; believes a
//! name a server sent enough to use it as a path.

mod answer;
mod certificates;
mod client;
mod console;
mod endpoint;
mod error;
mod events;
mod exec;
mod files;
mod image_files;
mod images;
mod instance_metadata;
mod instances;
mod networks;
mod operations;
mod path;
mod pipes;
mod profiles;
mod projects;
mod server;
pub mod sftp;
mod snapshots;
pub mod splice;
mod storage;
mod storage_volumes;
mod transport;
mod upload;
mod warnings;
pub mod websocket;

pub use answer::{Answer, Tagged};
pub use client::{Client, RawReply};
pub use console::ConsoleSession;
pub use endpoint::{Endpoint, Family, HttpsServer};
pub use error::ClientError;
pub use events::EventStream;
pub use exec::{Ended, ExecSession, ExecStreams};
pub use files::{FileKind, FileOwner, FileReply, NewFile};
pub use image_files::{ImageDownload, ImageFile, ImageUpload};
pub use operations::{Canceller, Listener, Pending};
pub use path::ApiPath;
pub use pipes::{PipeEnd, PipeSession, Signals, Started, WithFile};
pub use transport::{Download, Trace};
pub use upload::{Part, Source, Upload};
