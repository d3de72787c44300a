//! `image serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use coffer_publish::Tree;
use coffer_publish::serve::{CertificateFiles, serve};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::error::CliError;

/// Hand out a tree of images to any simplestreams client
///
/// 'simplestreams add' makes the tree. With a certificate it is served over HTTPS; without one over HTTP, and then to this
/// machine only. It ends with Ctrl-C.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Directory of the tree
    tree: PathBuf,
    /// Address and port
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Certificate in PEM, with those that vouch for it behind it
    #[arg(long, value_name = "FILE", requires = "key_file")]
    certificate: Option<PathBuf>,
    /// The certificate's key in PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key_file: Option<PathBuf>,
}

impl Serve {
    pub(super) async fn run(self, app: &App) -> Result<(), CliError> {
        let files = self.certificate.as_deref().zip(self.key_file.as_deref());
        let files = files.map(|(certificate, key)| CertificateFiles { certificate, key });
        let failed = |cause| CliError::Terminal { cause };
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?);
        let serving = serve(Tree::open(&self.tree)?, self.listen, files).await?;
        app.note(&format!("Serving {} at {}", self.tree.display(), serving.url()))?;
        tokio::select! {
            ended = serving.run() => Ok(ended?),
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    }
}
