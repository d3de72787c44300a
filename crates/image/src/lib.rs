//! Archives: images and backups, what they are, receiving and handing them out, writing them, reading them without trusting a byte.
//!
//! Never: parses an archive in the daemon's process (that is the work of `coffer-unpack`, see [`unpack`]); knows a database,
//! an operation or HTTP; opens a path that an image chose outside the directory it was handed.

pub mod backup;
pub mod export;
pub mod format;
pub mod metadata;
pub mod pack;
pub mod receive;
pub mod template;
pub mod unpack;

pub use backup::{BackupRequest, BackupTexts, BackupVolume, Form};
pub use coffer_base::architecture::{self, Architecture};
pub use export::{Export, Part, export};
pub use format::{Compression, Format};
pub use metadata::{Metadata, MetadataError, TemplateRule, TemplateTarget, Trigger};
pub use pack::{Compressor, Member, PackRequest, Packed};
pub use receive::{Arrived, Incoming, Parts, ReceiveError, Stored};
pub use unpack::{Accounts, Inspected, Limits, UnpackError, UnpackRequest, Unpacked, Unpacker};
