//! Images, good and hostile, go through the real program in its sandbox.

mod archives;
mod formats;
mod hostile;
mod kept;
mod lifetime;
mod squashfs;
mod world;
