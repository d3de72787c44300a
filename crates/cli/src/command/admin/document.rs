//! `admin dump` and `admin restore`: all of the server's configuration as one document.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;

use super::{apply, dump};
use crate::app::App;
use crate::editor::read_yaml;
use crate::error::CliError;
use crate::render::yaml;

/// Write all configuration of the server, as YAML
///
/// Server keys, storage pools, networks, projects, profiles, the public parts of trusted certificates, aliases of images: what
/// "admin restore" and "admin init --preseed" read. Instances, images and volumes are not configuration; the first and the last
/// come back with "admin recover". The trust password and private keys are left out. Profiles may hold what is secret to you,
/// such as cloud-init.user-data: with --output only you may read the file.
#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// File to write, which is made anew and only its owner may read; standard output unless said
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Dump {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let text = yaml(&dump::read(app.local()).await?);
        let Some(file) = self.output else { return app.print(&text) };
        let written = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
        let written = written.and_then(|mut opened| opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()));
        written.map_err(|cause| CliError::File { file, cause })
    }
}

/// Set the server up as a dump says
///
/// What is missing is made, what is there is changed; if a step fails, what was made is taken back. A trust password is to be set
/// anew, and aliases of images that are not here are left out.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// File; standard input unless said
    file: Option<PathBuf>,
    /// Do not make the storage pools that are missing, but find them and take in the instances and volumes in them
    #[arg(long)]
    recover: bool,
}

impl Restore {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let text = match self.file {
            Some(file) => std::fs::read_to_string(&file).map_err(|cause| CliError::File { file, cause })?,
            None => std::io::read_to_string(std::io::stdin()).map_err(|cause| CliError::Stream { stream: "input", cause })?,
        };
        let manner = if self.recover { apply::Manner::Recover } else { apply::Manner::Restore };
        for left_out in apply::apply(app.local(), &read_yaml(&text)?, manner).await? {
            app.complain(&left_out);
        }
        Ok(())
    }
}
