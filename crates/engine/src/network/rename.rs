//! Renaming a managed network.

use coffer_base::{Undo, fault};
use coffer_model::{NetworkName, ProjectName};
use coffer_network::NetworkError;
use coffer_network::bridge::Occupants;

use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;

/// Nobody is on a network that nobody uses.
const NOBODY: Occupants<'_> = Occupants { running: &[], stopped: &[] };

impl Engine {
    /// Gives a network that nobody uses another name: its bridge goes and comes back under the new one. A daemon that is killed on
    /// the way brings the network up under the name that is recorded.
    ///
    /// # Errors
    /// If it does not exist or is in use, the new name is taken, also by an interface of the host, or the kernel refuses.
    pub fn rename_network(&self, caller: &Caller, project: &ProjectName, name: &NetworkName, new: &NetworkName) -> Result<(), EngineError> {
        let cut = |cause| EngineError::system("renaming the network", cause);
        let network = self.managed(project, name)?;
        let home = &network.project;
        let store = &self.inner.store;
        let (users, taken) = store.read(|conn| {
            let users = coffer_store::usage::of_network(conn, home, name)?;
            Ok((users, coffer_store::network::get(conn, home, new)?.is_some()))
        })?;
        if !users.is_empty() {
            return Err(EngineError::InUse { entity: "network", name: name.to_string(), users: users.to_string() });
        }
        if taken {
            return Err(EngineError::exists("network", new));
        }
        if coffer_network::links::host_link(new.as_str()).map_err(cut)?.is_some() {
            return Err(NetworkError::NameInUse { network: new.clone() }.into());
        }
        let (old, renamed) = (self.bridge_of(name, &network.config)?, self.bridge_of(new, &network.config)?);
        let mut undo = Undo::new(|warning| tracing::warn!("taking back a rename of a network: {warning}"));
        undo.push(format!("bringing network {name} back"), || old.recover(NOBODY).map(drop));
        old.delete()?;
        fault::point("network-rename.down").map_err(cut)?;
        store.write(|tx| coffer_store::network::rename(tx, home, name, new))?;
        undo.push(format!("giving network {name} its name back"), || store.write(|tx| coffer_store::network::rename(tx, home, new, name)));
        fault::point("network-rename.recorded").map_err(cut)?;
        undo.push(format!("removing network {new}"), || renamed.delete());
        for warning in renamed.create()? {
            tracing::warn!(network = %new, "{warning}");
        }
        fault::point("network-rename.up").map_err(cut)?;
        undo.keep();
        self.forget_warnings(&format!("/1.0/networks/{name}"), Some(home));
        self.events().renamed(Some(home), "network-renamed", format!("/1.0/networks/{new}"), name, Some(caller));
        Ok(())
    }
}
