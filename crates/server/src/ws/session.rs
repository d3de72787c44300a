//! Sockets that an operation waits for: each is opened by a secret that works once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::Socket;
use crate::refusal::Refusal;

/// How long a client has to connect the sockets that an operation cannot do without.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// All doors that are not open yet, by their secrets. What comes through them is a websocket or another kind of connection.
pub struct Sessions<T = Socket>(Arc<Table<T>>);

type Table<T> = Mutex<HashMap<String, oneshot::Sender<T>>>;

/// One operation's doors. Dropping them locks those that nobody came through.
pub struct Doors<T = Socket> {
    sessions: Sessions<T>,
    doors: Vec<Door<T>>,
}

struct Door<T> {
    name: &'static str,
    secret: String,
    socket: Option<oneshot::Receiver<T>>,
}

/// The sockets did not come in time.
#[derive(Debug, thiserror::Error)]
#[error("the client did not connect websocket {name:?} within {} seconds", PATIENCE.as_secs())]
pub struct NoSocket {
    name: &'static str,
}

impl<T> Clone for Sessions<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Sessions<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Sessions<T> {
    /// Makes doors with these names.
    ///
    /// # Errors
    /// If the kernel has no randomness.
    pub fn open(&self, names: &[&'static str]) -> Result<Doors<T>, Refusal> {
        let mut doors = Vec::with_capacity(names.len());
        for &name in names {
            let (sender, receiver) = oneshot::channel();
            let secret = secret()?;
            self.lock().insert(secret.clone(), sender);
            doors.push(Door { name, secret, socket: Some(receiver) });
        }
        Ok(Doors { sessions: self.clone(), doors })
    }

    /// Takes the door that a secret opens. The secret is spent.
    pub fn take(&self, secret: &str) -> Option<oneshot::Sender<T>> {
        self.lock().remove(secret)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Doors<T> {
    /// The secrets by the doors' names, as the operation's metadata carries them.
    pub fn secrets(&self) -> Map<String, Value> {
        self.doors.iter().map(|door| (door.name.to_owned(), Value::from(door.secret.clone()))).collect()
    }

    /// Waits for the sockets of these names, in any order.
    ///
    /// # Errors
    /// [`NoSocket`] when one has not come in time.
    pub async fn wait_for<const N: usize>(&mut self, names: [&'static str; N]) -> Result<[T; N], NoSocket> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut sockets = Vec::with_capacity(N);
        for name in names {
            let socket = self.receiver(name).ok_or(NoSocket { name })?;
            let socket = tokio::time::timeout_at(deadline, socket).await;
            sockets.push(socket.ok().and_then(Result::ok).ok_or(NoSocket { name })?);
        }
        sockets.try_into().map_err(|_| NoSocket { name: "0" })
    }

    /// The socket of a door that the operation can do without, whenever it comes.
    pub fn receiver(&mut self, name: &str) -> Option<oneshot::Receiver<T>> {
        self.doors.iter_mut().find(|door| door.name == name)?.socket.take()
    }
}

impl<T> Drop for Doors<T> {
    fn drop(&mut self) {
        let mut table = self.sessions.lock();
        for door in &self.doors {
            table.remove(&door.secret);
        }
    }
}

fn secret() -> Result<String, Refusal> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Refusal::internal(format!("making a secret: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_works_once_and_ends_with_its_operation() {
        let sessions: Sessions = Sessions::default();
        let doors = sessions.open(&["0", "control"]).unwrap();
        let secrets = doors.secrets();
        let first = secrets["0"].as_str().unwrap();
        assert_eq!(first.len(), 64);
        assert!(sessions.take(first).is_some() && sessions.take(first).is_none());
        let second = secrets["control"].as_str().unwrap().to_owned();
        drop(doors);
        assert!(sessions.take(&second).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_come_is_named() {
        let mut doors = <Sessions>::default().open(&["0", "1"]).unwrap();
        let error = doors.wait_for(["0", "1"]).await.err().unwrap();
        assert_eq!(error.to_string(), "the client did not connect websocket \"0\" within 5 seconds");
    }
}
