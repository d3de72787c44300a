//! Operations of commands that outlive the daemon that began them.
//!
//! The monitor keeps a label with each command: what the next daemon needs to have its operation again, running or ended.

use std::os::fd::OwnedFd;

use coffer_model::{Instance, InstanceName, Time};
use coffer_runtime_spec::{Answer, ExecLabel, ExecStatus, Refusal, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::Engine;
use crate::error::EngineError;
use crate::monitor::Monitor;
use crate::operations::{Class, NewOperation, OperationHandle, OperationView};

/// What operations that run commands do, in words.
pub const EXECUTING: &str = "Executing command";

/// What is kept of an operation.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Its identity.
    operation: String,
    /// When it was made, RFC 3339.
    created_at: String,
    websocket: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
}

/// The label of a command that this operation is about.
pub(crate) fn label(view: &OperationView) -> Option<ExecLabel> {
    let kept = Kept {
        operation: view.id.to_string(),
        created_at: view.created_at.to_string(),
        websocket: view.class == Class::Websocket,
        output: view.metadata.get("output").cloned(),
    };
    serde_json::to_string(&kept).ok().and_then(ExecLabel::new)
}

impl Engine {
    /// Takes commands up that an earlier daemon began: their operations are there again, and end when they do.
    pub(crate) fn resume_execs(&self, instance: &Instance, monitor: &Monitor, commands: &[ExecStatus]) {
        for command in commands {
            // One that nobody asks about is collected too, so that the monitor need not keep it.
            let mut resumed = Resumed { operation: self.resume_operation(instance, command), instance: instance.name.clone() };
            let ended = move |(result, _): (Result<Answer, Refusal>, Vec<OwnedFd>)| match result {
                Ok(Answer::ExecEnded(status)) => resumed.end(status.state.shell_status()),
                Ok(_) => {}
                // The earlier daemon went away before it was known that the program cannot be run.
                Err(refusal) => resumed.end(super::exec::status_of_refused(refusal.kind)),
            };
            if let Err(error) = monitor.ask_then(Request::ExecWait { id: command.id }, &[], ended) {
                tracing::warn!(instance = %instance.name, "waiting for a command that runs in it: {error}");
            }
        }
    }

    /// Has the operations of commands that ended with their instance, while no daemon was there.
    pub(crate) fn finish_execs(&self, instance: &Instance, commands: &[ExecStatus]) {
        for command in commands {
            Resumed { operation: self.resume_operation(instance, command), instance: instance.name.clone() }
                .end(command.state.shell_status());
        }
    }

    fn resume_operation(&self, instance: &Instance, command: &ExecStatus) -> Option<OperationHandle> {
        let kept: Kept = serde_json::from_str(command.label.as_ref()?.as_str()).ok()?;
        let (id, created_at) = (Uuid::try_parse(&kept.operation).ok()?, kept.created_at.parse::<Time>().ok()?);
        let mut new = NewOperation::instance(EXECUTING, &instance.project, instance.name.as_str());
        new.class = if kept.websocket { Class::Websocket } else { Class::Task };
        new.metadata = Map::from_iter(kept.output.map(|output| ("output".to_owned(), output)));
        let _runtime = self.inner.runtime.enter();
        Some(self.operations().resume(new, id, created_at))
    }
}

/// An operation that waits for its command. Dropped unended, the instance went away first.
struct Resumed {
    operation: Option<OperationHandle>,
    instance: InstanceName,
}

impl Resumed {
    fn end(&mut self, status: Option<i32>) {
        if let Some(code) = status
            && let Some(operation) = self.operation.take()
        {
            operation.set_metadata("return", code);
            operation.finish(Ok(()));
        }
    }
}

impl Drop for Resumed {
    fn drop(&mut self) {
        if let Some(operation) = self.operation.take() {
            operation.set_metadata("return", -1);
            operation.finish(Err(EngineError::Refused(format!("instance {} went away while the command ran", self.instance))));
        }
    }
}
