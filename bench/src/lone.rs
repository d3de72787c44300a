//! Beside what starts containers without a daemon: crun and the tools of liblxc, on the same busybox root, without a network.
//!
//! In the scenes each step of ours follows one of LXD's, which goes on in the background; here nothing else works.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use coffer_testkit::{Pen, images, program};
use serde_json::{Value, json};

use crate::Plan;
use crate::contender::Contender;
use crate::samples::{Samples, Side};
use crate::scenes;

/// Where these figures are put: apart from those that are taken in turn with LXD.
pub const PLACE: &str = "alone";

/// Runs the rounds inside a pen, by this program itself, so that entering it is not measured; and Coffer's own steps beside
/// them, while nothing else works either.
///
/// # Errors
/// A tool or the pen fails.
pub fn measure(plan: &Plan, contenders: &[Contender], samples: &mut Samples) -> Result<(), String> {
    for contender in contenders.iter().filter(|contender| contender.side == Side::Ours) {
        for pool in POOLS {
            for _ in 0..plan.rounds {
                ours(contender, pool, samples);
            }
        }
    }
    let dir = PathBuf::from(format!("/tmp/coffer-bench-{}", std::process::id()));
    let root = dir.join("rootfs");
    let unpacked = fs::create_dir_all(&root).map_err(|error| format!("creating {}: {error}", root.display())).and_then(|()| unpack(&dir));
    let outcome = unpacked.and_then(|()| rounds(plan, &dir, samples));
    let _ = fs::remove_dir_all(&dir);
    tidy();
    outcome
}

/// Removes the control groups that monitors by hand stood in: nobody is left who could.
fn tidy() {
    for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        for group in ["lone/.monitors", "lone"] {
            // Empty ones go; there may be none.
            let _ = fs::remove_dir(hierarchy.path().join(group));
        }
    }
}

/// The pools that Coffer's own steps run on.
pub const POOLS: [&str; 2] = ["btrfs", "host"];

/// One round of Coffer: by its client, then by the API alone; each starts an instance that was just made.
fn ours(contender: &Contender, pool: &str, samples: &mut Samples) {
    let steps: [(&str, &[&str]); 5] = [
        ("init", &["init", "bb", "lone", "--storage", pool]),
        ("start", &["start", "lone"]),
        ("exec true", &["exec", "lone", "--", "true"]),
        ("kill", &["stop", "--force", "lone"]),
        ("delete", &["delete", "lone"]),
    ];
    for (what, words) in steps {
        match contender.cli(words) {
            Ok(took) => samples.time(&format!("{what}, {pool}"), PLACE, Side::Ours, took),
            Err(why) => samples.note(format!("alone: {what}: {why}")),
        }
    }
    scenes::without_client(contender, "bb", pool, &format!("{PLACE} {pool}"), samples);
}

fn unpack(dir: &Path) -> Result<(), String> {
    let status = Command::new("tar").arg("--extract").arg("--file").arg(images::busybox().unified).arg("--directory").arg(dir).status();
    if status.is_ok_and(|status| status.success()) { Ok(()) } else { Err("tar cannot unpack the busybox image".into()) }
}

fn rounds(plan: &Plan, dir: &Path, samples: &mut Samples) -> Result<(), String> {
    // liblxc wants to see the cgroup of process 1.
    let pen = Pen::with_host_cgroups();
    let me = std::env::current_exe().map_err(|error| format!("finding this program: {error}"))?;
    let mut inside = pen.daemon_command(&me.display().to_string());
    inside.arg("lone-inside").arg(dir).arg(plan.rounds.to_string()).arg(program("coffer-monitor"));
    let output = inside.output();
    let output = output.map_err(|error| format!("starting the inside: {error}"))?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut words = line.split('\t');
        if let (Some(side), Some(what), Some(figure)) = (words.next(), words.next(), words.next()) {
            let side = match side {
                "crun" => Side::Crun,
                "crun user" => Side::CrunUser,
                "coffer-monitor" => Side::Runtime,
                _ => Side::Lxc,
            };
            match figure.parse() {
                Ok(figure) => samples.figure(what, PLACE, side, figure),
                Err(_) => samples.note(format!("{side:?} cannot do {what}: {figure}")),
            }
        }
    }
    if output.status.success() { Ok(()) } else { Err(format!("the inside failed: {}", String::from_utf8_lossy(&output.stderr))) }
}

/// The inside: measures and prints a line for each figure.
pub fn inside(args: &[String]) -> ExitCode {
    let [dir, rounds, monitor] = args else { return ExitCode::FAILURE };
    // crun refuses a host whose v2 hierarchy is mounted beside v1 with a controller in it: show it v1 alone.
    let _ = Command::new("umount").arg("/sys/fs/cgroup/unified").stderr(Stdio::null()).status();
    let (dir, rounds) = (Path::new(dir), rounds.parse().unwrap_or(1));
    if prepare_crun(dir).is_none() || prepare_crun_user(dir).is_none() || prepare_monitor(dir).is_none() || prepare_lxc(dir).is_none() {
        eprintln!("crun, coffer-monitor or lxc-start cannot be prepared");
        return ExitCode::FAILURE;
    }
    let (state, bundle, config) = (text(&dir.join("crun")), text(dir), text(&dir.join("lxc.conf")));
    let user_bundle = text(&dir.join(USER_BUNDLE));
    let crun = ["crun", "--root", &state, "--cgroup-manager", "cgroupfs"];
    let lxc = |tool: &'static str| [tool, "-n", "lone", "-P", &bundle].map(str::to_owned);
    for _ in 0..rounds {
        for (side, bundle) in [("crun", &bundle), ("crun user", &user_bundle)] {
            time(side, "start", crun.iter().chain(&["run", "--detach", "--bundle", bundle, "lone"]));
            time(side, "exec true", crun.iter().chain(&["exec", "lone", "/bin/true"]));
            time(side, "kill", crun.iter().chain(&["delete", "--force", "lone"]));
        }
        let (spec, socket) = (text(&dir.join(SPEC)), text(&dir.join("monitor.socket")));
        let monitor = [monitor.as_str()];
        time("coffer-monitor", "start", monitor.iter().chain(&["run", "--detach", "--spec", &spec, "--socket", &socket]));
        time("coffer-monitor", "exec true", monitor.iter().chain(&["exec", "--socket", &socket, "--", "/bin/true"]));
        time("coffer-monitor", "kill", monitor.iter().chain(&["stop", "--force", "--socket", &socket]));
        time("lxc", "start", lxc("lxc-start").iter().map(String::as_str).chain(["-f", &config]));
        time("lxc", "exec true", lxc("lxc-attach").iter().map(String::as_str).chain(["--", "/bin/true"]));
        time("lxc", "kill", lxc("lxc-stop").iter().map(String::as_str).chain(["-k"]));
    }
    ExitCode::SUCCESS
}

fn time<W: AsRef<str>>(side: &str, what: &str, words: impl IntoIterator<Item = W>) {
    let words: Vec<_> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
    let mut command = Command::new(&words[0]);
    // crun's container keeps its standard output: a pipe would never end.
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null());
    let began = Instant::now();
    match command.status() {
        Ok(status) if status.success() => println!("{side}\t{what}\t{}", began.elapsed().as_secs_f64() * 1e3),
        other => println!("{side}\t{what}\t{other:?}"),
    }
}

/// Writes an OCI bundle: crun's own default, with our root and a process that stays.
fn prepare_crun(dir: &Path) -> Option<()> {
    let output = Command::new("crun").arg("spec").current_dir(dir).output().ok()?;
    output.status.success().then_some(())?;
    let path = dir.join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["/bin/sleep", "100000"]);
    spec["root"] = json!({"path": "rootfs", "readonly": false});
    fs::write(path, spec.to_string()).ok()
}

/// The bundle of [`prepare_crun_user`], in the directory of the first.
const USER_BUNDLE: &str = "user";

/// Writes a second bundle: the same root and process, with ids of its own.
fn prepare_crun_user(dir: &Path) -> Option<()> {
    let mut spec: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).ok()?).ok()?;
    spec["root"]["path"] = json!(dir.join("rootfs"));
    spec["linux"]["namespaces"].as_array_mut()?.push(json!({"type": "user"}));
    for ids in ["uidMappings", "gidMappings"] {
        spec["linux"][ids] = json!([{"containerID": 0, "hostID": 1_000_000, "size": 65536}]);
    }
    let bundle = dir.join(USER_BUNDLE);
    fs::create_dir(&bundle).ok()?;
    fs::write(bundle.join("config.json"), spec.to_string()).ok()
}

/// The spec of [`prepare_monitor`].
const SPEC: &str = "monitor.json";

/// Writes a spec for our own runtime: the same root and process, with ids of its own and without a network.
fn prepare_monitor(dir: &Path) -> Option<()> {
    let ids = json!([{"inside": 0, "host": 1_000_000, "count": 65536}]);
    let spec = json!({
        "name": "lone",
        "cgroup": "lone/hand",
        "hostname": "lone",
        "idmap": {"mapped": {"uids": ids, "gids": ids}},
        "root": {"source": {"path": dir.join("rootfs")}},
        "init": {"argv": ["/bin/sleep", "100000"]},
    });
    fs::write(dir.join(SPEC), spec.to_string()).ok()
}

fn prepare_lxc(dir: &Path) -> Option<()> {
    let root = dir.join("rootfs").display().to_string();
    let config = format!(
        "lxc.rootfs.path = dir:{root}\nlxc.net.0.type = empty\nlxc.uts.name = lone\nlxc.init.cmd = /bin/sleep 100000\nlxc.mount.auto = proc sys\n"
    );
    fs::write(dir.join("lxc.conf"), config).ok()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
