//! Users' volumes.

use super::*;

#[test]
fn a_volume_cut_anywhere_is_whole_or_absent() {
    if !can_run() || !has_fault_points() {
        return;
    }
    let mut daemon = Daemon::start();
    for pool in ["one", "two"] {
        daemon.api().expect("POST", "/1.0/storage-pools", Some(&json!({"name": pool, "driver": "dir", "config": {}})));
    }
    let before = daemon.world();
    let wanted = |(point, use_case): &(&'static str, UseCase)| match use_case {
        UseCase::Volume(doing) => Some((*point, *doing)),
        _ => None,
    };
    for (point, doing) in POINTS.iter().filter_map(wanted) {
        let (one, two) = ("/1.0/storage-pools/one/volumes/custom", "/1.0/storage-pools/two/volumes/custom");
        let (volume, snapshot) = (format!("{one}/v"), format!("{one}/v/snapshots/s"));
        let file = daemon.state_seen().join("storage-pools/one/custom/default_v/file");
        if doing != Volumes::Create {
            daemon.api().expect("POST", one, Some(&json!({"name": "v"})));
            std::fs::write(&file, "text").unwrap();
            daemon.api().expect("POST", &format!("{volume}/snapshots"), Some(&json!({"name": "s"})));
            // Every volume that survives has this one too: the check that follows compares records and files.
            daemon.api().expect("POST", &format!("{volume}/backups"), Some(&json!({"name": "b"})));
        }
        let mut archive = Vec::new();
        if doing == Volumes::Import {
            archive = daemon.api().request("GET", &format!("{volume}/backups/b/export"), None).unwrap().body;
            daemon.api().expect("DELETE", &volume, None);
        }
        let refresh = json!({"name": "w", "source": {"type": "copy", "name": "v", "pool": "one", "refresh": true}});
        if doing == Volumes::Refresh {
            daemon.api().expect("POST", two, Some(&json!({"name": "w"})));
        }
        arm(&mut daemon, point);
        let _ = match doing {
            Volumes::Create => post(&daemon, "POST", one, &json!({"name": "v"})),
            Volumes::Import => send(&daemon, one, &[], &archive),
            Volumes::Rename => post(&daemon, "POST", &volume, &json!({"name": "new"})),
            Volumes::Move => post(&daemon, "POST", &volume, &json!({"name": "v", "pool": "two"})),
            Volumes::Refresh => post(&daemon, "POST", two, &refresh),
            Volumes::Delete => post(&daemon, "DELETE", &volume, &json!({})),
            Volumes::Snapshot => post(&daemon, "POST", &format!("{volume}/snapshots"), &json!({"name": "t"})),
            Volumes::RenameSnapshot => post(&daemon, "POST", &snapshot, &json!({"name": "new"})),
            Volumes::DeleteSnapshot => post(&daemon, "DELETE", &snapshot, &json!({})),
        };
        revive(&mut daemon, point);
        // Whatever there is now is whole: what the store says is on disk, and nothing else is.
        let mut left = Vec::new();
        for pool in ["one", "two"] {
            let volumes = daemon.api().get(&format!("/1.0/storage-pools/{pool}/volumes/custom?recursion=1"));
            for entry in volumes.as_array().unwrap() {
                let name = entry["name"].as_str().unwrap();
                let (home, name) = if name.contains('/') { ("custom-snapshots", name) } else { ("custom", name) };
                let place = daemon.state_seen().join(format!("storage-pools/{pool}/{home}/default_{name}"));
                assert!(place.is_dir(), "{point}: {} is not there", place.display());
                if doing != Volumes::Create && !(doing == Volumes::Refresh && name == "w") {
                    assert_eq!(std::fs::read_to_string(place.join("file")).unwrap(), "text", "{point}");
                }
                left.push(format!("/1.0/storage-pools/{pool}/volumes/custom/{name}"));
            }
        }
        let with_backup = |url: &&String| url.split('/').count() == 7 && daemon.api().get(&format!("{url}/backups")) != json!([]);
        match doing {
            Volumes::Rename | Volumes::Move => assert_eq!(left.iter().filter(with_backup).count(), 1, "{point}"),
            Volumes::Import => {
                assert_eq!(left, Vec::<String>::new(), "{point}");
                send(&daemon, one, &[], &archive).unwrap();
                assert_eq!(std::fs::read_to_string(&file).unwrap(), "text", "{point}");
                left.push(volume.clone());
            }
            _ => {}
        }
        if doing == Volumes::Refresh {
            // It can be done again, and then is done.
            post(&daemon, "POST", two, &refresh).unwrap();
            let copy = daemon.state_seen().join("storage-pools/two/custom/default_w/file");
            assert_eq!(std::fs::read_to_string(copy).unwrap(), "text", "{point}");
        }
        for url in left.iter().filter(|url| url.split('/').count() == 7) {
            daemon.api().expect("DELETE", url, None);
        }
        daemon.expect_nothing_since(&before);
    }
}
