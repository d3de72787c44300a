//! `import`: instances from backups.

use std::path::PathBuf;

use clap::Args;
use coffer_client::{Part, Upload};

use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Make an instance, snapshots included, from a backup
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Perhaps REMOTE:, the backup's file (- for standard input), perhaps the instance's name
    #[arg(value_name = "[REMOTE:] FILE [NAME]", required = true, num_args = 1..=3)]
    arguments: Vec<String>,
    /// Storage pool
    #[arg(short, long, default_value = "", hide_default_value = true)]
    storage: String,
}

impl Import {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let (target, rest) = crate::target::leading_remote(&self.arguments);
        let (file, name) = match rest {
            [file] => (file, ""),
            [file, name] => (file, name.as_str()),
            _ => return Err(CliError::Missing { what: "the backup's file" }),
        };
        let client = app.client(&Target { name: String::new(), ..target })?;
        let upload = upload(file)?;
        app.finish(client.import_instance(upload, &self.storage, name).await?, "Importing instance").await.map(drop)
    }
}

/// Opens a file to send, or standard input.
pub(crate) fn upload(file: &str) -> Result<Upload, CliError> {
    if file == "-" {
        return Ok(Upload::new(vec![Part::Stream(coffer_client::Source(Box::new(std::io::stdin())))]));
    }
    let path = PathBuf::from(file);
    Upload::file(&path).map_err(|cause| CliError::File { file: path, cause })
}
