//! Carrying a plan out, in instances of a daemon.

mod base;
mod bootstrap;
mod build;
mod cache;
mod clean;
mod describe;
mod files;
mod owner;
mod publish;
mod run;
mod users;
mod work;

use std::collections::BTreeMap;

use coffer_api::InstanceSource;

pub use build::{Builder, Built};
pub use cache::{Pruned, prune};
pub use owner::Owner;

/// How a plan is carried out.
#[derive(Debug, Default)]
pub struct Options {
    /// Where each image that a stage begins with comes from, by the recipe's name for it.
    pub images: BTreeMap<String, BaseImage>,
    /// Profiles of the instances that steps run in; none leaves them to the server.
    pub profiles: Option<Vec<String>>,
    /// The pool that they are in; empty leaves it to the profiles.
    pub pool: String,
    /// Configuration of these instances.
    pub config: BTreeMap<String, String>,
    /// Takes nothing from earlier builds.
    pub no_cache: bool,
    /// Fetches packages of a distribution anew.
    pub pull: bool,
    /// Architecture, as `x86_64`.
    pub architecture: String,
}

/// Where an image comes from.
#[derive(Clone, Debug, Default)]
pub struct BaseImage {
    /// What the server is told.
    pub source: InstanceSource,
    /// Its fingerprint, if that is known before it is there.
    pub fingerprint: Option<String>,
}

/// Hears how a build gets on.
pub trait Report {
    /// A step begins; `number` counts from 1.
    fn begins(&self, number: usize, count: usize, title: &str);
    /// The step was done in an earlier build.
    fn cached(&self, number: usize, count: usize, title: &str);
    /// The step that began last is done.
    fn done(&self);
    /// A line that a program wrote.
    fn line(&self, line: &str);
    /// Something that the user should know.
    fn warn(&self, text: &str);
}
