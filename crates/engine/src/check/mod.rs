//! Looking whether store, disk and kernel say the same, and mending what can be mended without losing anything.
//!
//! What somebody works on just now is passed over: it is on its way from one truth to the next. Nothing that a user may have
//! written is ever removed here: a volume that nobody knows is for [`Engine::take_in`] to take in, or for a person to delete.

mod files;
mod kernel;
mod networks;
mod pools;

pub(crate) use files::set_all_aside;

use crate::Engine;
use crate::error::EngineError;
use crate::operations::{Class, OperationView};

/// What kind of thing is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// A pool that is recorded and cannot be opened.
    PoolUnavailable,
    /// Something is recorded, and what it is made of is gone.
    RecordWithoutVolume,
    /// A volume that is in no record.
    VolumeWithoutRecord,
    /// Something in a pool that no server would have put there.
    ForeignThing,
    /// Something whose making or deletion was cut off.
    HalfMade,
    /// A `backup.yaml` that does not say what the record says, or is not there.
    StaleBackupYaml,
    /// An image or backup is recorded, and its file is gone.
    RecordWithoutFile,
    /// A file of an image or backup that is in no record.
    FileWithoutRecord,
    /// A directory of an instance that is no more.
    OrphanDirectory,
    /// Something is mounted in the state directory that no pool needs.
    OrphanMount,
    /// A loop device on a file of no pool.
    OrphanLoopDevice,
    /// A network interface that no running instance or recorded network has.
    OrphanLink,
    /// Firewall rules that no running instance or recorded network has.
    OrphanFirewallRules,
    /// A dnsmasq that serves no recorded network.
    OrphanDnsmasq,
    /// A control group that no running instance has.
    OrphanControlGroup,
    /// A monitor that serves an instance which is in no record, or is recorded as stopped.
    OrphanMonitor,
    /// A network that is recorded and not up.
    NetworkDown,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// The thing: `instance web`, `storage pool default`.
    pub thing: String,
    /// What is wrong with it.
    pub problem: String,
    /// What a repair does; absent where none can mend it.
    pub repair: Option<String>,
    /// What a person can do where no repair mends it, or a repair failed.
    pub advice: String,
    /// Whether it was mended just now.
    pub repaired: bool,
}

impl FindingKind {
    /// The kind's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PoolUnavailable => "pool-unavailable",
            Self::RecordWithoutVolume => "record-without-volume",
            Self::VolumeWithoutRecord => "volume-without-record",
            Self::ForeignThing => "foreign-thing",
            Self::HalfMade => "half-made",
            Self::StaleBackupYaml => "stale-backup-yaml",
            Self::RecordWithoutFile => "record-without-file",
            Self::FileWithoutRecord => "file-without-record",
            Self::OrphanDirectory => "orphan-directory",
            Self::OrphanMount => "orphan-mount",
            Self::OrphanLoopDevice => "orphan-loop-device",
            Self::OrphanLink => "orphan-link",
            Self::OrphanFirewallRules => "orphan-firewall-rules",
            Self::OrphanDnsmasq => "orphan-dnsmasq",
            Self::OrphanControlGroup => "orphan-control-group",
            Self::OrphanMonitor => "orphan-monitor",
            Self::NetworkDown => "network-down",
        }
    }
}

/// What was found so far.
struct Check<'e> {
    engine: &'e Engine,
    repair: bool,
    findings: Vec<Finding>,
}

impl Engine {
    /// Compares store, disk and kernel; with `repair` mends what can be mended safely. An empty answer means that all is well.
    ///
    /// # Errors
    /// If the store, the state directory or the kernel cannot be read. A repair that fails is a finding that stays.
    pub fn fsck(&self, repair: bool) -> Result<Vec<Finding>, EngineError> {
        let mut check = Check { engine: self, repair, findings: Vec::new() };
        check.pools()?;
        check.images()?;
        check.backups()?;
        check.directories()?;
        check.mounts()?;
        check.loop_devices()?;
        check.networks()?;
        check.redirections()?;
        check.control_groups()?;
        Ok(check.findings)
    }
}

impl Engine {
    /// Whether somebody makes, moves or removes something just now: then what is in no record may be on its way into one.
    fn is_working(&self) -> bool {
        let works = |operation: &OperationView| operation.class == Class::Task && !operation.status.is_final();
        self.operations().list().iter().any(works) || self.inner.cells.all().iter().any(|cell| cell.is_busy())
    }
}

impl Check<'_> {
    /// Notes what only a person can mend.
    fn tell(&mut self, kind: FindingKind, thing: impl Into<String>, problem: impl Into<String>, advice: impl Into<String>) {
        let (thing, problem, advice) = (thing.into(), problem.into(), advice.into());
        self.findings.push(Finding { kind, thing, problem, repair: None, advice, repaired: false });
    }

    /// Notes what can be mended, and mends it if that is wanted.
    fn mend(
        &mut self,
        kind: FindingKind,
        thing: impl Into<String>,
        problem: impl Into<String>,
        repair: &'static str,
        mend: impl FnOnce(&Engine) -> Result<(), EngineError>,
    ) {
        let mut finding = Finding {
            kind,
            thing: thing.into(),
            problem: problem.into(),
            repair: Some(repair.to_owned()),
            advice: "\"coffer admin fsck --repair\" does this".to_owned(),
            repaired: false,
        };
        if self.repair {
            match mend(self.engine) {
                Ok(()) => {
                    tracing::info!("{}: {}: mended: {repair}", finding.thing, finding.problem);
                    finding.repaired = true;
                }
                Err(error) => finding.advice = format!("it could not be mended: {}", coffer_base::chain(&error)),
            }
        }
        self.findings.push(finding);
    }
}
