//! Consoles of instances.

use coffer_api::InstanceConsolePost;
use futures_util::future::try_join;

use crate::websocket::Socket;
use crate::{ApiPath, Client, ClientError, Download};

/// An attached console.
pub struct ConsoleSession {
    /// The console, both directions.
    pub terminal: Socket,
    /// Takes resizes; closing it detaches.
    pub control: Socket,
    /// Handle of the operation.
    pub id: String,
}

impl Client {
    /// Attaches to the console of an instance.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn console(&self, instance: &str, request: &InstanceConsolePost) -> Result<ConsoleSession, ClientError> {
        let operation = self.begin_sockets(console_path(instance), request).await?;
        let (terminal, control) = try_join(self.operation_socket(&operation, "0"), self.operation_socket(&operation, "control")).await?;
        Ok(ConsoleSession { terminal, control, id: operation.id })
    }

    /// Reads what an instance wrote to its console lately.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn console_log(&self, instance: &str) -> Result<Download, ClientError> {
        self.download(console_path(instance)).await
    }
}

fn console_path(instance: &str) -> ApiPath {
    ApiPath::new("/1.0/instances").segment(instance).then("console")
}
