//! The document against what it was made of, foreign documents, and hostile directories.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};

use coffer_model::InstanceSnapshot;
use proptest::prelude::*;

use super::*;

fn name<N: std::str::FromStr<Err = NameError>>(text: &str) -> N {
    text.parse().unwrap()
}

fn pool() -> Pool {
    Pool { name: name("default"), description: String::new(), driver: "btrfs".into(), config: Config::default(), made: true }
}

fn profile() -> Profile {
    let root = [("type", "disk"), ("path", "/"), ("pool", "default")].into_iter().collect();
    Profile {
        project: ProjectName::default_project(),
        name: name("default"),
        description: "Default Coffer profile".into(),
        config: [("limits.cpu", "1"), ("boot.autostart", "true")].into_iter().collect(),
        devices: Devices([(name("root"), root)].into()),
    }
}

fn instance() -> Instance {
    Instance {
        project: name("dev"),
        name: name("web"),
        architecture: "x86_64".into(),
        description: "yes".into(),
        ephemeral: true,
        profiles: vec![name("default")],
        config: [("limits.cpu", "2"), ("user.user-data", "#cloud-config\nruncmd:\n - [ls, -l]\n")].into_iter().collect(),
        devices: Devices::default(),
        pool: name("default"),
        created_at: "2024-05-06T07:08:09.123456789Z".parse().unwrap(),
        last_used_at: None,
        phase: Phase::Ready,
    }
}

fn volume() -> Volume {
    Volume {
        pool: name("default"),
        project: name("dev"),
        kind: VolumeKind::Container,
        name: "web".into(),
        description: String::new(),
        config: Config::default(),
        created_at: "2024-05-06T07:08:09Z".parse().unwrap(),
    }
}

fn document() -> Document {
    Document::of(&instance(), Status::Stopped, &[profile()], &pool(), &volume())
}

#[test]
fn the_text_is_lxds() {
    let text = document().to_yaml().unwrap();
    let expect = r##"container:
  architecture: x86_64
  config:
    limits.cpu: "2"
    user.user-data: |
      #cloud-config
      runcmd:
       - [ls, -l]
  devices: {}
  ephemeral: true
  profiles:
  - default
  stateful: false
  description: "yes"
  created_at: "2024-05-06T07:08:09.123456789Z"
  expanded_config:
    boot.autostart: "true"
    limits.cpu: "2"
    user.user-data: |
      #cloud-config
      runcmd:
       - [ls, -l]
  expanded_devices:
    root:
      path: /
      pool: default
      type: disk
  name: web
  status: Stopped
  status_code: 102
  last_used_at: "1970-01-01T00:00:00Z"
  location: none
  type: container
  project: dev
pool:
  config: {}
  description: ""
  name: default
  driver: btrfs
  used_by: []
  status: Created
  locations:
  - none
profiles:
- config:
    boot.autostart: "true"
    limits.cpu: "1"
  description: Default Coffer profile
  devices:
    root:
      path: /
      pool: default
      type: disk
  name: default
  used_by: []
volume:
  config: {}
  description: ""
  name: web
  type: container
  used_by: []
  location: none
  content_type: filesystem
  project: dev
  created_at: "2024-05-06T07:08:09Z"
"##;
    assert_eq!(text, expect, "{text}");
}

#[test]
fn all_can_be_rebuilt_from_it() {
    let read = parse(&document().to_yaml().unwrap()).unwrap();
    assert_eq!(read, document());
    assert_eq!(read.instance().unwrap(), instance());
    assert_eq!(read.profiles(&ProjectName::default_project()).unwrap(), [profile()]);
    assert_eq!(read.pool().unwrap(), pool());
    assert_eq!(read.volume().unwrap(), volume());
}

#[test]
fn snapshots_can_be_rebuilt_from_it() {
    let taken: Time = "2024-05-06T09:00:00.5Z".parse().unwrap();
    let snapshot = InstanceSnapshot { phase: Phase::Ready, ..InstanceSnapshot::of(&instance(), name("one"), taken, Some(taken)) };
    let written = document().with_snapshots(&instance(), [(&snapshot, vec![profile()])]).to_yaml().unwrap();
    let read = parse(&written).unwrap();
    assert_eq!(read.instance_snapshots().unwrap(), [snapshot]);
    assert_eq!(read.snapshots[0].expanded_config["boot.autostart"], "true");
    let stateful = parse("snapshots: [{name: web/one, stateful: true}]").unwrap().instance_snapshots().unwrap_err();
    assert_eq!(stateful.to_string(), "backup.yaml: snapshots.stateful is \"true\"; only false is supported");
}

#[track_caller]
fn check(text: &str, expect: &str) {
    let said = match parse(text).and_then(|document| document.instance()) {
        Ok(instance) => format!("{} {:?} {:?}", instance.name, instance.config.0, instance.devices.0),
        Err(error) => coffer_base::chain(&error),
    };
    assert!(said.contains(expect), "{said}");
}

#[test]
fn nulls_and_bare_values_are_taken() {
    check(
        "container:\n  name: web\n  description:\n  config:\n    limits.cpu: 2\n    boot.autostart: true\n    user.a:\n    user.b: 0755\n  \
         devices:\n    eth0:\n  profiles: [null, default]\n  created_at: null\n  expires_at: null\n  unknown: [1]\npool: {name: default}\n\
         snapshots: [null]\nprofiles:\nvolume: null\n",
        r#"web {"boot.autostart": "true", "limits.cpu": "2", "user.a": "", "user.b": "0755"} {DeviceName("eth0"): Config({})}"#,
    );
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    check("", "backup.yaml has no container");
    check("null", "backup.yaml has no container");
    check("container: {name: web}", "backup.yaml has no pool");
    check("container: {}\npool: {name: p}", "backup.yaml: container.name: invalid instance name \"\"");
    check("container: {name: ../../etc}\npool: {name: p}", "invalid instance name \"../../etc\"");
    check("container: {name: web, devices: {-x: {}}}\npool: {name: p}", "container.devices: invalid device name");
    check(
        "container: {name: web, type: virtual-machine}\npool: {name: p}",
        "container.type is \"virtual-machine\"; only container is supported",
    );
    check("container: {name: web, created_at: yesterday}", "understanding backup.yaml: ");
    check("container: [", "understanding backup.yaml: ");
    check("container: {name: web, name: db}", "understanding backup.yaml: ");
}

#[test]
fn bombs_do_not_go_off() {
    check("a: &a [x, x]\nb: *a\n", "understanding backup.yaml: ");
    check("container: {<<: {name: web}}\n", "understanding backup.yaml: ");
    check(&format!("x: {}1{}", "[".repeat(500), "]".repeat(500)), "understanding backup.yaml: ");
    check(&"- ".repeat(100_000), "understanding backup.yaml: ");
    check(&"x".repeat(LIMIT + 1), "backup.yaml has more than 16777216 bytes");
    check("--- {}\n--- {}\n", "understanding backup.yaml: ");
}

#[test]
fn the_file_is_replaced_whole() {
    let directory = tempfile::tempdir().unwrap();
    let fd = File::open(directory.path()).unwrap();
    assert_eq!(read(fd.as_fd()).unwrap(), None);
    write(fd.as_fd(), &Document::default()).unwrap();
    write(fd.as_fd(), &document()).unwrap();
    assert_eq!(read(fd.as_fd()).unwrap(), Some(document()));
    let path = directory.path().join(NAME);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o400);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);

    // A mere path serves as well, and what an attempt left behind is no hindrance.
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
    let fd = rustix::fs::open(directory.path(), flags, rustix::fs::Mode::empty()).unwrap();
    std::fs::write(directory.path().join(".backup.yaml.new"), "half").unwrap();
    write(fd.as_fd(), &document()).unwrap();
    assert_eq!(read(fd.as_fd()).unwrap(), Some(document()));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn no_link_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let victim = directory.path().join("victim");
    std::fs::write(&victim, "container: {name: web}").unwrap();
    let inside = directory.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    let fd = File::open(&inside).unwrap();
    for link in [NAME, ".backup.yaml.new"] {
        symlink(&victim, inside.join(link)).unwrap();
    }
    assert!(matches!(read(fd.as_fd()), Err(BackupError::NotAFile)));
    write(fd.as_fd(), &document()).unwrap();
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "container: {name: web}");
    assert_eq!(read(fd.as_fd()).unwrap(), Some(document()));

    // Other things that are no files, and would block or surprise.
    for kind in [rustix::fs::FileType::Fifo, rustix::fs::FileType::Socket] {
        std::fs::remove_file(inside.join(NAME)).unwrap();
        rustix::fs::mknodat(&fd, NAME, kind, rustix::fs::Mode::RUSR, 0).unwrap();
        assert!(matches!(read(fd.as_fd()), Err(BackupError::NotAFile)), "{kind:?}");
    }
    std::fs::remove_file(inside.join(NAME)).unwrap();
    std::fs::create_dir(inside.join(NAME)).unwrap();
    assert!(matches!(read(fd.as_fd()), Err(BackupError::NotAFile)));
    assert!(write(fd.as_fd(), &document()).is_err(), "a directory of that name is not ours to remove");
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = File::create(directory.path().join(NAME)).unwrap();
    file.set_len(1 << 40).unwrap();
    let fd = File::open(directory.path()).unwrap();
    assert!(matches!(read(fd.as_fd()), Err(BackupError::TooLarge)));
}

#[test]
fn writers_at_once_leave_one_whole_document() {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let fd = File::open(directory.path()).unwrap();
                for _ in 0..10 {
                    write(fd.as_fd(), &document()).unwrap();
                    assert_eq!(read(fd.as_fd()).unwrap(), Some(document()));
                }
            });
        }
    });
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

proptest! {
    /// Whatever text a user wrote, it survives the file.
    #[test]
    fn texts_round_trip(description in any::<String>(), notes in prop::collection::btree_map("user\\.[a-z]{1,8}", any::<String>(), 0..6)) {
        let instance = Instance { description, config: Config(notes), ..instance() };
        let text = Document::of(&instance, Status::Running, &[], &pool(), &volume()).to_yaml().unwrap();
        prop_assert_eq!(parse(&text).unwrap().instance().unwrap(), instance);
    }

    /// No bytes make the reader panic.
    #[test]
    fn no_text_panics(text in any::<String>(), cut in 0usize..1500) {
        let _ = parse(&text);
        let whole = document().to_yaml().unwrap();
        let cut: String = whole.chars().take(cut).collect();
        let _ = parse(&cut).and_then(|document| document.instance());
        let _ = parse(&format!("{cut}{text}"));
    }
}
