//! Where a backup goes: standard output, or a file that has its name once it is whole.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use coffer_client::{Client, Download};
use tempfile::NamedTempFile;

use crate::app::App;
use crate::error::CliError;
use crate::progress::Progress;
use crate::render::decimal_size;

/// What a backup is written to. Dropping it unfinished leaves whatever was there before.
pub(crate) struct Destination {
    path: PathBuf,
    file: Sink,
}

enum Sink {
    Output,
    /// A pipe, a device: there is nothing to keep.
    Special(File),
    /// Beside the file whose place it takes.
    New(NamedTempFile),
}

impl Destination {
    /// Opens it; `-` is standard output.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub(crate) fn open(path: PathBuf) -> Result<Destination, CliError> {
        if path.as_os_str() == "-" {
            return Ok(Destination { path, file: Sink::Output });
        }
        let failed = |cause| CliError::File { file: path.clone(), cause };
        // The file that a link leads to gets the content, not the link's place.
        let (path, mode) = match path.canonicalize() {
            Ok(real) => {
                let found = real.metadata().map_err(failed)?;
                if !found.is_file() {
                    let file = File::options().write(true).open(&real).map_err(failed)?;
                    return Ok(Destination { path: real, file: Sink::Special(file) });
                }
                (real, found.permissions().mode() & 0o7777)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (path.clone(), 0o666),
            Err(error) => return Err(failed(error)),
        };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(".".as_ref());
        directory.metadata().map_err(failed)?;
        // The kernel takes away what the user's mask says.
        let made = tempfile::Builder::new().prefix(".coffer-export-").permissions(Permissions::from_mode(mode)).tempfile_in(directory);
        // Its own words name a file that the user knows nothing of.
        let made = made.map_err(|error| failed(error.kind().into()))?;
        Ok(Destination { path, file: Sink::New(made) })
    }

    /// The file, if the server is on this host and so may be given it.
    pub(crate) fn to_hand_over(&self, client: &Client) -> Option<&File> {
        match &self.file {
            Sink::New(file) if client.endpoint().socket().is_some() => Some(file.as_file()),
            _ => None,
        }
    }

    /// Writes what is downloaded.
    ///
    /// # Errors
    /// If the download is cut or the file cannot be written.
    pub(crate) async fn fill(&mut self, app: &App, mut body: Download) -> Result<(), CliError> {
        let path = &self.path;
        let failed = |cause| CliError::File { file: path.clone(), cause };
        let mut output = io::stdout();
        let file: &mut dyn Write = match &mut self.file {
            Sink::Output => &mut output,
            Sink::Special(file) => file,
            Sink::New(file) => file,
        };
        let progress = Progress::new("Exporting the backup");
        let shown = !app.globals.quiet && io::IsTerminal::is_terminal(&io::stderr());
        let mut count = 0_i64;
        while let Some(chunk) = body.chunk().await? {
            file.write_all(&chunk).map_err(failed)?;
            count += i64::try_from(chunk.len()).unwrap_or(0);
            if shown {
                progress.show(&decimal_size(count));
            }
        }
        progress.clear();
        file.flush().map_err(failed)
    }

    /// Gives the file its name, and says that the backup was written unless it went to standard output.
    ///
    /// # Errors
    /// If the file cannot take its place.
    pub(crate) fn complete(self, app: &App) -> Result<(), CliError> {
        match self.file {
            Sink::Output => return Ok(()),
            Sink::Special(_) => {}
            Sink::New(file) => {
                file.persist(&self.path).map_err(|error| CliError::File { file: self.path, cause: error.error })?;
            }
        }
        app.note("Backup exported successfully!")
    }
}
