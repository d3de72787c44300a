//! What the standard library should have: undo guards, error chains, running a program, sizes, locks, failure points.
//!
//! Never: anything that knows what an instance, a pool or a daemon is; any `unsafe`.

pub mod architecture;
pub mod bytes;
pub mod chain;
pub mod fault;
pub mod lock;
pub mod near;
pub mod progress;
pub mod run;
mod spread;
pub mod undo;

pub use architecture::Architecture;
pub use bytes::Bytes;
pub use chain::chain;
pub use progress::Progress;
pub use spread::spread;
pub use undo::Undo;
