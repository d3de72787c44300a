//! The key `raw.dnsmasq`: further lines for dnsmasq, from a list of options that only concern names and leases.

use coffer_model::Config;

use super::ConfigError;
use super::value::refuse;

/// Options of dnsmasq that a user may add. None starts a program, reads or writes a file, or changes where we listen.
const ALLOWED: &[&str] = &[
    "address",
    "all-servers",
    "alias",
    "bogus-nxdomain",
    "bogus-priv",
    "caa-record",
    "cache-size",
    "cname",
    "dhcp-boot",
    "dhcp-circuitid",
    "dhcp-generate-names",
    "dhcp-host",
    "dhcp-ignore",
    "dhcp-ignore-clid",
    "dhcp-lease-max",
    "dhcp-mac",
    "dhcp-match",
    "dhcp-name-match",
    "dhcp-option",
    "dhcp-option-force",
    "dhcp-option-pxe",
    "dhcp-range",
    "dhcp-reply-delay",
    "dhcp-sequential-ip",
    "dhcp-userclass",
    "dhcp-vendorclass",
    "dns-forward-max",
    "domain-needed",
    "edns-packet-max",
    "filter-A",
    "filter-AAAA",
    "filterwin2k",
    "host-record",
    "ignore-address",
    "local",
    "local-ttl",
    "log-dhcp",
    "log-queries",
    "max-cache-ttl",
    "max-ttl",
    "min-cache-ttl",
    "mx-host",
    "mx-target",
    "naptr-record",
    "neg-ttl",
    "no-negcache",
    "no-resolv",
    "no-round-robin",
    "ptr-record",
    "pxe-prompt",
    "pxe-service",
    "ra-param",
    "rebind-domain-ok",
    "rebind-localhost-ok",
    "rev-server",
    "selfmx",
    "server",
    "srv-host",
    "stop-dns-rebind",
    "strict-order",
    "synth-domain",
    "tag-if",
    "txt-record",
];

/// Checks every line and gives the text as it goes into the file.
pub(super) fn checked(config: &Config) -> Result<String, ConfigError> {
    let Some(text) = config.get("raw.dnsmasq") else { return Ok(String::new()) };
    let mut lines = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.chars().any(char::is_control) {
            return Err(refuse(config, "raw.dnsmasq", "it must not hold control characters"));
        }
        let option = line.split('=').next().unwrap_or_default().trim();
        if !ALLOWED.contains(&option) {
            return Err(refuse(
                config,
                "raw.dnsmasq",
                format!("option {option:?} is not allowed here: only options about names and leases are"),
            ));
        }
        lines.push_str(line);
        lines.push('\n');
    }
    Ok(lines)
}
