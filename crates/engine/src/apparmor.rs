//! A profile of its own for every instance, where the kernel has AppArmor. Nothing else rests on it.
//!
//! Compiling takes longer than a start: it is done when an instance was made, while nobody waits for it, and what came of it is
//! kept by the hash of its text. So a start finds the profile in the kernel or hands over what is there.

mod policy;
mod profile;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use coffer_base::run;
use coffer_model::{Config, Instance};
use coffer_runtime_spec as spec;
use sha2::{Digest, Sha256};

use self::policy::Policy;
use crate::Engine;
use crate::error::EngineError;

/// The key with the user's own rules.
pub(crate) const RAW: &str = "raw.apparmor";

/// Where compiled profiles are, below the state directory: `NAME.HASH`.
pub(crate) const DIRECTORY: &str = "security";

/// What this server gave to the kernel.
pub(crate) struct Confinement {
    /// None where the kernel or the host's programs have no AppArmor.
    policy: Option<Policy>,
    /// What the profiles' names begin with: another server on this host has others.
    prefix: String,
    kept: PathBuf,
    /// The hash of each profile that is in the kernel, by name.
    loaded: Mutex<HashMap<String, String>>,
    /// Held while a profile is compiled or handed over: whoever wants the same one finds it done.
    compiling: Mutex<()>,
}

impl Confinement {
    /// Looks whether there is AppArmor. `identity` tells this server from others on the host.
    pub(crate) fn new(state: &Path, identity: &str) -> Self {
        let policy = Policy::open().filter(|_| {
            let installed = run::installed(policy::COMPILER);
            if !installed {
                tracing::warn!("the kernel has AppArmor, but instances get no profile: install the package apparmor");
            }
            installed
        });
        Self {
            policy,
            prefix: format!("coffer-{}-", identity.rsplit('/').next().unwrap_or_default()),
            kept: state.join(DIRECTORY),
            loaded: Mutex::default(),
            compiling: Mutex::default(),
        }
    }

    /// Says whether instances are confined by profiles.
    pub(crate) fn is_on(&self) -> bool {
        self.policy.is_some()
    }

    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn loaded(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that the kernel has an instance's profile; answers its name, or nothing where there is no AppArmor.
    fn ensure(&self, key: &str, config: &Config) -> io::Result<Option<String>> {
        let Some(policy) = &self.policy else { return Ok(None) };
        let name = self.name(key);
        let text = profile::text(&name, config);
        let hash = hash(&text);
        if self.loaded().get(&name) == Some(&hash) {
            return Ok(Some(name));
        }
        let _held = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        if self.loaded().get(&name) != Some(&hash) {
            if policy.replace(&self.compiled(&name, &hash, &text)?).is_err() {
                // What was kept may have been cut off when the power went; what is compiled now was not.
                self.drop_kept(&name, Path::new(""))?;
                policy.replace(&self.compiled(&name, &hash, &text)?)?;
            }
            self.loaded().insert(name.clone(), hash);
        }
        Ok(Some(name))
    }

    /// The compiled profile, out of the file that keeps it if there is one.
    fn compiled(&self, name: &str, hash: &str, text: &str) -> io::Result<Vec<u8>> {
        let path = self.kept.join(format!("{name}.{hash}"));
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Writing nothing to the kernel would succeed.
            Ok(nothing) if nothing.is_empty() => {}
            other => return other,
        }
        let making = self.kept.join(format!("{name}.new"));
        policy::compile(text, &making).map_err(io::Error::other)?;
        // What is written whole gets its name, and what it takes the place of goes.
        self.drop_kept(name, &making)?;
        fs::rename(&making, &path)?;
        fs::read(&path)
    }

    /// Takes an instance's profile away, with all that was kept of it.
    fn remove(&self, key: &str) -> io::Result<()> {
        let Some(policy) = &self.policy else { return Ok(()) };
        let name = self.name(key);
        let _held = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.loaded().remove(&name).is_some();
        if known || policy.has(&name)? {
            policy.remove(&name)?;
        }
        self.drop_kept(&name, Path::new(""))
    }

    /// Removes the files that keep a profile, but for one.
    fn drop_kept(&self, name: &str, but: &Path) -> io::Result<()> {
        for entry in fs::read_dir(&self.kept)? {
            let path = entry?.path();
            let of = path.file_name().and_then(|file| file.to_str()?.rsplit_once('.')).is_some_and(|(whose, _)| whose == name);
            if of && path != but {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// The hash of a profile's text for the running kernel: another one may know other rules.
fn hash(text: &str) -> String {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let digest = Sha256::new().chain_update(release).chain_update([0]).chain_update(text).finalize();
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Engine {
    /// The label that an instance starts under, whose profile the kernel has then.
    pub(crate) fn confine(&self, instance: &Instance, config: &Config) -> Result<Option<spec::Label>, EngineError> {
        let ensured = self.inner.confinement.ensure(&instance.key(), config);
        let failed = |cause: io::Error| match config.get(RAW) {
            // Of our own rules we know that they compile.
            Some(_) => EngineError::Refused(format!("instance {}: {RAW}: {}", instance.name, coffer_base::chain(&cause))),
            None => EngineError::system(format!("instance {}: loading its AppArmor profile", instance.name), cause),
        };
        Ok(ensured.map_err(failed)?.map(spec::Label::Apparmor))
    }

    /// Has an instance's profile made ready while nobody waits for it.
    pub(crate) fn confine_later(&self, instance: &Instance, config: &Config) {
        if !self.inner.confinement.is_on() {
            return;
        }
        let (engine, instance, config) = (self.clone(), instance.clone(), config.clone());
        self.inner.runtime.spawn_blocking(move || {
            // A start says the same where somebody reads it.
            if let Err(error) = engine.confine(&instance, &config) {
                tracing::warn!("making an AppArmor profile ready: {}", coffer_base::chain(&error));
            }
            // Deleted meanwhile: whoever deleted it found no profile yet.
            if engine.load(&instance.project, &instance.name).is_err() {
                engine.free(&instance);
            }
        });
    }

    /// Takes the profile of an instance away that is gone, or has another name now.
    pub(crate) fn free(&self, instance: &Instance) {
        if let Err(cause) = self.inner.confinement.remove(&instance.key()) {
            tracing::warn!(instance = %instance.name, "removing its AppArmor profile: {cause}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_kernel_has_none_nothing_is_done() {
        let none = Confinement {
            policy: None,
            prefix: "coffer-test-".into(),
            kept: "/nowhere".into(),
            loaded: Mutex::default(),
            compiling: Mutex::default(),
        };
        assert_eq!(none.ensure("web", &Config::default()).unwrap(), None);
        none.remove("web").unwrap();
        assert!(!none.is_on());
    }

    #[test]
    fn the_hash_is_of_the_text() {
        assert_eq!((hash("a"), hash("a").len()), (hash("a"), 32));
        assert_ne!(hash("a"), hash("b"));
    }
}
