//! A volume group, and LVM's programs to work on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use coffer_base::Bytes;
use coffer_base::run::{Output, Program, RunError};
use coffer_model::Config;

use super::names;
use super::report::{self, LogicalVolume, VolumeGroup};
use crate::mounted::Fault;

/// Marks a group that a pool stands on.
const TAG: &str = "coffer_pool";

/// How long one of LVM's programs may take.
const DEADLINE: Duration = Duration::from_secs(300);

/// A volume group by name, and the one device that it is on where we know that.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) name: String,
    /// Looking at one device only is quick, and sees no group of the same name that somebody put elsewhere.
    pub(super) device: Option<PathBuf>,
}

impl Group {
    /// Makes the group on a device.
    pub(super) fn create(&self, device: &Path, wipe: bool) -> Result<(), Fault> {
        let sure = if wipe { &["--yes"][..] } else { &[] };
        self.run("pvcreate", |program| program.args(sure).arg("--").arg(device))?;
        self.run("vgcreate", |program| program.args(["--addtag", TAG]).arg("--").arg(&self.name).arg(device))?;
        Ok(())
    }

    /// Removes the group and gives its device back.
    pub(super) fn destroy(&self, device: &Path) -> Result<(), Fault> {
        self.run("vgremove", |program| program.args(["--force", "--yes", "--"]).arg(&self.name))?;
        self.run("pvremove", |program| program.args(["--force", "--yes", "--"]).arg(device))?;
        Ok(())
    }

    /// The first device that the group is on.
    pub(super) fn physical_volume(&self) -> Result<PathBuf, Fault> {
        let output = self.report("vgs", "pv_name")?;
        output.stdout.lines().map(str::trim).find(|line| line.starts_with('/')).map(PathBuf::from).ok_or(Fault::Missing)
    }

    /// What the group has, if it is there.
    pub(super) fn look(&self) -> Result<VolumeGroup, Fault> {
        let output = self.report("vgs", report::GROUP_FIELDS)?;
        report::group(&output.stdout).ok_or(Fault::Missing)
    }

    /// Whether some pool stands on it.
    pub(super) fn is_marked(group: &VolumeGroup) -> bool {
        // LXD's own mark counts as well.
        group.tags.iter().any(|tag| tag == TAG || tag == "lxd_pool")
    }

    pub(super) fn mark(&self, on: bool) -> Result<(), Fault> {
        let word = if on { "--addtag" } else { "--deltag" };
        self.run("vgchange", |program| program.args([word, TAG, "--"]).arg(&self.name)).map(drop)
    }

    /// Makes all volumes of the group visible as devices, or hides them.
    pub(super) fn activate(&self, on: bool) -> Result<(), Fault> {
        let words: &[&str] = if on { &["--activate", "y", "--ignoreactivationskip"] } else { &["--activate", "n"] };
        self.run("vgchange", |program| program.args(words).arg("--").arg(&self.name)).map(drop)
    }

    /// Everything that is in the group.
    pub(super) fn volumes(&self) -> Result<Vec<LogicalVolume>, Fault> {
        Ok(report::volumes(&self.report("lvs", report::VOLUME_FIELDS)?.stdout))
    }

    /// One volume of it.
    pub(super) fn volume(&self, name: &str) -> Result<LogicalVolume, Fault> {
        self.volumes()?.into_iter().find(|volume| volume.name == name).ok_or(Fault::Missing)
    }

    /// Makes the thin pool out of all that is free.
    pub(super) fn create_thin_pool(&self, name: &str, metadata: Option<Bytes>) -> Result<(), Fault> {
        let metadata = metadata.map(|size| format!("{}b", size.0));
        self.run("lvcreate", |program| {
            let program = program.args(["--yes", "--type", "thin-pool", "--extents", "100%FREE"]);
            let program = metadata.iter().fold(program, |program, size| program.arg("--poolmetadatasize").arg(size));
            program.args(["--name", name, "--"]).arg(&self.name)
        })?;
        // A full pool is to be an error at once, not a write that hangs.
        self.run("lvchange", |program| program.args(["--errorwhenfull", "y", "--"]).arg(self.path(name))).map(drop)
    }

    /// Lets the group and its thin pool fill a device that has grown.
    pub(super) fn grow(&self, device: &Path, thin_pool: Option<&str>) -> Result<(), Fault> {
        self.run("pvresize", |program| program.arg("--").arg(device))?;
        if let Some(pool) = thin_pool {
            self.run("lvextend", |program| program.args(["--extents", "+100%FREE", "--"]).arg(self.path(pool)))?;
        }
        Ok(())
    }

    /// Makes an empty volume, in a thin pool or with room of its own.
    pub(super) fn create_volume(&self, name: &str, size: Bytes, thin_pool: Option<&str>, stripes: &Stripes) -> Result<(), Fault> {
        names::require_short(&self.name, name)?;
        let size = format!("{}b", size.0);
        self.run("lvcreate", |program| {
            let program = program.args(["--yes", "--name", name]);
            match thin_pool {
                Some(pool) => program.args(["--thin", "--virtualsize", &size, "--"]).arg(self.path(pool)),
                None => stripes.apply(program.args(["--wipesignatures", "y", "--size", &size])).arg("--").arg(&self.name),
            }
        })?;
        Ok(())
    }

    /// Makes a volume that shares a thin volume's data.
    pub(super) fn snapshot(&self, from: &str, to: &str) -> Result<(), Fault> {
        names::require_short(&self.name, to)?;
        self.run("lvcreate", |program| {
            program.args(["--yes", "--snapshot", "--setactivationskip", "n", "--name", to, "--"]).arg(self.path(from))
        })
        .map(drop)
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        names::require_short(&self.name, to)?;
        self.run("lvrename", |program| program.arg("--").arg(&self.name).arg(from).arg(to)).map(drop)
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), Fault> {
        self.run("lvremove", |program| program.args(["--force", "--yes", "--"]).arg(self.path(name))).map(drop)
    }

    /// Changes a volume's size; what is on it must have made room.
    pub(super) fn resize(&self, name: &str, size: Bytes) -> Result<u64, Fault> {
        let size = format!("{}b", size.0);
        let resized = self.run("lvresize", |program| program.args(["--force", "--yes", "--size", &size, "--"]).arg(self.path(name)));
        match resized {
            // Rounded to whole extents it may be the size that it has.
            Err(Fault::Tool(RunError::Failed { stderr, .. })) if stderr.contains("matches existing size") => {}
            other => drop(other?),
        }
        Ok(crate::block::size_of(&self.device_of(name))?)
    }

    /// Where a volume is as a device.
    pub(super) fn device_of(&self, name: &str) -> PathBuf {
        Path::new("/dev/mapper").join(names::device(&self.name, name))
    }

    fn path(&self, volume: &str) -> String {
        format!("{}/{volume}", self.name)
    }

    fn report(&self, program: &'static str, fields: &str) -> Result<Output, Fault> {
        let words = ["--noheadings", "--units", "b", "--nosuffix", "--separator", "|", "--options", fields, "--"];
        self.run(program, |program| program.args(words).arg(&self.name))
    }

    fn run(&self, name: &'static str, arguments: impl FnOnce(Program) -> Program) -> Result<Output, Fault> {
        // Nobody watches over the pool but we; without udev LVM has to make the devices itself.
        let mut config = "activation/monitoring=0".to_owned();
        if !Path::new("/run/udev/control").exists() {
            config.push_str(" activation/udev_sync=0 activation/udev_rules=0");
        }
        let mut program = Program::new(name).args(["--quiet", "--config", &config]);
        if let Some(device) = &self.device {
            program = program.arg("--devices").arg(device);
        }
        arguments(program).deadline(DEADLINE).run().map_err(explain)
    }
}

/// How a volume that has room of its own is spread over several devices.
#[derive(Debug, Default)]
pub(super) struct Stripes {
    pub(super) count: Option<u32>,
    pub(super) size: Option<Bytes>,
}

impl Stripes {
    /// What a volume's keys say of it.
    pub(super) fn of(config: &Config) -> Self {
        Self { count: config.parse("lvm.stripes"), size: config.parse("lvm.stripes.size") }
    }

    fn apply(&self, program: Program) -> Program {
        let program = self.count.iter().fold(program, |program, count| program.arg("--stripes").arg(count.to_string()));
        self.size.iter().fold(program, |program, size| program.arg("--stripesize").arg(format!("{}b", size.0)))
    }
}

/// Tells from what a program said what it means.
fn explain(error: RunError) -> Fault {
    let RunError::Failed { stderr, .. } = &error else { return Fault::Tool(error) };
    let says = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    if says(&["Failed to find logical volume", "\" not found", "not found in volume group"]) {
        Fault::Missing
    } else if says(&["in use", "is used by another device", "Device or resource busy"]) {
        Fault::Busy("some program uses its device".into())
    } else if says(&["insufficient free space", "free space for", "has insufficient", "Insufficient suitable"]) {
        Fault::Kernel(std::io::Error::new(std::io::ErrorKind::StorageFull, error))
    } else {
        Fault::Tool(error)
    }
}
