//! Images from a real registry: pulled, run, limited, stopped; layers that images share are there once.

use coffer_testkit::{Daemon, OciImage, OciRegistry, Packing};
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon};

/// A layer being made.
struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn put(mut self, name: &str, kind: tar::EntryType, mode: u32, content: &[u8], link: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        if link.is_empty() {
            self.0.append_data(&mut header, name, content).expect("memory");
        } else {
            self.0.append_link(&mut header, name, link).expect("memory");
        }
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.put(name, tar::EntryType::Regular, 0o755, content, "")
    }

    fn dir(self, name: &str) -> Self {
        self.put(name, tar::EntryType::Directory, 0o755, b"", "")
    }

    fn end(self) -> Vec<u8> {
        self.0.into_inner().expect("memory")
    }
}

/// The lowest layer: busybox under its many names, and accounts.
fn base() -> Vec<u8> {
    let busybox =
        std::fs::read("/bin/busybox").or_else(|_| std::fs::read("/usr/bin/busybox")).expect("busybox-static is among the test packages");
    let mut layer = Layer::new().dir("bin").file("bin/busybox", &busybox).dir("etc").dir("tmp");
    for name in ["sh", "cat", "echo", "sleep", "id", "ps", "ip", "kill", "env", "pwd", "ls", "true", "head", "dd", "hostname", "ping"] {
        layer = layer.put(&format!("bin/{name}"), tar::EntryType::Symlink, 0o777, b"", "busybox");
    }
    layer = layer.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/srv:/bin/sh\n");
    layer.file("etc/group", b"root:x:0:\nweb:x:44:\n").file("etc/removed", b"from below").dir("old").file("old/gone", b"x").end()
}

/// A layer over it with a script that the process runs.
fn application(script: &str) -> Vec<u8> {
    let layer = Layer::new().file("run.sh", format!("#!/bin/sh\n{script}\n").as_bytes()).dir("srv").file("etc/.wh.removed", b"");
    layer.file("old/new", b"y").file("old/.wh..wh..opq", b"").end()
}

/// Waits in the foreground until it is asked to end, and says so.
const SERVE: &str = "trap 'echo asked to end; exit 7' TERM\necho opened anew > /dev/stdout\necho started as $(id -u):$(id -g) in $(pwd) with $GREETING\nsleep 1000 &\nwait";

pub(crate) fn image(architecture: &'static str, packing: Packing, script: &str) -> OciImage {
    let process = json!({"Entrypoint": ["/run.sh"], "Cmd": ["serve", "two words"], "Env": ["PATH=/bin", "GREETING=good day"],
        "User": "web", "WorkingDir": "/srv", "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}}});
    OciImage { architecture, layers: vec![(base(), packing), (application(script), packing)], process }
}

fn ready(private: bool) -> Option<(Daemon, OciRegistry)> {
    let daemon = ready_daemon()?;
    let registry = OciRegistry::start(daemon.pen(), &daemon.scratch().join("registry"), private)?;
    Some((daemon, registry))
}

pub(crate) fn layers(daemon: &Daemon) -> usize {
    std::fs::read_dir(daemon.state_seen().join("image-layers")).expect("the layers' directory").count()
}

/// Waits until an instance's console has shown a text.
#[track_caller]
fn shown(daemon: &Daemon, name: &str, text: &str) -> String {
    let mut log = String::new();
    let found = daemon.eventually(|| {
        log = daemon.coffer(["console", name, "--show-log"]).run().text();
        log.contains(text)
    });
    assert!(found, "no {text:?} on the console of {name}: {log}");
    log
}

#[test]
fn an_application_runs_is_limited_and_ends_with_its_process() {
    let Some((daemon, registry)) = ready(false) else { return };
    let amd64 = image("amd64", Packing::Gzip, SERVE);
    let digests = registry.push(daemon.pen(), "team/app", "1.0", &[image("arm64", Packing::Gzip, "exit 1"), amd64]);
    daemon.coffer(["remote", "add", "reg", &registry.url(), "--protocol=oci"]).clean();
    holds(&daemon.coffer(["remote", "list", "--format=csv"]).clean(), &[&format!("reg,{},oci,none", registry.url())]);
    daemon.coffer(["launch", "reg:team/app:1.0", "web", "-c", "limits.memory=64MiB"]).ok();
    // The image of this host's architecture, by its manifest's hash.
    let config = daemon.api().get("/1.0/instances/web")["config"].clone();
    assert_eq!(config["volatile.base_image"], digests[1].as_str());
    assert_eq!(config["oci.entrypoint"], "/run.sh serve 'two words'");
    assert_eq!((&config["oci.uid"], &config["oci.gid"], &config["oci.cwd"]), (&json!("33"), &json!("44"), &json!("/srv")));
    assert_eq!((&config["environment.GREETING"], &config["environment.HOME"]), (&json!("good day"), &json!("/srv")));
    assert_eq!((&config["image.oci.ports"], &config["image.oci.volumes"]), (&json!("80/tcp"), &json!("/data")));
    holds(&shown(&daemon, "web", "started as 33:44 in /srv with good day"), &["opened anew"]);
    let run = |words: &[&str]| daemon.coffer([&["exec", "web", "--"], words].concat()).ok();
    // Whiteouts took away what they name, and nothing else.
    assert_eq!(run(&["ls", "/old"]).trim(), "new");
    assert!(daemon.coffer(["exec", "web", "--", "cat", "/etc/removed"]).run().code != 0);
    holds(&run(&["cat", "/etc/passwd"]), &["web:x:33"]);
    // Its network is up without anybody inside, it knows who resolves names, and its own name.
    let address = daemon.ipv4("web", "eth0");
    holds(&run(&["ip", "-4", "addr", "show", "eth0"]), &[&address]);
    holds(&run(&["cat", "/etc/resolv.conf"]), &["nameserver "]);
    holds(&run(&["cat", "/etc/hosts"]), &["127.0.0.1 localhost", &format!("{address} web")]);
    holds(&run(&["hostname"]), &["web"]);
    run(&["ping", "-c", "1", "-W", "5", run(&["cat", "/etc/resolv.conf"]).split_whitespace().nth(1).expect("an address")]);
    // Process 1 is the reaper, which nobody inside can look into; orphans are taken.
    holds(&run(&["cat", "/proc/1/comm"]), &["init"]);
    assert!(daemon.coffer(["exec", "web", "--", "cat", "/proc/1/environ"]).run().code != 0, "process 1 can be looked into");
    assert!(daemon.coffer(["exec", "web", "--", "busybox", "readlink", "/proc/1/exe"]).run().code != 0, "process 1 can be looked into");
    run(&["sh", "-c", "(sleep 0.1 &) ; exit 0"]);
    assert!(daemon.eventually(|| !run(&["ps"]).contains("sleep 0.1")), "an orphan was left: {}", run(&["ps"]));
    // Limits hold.
    let limit = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes";
    assert_eq!(run(&["sh", "-c", limit]).trim(), (64 << 20).to_string());
    // Asked to end, it ends by itself, and the instance with it.
    daemon.coffer(["stop", "web", "--timeout", "30"]).ok();
    holds(&daemon.coffer(["console", "web", "--show-log"]).ok(), &["asked to end"]);
    daemon.coffer(["start", "web"]).ok();
    daemon.coffer(["restart", "web"]).ok();
    holds(&daemon.coffer(["list", "--format=csv", "-c", "ns"]).clean(), &["web,RUNNING"]);
    daemon.coffer(["delete", "--force", "web"]).ok();
}

#[test]
fn the_instance_ends_with_its_process_and_what_it_wrote_stays() {
    let Some((daemon, registry)) = ready(false) else { return };
    registry.push(daemon.pen(), "job", "latest", &[image("amd64", Packing::Zstd, "echo done $1 $2\nexit 3")]);
    daemon.coffer(["remote", "add", "reg", &registry.url(), "--protocol=oci"]).clean();
    daemon.coffer(["launch", "reg:job", "j1"]).run();
    assert!(daemon.eventually(|| daemon.coffer(["list", "--format=csv", "-c", "ns"]).ok().contains("j1,STOPPED")));
    holds(&daemon.coffer(["console", "j1", "--show-log"]).ok(), &["done serve two words"]);
    // The user's own word is over the image's.
    daemon.coffer(["init", "reg:job", "j2", "-c", "oci.entrypoint=sh -c 'echo as $(id -u); sleep 1000'", "-c", "oci.uid=0"]).ok();
    daemon.coffer(["start", "j2"]).ok();
    shown(&daemon, "j2", "as 0");
    // A program that is not there is said, and the start leaves nothing.
    daemon.coffer(["init", "reg:job", "j3", "-c", "oci.entrypoint=/no/such"]).ok();
    holds(&daemon.coffer(["start", "j3"]).fails(), &["/no/such"]);
    for wrong in
        ["oci.entrypoint='", "oci.dns.nameservers=nonsense", "oci.dns.search=a b", "oci.cwd=relative", "oci.cwd=/a/../..", "oci.uid=-1"]
    {
        daemon.coffer(["config", "set", "j3", wrong]).fails();
    }
}

#[test]
fn layers_that_images_share_are_there_once() {
    let Some((daemon, registry)) = ready(false) else { return };
    registry.push(daemon.pen(), "one", "latest", &[image("amd64", Packing::Gzip, "sleep 1000")]);
    registry.push(daemon.pen(), "two", "latest", &[image("amd64", Packing::Gzip, "sleep 2000")]);
    daemon.coffer(["remote", "add", "reg", &registry.url(), "--protocol=oci"]).clean();
    daemon.coffer(["image", "copy", "reg:one", "local:", "--alias", "one"]).ok();
    assert_eq!(layers(&daemon), 2);
    daemon.coffer(["image", "copy", "reg:two:latest", "local:", "--alias", "two"]).ok();
    assert_eq!(layers(&daemon), 3, "the base is there once");
    daemon.coffer(["launch", "one", "a"]).ok();
    daemon.coffer(["launch", "two", "b"]).ok();
    holds(&daemon.coffer(["image", "info", "one"]).ok(), &["Protocol: oci", "type: oci"]);
    holds(&daemon.coffer(["image", "export", "one", &daemon.scratch().join("x").display().to_string()]).fails(), &["came from a registry"]);
    daemon.coffer(["image", "delete", "one"]).ok();
    assert_eq!(layers(&daemon), 2, "what the other image has stays");
    daemon.coffer(["launch", "two", "c"]).ok();
    daemon.coffer(["image", "delete", "two"]).ok();
    assert_eq!(layers(&daemon), 0);
}

#[test]
fn application_containers_are_copied_snapshotted_and_kept_like_any_other() {
    let Some((daemon, registry)) = ready(false) else { return };
    registry.push(daemon.pen(), "app", "latest", &[image("amd64", Packing::Gzip, SERVE)]);
    daemon.coffer(["remote", "add", "reg", &registry.url(), "--protocol=oci"]).clean();
    // A pool that has the layers laid over each other once for all its instances, and clones that.
    daemon.coffer(["storage", "create", "shared", "btrfs", "size=512MiB"]).ok();
    for name in ["a", "b"] {
        daemon.coffer(["launch", "reg:app", name, "--storage", "shared"]).ok();
        shown(&daemon, name, "started as 33:44");
    }
    daemon.coffer(["snapshot", "a", "s0"]).ok();
    daemon.coffer(["exec", "a", "--", "sh", "-c", "echo changed > /old/new"]).ok();
    daemon.coffer(["copy", "a/s0", "c"]).ok();
    daemon.coffer(["start", "c"]).ok();
    shown(&daemon, "c", "started as 33:44");
    assert_eq!(daemon.coffer(["exec", "c", "--", "cat", "/old/new"]).ok(), "y");
    assert_eq!(daemon.coffer(["exec", "a", "--", "cat", "/old/new"]).ok(), "changed\n");
    // Away as a file, and back under its name.
    let file = daemon.scratch().join("c.tar.gz").display().to_string();
    daemon.coffer(["stop", "c", "--timeout", "30"]).ok();
    daemon.coffer(["export", "c", &file]).ok();
    daemon.coffer(["delete", "c"]).ok();
    daemon.coffer(["import", &file]).ok();
    daemon.coffer(["start", "c"]).ok();
    shown(&daemon, "c", "started as 33:44 in /srv with good day");
    // A rebuild would leave the old image's process; that is refused by name.
    daemon.coffer(["image", "copy", "reg:app", "local:", "--alias", "app"]).ok();
    holds(&daemon.coffer(["rebuild", "app", "c", "--force"]).fails(), &["does not take images of registries"]);
}

#[test]
fn private_registries_want_a_name_and_a_password() {
    let Some((daemon, registry)) = ready(true) else { return };
    let digests = registry.push(daemon.pen(), "secret/app", "latest", &[image("amd64", Packing::Plain, "sleep 1000")]);
    daemon.coffer(["remote", "add", "stranger", &registry.url(), "--protocol=oci"]).clean();
    holds(&daemon.coffer(["launch", "stranger:secret/app", "a"]).fails(), &["does not let strangers read secret/app"]);
    daemon.coffer(["remote", "add", "known", &registry.url_with_secret(), "--protocol=oci"]).clean();
    assert!(!daemon.coffer(["remote", "list"]).clean().contains("U*U"), "a password is shown");
    daemon.coffer(["launch", "known:secret/app", "a"]).ok();
    daemon.coffer(["launch", &format!("known:secret/app@sha256:{}", digests[0]), "b"]).ok();
    let image = daemon.api().get(&format!("/1.0/images/{}", digests[0]));
    assert!(!image.to_string().contains("U*U") && !daemon.log().contains("U*U"), "a password was kept");
}

#[test]
fn what_is_wrong_is_refused_and_leaves_nothing() {
    let Some((daemon, registry)) = ready(false) else { return };
    let images = daemon.api().get("/1.0/images");
    let nothing = |what: &str| {
        assert_eq!(daemon.api().get("/1.0/images"), images, "{what}");
        assert_eq!(daemon.api().get("/1.0/instances"), json!([]), "{what}");
        assert_eq!(layers(&daemon), 0, "{what}");
    };
    daemon.coffer(["remote", "add", "reg", &registry.url(), "--protocol=oci"]).clean();
    let launch = |name: &str| daemon.coffer(["launch", &format!("reg:{name}"), "a"]).fails();
    holds(&launch("none"), &["has no image none:latest"]);
    holds(&launch("UPPER"), &["is no image of a registry"]);
    holds(&launch("../../etc"), &["is no image of a registry"]);
    holds(&daemon.coffer(["image", "list", "reg:"]).fails(), &["lists no images"]);
    nothing("names");
    registry.push(daemon.pen(), "arm", "latest", &[image("arm64", Packing::Gzip, ""), image("s390x", Packing::Gzip, "")]);
    holds(&launch("arm"), &["has no image arm:latest for x86_64"]);
    // A layer that is not what the manifest says.
    let good = image("amd64", Packing::Gzip, "sleep 1000");
    registry.push(daemon.pen(), "damaged", "latest", std::slice::from_ref(&good));
    let file = std::fs::read_dir(daemon.scratch().join("registry/store/docker/registry/v2/repositories/damaged/_layers/sha256"));
    let largest = file.expect("layers").map(|entry| entry.expect("an entry").file_name().into_string().expect("a digest"));
    let size = |digest: &String| {
        std::fs::metadata(daemon.scratch().join(format!("registry/store/docker/registry/v2/blobs/sha256/{}/{digest}/data", &digest[..2])))
            .expect("a blob")
            .len()
    };
    registry.damage(&largest.max_by_key(size).expect("a layer"));
    holds(&launch("damaged"), &["has hash", "damaged or replaced on the way"]);
    nothing("a flipped bit");
    // Hostile layers and configurations.
    let hostile = |name: &str, layer: Vec<u8>, process: Value| {
        let image = OciImage { architecture: "amd64", layers: vec![(base(), Packing::Zstd), (layer, Packing::Zstd)], process };
        registry.push(daemon.pen(), name, "latest", &[image]);
    };
    let run = json!({"Cmd": ["/run.sh"]});
    hostile("whiteout", Layer::new().file("etc/.wh...", b"").end(), run.clone());
    holds(&launch("whiteout"), &["takes away something that has no name of its own"]);
    hostile("noise", vec![0x55; 4096], run);
    holds(&launch("noise"), &["layer"]);
    hostile("volumes", application(""), json!({"Cmd": ["/run.sh"], "Volumes": {"/../../../etc": {}}}));
    holds(&launch("volumes"), &["leads out of the instance"]);
    hostile("nobody", application(""), json!({"Cmd": ["/run.sh"], "User": "nobody-there"}));
    holds(&launch("nobody"), &["nobody-there", "not in its /etc/passwd"]);
    hostile("empty", application(""), json!({}));
    holds(&launch("empty"), &["names no program to run", "oci.entrypoint"]);
    assert_eq!(daemon.api().get("/1.0/instances"), json!([]));
    // Where only what is signed is accepted, an image of a registry must be named by its digest.
    let key =
        daemon.coffer(["simplestreams", "sign", &make(&daemon), "--key", &daemon.scratch().join("key").display().to_string()]).clean();
    daemon.coffer(["config", "set", &format!("images.trusted_keys={}", key.trim()), "images.require_signature=true"]).clean();
    let digest = registry.push(daemon.pen(), "good", "latest", &[image("amd64", Packing::Plain, "sleep 1000")]).remove(0);
    holds(&launch("good"), &["name the image by its digest"]);
    daemon.coffer(["launch", &format!("reg:good@sha256:{digest}"), "a"]).ok();
}

/// An empty tree to sign.
fn make(daemon: &Daemon) -> String {
    let tree = daemon.scratch().join("tree");
    std::fs::create_dir(&tree).expect("a directory");
    tree.display().to_string()
}
