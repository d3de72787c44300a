//! `network`: networks.

use std::fmt::Write;

use clap::Subcommand;
use coffer_api::{NetworkState, NetworksPost};

use super::network_attach::{self, Subject};
use crate::app::App;
use crate::editor::read_yaml;
use crate::error::CliError;
use crate::key_value::{pairs, pairs_or_two};
use crate::object::{self, Network as Object};
use crate::render::{Format, Table, clean, decimal_size, render_list, yes_no};
use crate::target::Target;

/// Networks, and their use by instances and profiles
#[derive(Debug, Subcommand)]
pub(crate) enum Network {
    /// Attach a network to an instance as a new interface
    Attach {
        /// Network
        #[arg(value_name = "[REMOTE:]NETWORK")]
        network: Target,
        /// Instance
        instance: String,
        /// Name of the device; the network's unless said
        device: Option<String>,
        /// Name of the interface inside
        interface: Option<String>,
    },
    /// Attach a network to a profile
    AttachProfile {
        /// Network
        #[arg(value_name = "[REMOTE:]NETWORK")]
        network: Target,
        /// Profile
        profile: String,
        /// Name of the device; the network's unless said
        device: Option<String>,
        /// Name of the interface inside
        interface: Option<String>,
    },
    /// Make a network
    #[command(alias = "add")]
    Create {
        /// Network
        #[arg(value_name = "[REMOTE:]NETWORK")]
        network: Target,
        /// Its keys
        #[arg(value_name = "KEY=VALUE")]
        pairs: Vec<String>,
        /// Type: bridge unless said
        #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
        kind: String,
    },
    /// Delete a network
    #[command(visible_alias = "rm", alias = "remove")]
    Delete {
        /// Network
        #[arg(value_name = "[REMOTE:]NETWORK")]
        network: Target,
    },
    /// Detach a network from an instance
    Detach {
        /// Network
        #[arg(value_name = "[REMOTE:]NETWORK")]
        network: Target,
        /// Instance
        instance: String,
        /// Name of the device, if several use the network
        device: Option<String>,
    },
    /// Detach a network from a profile
    DetachProfile {
        /// Network
        #[arg(value_name = "[REMOTE:]NETWORK")]
        network: Target,
        /// Profile
        profile: String,
        /// Name of the device, if several use the network
        device: Option<String>,
    },
    /// Edit a network; YAML on standard input is taken as it is
    Edit {
        /// Network
        #[arg(value_name = "[REMOTE:]NETWORK")]
        network: Target,
    },
    /// Print one key of a network
    Get {
        /// Network
        #[arg(value_name = "[REMOTE:]NETWORK")]
        network: Target,
        /// Key
        key: String,
    },
    /// Show what a network's interface looks like
    Info {
        /// Network
        #[arg(value_name = "[REMOTE:]NETWORK")]
        network: Target,
    },
    /// List networks
    #[command(visible_alias = "ls")]
    List {
        /// Remote
        #[arg(value_name = "REMOTE:")]
        remote: Option<Target>,
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// List the addresses a network gave away
    ListLeases {
        /// Network
        #[arg(value_name = "[REMOTE:]NETWORK")]
        network: Target,
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// Rename a network
    #[command(visible_alias = "mv")]
    Rename {
        /// Network
        #[arg(value_name = "[REMOTE:]NETWORK")]
        network: Target,
        /// New name
        new_name: String,
    },
    /// Set keys of a network
    Set {
        /// Network
        #[arg(value_name = "[REMOTE:]NETWORK")]
        network: Target,
        /// Keys; the older form is one key and one value
        #[arg(value_name = "KEY=VALUE", required = true, allow_hyphen_values = true)]
        pairs: Vec<String>,
    },
    /// Show a network
    Show {
        /// Network
        #[arg(value_name = "[REMOTE:]NETWORK")]
        network: Target,
    },
    /// Unset a key of a network
    Unset {
        /// Network
        #[arg(value_name = "[REMOTE:]NETWORK")]
        network: Target,
        /// Key
        key: String,
    },
    /// Access lists (not supported yet)
    Acl {
        #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Forwards (not supported yet)
    Forward {
        #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Peerings (not supported yet)
    Peer {
        #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Zones (not supported yet)
    Zone {
        #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
        rest: Vec<String>,
    },
}

// What is not done yet, each with what helps meanwhile.
const ACL: &str = "network acl (keep instances apart by networks of their own, or by security.port_isolation=true of their NICs)";
const FORWARD: &str = "network forward (hand ports on with a device: config device add INSTANCE web proxy listen=tcp:ADDRESS:80 connect=tcp:ADDRESS-INSIDE:80 nat=true)";
const PEER: &str = "network peer (it joins networks of Open Virtual Network, which this server does not run)";
const ZONE: &str = "network zone (names of instances are served on their network, below its dns.domain)";

impl Network {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Network::Attach { network, instance, device, interface } => {
                network_attach::attach(app, &network, &Subject::instance(&instance), device, interface).await
            }
            Network::AttachProfile { network, profile, device, interface } => {
                network_attach::attach(app, &network, &Subject::profile(&profile), device, interface).await
            }
            Network::Detach { network, instance, device } => {
                network_attach::detach(app, &network, &Subject::instance(&instance), device).await
            }
            Network::DetachProfile { network, profile, device } => {
                network_attach::detach(app, &network, &Subject::profile(&profile), device).await
            }
            Network::Create { network, pairs, kind } => create(app, network, &pairs, kind).await,
            Network::Delete { network } => {
                app.client(&network)?.delete_network(network.required("the network's name")?).await?;
                app.note(&format!("Network {} deleted", network.name))
            }
            Network::Edit { network } => object::edit(app, app.client(&network)?, &named(network)?).await,
            Network::Get { network, key } => object::get(app, app.client(&network)?, &named(network)?, &key).await,
            Network::Info { network } => {
                let state = app.client(&network)?.network_state(network.required("the network's name")?).await?;
                app.print(&info(&network.name, &state))
            }
            Network::List { remote, format } => list(app, &remote.unwrap_or_default(), format).await,
            Network::ListLeases { network, format } => leases(app, &network, format).await,
            Network::Rename { network, new_name } => {
                app.client(&network)?.rename_network(network.required("the network's name")?, &new_name).await?;
                app.note(&format!("Network {} renamed to {new_name}", network.name))
            }
            Network::Set { network, pairs } => object::set(app, app.client(&network)?, &named(network)?, pairs_or_two(&pairs)?).await,
            Network::Show { network } => object::show(app, app.client(&network)?, &named(network)?).await,
            Network::Unset { network, key } => object::unset(app, app.client(&network)?, &named(network)?, &key).await,
            Network::Acl { .. } => Err(CliError::Unsupported { what: ACL }),
            Network::Forward { .. } => Err(CliError::Unsupported { what: FORWARD }),
            Network::Peer { .. } => Err(CliError::Unsupported { what: PEER }),
            Network::Zone { .. } => Err(CliError::Unsupported { what: ZONE }),
        }
    }
}

fn named(target: Target) -> Result<Object, CliError> {
    target.required("the network's name")?;
    Ok(Object(target.name))
}

async fn create(app: &App, target: Target, arguments: &[String], kind: String) -> Result<(), CliError> {
    let client = app.client(&target)?;
    let name = target.required("the network's name")?.to_owned();
    let mut given = match app.piped_input()?.filter(|text| !text.trim().is_empty()) {
        Some(text) => read_yaml::<NetworksPost>(&text)?,
        None => NetworksPost::default(),
    };
    given.config.extend(pairs(arguments)?);
    if !kind.is_empty() {
        given.kind = kind;
    }
    client.create_network(&NetworksPost { name, ..given }).await?;
    app.note(&format!("Network {} created", target.name))
}

async fn list(app: &App, target: &Target, format: Format) -> Result<(), CliError> {
    let networks = app.client(target)?.networks().await?;
    app.print(&render_list(format, &networks, app.colour(), || {
        let mut table = Table::new(["NAME", "TYPE", "MANAGED", "IPV4", "IPV6", "DESCRIPTION", "USED BY", "STATE"]);
        for network in networks.iter().filter(|network| !matches!(network.kind.as_str(), "loopback" | "unknown")) {
            let config = |key: &str| network.config.get(key).map_or("", String::as_str);
            table.row([
                &network.name,
                &network.kind,
                yes_no(network.managed),
                config("ipv4.address"),
                config("ipv6.address"),
                &network.description,
                &network.used_by.len().to_string(),
                &network.status.to_uppercase(),
            ]);
        }
        table.sorted()
    }))
}

async fn leases(app: &App, target: &Target, format: Format) -> Result<(), CliError> {
    let leases = app.client(target)?.network_leases(target.required("the network's name")?).await?;
    app.print(&render_list(format, &leases, app.colour(), || {
        let mut table = Table::new(["HOSTNAME", "MAC ADDRESS", "IP ADDRESS", "TYPE"]);
        for lease in &leases {
            table.row([&lease.hostname, &lease.hwaddr, &lease.address, &lease.kind.to_uppercase()]);
        }
        table.sorted()
    }))
}

fn info(name: &str, state: &NetworkState) -> String {
    let mut out = format!(
        "Name: {}\nMAC address: {}\nMTU: {}\nState: {}\nType: {}\n",
        clean(name),
        clean(&state.hwaddr),
        state.mtu,
        clean(&state.state),
        clean(&state.kind)
    );
    if !state.addresses.is_empty() {
        out.push_str("\nIP addresses:\n");
        for address in &state.addresses {
            let (family, text) = (clean(&address.family), clean(&address.address));
            let _ = writeln!(out, "  {family}\t{text}/{} ({})", clean(&address.netmask), clean(&address.scope));
        }
    }
    let counters = &state.counters;
    let (received, sent) = (decimal_size(counters.bytes_received), decimal_size(counters.bytes_sent));
    let _ = write!(out, "\nNetwork usage:\n  Bytes received: {received}\n  Bytes sent: {sent}\n");
    let _ = write!(out, "  Packets received: {}\n  Packets sent: {}\n", counters.packets_received, counters.packets_sent);
    if let Some(bond) = &state.bond {
        let _ = write!(out, "\nBond:\n  Mode: {}\n  Transmit policy: {}\n", clean(&bond.mode), clean(&bond.transmit_policy));
        let _ = write!(out, "  Up delay: {}\n  Down delay: {}\n", bond.up_delay, bond.down_delay);
        let _ = write!(out, "  MII Frequency: {}\n  MII State: {}\n", bond.mii_frequency, clean(&bond.mii_state));
        let _ = writeln!(out, "  Lower devices: {}", clean(&bond.lower_devices.join(", ")));
    }
    if let Some(bridge) = &state.bridge {
        let _ = write!(out, "\nBridge:\n  ID: {}\n  STP: {}\n", clean(&bridge.id), bridge.stp);
        let _ = write!(out, "  Forward delay: {}\n  Default VLAN ID: {}\n", bridge.forward_delay, bridge.vlan_default);
        let _ = write!(out, "  VLAN filtering: {}\n  Upper devices: {}\n", bridge.vlan_filtering, clean(&bridge.upper_devices.join(", ")));
    }
    if let Some(vlan) = &state.vlan {
        let _ = write!(out, "\nVLAN:\n  Lower device: {}\n  VLAN ID: {}\n", clean(&vlan.lower_device), vlan.vid);
    }
    out
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_bridge() {
        let state: NetworkState = serde_json::from_str(
            r#"{"addresses":[{"address":"10.77.0.1","family":"inet","netmask":"24","scope":"global"}],
            "bridge":{"forward_delay":1500,"id":"8000.00163ecf68da","stp":false,"upper_devices":["veth1","veth2"]},
            "counters":{"bytes_received":331568,"bytes_sent":244885,"packets_received":2283,"packets_sent":910},
            "hwaddr":"00:16:3e:cf:68:da","mtu":1500,"state":"up","type":"broadcast","bond":null,"vlan":null,"ovn":null}"#,
        )
        .unwrap();
        expect![[r"
            Name: lxdbr0
            MAC address: 00:16:3e:cf:68:da
            MTU: 1500
            State: up
            Type: broadcast

            IP addresses:
              inet	10.77.0.1/24 (global)

            Network usage:
              Bytes received: 331.57kB
              Bytes sent: 244.88kB
              Packets received: 2283
              Packets sent: 910

            Bridge:
              ID: 8000.00163ecf68da
              STP: false
              Forward delay: 1500
              Default VLAN ID: 0
              VLAN filtering: false
              Upper devices: veth1, veth2
        "]]
        .assert_eq(&info("lxdbr0", &state));
    }
}
