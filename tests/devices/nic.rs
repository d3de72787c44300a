//! `nic`: kinds other than bridges of this server, and how much a NIC may carry.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use coffer_testkit::Daemon;
use serde_json::json;

use super::{add, inside, refused, remove};
use crate::setting::{holds, ready_daemon, ready_for_genuine_client};

/// Makes an interface `ext0` of the host with a wire to a machine at 10.55.0.1.
fn wire(daemon: &Daemon) {
    let script = "ip link add ext0 address 02:00:00:00:55:00 type veth peer name ext1; ip address add 10.55.0.1/24 dev ext1; \
                  ip link set ext1 up; ip link set ext0 up";
    daemon.inside("sh", ["-e", "-c", script]).clean();
}

/// Expects that the machine at the other end of the wire answers through an interface.
#[track_caller]
fn reaches_the_wire(daemon: &Daemon, interface: &str) {
    let script = format!("ip address add 10.55.0.2/24 dev {interface}; ping -c 1 -W 5 10.55.0.1 > /dev/null && echo answered");
    assert_eq!(inside(daemon, "c1", &script), "answered");
}

#[test]
fn a_macvlan_is_a_machine_of_its_own_on_the_hosts_wire() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    wire(&daemon);
    daemon.run_instance("small", "c1");
    daemon.lxc(["network", "attach", "ext0", "c1", "lan0", "lan0"]).clean();
    holds(&daemon.lxc(["config", "device", "show", "c1"]).clean(), &["nictype: macvlan", "parent: ext0"]);
    reaches_the_wire(&daemon, "lan0");
    let hwaddr = inside(&daemon, "c1", "cat /sys/class/net/lan0/address");
    assert!(hwaddr.starts_with("00:16:3e:"), "{hwaddr}");
    daemon.lxc(["restart", "--force", "c1"]).clean();
    reaches_the_wire(&daemon, "lan0");
    assert_eq!(inside(&daemon, "c1", "cat /sys/class/net/lan0/address"), hwaddr);
    daemon.lxc(["config", "device", "remove", "c1", "lan0"]).clean();
    assert_eq!(inside(&daemon, "c1", "ls -d /sys/class/net/lan0 2>/dev/null; true"), "");
    // What it shares has to be there, and on.
    let macvlan = |parent: &str| json!({"type": "nic", "nictype": "macvlan", "parent": parent});
    holds(&refused(&daemon, "c1", &macvlan("ext7")), &["device dev", "no interface ext7", "network list"]);
    daemon.inside("ip", ["link", "set", "ext0", "down"]).clean();
    holds(&refused(&daemon, "c1", &macvlan("ext0")), &["device dev", "ext0", "switched off"]);
}

#[test]
fn a_physical_interface_moves_in_and_comes_back_as_it_was() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    wire(&daemon);
    daemon.create_instance("small", "c1");
    let there = || daemon.inside("ip", ["-oneline", "link", "show", "ext0"]).run();
    let before = there().text();
    holds(&before, &["02:00:00:00:55:00", "mtu 1500"]);
    let keys = ["config", "device", "add", "c1", "wan", "nic", "nictype=physical", "parent=ext0", "name=wan0", "mtu=1400"];
    daemon.lxc(keys).clean();
    daemon.lxc(["config", "device", "set", "c1", "wan", "hwaddr", "02:00:00:00:55:99"]).clean();
    for stop in ["stop", "kill"] {
        daemon.change_state("c1", "start");
        assert_ne!(there().code, 0, "it is inside now");
        holds(&inside(&daemon, "c1", "ip link show wan0"), &["02:00:00:00:55:99", "mtu 1400"]);
        reaches_the_wire(&daemon, "wan0");
        match stop {
            "stop" => daemon.lxc(["stop", "--force", "c1"]).clean(),
            _ => daemon.coffer(["exec", "c1", "--", "kill", "-9", "1"]).run().text(),
        };
        daemon.lxc(["stop", "--force", "c1"]).run();
        assert!(daemon.eventually(|| there().text().contains("mtu 1500")), "{}", there().text());
        holds(&there().text(), &["02:00:00:00:55:00"]);
    }
    // While it runs, too.
    daemon.change_state("c1", "start");
    daemon.lxc(["config", "device", "remove", "c1", "wan"]).clean();
    holds(&there().text(), &["02:00:00:00:55:00", "mtu 1500"]);
    // One that has the host's addresses stays the host's.
    daemon.inside("ip", ["address", "add", "10.56.0.1/24", "dev", "ext0"]).clean();
    holds(&refused(&daemon, "c1", &json!({"type": "nic", "nictype": "physical", "parent": "ext0"})), &["ext0", "addresses of the host"]);
}

#[test]
fn a_point_to_point_nic_reaches_the_host_alone() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    add(
        &daemon,
        "c1",
        "direct",
        &json!({"type": "nic", "nictype": "p2p", "name": "direct", "host_name": "mine0", "queue.tx.length": "123"}),
    );
    daemon.inside("ip", ["address", "add", "10.57.0.1/24", "dev", "mine0"]).clean();
    holds(&daemon.inside("ip", ["link", "show", "mine0"]).clean(), &["qlen 123"]);
    let script = "ip address add 10.57.0.2/24 dev direct; ping -c 1 -W 5 10.57.0.1 > /dev/null && echo answered";
    assert_eq!(inside(&daemon, "c1", script), "answered");
    remove(&daemon, "c1", "direct");
    assert!(daemon.eventually(|| daemon.inside("ip", ["link", "show", "mine0"]).run().code != 0));
}

#[test]
fn kinds_that_a_kernel_or_this_server_lacks_are_named() {
    let Some(daemon) = ready_daemon() else { return };
    wire(&daemon);
    daemon.run_instance("small", "c1");
    let kind = |kind: &str| json!({"type": "nic", "nictype": kind, "parent": "ext0", "name": "lan0"});
    for (name, reason) in [("routed", "p2p"), ("sriov", "nictype=physical"), ("ovn", "Open Virtual Network")] {
        holds(&refused(&daemon, "c1", &kind(name)), &["nictype", name, reason]);
    }
    let answer = daemon.api().request("PATCH", "/1.0/instances/c1", Some(&json!({"devices": {"dev": kind("ipvlan")}})));
    let answer = answer.expect("an answer");
    if answer.status == 200 {
        reaches_the_wire(&daemon, "lan0");
    } else {
        holds(&answer.json().to_string(), &["ipvlan", "lan0", "ext0"]);
    }
}

/// How long it takes to get some bytes into the instance, and out of it.
fn transfer(daemon: &Daemon, megabytes: usize) -> (Duration, Duration) {
    let listener = daemon.pen().in_network(|| TcpListener::bind("10.99.7.1:0")).expect("a listener beside the bridge");
    let port = listener.local_addr().expect("its address").port();
    let run = |script: String, work: &dyn Fn(TcpStream)| {
        let began = Instant::now();
        std::thread::scope(|scope| {
            let done = scope.spawn(|| inside(daemon, "c1", &script));
            work(listener.accept().expect("the instance connects").0);
            done.join().expect("the command inside");
        });
        began.elapsed()
    };
    let bytes = vec![0; megabytes << 20];
    let into = run(format!("nc 10.99.7.1 {port} < /dev/null | wc -c"), &|mut stream| stream.write_all(&bytes).expect("sending"));
    let script = format!("head -c {} /dev/zero | nc 10.99.7.1 {port}", bytes.len());
    let out = run(script, &|mut stream| {
        let mut read = vec![0; bytes.len()];
        stream.read_exact(&mut read).expect("receiving");
    });
    (into, out)
}

#[test]
fn a_nic_carries_no_more_than_it_may() {
    let Some(mut daemon) = ready_for_genuine_client() else { return };
    let before = daemon.world();
    daemon.run_instance("small", "c1");
    daemon.lxc(["config", "device", "override", "c1", "eth0", "limits.ingress=16Mbit"]).clean();
    daemon.change_state("c1", "restart");
    // 2 MB a second after the first 256 KiB. That it is no quicker is certain; how much slower is the machine's matter.
    let (into, _) = transfer(&daemon, 5);
    assert!(into > Duration::from_millis(2200), "5 MiB came in {into:?}");
    // Changed while it runs: the link stays.
    let link = || inside(&daemon, "c1", "cat /sys/class/net/eth0/ifindex");
    let same = link();
    daemon.lxc(["config", "device", "unset", "c1", "eth0", "limits.ingress"]).clean();
    daemon.lxc(["config", "device", "set", "c1", "eth0", "limits.egress", "16Mbit"]).clean();
    assert_eq!(link(), same);
    let (into, out) = transfer(&daemon, 5);
    // What may come at once is a second's worth.
    assert!(out > Duration::from_millis(1200), "5 MiB went out in {out:?}");
    assert!(into < out, "what comes in is free: {into:?}, {out:?}");
    daemon.lxc(["config", "device", "set", "c1", "eth0", "limits.priority", "6"]).clean();
    let rules = |daemon: &Daemon| daemon.inside("nft", ["list", "ruleset", "netdev"]).clean();
    holds(&rules(&daemon), &["limit rate over", "meta priority set"]);
    // A NIC that does not say has the instance's.
    daemon.lxc(["config", "device", "unset", "c1", "eth0", "limits.priority"]).clean();
    assert!(!rules(&daemon).contains("meta priority set"), "{}", rules(&daemon));
    daemon.lxc(["config", "set", "c1", "limits.network.priority", "7"]).clean();
    holds(&rules(&daemon), &["meta priority set 0:7"]);
    daemon.lxc(["config", "unset", "c1", "limits.network.priority"]).clean();
    assert!(!rules(&daemon).contains("meta priority set"), "{}", rules(&daemon));
    daemon.lxc(["config", "device", "set", "c1", "eth0", "limits.priority", "6"]).clean();
    // Another daemon knows them, and takes away those of an instance that ended meanwhile.
    daemon.restart();
    holds(&rules(&daemon), &["limit rate over"]);
    let init = daemon.instance_state("c1")["pid"].to_string();
    daemon.kill9();
    daemon.inside("kill", ["-9", &init]).clean();
    daemon.launch();
    daemon.coffer(["delete", "--force", "c1"]).ok();
    assert!(daemon.eventually(|| rules(&daemon).is_empty()), "{}", rules(&daemon));
    daemon.expect_nothing_since(&before);
}

#[test]
fn isolated_ports_reach_the_bridge_but_not_each_other() {
    let Some(daemon) = ready_daemon() else { return };
    for name in ["one", "two"] {
        daemon.create_instance("small", name);
        add(&daemon, name, "eth0", &json!({"type": "nic", "network": "testbr0", "name": "eth0", "security.port_isolation": "true"}));
        daemon.change_state(name, "start");
    }
    let two = daemon.ipv4("two", "eth0");
    let _ = daemon.ipv4("one", "eth0");
    daemon.coffer(["exec", "one", "--", "ping", "-c", "1", "-W", "5", "10.99.7.1"]).ok();
    assert_ne!(daemon.coffer(["exec", "one", "--", "ping", "-c", "1", "-W", "2", &two]).run().code, 0, "an isolated port was reached");
}
