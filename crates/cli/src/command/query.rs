//! `query`: any request.

use clap::Args;
use coffer_api::{Operation, Response, ResponseKind};
use coffer_client::{ApiPath, ClientError};
use hyper::Method;
use serde_json::Value;

use crate::app::App;
use crate::error::CliError;
use crate::render::{clean_lines, json_tabbed};
use crate::target::Target;

/// Send a request to the API and show the answer
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  coffer query -X DELETE --wait /1.0/instances/web")]
pub(crate) struct Query {
    /// Path, such as /1.0/instances?recursion=1
    #[arg(value_name = "[REMOTE:]PATH")]
    path: Target,
    /// Method
    #[arg(short = 'X', long, default_value = "GET")]
    request: Method,
    /// Body, JSON
    #[arg(short, long)]
    data: Option<String>,
    /// Show the whole answer, not only its metadata
    #[arg(long)]
    raw: bool,
    /// Wait for the operation and show its end
    #[arg(long)]
    wait: bool,
}

impl Query {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let client = app.client(&self.path)?;
        let path = self.path.required("the path")?;
        if !path.starts_with('/') {
            return Err(CliError::NotOfForm { name: path.to_owned(), form: "/1.0/..." });
        }
        let reply = client.raw(self.request, ApiPath::new(path), self.data.map(String::into_bytes)).await?;
        let Ok(answer) = serde_json::from_slice::<Response<Value>>(&reply.body) else {
            // Content outside the envelope is shown as it is, but for what could steer the terminal.
            return app.print(&clean_lines(&String::from_utf8_lossy(&reply.body)));
        };
        if self.raw {
            return app.print(&json_tabbed(&answer));
        }
        if answer.kind == ResponseKind::Error {
            return Err(ClientError::Refused { code: answer.error_code, text: answer.error }.into());
        }
        if self.wait && answer.kind == ResponseKind::Async {
            let operation: Operation = serde_json::from_value(answer.metadata).map_err(|cause| CliError::Json { cause })?;
            let done = client.wait_operation(&operation.id, None).await?;
            app.print(&json_tabbed(&done))?;
            return if done.err.is_empty() { Ok(()) } else { Err(ClientError::OperationFailed { text: done.err }.into()) };
        }
        let empty = matches!(&answer.metadata, Value::Null) || answer.metadata.as_object().is_some_and(serde_json::Map::is_empty);
        if empty { Ok(()) } else { app.print(&json_tabbed(&answer.metadata)) }
    }
}
