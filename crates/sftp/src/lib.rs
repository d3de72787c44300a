//! SFTP, version 3, as bytes: packets read and written, and a client over any stream.
//!
//! Never: a socket, a thread, a file or a path of its own. Whoever serves files and whoever asks for them share these words.
//!
//! Source: draft-ietf-secsh-filexfer-02; where OpenSSH differs (the order of a link's two paths), as OpenSSH, whom all follow.

mod attributes;
mod fields;
mod frames;
mod name;
mod reply;
mod request;
mod session;
mod status;
mod transfer;

pub use attributes::{Attributes, Kind};
pub use fields::Malformed;
pub use frames::Frames;
pub use name::{Name, Names};
pub use reply::{Reply, write_data, write_version};
pub use request::{Flags, Request, extension, take_string};
pub use session::{Session, SessionError};
pub use status::Status;
pub use transfer::{Reading, Writing};

/// The version that is spoken.
pub const VERSION: u32 = 3;

/// Most bytes of a file's content in one packet. Source: OpenSSH's server takes and gives as much.
pub const MOST_DATA: usize = 256 << 10;

/// Most bytes of a packet behind its length.
pub const MOST_PACKET: usize = MOST_DATA + 1024;

/// The extension by which a client asks for codes of failures beyond those of version 3, and a server says that it gives
/// them: the numbers are those of draft-ietf-secsh-filexfer-13.
pub const MORE_CODES: &str = "codes@coffer";
