//! How much a NIC may carry.

use super::super::DeviceError;
use super::super::reader::Reader;
use crate::bit_rate::BitRate;

/// Limits of a NIC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NicLimits {
    /// What may reach the instance.
    pub ingress: Option<BitRate>,
    /// What may leave the instance.
    pub egress: Option<BitRate>,
    /// The priority of what leaves the instance, in the host's queues.
    pub priority: Option<u32>,
}

/// Reads the limits; `limits.max` is both directions.
pub(super) fn parse(reader: &Reader<'_>) -> Result<NicLimits, DeviceError> {
    let keys = reader.keys;
    let max: Option<BitRate> = keys.parse("limits.max");
    let (ingress, egress) = (keys.parse("limits.ingress"), keys.parse("limits.egress"));
    if max.is_some() && (ingress.is_some() || egress.is_some()) {
        return Err(reader.combination("limits.max is both directions: it excludes limits.ingress and limits.egress"));
    }
    Ok(NicLimits { ingress: max.or(ingress), egress: max.or(egress), priority: keys.parse("limits.priority") })
}
