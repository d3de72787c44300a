//! Writing the files that an instance's image has templates for, before it starts.
//!
//! Paths are an image's and contents are an instance's: every walk stays in the volume or the root, and writes regular files only.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use coffer_image::template::{self, Context};
use coffer_image::{Metadata, TemplateRule, TemplateTarget, Trigger, metadata};
use coffer_model::{Config, IdMap};
use coffer_storage::{Pool, Volume};
use coffer_sys::path::Root;

use super::on_disk::OnDisk;
use super::start::Loaded;
use crate::Engine;
use crate::error::EngineError;
use crate::storage::SHIFTED;

/// Which templates the next start writes beside those of every start: `create`, `copy` or `rename`. The first that is set stays.
pub(crate) const DEFERRED: &str = "volatile.apply_template";

/// The file beside the root that says what the image is.
pub(super) const METADATA: &str = "metadata.yaml";

/// The directory of templates beside the root.
pub(super) const TEMPLATES: &str = "templates";

/// Where and for whom templates are written.
struct Writing<'a> {
    loaded: &'a Loaded,
    /// The volume.
    volume: Root,
    /// The instance's root.
    disk: OnDisk,
    instance: BTreeMap<&'static str, String>,
    devices: BTreeMap<String, BTreeMap<String, String>>,
    image: BTreeMap<String, String>,
}

impl Engine {
    /// Writes what the instance's metadata asks for at this start.
    pub(super) fn write_templates(&self, loaded: &Loaded, pool: &Arc<dyn Pool>) -> Result<(), EngineError> {
        let failed = |cause| EngineError::system(format!("instance {}: reading its {METADATA}", loaded.instance.name), cause);
        let directory = pool.directory(&Volume::instance(&loaded.instance.project, &loaded.instance.name))?;
        let volume = root(directory.as_fd()).and_then(|volume| volume.strict()).map_err(failed)?;
        let text = match volume.read(METADATA, metadata::MAX_SIZE as u64) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            text => text.map_err(failed)?,
        };
        // Most starts have nothing to write: they need not read the rest.
        if !memory_holds(&text, b"templates") {
            return Ok(());
        }
        let metadata = Metadata::parse(&text)
            .map_err(|error| EngineError::Refused(format!("instance {}: {}", loaded.instance.name, coffer_base::chain(&error))))?;
        let deferred = loaded.instance.config.get(DEFERRED).and_then(Trigger::named);
        let mut due = Vec::new();
        for trigger in deferred.into_iter().chain([Trigger::Start]) {
            due.extend(
                metadata.templates.iter().filter(|(_, rule)| rule.when.contains(&trigger)).map(|(target, rule)| (trigger, target, rule)),
            );
        }
        if due.is_empty() {
            return Ok(());
        }
        let mounted = self.mount_root(pool, loaded)?;
        let writing = Writing::new(loaded, volume, root(mounted.rootfs.as_fd()).map_err(failed)?);
        for (trigger, target, rule) in due {
            writing.write(trigger, target, rule)?;
        }
        Ok(())
    }
}

impl Engine {
    /// Makes the links that the instance's devices need in its root.
    pub(super) fn write_device_links(&self, loaded: &Loaded, pool: &Arc<dyn Pool>) -> Result<(), EngineError> {
        let links = self.gpu_links(loaded)?;
        if links.is_empty() {
            return Ok(());
        }
        let mounted = self.mount_root(pool, loaded)?;
        let told = |path: &str, cause| EngineError::system(format!("instance {}: making the link {path}", loaded.instance.name), cause);
        let disk = on_disk(loaded, root(mounted.rootfs.as_fd()).map_err(|cause| told("/", cause))?);
        links.iter().try_for_each(|(path, target)| disk.put_link(path.trim_start_matches('/'), target).map_err(|cause| told(path, cause)))
    }
}

impl<'a> Writing<'a> {
    fn new(loaded: &'a Loaded, volume: Root, root: Root) -> Self {
        let instance = &loaded.instance;
        let privileged = loaded.config.flag("security.privileged", false);
        let facts = [
            ("name", instance.name.to_string()),
            ("type", "container".to_owned()),
            ("architecture", instance.architecture.clone()),
            ("ephemeral", instance.ephemeral.to_string()),
            ("privileged", privileged.to_string()),
        ];
        let expanded = instance.expanded_devices(&loaded.profiles);
        Self {
            volume,
            disk: on_disk(loaded, root),
            instance: facts.into(),
            devices: expanded.0.into_iter().map(|(name, keys)| (name.to_string(), keys.0)).collect(),
            image: owned(instance.config.under("image.")),
            loaded,
        }
    }

    fn write(&self, trigger: Trigger, target: &TemplateTarget, rule: &TemplateRule) -> Result<(), EngineError> {
        let told = |why: String| {
            let name = &self.loaded.instance.name;
            EngineError::Refused(format!("instance {name}: writing {target} from template {}: {why}", rule.template))
        };
        if rule.create_only && self.disk.root.exists(target.relative()) {
            return Ok(());
        }
        let source = self
            .volume
            .read(Path::new(TEMPLATES).join(&rule.template), template::MAX_SOURCE as u64)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into()))
            .map_err(|cause| told(format!("reading it: {cause}")))?;
        let path = target.to_string();
        let context = Context {
            trigger,
            path: &path,
            instance: &self.instance,
            config: &self.loaded.config.0,
            devices: &self.devices,
            image: &self.image,
            properties: &rule.properties,
        };
        let text = template::render(&source, &context).map_err(|error| told(error.to_string()))?;
        self.put(target.relative(), text.as_bytes(), rule).map_err(|cause| told(cause.to_string()))
    }

    /// Writes a file; what is new belongs to the instance's root unless the rule says more.
    fn put(&self, path: &str, bytes: &[u8], rule: &TemplateRule) -> io::Result<()> {
        match self.disk.root.open_file_for_writing(path) {
            Ok(mut file) => {
                file.set_len(0)?;
                file.write_all(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.put_new(path, bytes, rule),
            Err(error) => Err(error),
        }
    }

    fn put_new(&self, path: &str, bytes: &[u8], rule: &TemplateRule) -> io::Result<()> {
        self.disk.ensure_above(path)?;
        // A link that leads nowhere is there, and is in the way.
        if self.disk.root.metadata(path).is_ok() {
            self.disk.root.remove_file(path)?;
        }
        let mode = rule.mode.unwrap_or(0o644);
        let mut file = self.disk.root.create_file(path, mode)?;
        file.write_all(bytes)?;
        self.disk.root.change_owner(path, self.disk.id(rule.uid.unwrap_or(0))?, self.disk.id(rule.gid.unwrap_or(0))?)?;
        self.disk.root.change_mode(path, mode)
    }
}

fn on_disk(loaded: &Loaded, root: Root) -> OnDisk {
    OnDisk { root, shifted: loaded.instance.config.get(SHIFTED).and_then(IdMap::from_volatile) }
}

fn root(directory: BorrowedFd<'_>) -> io::Result<Root> {
    Ok(Root::from_fd(directory.try_clone_to_owned()?))
}

fn owned<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    pairs.collect::<Config>().0
}

fn memory_holds(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_model::{Devices, Instance, Phase, ProjectName, Time};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    const OUTSIDE: &str = "untouched";

    /// A volume with one template, and a file beside it that nobody may reach.
    struct Ground(std::path::PathBuf);

    impl Ground {
        fn new() -> Self {
            let top = std::env::temp_dir().join(format!("coffer-templates-{}", uuid::Uuid::new_v4()));
            std::fs::create_dir_all(top.join("volume/rootfs/etc")).unwrap();
            std::fs::create_dir(top.join("volume/templates")).unwrap();
            std::fs::write(top.join("volume/templates/name.tpl"), "{{ trigger }} {{ container.name }}\n").unwrap();
            std::fs::write(top.join("outside"), OUTSIDE).unwrap();
            Self(top)
        }

        fn rootfs(&self) -> std::path::PathBuf {
            self.0.join("volume/rootfs")
        }

        #[track_caller]
        fn check(&self, target: &str, create_only: bool, expect: &str) {
            let loaded = loaded();
            let root = |path: &str| Root::open(self.0.join(path)).unwrap();
            let writing = Writing::new(&loaded, root("volume").strict().unwrap(), root("volume/rootfs"));
            let rule = TemplateRule {
                when: vec![Trigger::Create],
                template: "name.tpl".into(),
                create_only,
                properties: BTreeMap::new(),
                uid: None,
                gid: None,
                mode: None,
            };
            let written = writing.write(Trigger::Create, &target.parse().unwrap(), &rule);
            let got = match written {
                Ok(()) => std::fs::read_to_string(self.rootfs().join(target.trim_start_matches('/'))).unwrap(),
                Err(error) => error.to_string(),
            };
            assert_eq!(got, expect);
            assert_eq!(std::fs::read_to_string(self.0.join("outside")).unwrap(), OUTSIDE);
        }
    }

    impl Drop for Ground {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn loaded() -> Loaded {
        let instance = Instance {
            project: ProjectName::default_project(),
            name: "web".parse().unwrap(),
            architecture: "x86_64".into(),
            description: String::new(),
            ephemeral: false,
            profiles: Vec::new(),
            config: Config::default(),
            devices: Devices::default(),
            pool: "default".parse().unwrap(),
            created_at: Time::UNIX_EPOCH,
            last_used_at: None,
            phase: Phase::Ready,
        };
        Loaded { instance, id: 1, profiles: Vec::new(), config: Config::default() }
    }

    #[test]
    fn files_are_made_and_written_anew() {
        let ground = Ground::new();
        ground.check("/etc/hostname", false, "create web\n");
        std::fs::write(ground.rootfs().join("etc/hostname"), "a longer text of its own\n").unwrap();
        ground.check("/etc/hostname", true, "a longer text of its own\n");
        ground.check("/etc/hostname", false, "create web\n");
        ground.check("/var/lib/cloud/seed/meta-data", false, "create web\n");
        let mode = |path: &str| std::fs::metadata(ground.rootfs().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("var/lib/cloud"), mode("var/lib/cloud/seed/meta-data")), (0o755, 0o644));
    }

    #[test]
    fn no_link_leads_out_of_the_root() {
        let ground = Ground::new();
        let outside = ground.0.join("outside");
        symlink(&outside, ground.rootfs().join("etc/absolute")).unwrap();
        symlink("../../../outside", ground.rootfs().join("etc/relative")).unwrap();
        symlink(&ground.0, ground.rootfs().join("etc/dir")).unwrap();
        ground.check("/etc/absolute", false, "create web\n");
        ground.check("/etc/relative", false, "create web\n");
        ground.check("/etc/dir/outside", false, "instance web: writing /etc/dir/outside from template name.tpl: File exists (os error 17)");
        std::fs::write(ground.rootfs().join("etc/inside"), "x").unwrap();
        symlink("inside", ground.rootfs().join("etc/link")).unwrap();
        ground.check("/etc/link", false, "create web\n");
        assert!(std::fs::symlink_metadata(ground.rootfs().join("etc/link")).unwrap().is_symlink());
    }

    #[test]
    fn only_regular_files_are_written() {
        let ground = Ground::new();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            ground.rootfs().join("etc/pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o666),
            0,
        )
        .unwrap();
        ground.check("/etc/pipe", false, "instance web: writing /etc/pipe from template name.tpl: Invalid argument (os error 22)");
        let moved = ground.0.join("volume/templates/name.tpl");
        std::fs::remove_file(&moved).unwrap();
        symlink(ground.0.join("outside"), &moved).unwrap();
        ground.check(
            "/etc/x",
            false,
            "instance web: writing /etc/x from template name.tpl: reading it: Too many levels of symbolic links (os error 40)",
        );
    }
}
