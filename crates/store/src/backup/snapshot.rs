//! The snapshots in the document.

use coffer_model::{Config, Instance, InstanceSnapshot, Phase, Profile, ProfileName, Time};

use super::{BackupError, Document, Snapshot, devices, name, plain};

impl Document {
    /// Adds an instance's snapshots, the oldest first, each with the profiles that it names.
    #[must_use]
    pub fn with_snapshots<'a>(
        self,
        instance: &Instance,
        snapshots: impl IntoIterator<Item = (&'a InstanceSnapshot, Vec<Profile>)>,
    ) -> Self {
        let snapshots = snapshots.into_iter().map(|(snapshot, profiles)| Snapshot::of(instance, snapshot, &profiles)).collect();
        Self { snapshots, ..self }
    }

    /// The instance's snapshots, the oldest first. They pass the gate when they are restored.
    ///
    /// # Errors
    /// If a name is not one, or a snapshot holds running state.
    pub fn instance_snapshots(&self) -> Result<Vec<InstanceSnapshot>, BackupError> {
        self.snapshots.iter().map(Snapshot::to_model).collect()
    }
}

impl Snapshot {
    fn of(instance: &Instance, snapshot: &InstanceSnapshot, profiles: &[Profile]) -> Self {
        let then = snapshot.as_instance(instance);
        Self {
            architecture: snapshot.architecture.clone(),
            config: snapshot.config.0.clone(),
            created_at: Some(snapshot.created_at),
            devices: plain(&snapshot.devices),
            ephemeral: snapshot.ephemeral,
            expanded_config: then.expanded_config(profiles).0,
            expanded_devices: plain(&then.expanded_devices(profiles)),
            expires_at: snapshot.expires_at,
            last_used_at: snapshot.last_used_at,
            name: snapshot.name.to_string(),
            profiles: snapshot.profiles.iter().map(ToString::to_string).collect(),
            stateful: false,
        }
    }

    fn to_model(&self) -> Result<InstanceSnapshot, BackupError> {
        if self.stateful {
            return Err(BackupError::Value { key: "snapshots.stateful", value: "true".into(), allowed: "false" });
        }
        let profile = |text: &String| name::<ProfileName>("snapshots.profiles", text);
        // Other servers write the instance's name before it.
        let own = self.name.rsplit('/').next().unwrap_or_default();
        Ok(InstanceSnapshot {
            name: name("snapshots.name", own)?,
            architecture: self.architecture.clone(),
            ephemeral: self.ephemeral,
            profiles: self.profiles.iter().map(profile).collect::<Result<_, _>>()?,
            config: Config(self.config.clone()),
            devices: devices("snapshots.devices", &self.devices)?,
            created_at: self.created_at.unwrap_or(Time::UNIX_EPOCH),
            expires_at: self.expires_at,
            last_used_at: self.last_used_at,
            phase: Phase::Ready,
            renamed_from: None,
        })
    }
}
