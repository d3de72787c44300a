//! Every configuration key of instances: set, read back, its effect inside, unset, a bad value refused by name; live ones
//! without a restart, the others after one.

mod table;

use coffer_testkit::Daemon;
use serde_json::{Value, json};

use crate::setting::ready_daemon;
use table::{CASES, Case, Effect};

/// A key as the server documents it.
struct Documented {
    name: String,
    live: bool,
    /// Why it is refused, if it is.
    refused: Option<String>,
}

/// Every key of instances, from the document that clients read.
fn documented(daemon: &Daemon) -> Vec<Documented> {
    let document = daemon.api().get("/1.0/metadata/configuration");
    let groups = document["configs"]["instance"].as_object().expect("keys come in groups").values();
    let rows = groups.flat_map(|group| group["keys"].as_array().expect("a group has keys")).flat_map(|row| row.as_object().expect("a row"));
    let read = |(name, row): (&String, &Value)| Documented {
        name: name.clone(),
        live: row["liveupdate"] == "yes",
        refused: row["condition"].as_str().and_then(|condition| condition.strip_prefix("not supported: ")).map(str::to_owned),
    };
    rows.map(read).collect()
}

/// The cases of a key; those of `limits.kernel.*`, `environment.*` and the like name one below it.
fn cases<'a>(key: &'a str) -> impl Iterator<Item = &'static Case> + use<'a> {
    let covers = move |case: &&Case| match key.strip_suffix('*') {
        Some(prefix) => case.key.starts_with(prefix),
        None => case.key == key,
    };
    CASES.iter().filter(covers)
}

/// What a script says inside; nothing where it fails.
fn inside(daemon: &Daemon, script: &str) -> Option<String> {
    let done = daemon.coffer(["exec", "c1", "--", "sh", "-c", script]).run();
    (done.code == 0).then(|| done.text().trim().to_owned())
}

fn patch(daemon: &Daemon, config: &Value) -> Result<(), String> {
    let answer = daemon.api().request("PATCH", "/1.0/instances/c1", Some(&json!({ "config": config }))).expect("the daemon answers");
    if answer.status == 200 { Ok(()) } else { Err(answer.json()["error"].as_str().unwrap_or_default().to_owned()) }
}

#[track_caller]
fn set(daemon: &Daemon, case: &Case) {
    let keys: serde_json::Map<String, Value> = case.keys().map(|(key, value)| (key.to_owned(), value.into())).collect();
    patch(daemon, &keys.clone().into()).unwrap_or_else(|error| panic!("{} = {:?}: {error}", case.key, case.value));
    let config = daemon.api().get("/1.0/instances/c1")["config"].clone();
    for (key, value) in keys {
        assert_eq!(config[&key], value, "{key} reads back otherwise");
    }
}

#[track_caller]
fn unset(daemon: &Daemon, case: &Case) {
    let keys: serde_json::Map<String, Value> = case.keys().map(|(key, _)| (key.to_owned(), "".into())).collect();
    patch(daemon, &keys.into()).unwrap_or_else(|error| panic!("unsetting {}: {error}", case.key));
    let config = daemon.api().get("/1.0/instances/c1")["config"].clone();
    case.keys().for_each(|(key, _)| assert_eq!(config[key], Value::Null, "{key} is still there"));
}

#[test]
fn every_key_has_a_case_or_a_reason() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let keys = documented(&daemon);
    assert!(keys.len() > 120, "{} keys", keys.len());
    for key in &keys {
        if let Some(reason) = &key.refused {
            let name = key.name.replace('*', "x");
            let told = patch(&daemon, &json!({ name.clone(): "1" })).expect_err(&name);
            assert!(told.contains(&name) && told.contains(reason.as_str()), "{told}");
            continue;
        }
        assert!(cases(&key.name).next().is_some(), "key {} has no case in tests/keys/table.rs: say there what it does", key.name);
        for case in cases(&key.name) {
            if let Effect::Elsewhere(why) = case.effect {
                assert!(!why.is_empty(), "{} has neither an effect nor a reason", case.key);
            }
            if let Some(bad) = case.bad {
                let told = patch(&daemon, &json!({ case.key: bad })).expect_err(case.key);
                assert!(told.contains(&format!("{:?}", case.key)), "{told}");
            }
        }
    }
    for case in CASES {
        let known =
            keys.iter().any(|key| key.name == case.key || key.name.strip_suffix('*').is_some_and(|prefix| case.key.starts_with(prefix)));
        assert!(known, "{} is no key any more", case.key);
    }
    let told = patch(&daemon, &json!({ "limits.memroy": "1GiB" })).unwrap_err();
    assert!(told.contains("limits.memory"), "{told}");
}

#[test]
fn live_keys_work_at_once() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    // What the server remembers is not for clients to set: see below.
    for key in documented(&daemon).iter().filter(|key| key.live && key.refused.is_none() && key.name != "volatile.*") {
        for case in cases(&key.name) {
            let Effect::Inside { script, shows } = case.effect else {
                set(&daemon, case);
                unset(&daemon, case);
                continue;
            };
            let Some(before) = inside(&daemon, script) else {
                // The host's kernel has nothing for it: whoever asks for it is told.
                if let Err(told) = patch(
                    &daemon,
                    &case.keys().map(|(key, value)| (key.to_owned(), Value::from(value))).collect::<serde_json::Map<_, _>>().into(),
                ) {
                    assert!(told.contains("this host has no") || told.contains("setting "), "{}: {told}", case.key);
                }
                unset(&daemon, case);
                continue;
            };
            set(&daemon, case);
            let now = inside(&daemon, script).unwrap_or_default();
            assert!(shows.contains(&now.as_str()), "{} = {:?}: {now:?} instead of {shows:?}", case.key, case.value);
            unset(&daemon, case);
            assert_eq!(inside(&daemon, script).as_deref(), Some(before.as_str()), "{} leaves something behind", case.key);
        }
    }
}

#[test]
fn the_other_keys_work_after_a_start() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let keys = documented(&daemon);
    let later = keys.iter().filter(|key| !key.live && key.refused.is_none()).flat_map(|key| cases(&key.name));
    let mut later: Vec<&Case> = later.collect();
    later.retain(|case| match case.effect {
        Effect::Inside { .. } => true,
        Effect::Elsewhere(_) => {
            set(&daemon, case);
            unset(&daemon, case);
            false
        }
    });
    // Keys that decide about the same thing get rounds of their own.
    while !later.is_empty() {
        let mut round: Vec<&Case> = Vec::new();
        later.retain(|case| {
            let fits = round.iter().all(|other| other.about != case.about || case.about.is_empty());
            if fits {
                round.push(case);
            }
            !fits
        });
        all_together(&daemon, &round);
    }
}

/// Sets all of these keys, restarts once to have them and once more to be rid of them.
#[track_caller]
fn all_together(daemon: &Daemon, round: &[&Case]) {
    let scripts = || {
        round.iter().filter_map(|case| if let Effect::Inside { script, shows } = case.effect { Some((case, script, shows)) } else { None })
    };
    let read = || scripts().map(|(_, script, _)| inside(daemon, script)).collect::<Vec<_>>();
    let before = read();
    round.iter().for_each(|case| set(daemon, case));
    assert_eq!(read(), before, "a key that is not live took effect at once");
    daemon.coffer(["restart", "--force", "c1"]).clean();
    for (case, script, shows) in scripts() {
        let now = inside(daemon, script).unwrap_or_default();
        assert!(shows.contains(&now.as_str()), "{} = {:?}: {now:?} instead of {shows:?}", case.key, case.value);
    }
    round.iter().for_each(|case| unset(daemon, case));
    daemon.coffer(["restart", "--force", "c1"]).clean();
    for ((case, ..), (before, after)) in scripts().zip(before.into_iter().zip(read())) {
        // A range of ids that was given back may be another one next time.
        assert!(case.about == "ids" || before == after, "{} leaves {after:?} behind, not {before:?}", case.key);
    }
}

#[test]
fn what_the_server_remembers_is_not_for_clients() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let told = patch(&daemon, &json!({ "volatile.uuid": "x" })).unwrap_err();
    assert!(told.contains("volatile.uuid"), "{told}");
}

#[test]
fn protected_instances_are_neither_deleted_nor_started() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    patch(&daemon, &json!({ "security.protection.delete": "true", "security.protection.start": "true" })).unwrap();
    assert!(daemon.coffer(["delete", "c1"]).fails().contains("security.protection.delete"));
    assert!(daemon.coffer(["start", "c1"]).fails().contains("security.protection.start"));
    patch(&daemon, &json!({ "security.protection.delete": "", "security.protection.start": "" })).unwrap();
    daemon.coffer(["start", "c1"]).clean();
    daemon.coffer(["delete", "--force", "c1"]).clean();
}

#[test]
fn a_range_of_ids_can_be_chosen_and_shared() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let base = || {
        let map = inside(&daemon, "cat /proc/self/uid_map").unwrap_or_default();
        map.split_whitespace().nth(1).and_then(|base| base.parse::<u32>().ok()).expect("a map has a base")
    };
    let with = |key: &str, value: &str| {
        patch(&daemon, &json!({ key: value })).unwrap();
        daemon.coffer(["restart", "--force", "c1"]).clean();
    };
    let chosen_by_server = base();
    // The next range but one, which nobody has.
    let wanted = chosen_by_server + 2 * 65536;
    with("security.idmap.base", &wanted.to_string());
    assert_eq!(base(), wanted);
    patch(&daemon, &json!({ "security.idmap.base": "4294900000" })).unwrap();
    let told = daemon.coffer(["restart", "--force", "c1"]).fails();
    assert!(told.contains("4294900000") && told.contains("security.idmap.base"), "{told}");
    patch(&daemon, &json!({ "security.idmap.base": "", "security.idmap.isolated": "false" })).unwrap();
    daemon.change_state("c1", "start");
    let shared = base();
    assert!(shared < chosen_by_server, "the shared range {shared} comes before the isolated ones");
}

#[test]
fn no_key_gives_an_instance_what_is_the_host_s_or_another_s() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    daemon.run_instance("small", "c2");
    let other = daemon.coffer(["exec", "c2", "--", "cat", "/proc/self/uid_map"]).clean();
    let other: u32 = other.split_whitespace().nth(1).and_then(|base| base.parse().ok()).expect("a map has a base");
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    for (key, value) in [
        ("raw.idmap", format!("both {other} 5")),
        ("raw.idmap", format!("uid {} 5", other + 70_000)),
        ("raw.idmap", "both 0 5".to_owned()),
        ("linux.sysctl.kernel.core_pattern", "|/x".to_owned()),
        ("linux.sysctl.net.//.kernel.core_pattern", "|/x".to_owned()),
        ("linux.sysctl.fs.binfmt_misc.register", "x".to_owned()),
        ("linux.sysctl.kernel.shm_rmid_forced", "1\n+kernel.core_pattern=|/x".to_owned()),
        ("linux.kernel_modules", "loop;reboot".to_owned()),
        ("linux.kernel_modules", "--remove".to_owned()),
        ("linux.kernel_modules", "../../x".to_owned()),
        ("environment.A=B", "x\0y".to_owned()),
        ("user.user-data", "x".repeat((1 << 20) + 1)),
    ] {
        let told = patch(&daemon, &json!({ key: value })).expect_err(key);
        assert!(told.contains(key), "{key}: {told}");
    }
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), pattern);
}

#[test]
fn a_kernel_module_that_is_not_there_fails_the_start_by_name() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    patch(&daemon, &json!({ "linux.kernel_modules": "no_such_module" })).unwrap();
    let told = daemon.coffer(["start", "c1"]).fails();
    assert!(told.contains("no_such_module") && told.contains("linux.kernel_modules"), "{told}");
    patch(&daemon, &json!({ "linux.kernel_modules": "" })).unwrap();
    daemon.coffer(["start", "c1"]).clean();
}

#[test]
fn instances_that_ask_for_a_number_of_cpus_share_them_evenly() {
    let Some(daemon) = ready_daemon() else { return };
    let online = std::thread::available_parallelism().map_or(1, usize::from);
    if online < 2 {
        return coffer_testkit::skipped("there is one CPU only");
    }
    let cpus = |name: &str| {
        let script = "cat /sys/fs/cgroup/cpuset/cpuset.cpus 2>/dev/null || cat /sys/fs/cgroup/cpuset.cpus";
        daemon.coffer(["exec", name, "--", "sh", "-c", script]).clean().trim().to_owned()
    };
    for name in ["c1", "c2"] {
        daemon.create_instance("small", name);
        daemon.coffer(["config", "set", name, "limits.cpu=1"]).clean();
        daemon.change_state(name, "start");
    }
    let (first, second) = (cpus("c1"), cpus("c2"));
    assert_ne!(first, second, "two instances sit on one CPU");
    // A third one that insists on the first's CPU drives it away.
    daemon.coffer(["config", "set", "c2", "limits.cpu", &format!("{first}-{first}")]).clean();
    assert!(daemon.eventually(|| cpus("c1") != first), "c1 is still on {first}, which c2 has taken");
    daemon.coffer(["stop", "--force", "c2"]).clean();
    assert!(daemon.eventually(|| cpus("c1") == first), "c1 did not come back to {first}");
}
