//! Builds images: reads what an image is to be made of, plans it in steps, and runs these in instances of a daemon.
//!
//! Everything is done through the API that any client has, so building takes no right that making instances does not take.
//! Never: runs a step of a recipe outside an instance; follows a path of a recipe out of its build context; prints.

pub mod context;
mod digest;
mod error;
pub mod execute;
mod pattern;
pub mod plan;
pub mod read;
pub mod recipe;

pub use context::{Context, ContextError};
pub use digest::Digest;
pub use error::BuildError;
pub use execute::{BaseImage, Builder, Built, Options, Owner, Report, prune};
pub use plan::{Plan, PlanError};
pub use read::{Dialect, RecipeError};
pub use recipe::Recipe;
