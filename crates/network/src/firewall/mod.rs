//! Rules of nftables, in tables of our own: one of the family `inet` and one of the family `bridge` for each network,
//! both named `coffer_NETWORK`, so that networks come and go without touching each other's rules or anybody else's.
//!
//! The tables are written by `nft`, once, in one transaction. What changes with each NIC are only elements of sets, which
//! go to the kernel by netlink: no program runs when an instance starts, and the work per packet does not grow with their number.

mod connection;
mod ports;
mod redirection;
mod routing;

use std::io;

use coffer_base::run::{Program, RunError};
pub use coffer_sys::netlink::nftables::Family;
use coffer_sys::netlink::nftables::Nftables;

pub use connection::Firewall;
pub use ports::{Ipv6Filter, PortFilter, Ports};
pub use redirection::{Redirection, redirection_table};
pub use routing::routing_rules;

use crate::allocate::hash;

/// The place in a packet's path where it is decided whether to forward it.
const HOOK_FORWARD: u32 = 2;

/// The name of a network's tables.
#[must_use]
pub fn table_name(network: &str) -> String {
    format!("coffer_{network}")
}

/// The rules of one table: what stands between its braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The table's family.
    pub family: Family,
    /// The table's name.
    pub table: String,
    /// Sets and chains, in nft's words.
    pub body: String,
}

/// The set that tells which rules a table holds: its one element changes whenever the rules do.
const VERSION: &str = "version";

impl Rules {
    /// Says whether the kernel holds exactly these rules, as far as their mark tells.
    ///
    /// # Errors
    /// What the kernel reports, but not that there is no such table.
    pub fn loaded(&self, nftables: &mut Nftables) -> io::Result<bool> {
        match nftables.elements(self.family, &self.table, VERSION) {
            Ok(held) => Ok(held.iter().any(|element| element.key == self.mark().to_ne_bytes())),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOENT.raw_os_error()) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn mark(&self) -> u32 {
        hash(self.body.as_bytes()) as u32
    }

    /// The words that put the table into the kernel; `fresh` drops what its sets hold.
    fn script(&self, fresh: bool) -> String {
        let (family, table, body, mark) = (word(self.family), &self.table, &self.body, self.mark());
        let clear = if fresh { "delete" } else { "flush" };
        format!(
            "table {family} {table} {{}}\n{clear} table {family} {table}\ntable {family} {table} {{\nset {VERSION} {{ type mark; }}\n{body}}}\n\
             flush set {family} {table} {VERSION}\nadd element {family} {table} {VERSION} {{ {mark:#x} }}\n"
        )
    }
}

/// Puts tables into the kernel in the place of those of the same name, all or none. What their sets hold stays.
///
/// # Errors
/// If `nft` is missing or refuses.
pub fn load(rules: &[&Rules]) -> Result<(), RunError> {
    let script = |fresh: bool| rules.iter().map(|rules| rules.script(fresh)).collect::<String>();
    match run(script(false)) {
        // A table of another version may have chains or sets that ours cannot take the place of.
        Err(RunError::Failed { .. }) => run(script(true)),
        other => other,
    }
}

/// Removes tables, all or none; those that do not exist are none to remove.
///
/// # Errors
/// If `nft` is missing or refuses.
pub fn unload(tables: &[(Family, String)]) -> Result<(), RunError> {
    let one = |(family, table): &(Family, String)| format!("table {0} {table} {{}}\ndelete table {0} {table}\n", word(*family));
    run(tables.iter().map(one).collect())
}

fn run(script: String) -> Result<(), RunError> {
    Program::new("nft").args(["-f", "-"]).input(script).run().map(drop)
}

fn word(family: Family) -> &'static str {
    match family {
        Family::Inet => "inet",
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip6",
        Family::Bridge => "bridge",
    }
}

/// Names chains of others that drop every forwarded packet nobody allowed (Docker's do): our networks do not reach the
/// outside through them, whatever our own rules say.
///
/// # Errors
/// What the kernel reports.
pub fn foreign_forward_drops(nftables: &mut Nftables) -> io::Result<Vec<String>> {
    let chains = nftables.base_chains()?;
    let dropping = chains.into_iter().filter(|chain| chain.hook == HOOK_FORWARD && chain.drops && !chain.table.starts_with("coffer_"));
    Ok(dropping.map(|chain| format!("{} {} {}", word(chain.family), chain.table, chain.name)).collect())
}
