//! Images and backups, on their way in and out.

use super::*;

#[test]
fn a_pull_from_a_registry_cut_anywhere_leaves_no_layer_without_an_image() {
    let Some(mut daemon) = ready_with_points() else { return };
    let Some(registry) = OciRegistry::start(daemon.pen(), &daemon.scratch().join("registry"), false) else { return };
    registry.push(daemon.pen(), "app", "latest", &[crate::oci::image("amd64", Packing::Gzip, "sleep 1000")]);
    let source = json!({"type": "image", "mode": "pull", "protocol": "oci", "server": registry.url(), "alias": "app"});
    let pull = json!({ "source": source });
    for point in points(UseCase::Pull).chain(["image.stored"]) {
        arm(&mut daemon, point);
        let _ = post(&daemon, "POST", "/1.0/images", &pull);
        revive(&mut daemon, point);
        assert_eq!(crate::oci::layers(&daemon), 0, "{point}");
        let done = daemon.api().expect("POST", "/1.0/images", Some(&pull));
        assert_eq!(crate::oci::layers(&daemon), 2, "{point}");
        let fingerprint = done["metadata"]["fingerprint"].as_str().expect("a fingerprint").to_owned();
        daemon.api().expect("DELETE", &format!("/1.0/images/{fingerprint}"), None);
        assert_eq!(crate::oci::layers(&daemon), 0, "{point}");
    }
}

#[test]
fn an_image_cut_anywhere_is_whole_or_absent() {
    if !can_run() || !has_fault_points() {
        return;
    }
    for point in points(UseCase::Image) {
        let mut daemon = Daemon::start_with(Options::default().env("COFFER_FAULT", &format!("{point}=kill")));
        let image = images::busybox().unified;
        let _ = daemon.api().send("POST", "/1.0/images", &[("X-LXD-filename", "a.tar.xz")], &std::fs::read(&image).unwrap());
        revive(&mut daemon, point);
        let listed = daemon.api().get("/1.0/images");
        let files = std::fs::read_dir(daemon.state_seen().join("images")).into_iter().flatten().flatten().count();
        match listed.as_array().map(Vec::len) {
            Some(0) => assert_eq!(files, 0, "{point}: no image, but files"),
            Some(1) => assert!(files >= 1, "{point}: an image, but no file"),
            _ => panic!("{point}: {listed}"),
        }
        if listed.as_array().is_some_and(Vec::is_empty) {
            daemon.import_busybox();
        }
        daemon.initialise("dir");
        let fingerprint = daemon.api().get("/1.0/images?recursion=1")[0]["fingerprint"].clone();
        let body = json!({"name": "c1", "source": {"type": "image", "fingerprint": fingerprint}});
        daemon.api().expect("POST", "/1.0/instances", Some(&body));
    }
}

#[test]
fn a_publication_cut_anywhere_is_an_image_or_nothing() {
    each(UseCase::Publish, |daemon, point| {
        daemon.create_instance("small", "c1");
        arm(daemon, point);
        let _ = post(daemon, "POST", "/1.0/images", &json!({"source": {"type": "instance", "name": "c1"}}));
        revive(daemon, point);
        assert_eq!(daemon.api().get("/1.0/images").as_array().map(Vec::len), Some(1), "{point}: only the one that was there");
        daemon.run_again();
    });
}

#[test]
fn a_backup_cut_anywhere_is_whole_or_absent() {
    each(UseCase::Backup, |daemon, point| {
        // In one pool instances are held while they are packed, in the other a snapshot is.
        let pool = json!({"name": "fast", "driver": "btrfs", "config": {"size": "256MiB"}});
        daemon.api().expect("POST", "/1.0/storage-pools", Some(&pool));
        for pool in ["default", "fast"] {
            if pool == "default" && point == "backup.snapshot-taken" {
                continue;
            }
            daemon.coffer(["launch", "small", "c1", "--storage", pool]).ok();
            arm(daemon, point);
            let _ = post(daemon, "POST", "/1.0/instances/c1/backups", &json!({"name": "b1"}));
            revive(daemon, point);
            let files = std::fs::read_dir(daemon.state_seen().join("backups/instances/c1")).into_iter().flatten().count();
            match daemon.api().get("/1.0/instances/c1/backups").as_array().map(Vec::len) {
                Some(0) => assert_eq!(files, 0, "{point}: no backup, but files"),
                Some(1) => {
                    let answer = daemon.api().request("GET", "/1.0/instances/c1/backups/b1/export", None).unwrap();
                    assert_eq!(answer.status, 200, "{point}");
                }
                other => panic!("{point}: {other:?} backups"),
            }
            assert_eq!(daemon.api().get("/1.0/instances/c1/snapshots"), json!([]), "{point}");
            // It was held still when the daemon died; the next one lets it go on.
            let running = || daemon.instance_state("c1")["status"] == "Running";
            assert!(daemon.eventually(running), "{point}: {}", daemon.instance_state("c1"));
            assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3);
            daemon.coffer(["delete", "--force", "c1"]).ok();
        }
        // And one of a volume, in a pool that takes snapshots at once.
        let volumes = "/1.0/storage-pools/fast/volumes/custom";
        daemon.api().expect("POST", volumes, Some(&json!({"name": "v"})));
        arm(daemon, point);
        let _ = post(daemon, "POST", &format!("{volumes}/v/backups"), &json!({"name": "b1"}));
        revive(daemon, point);
        assert_eq!(daemon.api().get(&format!("{volumes}/v/snapshots")), json!([]), "{point}");
        daemon.api().expect("DELETE", &format!("{volumes}/v"), None);
        daemon.api().expect("DELETE", "/1.0/storage-pools/fast", None);
    });
}

#[test]
fn an_import_cut_anywhere_is_complete_or_nothing() {
    each(UseCase::Import, |daemon, point| {
        daemon.create_instance("small", "c2");
        daemon.coffer(["snapshot", "c2", "s1"]).ok();
        let path = daemon.scratch().join("c2.tar.gz");
        daemon.coffer(["export", "c2", &path.display().to_string()]).ok();
        daemon.coffer(["delete", "c2"]).ok();
        arm(daemon, point);
        let _ = send(daemon, "/1.0/instances", &[("X-LXD-name", "c1")], &std::fs::read(&path).unwrap());
        revive(daemon, point);
        if exists(daemon, "/1.0/instances/c1") {
            assert_eq!(daemon.api().get("/1.0/instances/c1/snapshots").as_array().map(Vec::len), Some(1), "{point}");
        } else {
            daemon.expect_no_trace("c1");
            daemon.coffer(["import", &path.display().to_string(), "c1"]).ok();
        }
        daemon.run_again();
    });
}

#[test]
fn a_refresh_cut_anywhere_leaves_one_image_and_no_files_of_another() {
    let Some(mut daemon) = ready_with_points() else { return };
    let server = ImageServer::start(daemon.pen());
    for (number, point) in points(UseCase::ImageRefresh).enumerate() {
        let old = server.offer(&images::busybox(), Offer::default());
        let source = json!({"type": "image", "protocol": "simplestreams", "server": server.url(), "alias": "busybox"});
        daemon.api().expect("POST", "/1.0/images", Some(&json!({"source": source, "aliases": [{"name": "followed"}]})));
        let newer = images::spoiled("refreshed", |root| std::fs::write(root.join("refreshed"), ""));
        let new = server.offer(&newer, Offer { serial: &format!("202701{:02}_0000", number + 1), ..Offer::default() });
        arm(&mut daemon, point);
        let _ = post(&daemon, "POST", &format!("/1.0/images/{old}/refresh"), &json!({}));
        revive(&mut daemon, point);
        assert_eq!(daemon.api().get("/1.0/images/aliases/followed")["target"], new.as_str(), "{point}");
        let names = std::fs::read_dir(daemon.state_seen().join("images")).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with(&old)), "{point}");
        assert!(!exists(&daemon, &format!("/1.0/images/{old}")), "{point}");
    }
}
