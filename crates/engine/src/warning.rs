//! Warnings: what an administrator should look at. They are of this daemon's life; what is still wrong is found anew.

use std::sync::{Mutex, MutexGuard, PoisonError};

use coffer_model::{ProjectName, Time};
use uuid::Uuid;

use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;

/// Something an administrator should look at.
#[derive(Debug, Clone)]
pub struct Warning {
    /// Its identity.
    pub id: Uuid,
    /// What is wrong.
    pub kind: WarningKind,
    /// The URL of what it is about.
    pub entity: String,
    /// The project that this is in, if it is in one.
    pub project: Option<ProjectName>,
    /// Whether somebody saw it, or it is over.
    pub status: WarningStatus,
    /// How often it was seen.
    pub count: u64,
    /// When it was first seen.
    pub first_seen_at: Time,
    /// When it was last seen.
    pub last_seen_at: Time,
    /// What there was to say the last time.
    pub message: String,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarningKind {
    /// A storage pool is not there.
    PoolUnavailable,
}

/// How far a warning is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarningStatus {
    /// Nobody saw it yet.
    New,
    /// Somebody did.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl WarningKind {
    /// LXD's words for it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::PoolUnavailable => "Storage pool unavailable",
        }
    }

    /// LXD's word for how bad it is.
    #[must_use]
    pub fn severity(self) -> &'static str {
        match self {
            Self::PoolUnavailable => "high",
        }
    }
}

impl WarningStatus {
    /// The API's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

/// All warnings, at most one of each kind for each thing.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<Vec<Warning>>);

impl Warnings {
    /// Notes that something is wrong, again or for the first time.
    pub(crate) fn raise(&self, kind: WarningKind, entity: &str, project: Option<&ProjectName>, message: String) {
        let now = Time::now();
        let mut all = self.lock();
        if let Some(known) = all.iter_mut().find(|warning| warning.kind == kind && warning.entity == entity) {
            known.count += 1;
            known.last_seen_at = now;
            known.message = message;
            if known.status == WarningStatus::Resolved {
                known.status = WarningStatus::New;
            }
            return;
        }
        let (id, status) = (Uuid::new_v4(), WarningStatus::New);
        let (entity, project) = (entity.to_owned(), project.cloned());
        all.push(Warning { id, kind, entity, project, status, count: 1, first_seen_at: now, last_seen_at: now, message });
    }

    /// Notes that something is well again.
    pub(crate) fn resolve(&self, kind: WarningKind, entity: &str) {
        let mut all = self.lock();
        for known in all.iter_mut().filter(|warning| warning.kind == kind && warning.entity == entity) {
            known.status = WarningStatus::Resolved;
        }
    }

    /// Forgets what is about a thing that is gone.
    pub(crate) fn forget(&self, entity: &str) {
        self.lock().retain(|warning| warning.entity != entity);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Warning>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Lists all warnings, those that are over too, in the order in which they were first seen.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        self.inner.warnings.lock().clone()
    }

    /// Reads one warning.
    ///
    /// # Errors
    /// If there is no such warning.
    pub fn warning(&self, id: Uuid) -> Result<Warning, EngineError> {
        self.warnings().into_iter().find(|warning| warning.id == id).ok_or_else(|| EngineError::not_found("warning", id))
    }

    /// Notes whether somebody saw a warning.
    ///
    /// # Errors
    /// If there is no such warning.
    pub fn acknowledge_warning(&self, caller: &Caller, id: Uuid, seen: bool) -> Result<(), EngineError> {
        let (status, action) =
            if seen { (WarningStatus::Acknowledged, "warning-acknowledged") } else { (WarningStatus::New, "warning-reset") };
        let mut all = self.inner.warnings.lock();
        let found = all.iter_mut().find(|warning| warning.id == id).ok_or_else(|| EngineError::not_found("warning", id))?;
        found.status = status;
        drop(all);
        self.events().lifecycle(None, action, format!("/1.0/warnings/{id}"), Some(caller));
        Ok(())
    }

    /// Deletes a warning; it comes again with what it is about.
    ///
    /// # Errors
    /// If there is no such warning.
    pub fn delete_warning(&self, caller: &Caller, id: Uuid) -> Result<(), EngineError> {
        self.warning(id)?;
        self.inner.warnings.lock().retain(|warning| warning.id != id);
        self.events().lifecycle(None, "warning-deleted", format!("/1.0/warnings/{id}"), Some(caller));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_warned_of_once_and_counted() {
        let warnings = Warnings::default();
        let raise = |message: &str| warnings.raise(WarningKind::PoolUnavailable, "/1.0/storage-pools/p", None, message.into());
        let state = || {
            let all = warnings.lock();
            (all.len(), all[0].count, all[0].status, all[0].message.clone())
        };
        raise("gone");
        raise("still gone");
        assert_eq!(state(), (1, 2, WarningStatus::New, "still gone".into()));
        warnings.resolve(WarningKind::PoolUnavailable, "/1.0/storage-pools/other");
        warnings.resolve(WarningKind::PoolUnavailable, "/1.0/storage-pools/p");
        assert_eq!(state().2, WarningStatus::Resolved);
        raise("gone again");
        assert_eq!(state(), (1, 3, WarningStatus::New, "gone again".into()));
        warnings.forget("/1.0/storage-pools/p");
        assert!(warnings.lock().is_empty());
    }
}
