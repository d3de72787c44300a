//! nftables without the `nft` program: elements of sets that exist, and a look at tables and chains.

use std::io;

use super::message::{Attributes, Batch, text, u32_at};
use super::socket::{Protocol, Socket};

const SUBSYSTEM: u16 = 10 << 8;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const NEW_SET_ELEMENT: u16 = SUBSYSTEM | 12;
const GET_SET_ELEMENT: u16 = SUBSYSTEM | 13;
const DELETE_SET_ELEMENT: u16 = SUBSYSTEM | 14;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_TIMEOUT: u16 = 4;
const DATA_VALUE: u16 = 1;

/// How many elements go into one transaction: as many as fit one message (64 KiB, keys up to 32 bytes) and a socket's buffer.
const TRANSACTION: usize = 1000;

/// The family that a table belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
    /// Frames on bridges.
    Bridge,
}

/// A key to add to or remove from a set.
///
/// Concatenated keys are written part by part, each padded with zeros to a multiple of four bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element<'a> {
    /// The set's name.
    pub set: &'a str,
    /// The key's bytes.
    pub key: Vec<u8>,
}

/// A key that a set holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// The key's bytes.
    pub key: Vec<u8>,
    /// Whether it goes away by itself after some time.
    pub expires: bool,
}

/// A base chain of another owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    /// The table's family.
    pub family: Family,
    /// The table's name.
    pub table: String,
    /// The chain's name.
    pub name: String,
    /// The place in the packet's path: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting.
    pub hook: u32,
    /// Whether packets that no rule decides on are dropped.
    pub drops: bool,
}

/// A connection to nftables of the namespace it was opened in.
#[derive(Debug)]
pub struct Nftables {
    pub(super) socket: Socket,
}

impl Nftables {
    /// Connects.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` if the kernel has no nftables.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(Protocol::Netfilter)? })
    }

    /// Adds elements to sets of one table, in this order and a thousand at a time all or none; those that are there already
    /// stay.
    ///
    /// # Errors
    /// `ENOENT` if the table or a set is missing, `ENFILE` if a set is full, `EPERM` without `CAP_NET_ADMIN`.
    pub fn add(&mut self, family: Family, table: &str, elements: &[Element<'_>]) -> io::Result<()> {
        self.change(NEW_SET_ELEMENT, libc::NLM_F_CREATE, family, table, elements)
    }

    /// Removes elements from sets of one table; those that are not there are none to remove.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_ADMIN`.
    pub fn remove(&mut self, family: Family, table: &str, elements: &[Element<'_>]) -> io::Result<()> {
        match self.change(DELETE_SET_ELEMENT, 0, family, table, elements) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) && elements.len() > 1 => {
                elements.iter().try_for_each(|element| self.remove(family, table, std::slice::from_ref(element)))
            }
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Lists the keys of a set.
    ///
    /// # Errors
    /// `ENOENT` if the table or the set is missing.
    pub fn elements(&mut self, family: Family, table: &str, set: &str) -> io::Result<Vec<Held>> {
        let mut request = Batch::new();
        request.message(GET_SET_ELEMENT, libc::NLM_F_DUMP, &header(family)).text(LIST_TABLE, table).text(LIST_SET, set);
        let mut all = Vec::new();
        self.socket.ask(request, |_, payload| {
            let lists = Attributes::after(4, payload).filter(|&(kind, _)| kind == LIST_ELEMENTS);
            all.extend(lists.flat_map(|(_, list)| Attributes::new(list)).map(|(_, element)| held(element)));
        })?;
        Ok(all)
    }

    /// Lists the chains that hang on a hook, of the families IPv4, IPv6 and both.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn base_chains(&mut self) -> io::Result<Vec<BaseChain>> {
        let mut chains = Vec::new();
        for family in [Family::Inet, Family::Ipv4, Family::Ipv6] {
            let mut request = Batch::new();
            request.message(GET_CHAIN, libc::NLM_F_DUMP, &header(family));
            self.socket.ask(request, |_, payload| chains.extend(base_chain(family, payload)))?;
        }
        Ok(chains)
    }

    fn change(&mut self, kind: u16, flags: i32, family: Family, table: &str, elements: &[Element<'_>]) -> io::Result<()> {
        elements.chunks(TRANSACTION).try_for_each(|elements| self.transact(kind, flags, family, table, elements))
    }

    fn transact(&mut self, kind: u16, flags: i32, family: Family, table: &str, elements: &[Element<'_>]) -> io::Result<()> {
        // One message for each run of elements of the same set.
        let runs = elements.chunk_by(|one, next| one.set == next.set);
        self.transaction(|batch| {
            runs.for_each(|run| {
                batch.message(kind, flags | libc::NLM_F_ACK, &header(family)).text(LIST_TABLE, table).text(LIST_SET, run[0].set);
                batch.nested(LIST_ELEMENTS, |list| {
                    for element in run {
                        list.nested(LIST_ELEMENT, |entry| {
                            entry.nested(ELEMENT_KEY, |key| {
                                key.attribute(DATA_VALUE, &element.key);
                            });
                        });
                    }
                });
            })
        })
    }

    /// Carries out what `fill` writes, all or nothing. Each of its messages asks for an acknowledgement.
    pub(super) fn transaction(&mut self, fill: impl FnOnce(&mut Batch)) -> io::Result<()> {
        let mut batch = Batch::new();
        batch.message(BATCH_BEGIN, 0, &frame());
        fill(&mut batch);
        let acknowledged = batch.len() - 1;
        batch.message(BATCH_END, 0, &frame());
        self.socket.execute_expecting(batch, 1, acknowledged).map_err(|(_, error)| error)
    }
}

/// `struct nfgenmsg` of a message to nftables.
fn header(family: Family) -> [u8; 4] {
    let number = match family {
        Family::Inet => 1,
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
        Family::Bridge => 7,
    };
    [number, 0, 0, 0]
}

/// `struct nfgenmsg` of a batch's first and last message: it names the subsystem, in network byte order.
fn frame() -> [u8; 4] {
    [0, 0, 0, 10]
}

fn held(element: &[u8]) -> Held {
    let mut held = Held::default();
    for (kind, value) in Attributes::new(element) {
        match kind {
            ELEMENT_KEY => held.key = Attributes::new(value).next().map(|(_, key)| key.to_vec()).unwrap_or_default(),
            ELEMENT_TIMEOUT => held.expires = true,
            _ => {}
        }
    }
    held
}

fn base_chain(family: Family, payload: &[u8]) -> Option<BaseChain> {
    let (mut table, mut name, mut hook, mut drops) = (String::new(), String::new(), None, false);
    for (kind, value) in Attributes::after(4, payload) {
        match kind {
            CHAIN_TABLE => table = text(value),
            CHAIN_NAME => name = text(value),
            CHAIN_HOOK => {
                let number = Attributes::new(value).find(|&(kind, _)| kind == HOOK_NUMBER);
                hook = number.and_then(|(_, value)| u32_at(value, 0)).map(u32::from_be);
            }
            CHAIN_POLICY => drops = u32_at(value, 0) == Some(0),
            _ => {}
        }
    }
    Some(BaseChain { family, table, name, hook: hook?, drops })
}
