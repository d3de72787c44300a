//! What is usual: what every image is cleaned of, and the templates that images of distributions have.

use std::collections::BTreeMap;

use crate::recipe::{Clean, Step, Template, Work};

/// What differs from one build to the next, or would be the same in all instances and must not be: removed.
const REMOVED: [&str; 25] = [
    "etc/.pwd.lock",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "etc/ssh/ssh_host_*_key",
    "etc/ssh/ssh_host_*_key.pub",
    "root/.bash_history",
    "root/.ash_history",
    "root/.cache",
    "run/*",
    "tmp/*",
    "var/cache/apt/*.bin",
    "var/cache/apt/archives/*.deb",
    "var/cache/apk/*",
    "var/cache/debconf/*-old",
    "var/cache/dnf/*",
    "var/cache/ldconfig/*",
    "var/cache/man/*",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/lib/systemd/random-seed",
    "var/tmp/*",
];

/// Files that must be there, but empty: each instance gets its own machine id at its first boot.
const EMPTIED: [&str; 2] = ["etc/machine-id", "var/log/**"];

/// The last step of a file system: `more` goes too.
pub(super) fn clean(line: usize, usual: bool, more: &[String]) -> Option<Step> {
    let removed = REMOVED.iter().filter(|_| usual).map(|pattern| Clean::Remove((*pattern).to_owned()));
    let emptied = EMPTIED.iter().filter(|_| usual).map(|pattern| Clean::Empty((*pattern).to_owned()));
    let journal = usual.then(|| Clean::Remove("var/log/journal/*".into()));
    let own = more.iter().map(|pattern| Clean::Remove(pattern.clone()));
    let rules: Vec<Clean> = own.chain(removed).chain(journal).chain(emptied).collect();
    let title = "clean up".to_owned();
    (!rules.is_empty()).then_some(Step { line, title, work: Work::Clean(rules) })
}

/// What mmdebstrap takes over from the host that it runs on.
pub(super) fn forget_host(line: usize) -> Step {
    let rules = ["etc/hostname", "etc/resolv.conf"].map(|path| Clean::Remove(path.to_owned())).to_vec();
    Step { line, title: "take out what came from this host".into(), work: Work::Clean(rules) }
}

/// `/etc/hostname`, written anew in each instance.
pub(super) fn hostname() -> Template {
    template("/etc/hostname", "hostname.tpl", "{{ container.name }}\n")
}

/// `/etc/hosts`, written anew in each instance.
pub(super) fn hosts() -> Template {
    template(
        "/etc/hosts",
        "hosts.tpl",
        "127.0.0.1\tlocalhost\n127.0.1.1\t{{ container.name }}\n\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    )
}

/// One of the files that seed cloud-init, by its name there; none for a name that cloud-init does not know.
pub(super) fn cloud_init(name: &str) -> Option<Template> {
    let path = |name: &str| format!("/var/lib/cloud/seed/nocloud-net/{name}");
    let with_default = |name: &str, key: &str| {
        let text = format!("{{{{ config_get(\"cloud-init.{key}\", config_get(\"user.{key}\", properties.default)) }}}}\n");
        let mut template = template(&path(name), &format!("cloud-init-{name}.tpl"), &text);
        template.properties = BTreeMap::from([("default".to_owned(), "#cloud-config\n{}\n".to_owned())]);
        template
    };
    Some(match name {
        "user-data" => with_default("user-data", "user-data"),
        "vendor-data" => with_default("vendor-data", "vendor-data"),
        "meta-data" => template(
            &path("meta-data"),
            "cloud-init-meta-data.tpl",
            "#cloud-config\ninstance-id: {{ container.name }}\nlocal-hostname: {{ container.name }}\n{{ config_get(\"user.meta-data\", \"\") }}\n",
        ),
        "network-config" => template(
            &path("network-config"),
            "cloud-init-network-config.tpl",
            "{% if config_get(\"cloud-init.network-config\", config_get(\"user.network-config\", \"\")) == \"\" %}version: 1\nconfig:\n  - type: physical\n    name: eth0\n    subnets:\n      - type: dhcp\n        control: auto{% else %}{{ config_get(\"cloud-init.network-config\", config_get(\"user.network-config\", \"\")) }}{% endif %}\n",
        ),
        _ => return None,
    })
}

/// The names that [`cloud_init`] knows.
pub(super) const CLOUD_INIT: [&str; 4] = ["user-data", "vendor-data", "meta-data", "network-config"];

fn template(path: &str, name: &str, content: &str) -> Template {
    let when = ["create", "copy"].map(str::to_owned).to_vec();
    Template { path: path.into(), name: name.into(), content: content.into(), when, ..Template::default() }
}
