//! The stream of events.

use coffer_api::{Event, EventKind};

use crate::websocket::{self, Messages};
use crate::{ApiPath, Client, ClientError};

/// Events as they happen.
pub struct EventStream(Messages);

impl EventStream {
    /// Waits for the next event; `None` once the server has ended the stream.
    ///
    /// # Errors
    /// If the connection breaks or a message is no event.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        match self.next_text().await? {
            None => Ok(None),
            Some(text) => match serde_json::from_slice(&text) {
                Ok(event) => Ok(Some(event)),
                Err(cause) => Err(ClientError::Reading { path: "/1.0/events".to_owned(), cause }),
            },
        }
    }

    /// Waits for the next event and returns it as it came, JSON.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn next_text(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        self.0.next().await.map_err(|cause| ClientError::Websocket { cause })
    }
}

impl Client {
    /// Listens to events of some kinds (an empty list: all the caller may see), of this project or of all.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn events(&self, kinds: &[EventKind], all_projects: bool) -> Result<EventStream, ClientError> {
        self.events_since(kinds, all_projects, None).await
    }

    /// Like [`Client::events`]; first come the events after the one with the number `since`, as far as the server has them. An
    /// event of kind `gap` stands for those that it has not.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn events_since(&self, kinds: &[EventKind], all_projects: bool, since: Option<u64>) -> Result<EventStream, ClientError> {
        let mut path = ApiPath::new("/1.0/events");
        if !kinds.is_empty() {
            path = path.query("type", &kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(","));
        }
        if all_projects {
            path = path.query("all-projects", "true");
        }
        if let Some(since) = since {
            path = path.query("since", &since.to_string());
        }
        Ok(EventStream(Messages::new(websocket::dial(self.endpoint(), &self.in_project(path)).await?)))
    }
}
