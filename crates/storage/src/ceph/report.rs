//! Reading what Ceph's programs print for programs: JSON, of which only what is needed is looked at.

use std::collections::BTreeMap;

use serde_json::Value;

/// A kept state of an image: the image's name and the state's.
pub(super) type State = (String, String);

/// An image, as the list of all shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Image {
    pub(super) size: u64,
    /// Its kept states.
    pub(super) states: Vec<String>,
    /// What it is a clone of.
    pub(super) parent: Option<State>,
}

/// Reads `rbd ls --long`: images by name.
pub(super) fn images(text: &str) -> Option<BTreeMap<String, Image>> {
    let mut images: BTreeMap<String, Image> = BTreeMap::new();
    for row in serde_json::from_str::<Vec<Value>>(text).ok()? {
        let image = images.entry(row["image"].as_str()?.to_owned()).or_default();
        match row["snapshot"].as_str() {
            Some(state) => image.states.push(state.to_owned()),
            None => {
                image.size = row["size"].as_u64()?;
                image.parent = state(&row["parent"]);
            }
        }
    }
    Some(images)
}

/// Reads `ceph df`: bytes in use by a pool, and bytes that it may still take.
pub(super) fn room(text: &str, pool: &str) -> Option<(u64, u64)> {
    let report: Value = serde_json::from_str(text).ok()?;
    let found = report["pools"].as_array()?.iter().find(|row| row["name"] == pool)?;
    Some((found["stats"]["bytes_used"].as_u64()?, found["stats"]["max_avail"].as_u64()?))
}

/// Reads `ceph df`: bytes that are free in the whole cluster.
pub(super) fn free(text: &str) -> Option<u64> {
    serde_json::from_str::<Value>(text).ok()?["stats"]["total_avail_bytes"].as_u64()
}

fn state(value: &Value) -> Option<State> {
    let name = |key: &str| value[key].as_str().map(str::to_owned);
    Some((name("image")?, name("snapshot")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    // What Ceph 16.2.15 printed in the bed.
    const LIST: &str = r#"[{"image":"containers_c2","id":"1040609bfee5","size":67108864,"parent":{"pool":"warm","pool_namespace":"","image":"containers_web","snapshot":"copy-1-x"},"format":2},{"image":"containers_web","id":"1035d46d4249","size":67108864,"format":2},{"image":"containers_web","id":"1035d46d4249","snapshot":"copy-1-x","snapshot_id":4,"size":67108864,"format":2,"protected":"true"}]"#;
    const ROOM: &str = r#"{"stats":{"total_bytes":8589934592,"total_avail_bytes":8285302784,"total_used_bytes":304631808,"total_used_raw_bytes":304631808,"total_used_raw_ratio":0.035463809967041016,"num_osds":1,"num_per_pool_osds":1,"num_per_pool_omap_osds":1},"stats_by_class":{"ssd":{"total_bytes":8589934592,"total_avail_bytes":8285302784,"total_used_bytes":304631808,"total_used_raw_bytes":304631808,"total_used_raw_ratio":0.035463809967041016}},"pools":[{"name":"warm","id":1,"stats":{"stored":51,"objects":7,"kb_used":12,"bytes_used":12288,"percent_used":1.5641909385522013e-06,"max_avail":7855805952}},{"name":"device_health_metrics","id":2,"stats":{"stored":0,"objects":0,"kb_used":0,"bytes_used":0,"percent_used":0,"max_avail":7855805952}}]}"#;

    #[test]
    fn images_as_rbd_lists_them() {
        let found = images(LIST).unwrap();
        let size = 64 << 20;
        let parent = Some(("containers_web".to_owned(), "copy-1-x".to_owned()));
        assert_eq!(found["containers_c2"], Image { size, states: Vec::new(), parent });
        assert_eq!(found["containers_web"], Image { size, states: vec!["copy-1-x".into()], parent: None });
        assert_eq!(found.len(), 2);
        assert_eq!(images("[]").unwrap(), BTreeMap::new());
        assert_eq!(images("rbd: listing images failed: (2) No such file or directory"), None);
    }

    #[test]
    fn room_as_ceph_tells_it() {
        assert_eq!(room(ROOM, "warm"), Some((12_288, 7_855_805_952)));
        assert_eq!(room(ROOM, "cold"), None);
        assert_eq!((free(ROOM), free("Error")), (Some(8_285_302_784), None));
    }
}
