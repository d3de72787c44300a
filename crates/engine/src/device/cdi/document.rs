//! A CDI specification as it is written. A field that nobody knows makes it unreadable, as the interface demands.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Larger ones are none: what a vendor's tool writes has some ten kilobytes.
const MAX_SIZE: u64 = 4 << 20;

/// A specification.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Document {
    cdi_version: String,
    /// Vendor and class.
    pub(super) kind: String,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    /// The devices.
    #[serde(default)]
    pub(super) devices: Vec<Device>,
    /// What comes with each of them.
    pub(super) container_edits: Option<ContainerEdits>,
}

/// One device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Device {
    /// Its name.
    pub(super) name: String,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    /// What it consists of.
    pub(super) container_edits: ContainerEdits,
}

/// What becomes of a container that gets a device.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct ContainerEdits {
    pub(super) env: Vec<String>,
    pub(super) device_nodes: Vec<DeviceNode>,
    pub(super) net_devices: Option<IgnoredAny>,
    pub(super) hooks: Vec<Hook>,
    pub(super) mounts: Vec<Mount>,
    pub(super) intel_rdt: Option<IgnoredAny>,
    pub(super) additional_gids: Option<IgnoredAny>,
}

/// A device node.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct DeviceNode {
    pub(super) path: String,
    pub(super) host_path: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) file_mode: Option<u32>,
    pub(super) permissions: Option<String>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

/// A mount.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Mount {
    pub(super) host_path: String,
    pub(super) container_path: String,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) options: Vec<String>,
}

/// A program that another runtime would start.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Hook {
    #[serde(rename = "hookName")]
    _name: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) args: Vec<String>,
    #[serde(default, rename = "env")]
    _env: Vec<String>,
    #[serde(rename = "timeout")]
    _timeout: Option<i64>,
}

impl Document {
    /// Reads a specification; else says why it is none, in one line.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
        if size > MAX_SIZE {
            return Err(format!("it has more than {MAX_SIZE} bytes"));
        }
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        let document: Self = if file.extension().is_some_and(|kind| kind == "json") {
            serde_json::from_str(&text).map_err(|error| error.to_string())?
        } else {
            let options = serde_saphyr::options! {
                budget: serde_saphyr::budget! { max_depth: 16, max_documents: 1, max_anchors: 0, max_aliases: 0, max_merge_keys: 0 },
                merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
                with_snippet: false,
            };
            serde_saphyr::from_str_with_options(&text, options)
                .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?
        };
        match document.cdi_version.split('.').next() {
            Some("0" | "1") => Ok(document),
            _ => Err(format!("its cdiVersion {:?} is not known; 0.3.0 to 1.1.0 are", document.cdi_version)),
        }
    }
}
