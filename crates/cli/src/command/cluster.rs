//! `cluster`: a word of `lxc` that is refused by name, whatever follows it.

use clap::Args;

use crate::error::CliError;

/// Clusters (not supported)
#[derive(Debug, Args)]
pub(crate) struct Cluster {
    #[arg(hide = true, num_args = 0.., allow_hyphen_values = true, trailing_var_arg = true)]
    rest: Vec<String>,
}

impl Cluster {
    pub(crate) fn run(self) -> Result<(), CliError> {
        Err(CliError::Unsupported { what: "cluster (each server stands alone; copy and move instances between remotes)" })
    }
}
