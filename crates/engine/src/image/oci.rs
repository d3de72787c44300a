//! Images from registries: layers that images share, and a record of which layers an image has and which process is in it.

pub(crate) mod layers;
mod process;
mod pull;
pub(crate) mod record;
mod user;

pub(crate) use process::{ENTRYPOINT, STOP_SIGNAL};
