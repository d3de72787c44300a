//! What terminals leave behind.

mod ring;

pub(crate) use ring::Ring;
