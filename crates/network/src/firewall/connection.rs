//! The one connection to nftables that all networks share.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use coffer_sys::netlink::Policing;
use coffer_sys::netlink::nftables::Nftables;

use crate::error::{NetworkError, kernel};

/// A connection to nftables that stays open, of the network namespace that it is first used in. Clones are the same connection.
///
/// When one is closed the kernel frees what was removed before, and waits a grace period for it (10 to 25 ms) under the lock
/// that every other change needs. So a start that follows a stop would wait for the stop's filters; with a connection that is
/// never closed the kernel frees them when it likes.
#[derive(Debug, Clone, Default)]
pub struct Firewall(Arc<Mutex<Option<Nftables>>>);

impl Firewall {
    /// The tables of this server's making that hang on a hook of IPv4 or IPv6, by their names.
    ///
    /// # Errors
    /// If there is no nftables, or the kernel refuses.
    pub fn tables(&self) -> Result<BTreeSet<String>, NetworkError> {
        self.with("all networks", |nftables| {
            let chains = nftables.base_chains().map_err(kernel("all networks", "listing the firewall's tables"))?;
            Ok(chains.into_iter().map(|chain| chain.table).filter(|table| table.starts_with("coffer_")).collect())
        })
    }

    /// Polices what a link receives, whatever policed it before; with nothing to hold it is let go.
    ///
    /// # Errors
    /// If there is no nftables, or the kernel refuses.
    pub fn police(&self, table: &str, link: &str, policing: Policing) -> Result<(), NetworkError> {
        self.with(link, |nftables| nftables.police(table, link, policing).map_err(kernel(link, "limiting what it receives")))
    }

    /// Lets go of all links that a table polices but these.
    ///
    /// # Errors
    /// As [`Firewall::police`].
    pub fn police_only(&self, table: &str, links: &BTreeSet<String>) -> Result<(), NetworkError> {
        self.with("all networks", |nftables| {
            let policed = nftables.policed(table).map_err(kernel("all networks", "listing limited interfaces"))?;
            policed
                .iter()
                .filter(|link| !links.contains(*link))
                .try_for_each(|link| nftables.unpolice(table, link).map_err(kernel(link, "letting it go")))
        })
    }

    /// Does some work over the connection, opening it if need be. `network` is for the error's text.
    ///
    /// # Errors
    /// If there is no nftables, and what `work` returns. After an error the connection is made anew, as it may hold answers
    /// that nobody waited for.
    pub(crate) fn with<T>(
        &self,
        network: impl ToString,
        work: impl FnOnce(&mut Nftables) -> Result<T, NetworkError>,
    ) -> Result<T, NetworkError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut nftables = match held.take() {
            Some(open) => open,
            None => Nftables::open().map_err(kernel(network, "opening nftables"))?,
        };
        let done = work(&mut nftables)?;
        *held = Some(nftables);
        Ok(done)
    }
}
