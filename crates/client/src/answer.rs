//! What calls give back.

use coffer_api::Operation;

/// An object together with the tag that proves which version of it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Tagged<T> {
    /// The object.
    pub value: T,
    /// The tag as the server sent it, quotes included; empty if it sent none.
    pub etag: String,
}

/// How a change was taken.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It is done.
    Done,
    /// An operation carries it out.
    Accepted(Box<Operation>),
}
