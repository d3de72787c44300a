//! The guest API: what an instance may ask about itself, through a socket of its own.
//!
//! Each running instance has a directory with one socket in it, which is mounted at `/dev/lxd` inside. Which socket a question
//! came through says who asks; the kernel says that the asker is the instance's root and lives in its control group. A directory
//! is mounted rather than the socket, so that the next daemon can put its own socket there.

pub(crate) mod door;
mod events;
pub(crate) mod facts;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use coffer_model::{InstanceName, ProjectName};
use tokio::sync::{broadcast, mpsc, watch};

pub use door::{Door, Guest};
pub use events::{GuestEvent, GuestEventBody};

/// How many events a listener inside may lag behind before it loses some.
const BACKLOG: usize = 256;

/// All doors that are open, and who waits for new ones.
pub(crate) struct Guests {
    open: Mutex<HashMap<(ProjectName, InstanceName), watch::Sender<()>>>,
    opened: mpsc::UnboundedSender<Door>,
    doors: Mutex<Option<mpsc::UnboundedReceiver<Door>>>,
    events: broadcast::Sender<Arc<GuestEvent>>,
}

impl Default for Guests {
    fn default() -> Self {
        let (opened, doors) = mpsc::unbounded_channel();
        Self { open: Mutex::default(), opened, doors: Mutex::new(Some(doors)), events: broadcast::channel(BACKLOG).0 }
    }
}

impl crate::Engine {
    /// The doors of instances, each as it opens. Only the first who asks gets them.
    #[must_use]
    pub fn guest_doors(&self) -> Option<mpsc::UnboundedReceiver<Door>> {
        self.inner.guests.doors.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
