//! Machines for the cases: network namespaces that stand for containers and for the outside.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use coffer_model::device::{Address, Nic, NicParent};
use coffer_network::firewall::Firewall;
use coffer_network::{BridgeConfig, BridgeNetwork, HwAddr, Inside, NicPlan, NicRequest, Occupants};

/// Says why the cases cannot run here, if so.
pub fn missing() -> Option<String> {
    for program in ["unshare", "nsenter", "ip", "nft", "dnsmasq", "busybox"] {
        if !coffer_base::run::installed(program) {
            return Some(format!("program {program} is not installed"));
        }
    }
    let made = Command::new("unshare").args(["--net", "--mount", "--pid", "--fork", "true"]).output();
    let fine = made.is_ok_and(|output| output.status.success());
    (!fine).then(|| "namespaces cannot be made: not root".to_owned())
}

/// Prepares the namespace that a case runs in.
pub fn set_up() {
    ip(&["link", "set", "lo", "up"]);
}

/// Runs `ip` here.
#[track_caller]
pub fn ip(arguments: &[&str]) -> String {
    check_output(Command::new("ip").args(arguments).output().unwrap())
}

/// Runs `nft` here.
#[track_caller]
pub fn nft(arguments: &[&str]) -> String {
    check_output(Command::new("nft").args(arguments).output().unwrap())
}

#[track_caller]
pub fn check_output(output: Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    stdout
}

/// A network namespace with a process that keeps it.
pub struct Machine {
    keeper: Child,
    pub namespace: File,
}

impl Machine {
    pub fn new() -> Self {
        let script = "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; ip link set lo up; echo ready; exec cat";
        let mut keeper =
            Command::new("unshare").args(["--net", "sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let namespace = File::open(format!("/proc/{}/ns/net", keeper.id())).unwrap();
        Self { keeper, namespace }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Its first interface.
    pub fn inside(&self) -> Inside<'_> {
        Inside { namespace: self.fd(), name: "eth0" }
    }

    /// A command that runs in here.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.keeper.id())).arg(program).stdin(Stdio::null());
        command
    }

    /// Runs a command in here to its end.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words[0]).args(&words[1..]).output().unwrap()
    }

    /// As [`Machine::run`], where the command must succeed.
    #[track_caller]
    pub fn must(&self, words: &[&str]) -> String {
        check_output(self.run(words))
    }

    /// Says whether an address answers.
    pub fn reaches(&self, address: impl Into<IpAddr>) -> bool {
        self.run(&["busybox", "ping", "-c1", "-W2", &address.into().to_string()]).status.success()
    }

    /// What a name server says about a name or address.
    pub fn lookup(&self, name: &str, server: impl Into<IpAddr>) -> String {
        let output = self.run(&["busybox", "nslookup", name, &server.into().to_string()]);
        // The first lines describe the server.
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        text.split_once("\n\n").map(|(_, answer)| answer.to_owned()).unwrap_or(text)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A machine on a network, as an instance would be.
pub struct Guest {
    pub machine: Machine,
    pub plan: NicPlan,
}

/// A NIC that says nothing about itself.
pub fn plain_nic(network: &BridgeNetwork) -> Nic {
    Nic {
        on: NicParent::Network(network.name().clone()),
        name: None,
        host_name: None,
        hwaddr: None,
        mtu: None,
        queue: None,
        limits: Default::default(),
        isolated: false,
        ipv4: Address::Auto,
        ipv6: Address::Auto,
        mac_filtering: None,
        ipv4_filtering: None,
        ipv6_filtering: None,
    }
}

pub fn plan(network: &BridgeNetwork, name: &str, nic: &Nic, filtering: bool) -> NicPlan {
    let hwaddr = HwAddr::from_seed(name);
    let host_name = format!("veth{name}").parse().unwrap();
    let ipv4 = network.choose_ipv4(hwaddr, &Default::default()).unwrap();
    let request = NicRequest {
        project: &coffer_model::ProjectName::default_project(),
        instance: &name.parse().unwrap(),
        device: &"eth0".parse().unwrap(),
        nic,
        hwaddr,
        host_name: &host_name,
        ipv4,
        filtering,
    };
    network.plan(&request).unwrap()
}

impl Guest {
    /// Joins a network with its default filters, with the addresses that it was given set inside.
    pub fn join(network: &BridgeNetwork, name: &str) -> Self {
        Self::with(network, name, &plain_nic(network), true)
    }

    pub fn with(network: &BridgeNetwork, name: &str, nic: &Nic, filtering: bool) -> Self {
        let guest = Self::bare(network, name, nic, filtering);
        for (address, prefix) in &guest.plan.addresses {
            let address = format!("{address}/{prefix}");
            let extra: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
            guest.machine.must(&[&["ip", "address", "replace", &address, "dev", "eth0"], extra].concat());
        }
        for gateway in &guest.plan.gateways {
            guest.machine.must(&["ip", "route", "replace", "default", "via", &gateway.to_string()]);
        }
        guest
    }

    /// Joins a network, without any address inside.
    pub fn bare(network: &BridgeNetwork, name: &str, nic: &Nic, filtering: bool) -> Self {
        let machine = Machine::new();
        let plan = plan(network, name, nic, filtering);
        network.attach(&plan, machine.inside()).unwrap();
        machine.must(&["ip", "link", "set", "eth0", "up"]);
        Self { machine, plan }
    }

    pub fn ipv4(&self) -> std::net::Ipv4Addr {
        self.plan.reservation.ipv4.unwrap()
    }

    pub fn ipv6(&self) -> std::net::Ipv6Addr {
        self.plan.reservation.ipv6.unwrap()
    }
}

/// Those who are on a network, all running.
pub fn occupants(running: &[NicPlan]) -> Occupants<'_> {
    Occupants { running, stopped: &[] }
}

/// A network named `br0` with its files in `dir`.
pub fn network(dir: &Path, keys: &[(&str, &str)]) -> BridgeNetwork {
    use std::os::unix::fs::PermissionsExt;
    // Somebody else's dnsmasq must get through.
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o711)).unwrap();
    BridgeNetwork::new("br0".parse().unwrap(), config(keys), &dir.join("networks/br0"), "seed", Firewall::default())
}

pub fn config(keys: &[(&str, &str)]) -> BridgeConfig {
    BridgeConfig::parse(&keys.iter().copied().collect()).unwrap()
}

/// A machine that stands for the outside: it knows its own network only.
pub fn outside() -> Machine {
    let outside = Machine::new();
    ip(&["link", "add", "uplink", "type", "veth", "peer", "name", "wan"]);
    let pid = outside.keeper.id().to_string();
    ip(&["link", "set", "wan", "netns", &pid]);
    ip(&["address", "add", "198.51.100.1/24", "dev", "uplink"]);
    ip(&["address", "add", "2001:db8::1/64", "dev", "uplink", "nodad"]);
    ip(&["link", "set", "uplink", "up"]);
    outside.must(&["ip", "address", "add", "198.51.100.2/24", "dev", "wan"]);
    outside.must(&["ip", "address", "add", "2001:db8::2/64", "dev", "wan", "nodad"]);
    outside.must(&["ip", "link", "set", "wan", "up"]);
    outside
}
