//! Operations: waiting for them, watching and cancelling them.

use std::collections::BTreeMap;
use std::time::Duration;

use coffer_api::{EventKind, Operation, OperationLogEntry, StatusCode};
use hyper::Method;

use crate::{Answer, ApiPath, Client, ClientError};

/// Hears of every new state of an operation that is being waited for.
pub type Listener<'a> = dyn Fn(&Operation) + 'a;

/// How long an operation may take before its progress is asked for: most are over sooner.
const PATIENCE: Duration = Duration::from_millis(60);

/// A change that is done or under way.
#[must_use = "the change goes on in the background until it is waited for"]
pub struct Pending {
    client: Client,
    operation: Option<Operation>,
}

impl Pending {
    pub(crate) fn new(client: Client, answer: Answer) -> Pending {
        let operation = match answer {
            Answer::Done => None,
            Answer::Accepted(operation) => Some(*operation),
        };
        Pending { client, operation }
    }

    /// Returns the operation as it was when the request was answered; `None` if the change was made at once.
    pub fn operation(&self) -> Option<&Operation> {
        self.operation.as_ref()
    }

    /// Waits until the operation is over and returns its last state.
    ///
    /// # Errors
    /// If the operation fails or is cancelled, or the server can't be reached.
    pub async fn wait(self) -> Result<Operation, ClientError> {
        let Some(operation) = self.operation else { return Ok(Operation::default()) };
        if operation.status_code.is_final() {
            return settle(operation);
        }
        settle(self.client.wait_operation(&operation.id, None).await?)
    }

    /// Waits like [`Pending::wait`] and tells `listener` of progress meanwhile.
    ///
    /// # Errors
    /// If the operation fails or is cancelled, or the server can't be reached.
    pub async fn watch(self, listener: &Listener<'_>) -> Result<Operation, ClientError> {
        let Some(operation) = self.operation else { return Ok(Operation::default()) };
        if operation.status_code.is_final() {
            return settle(operation);
        }
        listener(&operation);
        let waiting = self.client.wait_operation(&operation.id, None);
        let mut waiting = std::pin::pin!(waiting);
        if let Ok(done) = tokio::time::timeout(PATIENCE, &mut waiting).await {
            return settle(done?);
        }
        tokio::select! {
            done = &mut waiting => settle(done?),
            // Progress is a courtesy: without events the wait alone goes on.
            _ = follow(&self.client, &operation.id, listener) => settle(waiting.await?),
        }
    }

    /// Returns what cancels the operation while it is waited for; `None` if it is over.
    pub fn canceller(&self) -> Option<Canceller> {
        let operation = self.operation.as_ref().filter(|operation| !operation.status_code.is_final())?;
        Some(Canceller { client: self.client.clone(), operation: operation.id.clone() })
    }
}

/// Cancels an operation that somebody waits for.
pub struct Canceller {
    client: Client,
    operation: String,
}

impl Canceller {
    /// Returns the operation's identity.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// Asks the server to cancel the operation.
    ///
    /// # Errors
    /// If the operation can't be cancelled or the server can't be reached.
    pub async fn cancel(&self) -> Result<(), ClientError> {
        self.client.delete_operation(&self.operation).await
    }
}

/// Tells `listener` of each event of one operation until the events end.
async fn follow(client: &Client, id: &str, listener: &Listener<'_>) -> Result<(), ClientError> {
    let mut events = client.events(&[EventKind::Operation], false).await?;
    while let Some(event) = events.next().await? {
        if let Ok(operation) = serde_json::from_value::<Operation>(event.metadata)
            && operation.id == id
        {
            listener(&operation);
        }
    }
    Ok(())
}

/// Turns a failed operation into an error.
fn settle(operation: Operation) -> Result<Operation, ClientError> {
    if operation.err.is_empty() && operation.status_code.0 < 400 {
        return Ok(operation);
    }
    let text = match operation.err {
        text if !text.is_empty() => text,
        _ if operation.status_code == StatusCode::CANCELLED => "the operation was cancelled".to_owned(),
        _ => operation.status,
    };
    Err(ClientError::OperationFailed { text })
}

impl Client {
    /// Lists operations by lower-case status.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn operations(&self) -> Result<BTreeMap<String, Vec<Operation>>, ClientError> {
        self.get(ApiPath::new("/1.0/operations").query("recursion", "1")).await
    }

    /// Searches what operations did, the newest first; `filters` are the query's parameters.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn operation_log(&self, filters: &[(&str, String)]) -> Result<Vec<OperationLogEntry>, ClientError> {
        let path = ApiPath::new("/1.0/operations/log");
        self.get(filters.iter().fold(path, |path, (key, value)| path.query(key, value))).await
    }

    /// Reads an operation.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn operation(&self, id: &str) -> Result<Operation, ClientError> {
        self.get(ApiPath::new("/1.0/operations").segment(id)).await
    }

    /// Waits for an operation, for ever or so long, and returns its state then.
    ///
    /// # Errors
    /// If the server refuses or can't be reached; not if the operation fails.
    pub async fn wait_operation(&self, id: &str, limit: Option<Duration>) -> Result<Operation, ClientError> {
        let mut path = ApiPath::new("/1.0/operations").segment(id).then("wait");
        if let Some(limit) = limit {
            path = path.query("timeout", &limit.as_secs().to_string());
        }
        self.get(path).await
    }

    /// Cancels an operation.
    ///
    /// # Errors
    /// If it can't be cancelled, or the server refuses or can't be reached.
    pub async fn delete_operation(&self, id: &str) -> Result<(), ClientError> {
        let path = ApiPath::new("/1.0/operations").segment(id);
        self.change::<()>(Method::DELETE, path, None, "").await.map(drop)
    }
}
