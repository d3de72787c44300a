//! Instances that run one process instead of an init: what they run, and the files that an init would have written.

use std::fmt::Write as _;
use std::os::fd::OwnedFd;

use coffer_base::Undo;
use coffer_model::{Config, command_line};
use coffer_runtime_spec as spec;
use coffer_sys::path::Root;

use super::files::private_directory;
use super::start::Loaded;
use crate::Engine;
use crate::device::{self, RunConfig};
use crate::error::EngineError;
use crate::image::oci::{ENTRYPOINT, STOP_SIGNAL};

/// What the instance runs: an init, or the one process that its configuration names, and the signal that asks it to end.
pub(super) fn init(config: &Config, env: std::collections::BTreeMap<String, String>) -> (spec::Init, Option<spec::Signal>) {
    let command = config.get(ENTRYPOINT).and_then(|text| command_line::split(text).ok()).filter(|words| !words.is_empty());
    let Some(argv) = command else {
        return (spec::Init { argv: vec!["/sbin/init".into()], env, ..spec::Init::default() }, None);
    };
    let cwd = config.get("oci.cwd").unwrap_or("/").to_owned();
    let id = |key: &str| config.parse(key).unwrap_or(0);
    let init = spec::Init { argv, env, cwd, uid: id("oci.uid"), gid: id("oci.gid"), reaper: true };
    (init, Some(config.parse(STOP_SIGNAL).unwrap_or(spec::Signal::TERM)))
}

impl Engine {
    /// Gives an instance without an init what an init would have seen to: who resolves names, and its own name.
    pub(super) fn process_files(
        &self,
        loaded: &Loaded,
        fds: &mut Vec<OwnedFd>,
        devices: &mut RunConfig,
        undo: &mut Undo<'_>,
    ) -> Result<(), EngineError> {
        if loaded.config.get(ENTRYPOINT).is_none() {
            return Ok(());
        }
        let name = loaded.instance.name.as_str();
        let files = [
            ("/etc/resolv.conf", resolvers(&loaded.config, &devices.nics)),
            ("/etc/hosts", hosts(name, &devices.nics)),
            ("/etc/hostname", format!("{name}\n")),
        ];
        let failed = |cause| EngineError::system(format!("instance {name}: writing the files of its process"), cause);
        let directory = self.device_directory(&loaded.instance);
        private_directory(&directory).map_err(failed)?;
        undo.push("removing the files of its process", {
            let directory = directory.clone();
            move || std::fs::remove_dir_all(directory)
        });
        let directory = Root::open(&directory).map_err(failed)?;
        for (target, text) in files {
            let file = target.trim_start_matches("/etc/");
            directory.replace_file(file, text.as_bytes(), 0o644).map_err(failed)?;
            let file = directory.handle(file).map_err(failed)?;
            devices.mounts.push(mount(target, device::add_fd(fds, file)));
        }
        Ok(())
    }
}

fn mount(target: &str, fd: u32) -> spec::Mount {
    spec::Mount {
        source: spec::MountSource::Host(spec::Source::Fd(fd)),
        target: target.to_owned(),
        readonly: true,
        nosuid: true,
        nodev: true,
        noexec: true,
        recursive: false,
        idmapped: false,
        owner: None,
        propagation: spec::Propagation::Private,
        create: spec::CreateTarget::Matching,
        // An image with a link there sees to it itself.
        optional: true,
    }
}

/// Who resolves names: whom the configuration names, or else the bridges that it is on.
fn resolvers(config: &Config, nics: &[spec::Nic]) -> String {
    let list = |key: &str| -> Vec<String> {
        let items = config.get(key).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    let gateways = nics.iter().flat_map(|nic| &nic.routes).filter_map(|route| route.gateway);
    let servers = match list("oci.dns.nameservers") {
        named if !named.is_empty() => named,
        _ => gateways.map(|gateway| gateway.to_string()).collect(),
    };
    let mut text = String::new();
    for (word, values) in [("domain", list("oci.dns.domain")), ("search", list("oci.dns.search"))] {
        if !values.is_empty() {
            let _ = writeln!(text, "{word} {}", values.join(" "));
        }
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    text
}

fn hosts(name: &str, nics: &[spec::Nic]) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    for address in nics.iter().flat_map(|nic| &nic.addresses) {
        let _ = writeln!(text, "{} {name}", address.address);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_unless_a_process_is_named() {
        let none = Config::default();
        assert_eq!(init(&none, Default::default()), (spec::Init::default(), None));
        let config: Config = [
            ("oci.entrypoint", "nginx -g 'daemon off;'"),
            ("oci.uid", "33"),
            ("oci.gid", "44"),
            ("oci.cwd", "/srv"),
            (STOP_SIGNAL, "SIGQUIT"),
        ]
        .into_iter()
        .collect();
        let (init, signal) = init(&config, Default::default());
        assert_eq!((init.argv, init.cwd.as_str()), (vec!["nginx".to_owned(), "-g".into(), "daemon off;".into()], "/srv"));
        assert_eq!((init.uid, init.gid, init.reaper, signal), (33, 44, true, "SIGQUIT".parse().ok()));
    }

    #[test]
    fn the_files_name_what_is_known() {
        let nic = spec::Nic {
            host_name: "veth0".into(),
            name: "eth0".into(),
            veth: None,
            hwaddr: None,
            mtu: None,
            addresses: vec![spec::Address { address: "10.0.0.5".parse().unwrap(), prefix: 24 }],
            routes: vec![spec::Route { destination: None, gateway: Some("10.0.0.1".parse().unwrap()) }],
            up: true,
            over: None,
            give_back: false,
        };
        let none = Config::default();
        assert_eq!(resolvers(&none, std::slice::from_ref(&nic)), "nameserver 10.0.0.1\n");
        let own: Config =
            [("oci.dns.nameservers", "192.0.2.1, 192.0.2.2"), ("oci.dns.search", "a.example,b.example")].into_iter().collect();
        let expect = "search a.example b.example\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n";
        assert_eq!(resolvers(&own, std::slice::from_ref(&nic)), expect);
        assert!(hosts("web", &[nic]).ends_with("10.0.0.5 web\n"));
        assert_eq!(resolvers(&none, &[]), "");
    }
}
