//! `metadata.yaml`: what an image says about itself.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::architecture::{Architecture, UnknownArchitecture};

/// The largest `metadata.yaml` that is read, in bytes.
pub const MAX_SIZE: usize = 1 << 20;

/// What a valid `metadata.yaml` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What its programs run on.
    pub architecture: Architecture,
    /// When the image was made, in seconds since 1970; never 0.
    pub creation_date: i64,
    /// When it should no longer be used, in seconds since 1970.
    pub expiry_date: Option<i64>,
    /// What it is: `os`, `release`, `description` and so on, and `requirements.*`.
    pub properties: BTreeMap<String, String>,
    /// The files that are written from templates, by where they go.
    pub templates: BTreeMap<TemplateTarget, TemplateRule>,
}

/// When and how one file is written from a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateRule {
    /// What makes it be written.
    pub when: Vec<Trigger>,
    /// The template's path beneath `templates/`, without `..` and not absolute.
    pub template: String,
    /// Writes only if the target is not there yet.
    pub create_only: bool,
    /// Values for the template.
    pub properties: BTreeMap<String, String>,
    /// The owner of a new file, inside the instance.
    pub uid: Option<u32>,
    /// The group of a new file, inside the instance.
    pub gid: Option<u32>,
    /// The permissions of a new file.
    pub mode: Option<u32>,
}

/// What makes a template be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// The first start after the instance was made.
    Create,
    /// The first start after it was copied.
    Copy,
    /// The first start after it was renamed.
    Rename,
    /// Every start.
    Start,
}

/// Where a template goes: a path beneath the instance's root, without `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateTarget(String);

/// Why a `metadata.yaml` is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// It is larger than [`MAX_SIZE`].
    #[error("metadata.yaml has {size} bytes; at most {MAX_SIZE} are read")]
    Size {
        /// Its size.
        size: usize,
    },
    /// It is no YAML of the expected shape, or larger or deeper than it may be once its aliases are followed.
    #[error("metadata.yaml is not valid: {reason}")]
    Yaml {
        /// What the parser says, in one line.
        reason: String,
    },
    /// A field that must be there is not.
    #[error("metadata.yaml has no {field}")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// The architecture is not known.
    #[error("metadata.yaml")]
    Architecture(#[source] UnknownArchitecture),
    /// A template's target leaves the instance's root.
    #[error("metadata.yaml: template target {target:?} leaves the instance root")]
    TargetOutside {
        /// The target.
        target: String,
    },
    /// A template's target names no file.
    #[error("metadata.yaml: template target {target:?} names no file")]
    TargetEmpty {
        /// The target.
        target: String,
    },
    /// A template's file is not a path beneath `templates/`.
    #[error("metadata.yaml: template {template:?} for {target} is not a file beneath templates/")]
    Template {
        /// The target.
        target: String,
        /// The template's file.
        template: String,
    },
    /// A rule names a trigger that does not exist.
    #[error("metadata.yaml: template {target} has unknown trigger {trigger:?}; use create, copy, rename or start")]
    Trigger {
        /// The target.
        target: String,
        /// The trigger.
        trigger: String,
    },
    /// A rule's permissions are not octal digits.
    #[error("metadata.yaml: template {target} has mode {mode:?}, which is not four octal digits")]
    Mode {
        /// The target.
        target: String,
        /// The mode.
        mode: String,
    },
}

impl Metadata {
    /// Reads a `metadata.yaml`.
    ///
    /// Absent and null fields are the same. Fields that nobody knows are ignored, as LXD ignores them.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub fn parse(yaml: &[u8]) -> Result<Self, MetadataError> {
        let document: Document = read_yaml(yaml)?;
        let architecture = document.architecture.filter(|text| !text.is_empty()).ok_or(MetadataError::Missing { field: "architecture" })?;
        let creation_date = document.creation_date.filter(|date| *date != 0).ok_or(MetadataError::Missing { field: "creation_date" })?;
        let templates = document.templates.unwrap_or_default().into_iter();
        Ok(Self {
            architecture: architecture.parse().map_err(MetadataError::Architecture)?,
            creation_date,
            expiry_date: document.expiry_date.filter(|date| *date != 0),
            properties: plain(document.properties),
            templates: templates.map(|(target, rule)| rule_of(target, rule.unwrap_or_default())).collect::<Result<_, _>>()?,
        })
    }

    /// Writes the metadata as YAML that [`Metadata::parse`] and LXD read.
    ///
    /// # Errors
    /// [`MetadataError::Yaml`] if the writer refuses a value.
    pub fn to_yaml(&self) -> Result<String, MetadataError> {
        serde_saphyr::to_string(&Document::from(self)).map_err(|error| MetadataError::Yaml { reason: one_line(&error.to_string()) })
    }
}

impl TemplateTarget {
    /// The path relative to the instance's root: no leading slash, no `.`, no `..`.
    #[must_use]
    pub fn relative(&self) -> &str {
        &self.0
    }
}

impl FromStr for TemplateTarget {
    type Err = MetadataError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.split('/').any(|part| part == "..") || text.contains('\0') {
            return Err(MetadataError::TargetOutside { target: text.to_owned() });
        }
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.is_empty() || text.ends_with('/') {
            return Err(MetadataError::TargetEmpty { target: text.to_owned() });
        }
        Ok(Self(parts.join("/")))
    }
}

impl fmt::Display for TemplateTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

/// The file as it stands: everything may be absent or null.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    architecture: Option<String>,
    creation_date: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_date: Option<i64>,
    properties: Option<BTreeMap<String, Option<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    templates: Option<BTreeMap<String, Option<Rule>>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Rule {
    when: Option<Vec<Option<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    create_only: Option<bool>,
    template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<BTreeMap<String, Option<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
}

impl From<&Metadata> for Document {
    fn from(metadata: &Metadata) -> Self {
        let templates = metadata.templates.iter().map(|(target, rule)| (target.to_string(), Some(Rule::from(rule)))).collect();
        Self {
            architecture: Some(metadata.architecture.to_string()),
            creation_date: Some(metadata.creation_date),
            expiry_date: metadata.expiry_date,
            properties: Some(nullable(&metadata.properties)),
            templates: (!metadata.templates.is_empty()).then_some(templates),
        }
    }
}

impl From<&TemplateRule> for Rule {
    fn from(rule: &TemplateRule) -> Self {
        Self {
            when: Some(rule.when.iter().map(|trigger| Some(trigger.as_str().to_owned())).collect()),
            create_only: rule.create_only.then_some(true),
            template: Some(rule.template.clone()),
            properties: (!rule.properties.is_empty()).then(|| nullable(&rule.properties)),
            uid: rule.uid,
            gid: rule.gid,
            mode: rule.mode.map(|mode| format!("{mode:04o}")),
        }
    }
}

impl Trigger {
    /// The word that stands for it in `metadata.yaml` and in `volatile.apply_template`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Copy => "copy",
            Self::Rename => "rename",
            Self::Start => "start",
        }
    }

    /// Finds the trigger by its word.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        [Self::Create, Self::Copy, Self::Rename, Self::Start].into_iter().find(|trigger| trigger.as_str() == text)
    }
}

fn rule_of(target: String, rule: Rule) -> Result<(TemplateTarget, TemplateRule), MetadataError> {
    let mut when = Vec::new();
    for trigger in rule.when.unwrap_or_default().into_iter().flatten() {
        when.push(Trigger::named(&trigger).ok_or_else(|| MetadataError::Trigger { target: target.clone(), trigger })?);
    }
    let template = rule.template.unwrap_or_default();
    if template.contains('\0') || template.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(MetadataError::Template { target, template });
    }
    let mode = match rule.mode {
        None => None,
        Some(mode) => Some(mode_of(&mode).ok_or_else(|| MetadataError::Mode { target: target.clone(), mode })?),
    };
    let create_only = rule.create_only.unwrap_or(false);
    let rule = TemplateRule { when, template, create_only, properties: plain(rule.properties), uid: rule.uid, gid: rule.gid, mode };
    Ok((target.parse()?, rule))
}

fn mode_of(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    u32::from_str_radix(digits, 8).ok().filter(|mode| plain && *mode <= 0o7777)
}

fn read_yaml(yaml: &[u8]) -> Result<Document, MetadataError> {
    if yaml.len() > MAX_SIZE {
        return Err(MetadataError::Size { size: yaml.len() });
    }
    let budget = serde_saphyr::budget! {
        max_reader_input_bytes: Some(MAX_SIZE),
        max_depth: 64,
        max_nodes: 50_000,
        max_events: 200_000,
        max_aliases: 100,
        max_anchors: 100,
        max_recorded_anchor_events: 20_000,
        max_recorded_anchor_bytes: MAX_SIZE,
        max_total_scalar_bytes: MAX_SIZE,
        max_documents: 1,
    };
    let options = serde_saphyr::options! { budget: budget, duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error };
    let read: Result<Option<Document>, _> = serde_saphyr::from_slice_with_options(yaml, options);
    Ok(read.map_err(|error| MetadataError::Yaml { reason: one_line(&error.to_string()) })?.unwrap_or_default())
}

fn one_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("unreadable");
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

fn plain(map: Option<BTreeMap<String, Option<String>>>) -> BTreeMap<String, String> {
    map.unwrap_or_default().into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect()
}

fn nullable(map: &BTreeMap<String, String>) -> BTreeMap<String, Option<String>> {
    map.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "architecture: amd64\ncreation_date: 1700000000\n";

    #[track_caller]
    fn check(yaml: &str, expect: &str) {
        let got = match Metadata::parse(yaml.as_bytes()) {
            Ok(metadata) => format!("{metadata:?}"),
            Err(error) => coffer_base::chain(&error),
        };
        assert!(got.contains(expect), "{got}");
    }

    #[test]
    fn a_whole_file() {
        let yaml = format!(
            "{HEAD}expiry_date: 1800000000\nproperties:\n  os: Debian\n  serial: 20240101\n  empty:\ntemplates:\n  /etc/hostname:\n    when: [create, copy]\n    template: hostname.tpl\n    properties: {{default: on}}\n  etc//hosts:\n    when:\n    - start\n    create_only: true\n    template: sub/hosts.tpl\n    mode: 0640\n"
        );
        let metadata = Metadata::parse(yaml.as_bytes()).unwrap();
        assert_eq!(metadata.architecture, Architecture::X86_64);
        assert_eq!(metadata.expiry_date, Some(1_800_000_000));
        assert_eq!(metadata.properties["serial"], "20240101");
        assert_eq!(metadata.properties["empty"], "");
        let targets: Vec<String> = metadata.templates.keys().map(ToString::to_string).collect();
        assert_eq!(targets, ["/etc/hostname", "/etc/hosts"]);
        let hosts = &metadata.templates[&"/etc/hosts".parse().unwrap()];
        assert_eq!((hosts.create_only, hosts.mode, hosts.when.as_slice()), (true, Some(0o640), [Trigger::Start].as_slice()));
        assert_eq!(Metadata::parse(metadata.to_yaml().unwrap().as_bytes()).unwrap(), metadata);
    }

    #[test]
    fn nulls_are_absence() {
        check(&format!("{HEAD}properties:\ntemplates:\nexpiry_date:\n"), "templates: {}");
        check(&format!("{HEAD}templates:\n  /x:\n    template: x.tpl\n    when:\n    properties:\n"), "when: []");
        check(&format!("{HEAD}templates:\n  /x:\n"), "template \"\" for /x is not a file beneath templates/");
        check("", "has no architecture");
        check("architecture:\ncreation_date: 1\n", "has no architecture");
        check("architecture: x86_64\ncreation_date: 0\n", "has no creation_date");
    }

    #[test]
    fn refusals() {
        check("architecture: vax\ncreation_date: 1\n", "unknown architecture \"vax\"");
        check("[1, 2]", "not valid");
        check(&format!("{HEAD}{HEAD}"), "not valid");
        for target in ["../x", "/etc/../../x", "a/.."] {
            check(&format!("{HEAD}templates: {{\"{target}\": {{template: x}}}}"), "leaves the instance root");
        }
        check(&format!("{HEAD}templates: {{/: {{template: x}}}}"), "names no file");
        for template in ["../x", "/etc/shadow", "a//b", "", "a/../../b"] {
            check(&format!("{HEAD}templates: {{/t: {{template: \"{template}\"}}}}"), "not a file beneath templates/");
        }
        check(&format!("{HEAD}templates: {{/t: {{template: x, when: [boot]}}}}"), "unknown trigger \"boot\"");
        check(&format!("{HEAD}templates: {{/t: {{template: x, mode: 999}}}}"), "mode \"999\"");
    }

    #[test]
    fn bombs_end_early() {
        let mut laughs = format!("{HEAD}a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let list = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs.push_str(&format!("a{level}: &a{level} [{list}]\n"));
        }
        check(&laughs, "not valid");
        check(&format!("{HEAD}x: {}{}", "[".repeat(100_000), "]".repeat(100_000)), "not valid");
        check(&format!("{HEAD}x: {}", "a".repeat(MAX_SIZE)), "at most 1048576");
    }
}
