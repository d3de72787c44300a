//! Managed bridges: the tutorial's steps, neighbours, spoofing, and nothing left behind.

use serde_json::json;

use crate::setting::{holds, ready_daemon, ready_for_genuine_client};

#[test]
fn the_tutorials_isolated_network_works() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.run_instance("small", "webdev");
    daemon.run_instance("small", "other");
    daemon.lxc(["network", "create", "isolated"]).clean();
    daemon.lxc(["network", "set", "isolated", "ipv4.nat", "false"]).clean();
    daemon.lxc(["network", "set", "isolated", "ipv6.address", "none"]).clean();
    daemon.lxc(["network", "set", "isolated", "ipv6.nat", "false"]).clean();
    daemon.lxc(["network", "attach", "isolated", "webdev", "eth1"]).clean();
    daemon.lxc(["network", "attach", "isolated", "other", "eth1"]).clean();
    for name in ["webdev", "other"] {
        let links = daemon.lxc(["exec", name, "--", "ls", "/sys/class/net"]).clean();
        holds(&links, &["eth0", "eth1"]);
    }
    let show = daemon.lxc(["network", "show", "isolated"]).clean();
    holds(
        &show,
        &["ipv4.nat: \"false\"", "ipv6.address: none", "name: isolated", "type: bridge", "managed: true", "status: Created", "locations:"],
    );
    holds(&show, &["/1.0/instances/webdev", "/1.0/instances/other", "description:"]);

    // Neighbours reach each other, by the address that the bridge hands out.
    let gateway = daemon.api().get("/1.0/networks/isolated")["config"]["ipv4.address"].as_str().expect("an address was chosen").to_owned();
    let gateway = gateway.split('/').next().unwrap().to_owned();
    for name in ["webdev", "other"] {
        let asked = "ip link set eth1 up; ip address show eth1 | grep -q 'inet ' || udhcpc -n -q -i eth1 -s /etc/udhcpc.script";
        daemon.lxc(["exec", name, "--", "sh", "-c", asked]).run();
    }
    let address = daemon.ipv4("other", "eth1");
    daemon.lxc(["exec", "webdev", "--", "ping", "-c", "1", "-W", "5", &address]).ok();
    daemon.lxc(["exec", "webdev", "--", "ping", "-c", "1", "-W", "5", &gateway]).ok();
    holds(&daemon.lxc(["network", "list-leases", "isolated"]).clean(), &["webdev", "other", &address]);
    holds(&daemon.lxc(["network", "info", "isolated"]).clean(), &["Name: isolated", "Type: broadcast", &gateway]);

    // No packet leaves with a foreign source: without NAT there is no masquerading rule for this bridge.
    let rules = daemon.inside("nft", ["list", "ruleset"]).clean();
    let masquerade = rules.lines().filter(|line| line.contains("masquerade"));
    assert!(masquerade.clone().all(|line| !line.contains("isolated")), "{rules}");

    daemon.lxc(["network", "detach", "isolated", "webdev", "eth1"]).clean();
    assert!(daemon.eventually(|| !daemon.lxc(["exec", "webdev", "--", "ls", "/sys/class/net"]).ok().contains("eth1")));
    daemon.lxc(["network", "delete", "isolated"]).fails();
    daemon.lxc(["network", "detach", "isolated", "other", "eth1"]).clean();
    daemon.lxc(["network", "delete", "isolated"]).clean();
    daemon.expect_no_trace("isolated");
}

#[test]
fn neighbours_find_each_other_by_name() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "one");
    daemon.run_instance("small", "two");
    let address = daemon.ipv4("two", "eth0");
    let ask = || daemon.coffer(["exec", "one", "--", "nslookup", "-type=a", "two.coffer", "10.99.7.1"]).run().text();
    assert!(daemon.eventually(|| ask().contains(&address)), "{}", ask());
    daemon.coffer(["exec", "one", "--", "ping", "-c", "1", "-W", "5", &address]).ok();
}

#[test]
fn the_address_is_there_before_init_and_dhcp_leases_the_same() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let state = daemon.instance_state("c1");
    let addresses = state["network"]["eth0"]["addresses"].as_array().cloned().unwrap_or_default();
    let first = addresses.iter().find(|address| address["family"] == "inet").map(|address| address["address"].clone());
    let first = first.unwrap_or_else(|| panic!("no address at the moment that start answered: {state}"));
    // The image's own DHCP client writes this file when its lease comes.
    let leased = || daemon.coffer(["exec", "c1", "--", "cat", "/etc/resolv.conf"]).run().text();
    assert!(daemon.eventually(|| leased().contains("nameserver 10.99.7.1")), "{}", leased());
    assert_eq!(daemon.ipv4("c1", "eth0"), first.as_str().unwrap());
    let addresses = daemon.coffer(["exec", "c1", "--", "ip", "-4", "address", "show", "eth0"]).ok();
    assert_eq!(addresses.matches("inet ").count(), 1, "the same address once: {addresses}");
}

#[test]
fn a_restart_keeps_the_address() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let address = daemon.ipv4("c1", "eth0");
    daemon.change_state("c1", "restart");
    assert_eq!(daemon.ipv4("c1", "eth0"), address);
}

#[test]
fn an_instance_cannot_speak_in_anothers_name() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "honest");
    daemon.run_instance("small", "liar");
    let honest = daemon.ipv4("honest", "eth0");
    let _ = daemon.ipv4("liar", "eth0");
    daemon.coffer(["exec", "liar", "--", "ping", "-c", "1", "-W", "5", "10.99.7.1"]).ok();
    // Another address than its own, then another's hardware address: neither gets an answer.
    let script = "ip address add 10.99.7.200/24 dev eth0; ping -c 1 -W 2 -I 10.99.7.200 10.99.7.1";
    assert_ne!(daemon.coffer(["exec", "liar", "--", "sh", "-c", script]).run().code, 0, "a foreign IPv4 address got through");
    let mac = daemon.coffer(["exec", "honest", "--", "cat", "/sys/class/net/eth0/address"]).ok();
    let script = format!("ip link set eth0 down; ip link set eth0 address {}; ip link set eth0 up; ping -c 1 -W 2 10.99.7.1", mac.trim());
    assert_ne!(daemon.coffer(["exec", "liar", "--", "sh", "-c", &script]).run().code, 0, "a foreign hardware address got through");
    daemon.coffer(["exec", "honest", "--", "ping", "-c", "1", "-W", "5", "10.99.7.1"]).ok();
    assert_eq!(daemon.ipv4("honest", "eth0"), honest);
}

#[test]
fn no_address_family_means_none() {
    let Some(daemon) = ready_daemon() else { return };
    let config = json!({"ipv4.address": "none", "ipv6.address": "none"});
    daemon.api().expect("POST", "/1.0/networks", Some(&json!({"name": "mute", "type": "bridge", "config": config})));
    let addresses = daemon.inside("ip", ["-oneline", "address", "show", "dev", "mute"]).clean();
    assert!(!addresses.contains("inet "), "{addresses}");
    assert!(daemon.world().about("--interface=mute").is_empty(), "nothing to serve, so no server: {:?}", daemon.world().about("mute"));
}

#[test]
fn a_bridge_comes_back_with_the_daemon_and_goes_with_its_network() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.kill9();
    daemon.inside("ip", ["link", "delete", "testbr0"]).run();
    daemon.launch();
    holds(&daemon.inside("ip", ["-oneline", "address", "show", "dev", "testbr0"]).clean(), &["10.99.7.1/24"]);
    daemon.run_instance("small", "c1");
    daemon.coffer(["exec", "c1", "--", "ping", "-c", "1", "-W", "5", "10.99.7.1"]).ok();
}
