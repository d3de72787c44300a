//! dnsmasq's command line: every value comes from a type that cannot hold a comma or a new line too many.

use std::ffi::OsString;
use std::path::Path;

use super::Files;
use crate::config::{BridgeConfig, Dhcp4, Dhcp6, DnsMode, Ipv4, Ipv6};

/// Writes the arguments for a network; `user` and `group` are what dnsmasq becomes after it has opened its sockets.
#[must_use]
pub fn arguments(network: &str, config: &BridgeConfig, files: &Files, user: &str, group: &str) -> Vec<OsString> {
    let mut all = Arguments(Vec::new());
    all.path("conf-file", &files.raw()).path("pid-file", &files.pid());
    all.value("user", user).value("group", group);
    all.value("interface", network).value("except-interface", "lo").flag("bind-dynamic");
    all.flag("no-hosts").flag("no-ping").flag("quiet-dhcp").flag("quiet-dhcp6").flag("quiet-ra");
    if config.is_isolated() {
        // Whoever cannot send packets out must not send questions out through us either.
        all.flag("no-resolv");
    }
    names(&mut all, network, config, files);
    if let Some(v4) = &config.ipv4 {
        dhcp4(&mut all, config, v4);
    }
    if let Some(v6) = &config.ipv6 {
        dhcp6(&mut all, network, v6);
    }
    if config.ipv4.as_ref().is_some_and(|v4| v4.dhcp.is_some()) || config.ipv6.is_some() {
        all.flag("dhcp-authoritative").flag("dhcp-no-override").flag("dhcp-rapid-commit");
        all.path("dhcp-leasefile", &files.leases()).path("dhcp-hostsdir", &files.hosts());
        search(&mut all, config);
        if config.dns.mode != DnsMode::Dynamic {
            all.flag("dhcp-ignore-names");
        }
    }
    all.0
}

struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(format!("--{name}").into());
        self
    }

    fn value(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        self.0.push(format!("--{name}={value}").into());
        self
    }

    fn path(&mut self, name: &str, path: &Path) -> &mut Self {
        let mut argument = OsString::from(format!("--{name}="));
        argument.push(path);
        self.0.push(argument);
        self
    }
}

fn names(all: &mut Arguments, network: &str, config: &BridgeConfig, files: &Files) {
    let domain = &config.dns.domain;
    if config.dns.mode == DnsMode::None {
        return;
    }
    // `local` keeps questions about our domain, about names without a domain and about our addresses from going further.
    all.value("domain", domain).value("local", format_args!("/{domain}/")).value("local", "//").flag("expand-hosts");
    for net in config.ipv4.iter().map(|v4| v4.address.trunc()) {
        all.value("domain", format_args!("{domain},{net},local"));
    }
    for net in config.ipv6.iter().map(|v6| v6.address.trunc()) {
        all.value("domain", format_args!("{domain},{net},local"));
    }
    all.value("interface-name", format_args!("_gateway.{domain},{network}"));
    all.path("hostsdir", &files.names());
}

fn dhcp4(all: &mut Arguments, config: &BridgeConfig, v4: &Ipv4) {
    let Some(Dhcp4 { expiry, gateway, ranges }) = &v4.dhcp else { return };
    for range in ranges {
        all.value("dhcp-range", format_args!("{},{},{},{expiry}", range.start(), range.end(), v4.address.netmask()));
    }
    match gateway {
        Some(gateway) if *gateway == v4.address.addr() => {}
        Some(gateway) => {
            all.value("dhcp-option-force", format_args!("3,{gateway}"));
        }
        None => {
            all.value("dhcp-option-force", "3");
        }
    }
    if let Some(mtu) = config.mtu {
        all.value("dhcp-option-force", format_args!("26,{mtu}"));
    }
}

fn dhcp6(all: &mut Arguments, network: &str, v6: &Ipv6) {
    all.flag("enable-ra");
    if !v6.outside.routed {
        // Routers' addresses with a lifetime of zero are no way out.
        all.value("ra-param", format_args!("{network},0,0"));
    }
    match &v6.dhcp {
        Dhcp6::Off => {
            all.value("dhcp-range", format_args!("::,constructor:{network},ra-only"));
        }
        Dhcp6::Stateless => {
            all.value("dhcp-range", format_args!("::,constructor:{network},ra-stateless"));
        }
        Dhcp6::Stateful { expiry, ranges } => {
            for range in ranges {
                all.value("dhcp-range", format_args!("{},{},64,{expiry}", range.start(), range.end()));
            }
        }
    }
}

fn search(all: &mut Arguments, config: &BridgeConfig) {
    let domains: Vec<_> = config.dns.search.iter().map(|domain| domain.as_str()).collect();
    if domains.is_empty() {
        return;
    }
    let list = domains.join(",");
    if config.ipv4.is_some() {
        all.value("dhcp-option-force", format_args!("119,{list}"));
    }
    if config.ipv6.is_some() {
        all.value("dhcp-option-force", format_args!("option6:domain-search,{list}"));
    }
}
