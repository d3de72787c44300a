//! Warnings: what an administrator should look at. They are kept over restarts; what is over is forgotten after a week.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use coffer_base::chain;
use coffer_model::{Instance, ProjectName, Time, Warning, WarningKind, WarningStatus};
use coffer_store::Store;
use uuid::Uuid;

use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;

/// How long a warning is kept after it was over.
const KEPT: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);

/// What was warned of, and whether it still lasts: most times that something is well or goes nothing was wrong with it, and
/// then nothing is written.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<HashMap<Subject, bool>>);

/// What a warning is about.
type Subject = (WarningKind, String, Option<ProjectName>);

impl Warnings {
    /// Takes up what an earlier daemon left.
    pub(crate) fn load(store: &Store) -> Result<Self, EngineError> {
        let all = store.read(coffer_store::warning::list)?;
        if all.iter().any(|warning| warning.status == WarningStatus::Resolved && is_old(warning)) {
            store.write(|tx| coffer_store::warning::prune(tx, old()))?;
        }
        let lasts = |warning: Warning| {
            let lasts = warning.status != WarningStatus::Resolved;
            ((warning.kind, warning.entity, warning.project), lasts)
        };
        Ok(Self(Mutex::new(all.into_iter().map(lasts).collect())))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Notes that something is wrong, again or for the first time.
    pub(crate) fn warn(&self, kind: WarningKind, entity: &str, project: Option<&ProjectName>, message: String) {
        self.inner.warnings.lock().insert((kind, entity.to_owned(), project.cloned()), true);
        let now = Time::now();
        let warning = Warning {
            id: Uuid::new_v4().to_string(),
            kind,
            entity: entity.to_owned(),
            project: project.cloned(),
            status: WarningStatus::New,
            count: 1,
            first_seen_at: now,
            last_seen_at: now,
            message,
        };
        if let Err(error) = self.inner.store.write_behind(|tx| coffer_store::warning::raise(tx, &warning)) {
            tracing::error!("keeping the warning {:?} of {entity}: {}", kind.words(), chain(&error));
        }
    }

    /// Notes that something is well. Costs nothing unless something was wrong.
    pub(crate) fn well(&self, kind: WarningKind, entity: &str, project: Option<&ProjectName>) {
        match self.inner.warnings.lock().get_mut(&(kind, entity.to_owned(), project.cloned())) {
            Some(lasts @ true) => *lasts = false,
            Some(false) | None => return,
        }
        let resolved = self.inner.store.write_behind(|tx| coffer_store::warning::resolve(tx, kind, entity, project, Time::now()));
        if let Err(error) = resolved {
            tracing::error!("ending the warning {:?} of {entity}: {}", kind.words(), chain(&error));
        }
    }

    /// Forgets what is about a thing that is gone.
    pub(crate) fn forget_warnings(&self, entity: &str, project: Option<&ProjectName>) {
        let known = {
            let mut all = self.inner.warnings.lock();
            let before = all.len();
            all.retain(|(_, known, within), _| known != entity || within.as_ref() != project);
            all.len() < before
        };
        if known && let Err(error) = self.inner.store.write_behind(|tx| coffer_store::warning::forget(tx, entity, project)) {
            tracing::error!("forgetting the warnings of {entity}: {}", chain(&error));
        }
    }

    /// Warns of what the host's control groups lack.
    pub(crate) fn warn_of_controllers(&self) {
        let controllers = [
            ("cpu", WarningKind::NoCpuController),
            ("cpuset", WarningKind::NoCpusetController),
            ("memory", WarningKind::NoMemoryController),
            ("pids", WarningKind::NoPidsController),
        ];
        for (controller, kind) in controllers {
            if self.inner.hierarchies.all().iter().any(|hierarchy| hierarchy.controls(controller)) {
                self.well(kind, "", None);
            } else {
                self.warn(kind, "", None, format!("the host has no controller {controller}: its limits have no effect"));
            }
        }
    }

    /// Warns of an instance that should have started with the daemon.
    pub(crate) fn warn_of_autostart(&self, instance: &Instance, error: &EngineError) {
        let url = format!("/1.0/instances/{}", instance.name);
        self.warn(WarningKind::AutostartFailure, &url, Some(&instance.project), chain(error));
    }

    /// Lists all warnings, those that are over too, in the order in which they were first seen.
    ///
    /// # Errors
    /// Only the store's.
    pub fn warnings(&self) -> Result<Vec<Warning>, EngineError> {
        let all = self.inner.store.read(coffer_store::warning::list)?;
        Ok(all.into_iter().filter(|warning| warning.status != WarningStatus::Resolved || !is_old(warning)).collect())
    }

    /// Reads one warning.
    ///
    /// # Errors
    /// If there is no such warning.
    pub fn warning(&self, id: Uuid) -> Result<Warning, EngineError> {
        let id = id.to_string();
        self.warnings()?.into_iter().find(|warning| warning.id == id).ok_or_else(|| EngineError::not_found("warning", id))
    }

    /// Notes whether somebody saw a warning.
    ///
    /// # Errors
    /// If there is no such warning.
    pub fn acknowledge_warning(&self, caller: &Caller, id: Uuid, seen: bool) -> Result<(), EngineError> {
        let (status, action) =
            if seen { (WarningStatus::Acknowledged, "warning-acknowledged") } else { (WarningStatus::New, "warning-reset") };
        let warning = self.warning(id)?;
        self.inner.store.write(|tx| coffer_store::warning::set_status(tx, &warning.id, status))?;
        self.inner.warnings.lock().insert((warning.kind, warning.entity, warning.project), true);
        self.events().lifecycle(None, action, format!("/1.0/warnings/{id}"), Some(caller));
        Ok(())
    }

    /// Deletes a warning; it comes again with what it is about.
    ///
    /// # Errors
    /// If there is no such warning.
    pub fn delete_warning(&self, caller: &Caller, id: Uuid) -> Result<(), EngineError> {
        let warning = self.warning(id)?;
        self.inner.store.write(|tx| coffer_store::warning::delete(tx, &warning.id))?;
        self.inner.warnings.lock().remove(&(warning.kind, warning.entity, warning.project));
        self.events().lifecycle(None, "warning-deleted", format!("/1.0/warnings/{id}"), Some(caller));
        Ok(())
    }
}

/// The moment before which what was over is forgotten.
fn old() -> Time {
    Time::now().checked_sub(KEPT).unwrap_or(Time::UNIX_EPOCH)
}

fn is_old(warning: &Warning) -> bool {
    warning.last_seen_at < old()
}
