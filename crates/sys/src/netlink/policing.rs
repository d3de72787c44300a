//! Limits and priority of what a link receives: a chain of nftables right behind it, made and removed without `nft`.
//!
//! Source: linux/netfilter/nf_tables.h; the family netdev: Linux 4.2.

use std::io;

use super::message::{Attributes, Batch, text};
use super::nftables::Nftables;

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const DELETE_CHAIN: u16 = SUBSYSTEM | 5;
const NEW_RULE: u16 = SUBSYSTEM | 6;
/// `struct nfgenmsg` of the family netdev.
const NETDEV: [u8; 4] = [5, 0, 0, 0];
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const HOOK_DEVICE: u16 = 3;
const INGRESS: u32 = 0;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const LIMIT_RATE: u16 = 1;
const LIMIT_UNIT: u16 = 2;
const LIMIT_BURST: u16 = 3;
const LIMIT_TYPE: u16 = 4;
const LIMIT_FLAGS: u16 = 5;
const BYTES: u32 = 1;
/// The expression matches what is over the limit.
const INVERTED: u32 = 1;
const IMMEDIATE_REGISTER: u16 = 1;
const IMMEDIATE_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const DROP: u32 = 0;
const REGISTER_VERDICT: u32 = 0;
const REGISTER_ONE: u32 = 1;
const META_KEY: u16 = 2;
const META_SOURCE: u16 = 3;
const META_PRIORITY: u32 = 2;

/// What becomes of what a link receives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policing {
    /// Bytes a second; what is more is dropped.
    pub rate: Option<u64>,
    /// The priority that packets carry from here on, which the host's queues go by.
    pub priority: Option<u32>,
}

impl Policing {
    /// Says whether nothing becomes of it.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Nftables {
    /// Polices what the link `device` receives, by a chain of its name in a table of the family netdev, whatever policed it
    /// before.
    ///
    /// # Errors
    /// `ENOENT` if the link is gone or the kernel has no such chains, `EPERM` without `CAP_NET_ADMIN`.
    pub fn police(&mut self, table: &str, device: &str, policing: Policing) -> io::Result<()> {
        self.unpolice(table, device)?;
        if policing.is_none() {
            return Ok(());
        }
        self.transaction(|batch| {
            let create = libc::NLM_F_ACK | libc::NLM_F_CREATE;
            batch.message(NEW_TABLE, create, &NETDEV).text(TABLE_NAME, table);
            batch.message(NEW_CHAIN, create, &NETDEV).text(CHAIN_TABLE, table).text(CHAIN_NAME, device);
            batch.nested(CHAIN_HOOK, |hook| {
                hook.number(HOOK_NUMBER, INGRESS.to_be()).number(HOOK_PRIORITY, 0).text(HOOK_DEVICE, device);
            });
            batch.text(CHAIN_TYPE, "filter");
            let mut rule = |expressions: &dyn Fn(&mut Batch)| {
                batch.message(NEW_RULE, create | libc::NLM_F_APPEND, &NETDEV).text(RULE_TABLE, table).text(RULE_CHAIN, device);
                batch.nested(RULE_EXPRESSIONS, expressions);
            };
            if let Some(rate) = policing.rate {
                rule(&|list| drop_above(list, rate));
            }
            if let Some(priority) = policing.priority {
                rule(&|list| set_priority(list, priority));
            }
        })
    }

    /// Lets everything through that the link `device` receives, or received when it was there.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_ADMIN`.
    pub fn unpolice(&mut self, table: &str, device: &str) -> io::Result<()> {
        let removed = self.transaction(|batch| {
            batch.message(DELETE_CHAIN, libc::NLM_F_ACK, &NETDEV).text(CHAIN_TABLE, table).text(CHAIN_NAME, device);
        });
        match removed {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
            other => other?,
        }
        // With the last chain goes the table.
        let removed = self.transaction(|batch| {
            batch.message(DELETE_TABLE, libc::NLM_F_ACK | libc::NLM_F_NONREC, &NETDEV).text(TABLE_NAME, table);
        });
        match removed {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOENT)) => Ok(()),
            other => other,
        }
    }

    /// The links that a table polices, by name; also some that are gone.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn policed(&mut self, table: &str) -> io::Result<Vec<String>> {
        let mut request = Batch::new();
        request.message(GET_CHAIN, libc::NLM_F_DUMP, &NETDEV);
        let mut found = Vec::new();
        self.socket.ask(request, |_, payload| {
            let attribute = |wanted| Attributes::after(4, payload).find(|&(kind, _)| kind == wanted).map(|(_, value)| text(value));
            if attribute(CHAIN_TABLE).as_deref() == Some(table) {
                found.extend(attribute(CHAIN_NAME));
            }
        })?;
        Ok(found)
    }
}

fn expression(list: &mut Batch, name: &str, data: impl FnOnce(&mut Batch)) {
    list.nested(LIST_ELEMENT, |element| {
        element.text(EXPRESSION_NAME, name).nested(EXPRESSION_DATA, data);
    });
}

fn drop_above(list: &mut Batch, rate: u64) {
    /// What may come at once beside a second's worth, which the kernel grants in any case: some of the largest packets.
    const BURST: u32 = 256 << 10;
    expression(list, "limit", |limit| {
        limit.attribute(LIMIT_RATE, &rate.to_be_bytes()).attribute(LIMIT_UNIT, &1u64.to_be_bytes());
        limit.number(LIMIT_BURST, BURST.to_be()).number(LIMIT_TYPE, BYTES.to_be()).number(LIMIT_FLAGS, INVERTED.to_be());
    });
    expression(list, "immediate", |immediate| {
        immediate.number(IMMEDIATE_REGISTER, REGISTER_VERDICT.to_be()).nested(IMMEDIATE_DATA, |data| {
            data.nested(DATA_VERDICT, |verdict| {
                verdict.number(VERDICT_CODE, DROP.to_be());
            });
        });
    });
}

fn set_priority(list: &mut Batch, priority: u32) {
    expression(list, "immediate", |immediate| {
        immediate.number(IMMEDIATE_REGISTER, REGISTER_ONE.to_be()).nested(IMMEDIATE_DATA, |data| {
            data.number(DATA_VALUE, priority);
        });
    });
    expression(list, "meta", |meta| {
        meta.number(META_KEY, META_PRIORITY.to_be()).number(META_SOURCE, REGISTER_ONE.to_be());
    });
}
