//! The tutorial's profile on an image of a server: cloud-init inside makes a user with a key, and ssh lets them in.

use std::time::Duration;

use coffer_testkit::{Daemon, ImageServer, Offer, can_run, images, skipped};

use crate::setting::holds;

/// How long a first boot with cloud-init may take on a slow, busy machine.
const BOOT: Duration = Duration::from_secs(240);

/// The profile as the tutorial writes it.
fn profile(key: &str) -> String {
    format!(
        "config:\n  user.vendor-data: |\n    #cloud-config\n    users:\n      - name: ubuntu\n        ssh_authorized_keys:\n          - {key}\n        \
         sudo: ['ALL=(ALL) NOPASSWD:ALL']\n        groups: sudo\n        shell: /bin/bash\ndescription: mine\ndevices:\n  eth0:\n    name: eth0\n    \
         network: testbr0\n    type: nic\n  root:\n    path: /\n    pool: default\n    size: 10GB\n    type: disk\nname: myprof\n"
    )
}

#[test]
fn the_tutorial_s_profile_gives_a_user_who_logs_in() {
    if !can_run() {
        return;
    }
    let Some(image) = images::cloud() else { return };
    if ["ssh", "ssh-keygen"].iter().any(|program| !std::path::Path::new("/usr/bin").join(program).exists()) {
        return skipped("openssh-client is not installed");
    }
    let daemon = Daemon::start();
    daemon.initialise("btrfs");
    let server = ImageServer::start(daemon.pen());
    let offered = server.offer(&image, Offer { product: "ubuntu:18.04:amd64", aliases: "18.04,bionic", ..Offer::default() });
    daemon.coffer(["remote", "add", "tree", &server.url(), "--protocol=simplestreams"]).clean();
    holds(&daemon.coffer(["image", "list", "tree:", "18.04", "amd64"]).clean(), &["18.04 (1 more)", &offered[..12]]);
    let key = daemon.scratch().join("key").display().to_string();
    daemon.inside("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", &key]).clean();
    let public = daemon.inside("cat", [format!("{key}.pub")]).clean();

    daemon.coffer(["profile", "create", "myprof"]).clean();
    daemon.coffer(["profile", "edit", "myprof"]).input(profile(public.trim())).clean();
    daemon.coffer(["launch", "tree:18.04", "web", "--profile", "myprof"]).clean();
    holds(&daemon.coffer(["profile", "show", "myprof"]).clean(), &["/1.0/instances/web", "#cloud-config"]);
    let address = daemon.ipv4("web", "eth0");
    let status = daemon.coffer(["exec", "web", "--", "cloud-init", "status", "--wait", "--long"]).deadline(BOOT).run();
    holds(&status.text(), &["status: done", "DataSourceNoCloud"]);

    let to = format!("ubuntu@{address}");
    let log_in = |command: &str| {
        let options =
            ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"];
        let words = ["-F", "none", "-i", &key, &to, command];
        daemon.inside("ssh", options.into_iter().chain(words)).run()
    };
    let done = log_in("id -un; sudo -n id -un; hostname; stat -c %U:%a .ssh/authorized_keys");
    assert_eq!(done.text(), "ubuntu\nroot\nweb\nubuntu:600\n", "{done}");
    let size = log_in("df --output=size -B1000000000 / | tail -n 1");
    assert!(size.text().trim().parse::<u64>().is_ok_and(|gigabytes| gigabytes <= 10), "{size}");
}
