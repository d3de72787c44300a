//! Reading what `lvs` and `vgs` report.

/// What is asked of `lvs`, in this order.
pub(super) const VOLUME_FIELDS: &str = "lv_name,lv_size,pool_lv,data_percent";

/// What is asked of `vgs`, in this order.
pub(super) const GROUP_FIELDS: &str = "vg_size,vg_free,lv_count,vg_tags,pv_count,vg_extent_size";

/// A logical volume.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LogicalVolume {
    pub(super) name: String,
    pub(super) size: u64,
    /// The thin pool that it is in.
    pub(super) pool: Option<String>,
    /// How much of it is in use, where it is thin or a thin pool.
    pub(super) percent: Option<f64>,
}

/// A volume group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VolumeGroup {
    pub(super) size: u64,
    pub(super) free: u64,
    pub(super) volumes: usize,
    pub(super) tags: Vec<String>,
    /// How many devices it is on.
    pub(super) devices: usize,
    /// The size of the pieces that it is made of.
    pub(super) extent: u64,
}

/// Reads lines of [`VOLUME_FIELDS`]; what is no such line is left out.
pub(super) fn volumes(text: &str) -> Vec<LogicalVolume> {
    let line = |line: &str| {
        let [name, size, pool, percent] = fields(line)?;
        let pool = Some(pool.to_owned()).filter(|pool| !pool.is_empty());
        Some(LogicalVolume { name: name.to_owned(), size: size.parse().ok()?, pool, percent: percent.parse().ok() })
    };
    text.lines().filter_map(line).collect()
}

/// Reads the one line of [`GROUP_FIELDS`].
pub(super) fn group(text: &str) -> Option<VolumeGroup> {
    let [size, free, volumes, tags, devices, extent] = fields(text.lines().find(|line| !line.trim().is_empty())?)?;
    let tags = tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    Some(VolumeGroup {
        size: size.parse().ok()?,
        free: free.parse().ok()?,
        volumes: volumes.parse().ok()?,
        tags,
        devices: devices.parse().ok()?,
        extent: extent.parse().ok()?,
    })
}

fn fields<const COUNT: usize>(line: &str) -> Option<[&str; COUNT]> {
    line.trim().split('|').collect::<Vec<_>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_as_lvs_prints_them() {
        let text = "  LXDThinPool|1061158912||0.72\n  containers_web|10737418240|LXDThinPool|1.43\n  containers_web-s0|10737418240|LXDThinPool|\n  root|4194304||\n";
        let volume = |name: &str, size, pool: Option<&str>, percent| LogicalVolume {
            name: name.into(),
            size,
            pool: pool.map(str::to_owned),
            percent,
        };
        let expect = [
            volume("LXDThinPool", 1_061_158_912, None, Some(0.72)),
            volume("containers_web", 10 << 30, Some("LXDThinPool"), Some(1.43)),
            volume("containers_web-s0", 10 << 30, Some("LXDThinPool"), None),
            volume("root", 4 << 20, None, None),
        ];
        assert_eq!(volumes(text), expect);
        assert_eq!(volumes("  WARNING: something\n\n"), []);
    }

    #[test]
    fn a_group_as_vgs_prints_it() {
        let tags = vec!["coffer_pool".into(), "b".into()];
        let expect = VolumeGroup { size: 2_143_289_344, free: 0, volumes: 3, tags, devices: 2, extent: 4 << 20 };
        assert_eq!(group("  2143289344|0|3|coffer_pool,b|2|4194304\n"), Some(expect));
        assert_eq!(group("\n"), None);
    }
}
