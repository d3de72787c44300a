//! Capabilities that nothing inside can get.

use coffer_runtime_spec::{Capability, Spec, Stage};
use coffer_sys::cred;

use crate::failed::{At, Failed};

/// Dropped unless the spec says otherwise, as LXD's own template does: loading modules, the clock, raw I/O, and changing
/// the policy of security modules.
pub(crate) const DEFAULT_DROPS: [&str; 5] = ["mac_admin", "mac_override", "sys_module", "sys_rawio", "sys_time"];

/// The capabilities that this spec drops, as a mask.
pub(crate) fn dropped(spec: &Spec) -> u64 {
    let mask = |capability: Capability| 1u64 << capability.number();
    match &spec.security.drop_capabilities {
        Some(list) => list.iter().fold(0, |all, one| all | mask(*one)),
        None => DEFAULT_DROPS.iter().filter_map(|name| name.parse().ok()).fold(0, |all, one| all | mask(one)),
    }
}

/// Drops capabilities from every set, leaves none inheritable, and sets `no_new_privs` where asked.
pub(crate) fn drop_capabilities(spec: &Spec) -> Result<(), Failed> {
    drop_capabilities_beside(spec, 0)
}

/// The same, and takes away those of a mask too.
pub(crate) fn drop_capabilities_beside(spec: &Spec, others: u64) -> Result<(), Failed> {
    let stage = Stage::Capabilities;
    let drop = dropped(spec) | others;
    for capability in (0..64u8).filter(|capability| drop & (1 << capability) != 0) {
        cred::drop_from_bounding_set(capability).at(stage, || format!("dropping number {capability}"))?;
    }
    cred::restrict_capabilities(drop).at(stage, || "restricting our own".into())?;
    if spec.security.no_new_privs {
        cred::set_no_new_privs().at(stage, || "setting no_new_privs".into())?;
    }
    Ok(())
}
