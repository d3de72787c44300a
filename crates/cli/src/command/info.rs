//! `info`: an instance or the server.

use std::fmt::Write;

use clap::Args;
use coffer_api::{InstanceFull, InstanceStateNetwork};

use super::info_resources;
use crate::app::App;
use crate::error::CliError;
use crate::render::{Table, binary_size, clean, clean_lines, decimal_size, minute, yaml, yes_no};
use crate::target::Target;

/// Show what an instance does and uses, or what the server is
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// Instance; without one the server is shown
    #[arg(value_name = "[REMOTE:][INSTANCE]")]
    instance: Option<Target>,
    /// Show the end of the instance's log too
    #[arg(long)]
    show_log: bool,
    /// Show what the server's host has
    #[arg(long)]
    resources: bool,
    /// Cluster member to use
    #[arg(long, value_name = "MEMBER")]
    target: Option<String>,
}

impl Info {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        if self.target.is_some() {
            return Err(CliError::Unsupported { what: "choosing a cluster member" });
        }
        let target = self.instance.unwrap_or_default();
        let client = app.client(&target)?;
        if target.name.is_empty() {
            let text = if self.resources { info_resources::text(&client.resources().await?) } else { yaml(&client.server().await?.value) };
            return app.print(&text);
        }
        let instance = client.instance_full(&target.name).await?;
        let mut text = instance_text(&instance);
        if self.show_log {
            let log = client.instance_log(&target.name, "lxc.log").await?.bytes().await?;
            let log = String::from_utf8_lossy(&log).into_owned();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(100)..].join("\n");
            let _ = write!(text, "\nLog:\n\n{}\n", clean_lines(&tail));
        }
        app.print(&text)
    }
}

fn instance_text(instance: &InstanceFull) -> String {
    let mut out = String::new();
    let mut line = |text: &str, value: &str| {
        let _ = writeln!(out, "{text}: {}", clean(value));
    };
    line("Name", &instance.name);
    line("Status", &instance.status.to_uppercase());
    let kind = if instance.kind.is_empty() { "container" } else { &instance.kind };
    line("Type", &format!("{kind}{}", if instance.ephemeral { " (ephemeral)" } else { "" }));
    if !instance.description.is_empty() {
        line("Description", &instance.description);
    }
    line("Architecture", &instance.architecture);
    if !instance.location.is_empty() && instance.location != "none" {
        line("Location", &instance.location);
    }
    if let Some(state) = instance.state.as_ref().filter(|state| state.pid != 0) {
        line("PID", &state.pid.to_string());
    }
    if instance.created_at.is_set() {
        line("Created", &minute(instance.created_at));
    }
    if instance.last_used_at.is_set() {
        line("Last Used", &minute(instance.last_used_at));
    }
    if instance.state.as_ref().is_some_and(|state| state.pid != 0) {
        resources_text(instance, &mut out);
    }
    snapshots_text(instance, &mut out);
    backups_text(instance, &mut out);
    out
}

fn resources_text(instance: &InstanceFull, out: &mut String) {
    let Some(state) = &instance.state else { return };
    out.push_str("\nResources:\n");
    let _ = writeln!(out, "  Processes: {}", state.processes);
    if state.disk.values().any(|disk| disk.usage != 0) {
        out.push_str("  Disk usage:\n");
        for (name, disk) in state.disk.iter().filter(|(_, disk)| disk.usage != 0) {
            let _ = writeln!(out, "    {}: {}", clean(name), decimal_size(disk.usage));
        }
    }
    if state.cpu.usage != 0 {
        let _ = writeln!(out, "  CPU usage:\n    CPU usage (in seconds): {}", state.cpu.usage / 1_000_000_000);
    }
    let memory = [
        ("Memory (current)", state.memory.usage),
        ("Memory (peak)", state.memory.usage_peak),
        ("Swap (current)", state.memory.swap_usage),
        ("Swap (peak)", state.memory.swap_usage_peak),
    ];
    if memory.iter().any(|(_, bytes)| *bytes != 0) {
        out.push_str("  Memory usage:\n");
        for (name, bytes) in memory.iter().filter(|(_, bytes)| *bytes != 0) {
            let _ = writeln!(out, "    {name}: {}", binary_size(*bytes));
        }
    }
    if !state.network.is_empty() {
        out.push_str("  Network usage:\n");
        state.network.iter().for_each(|(name, network)| network_text(name, network, out));
    }
}

fn network_text(name: &str, network: &InstanceStateNetwork, out: &mut String) {
    let _ =
        writeln!(out, "    {}:\n      Type: {}\n      State: {}", clean(name), clean(&network.kind), clean(&network.state.to_uppercase()));
    if !network.host_name.is_empty() {
        let _ = writeln!(out, "      Host interface: {}", clean(&network.host_name));
    }
    if !network.hwaddr.is_empty() {
        let _ = writeln!(out, "      MAC address: {}", clean(&network.hwaddr));
    }
    if network.mtu != 0 {
        let _ = writeln!(out, "      MTU: {}", network.mtu);
    }
    let counters = &network.counters;
    let _ = writeln!(out, "      Bytes received: {}", decimal_size(counters.bytes_received));
    let _ = writeln!(out, "      Bytes sent: {}", decimal_size(counters.bytes_sent));
    let _ = writeln!(out, "      Packets received: {}\n      Packets sent: {}", counters.packets_received, counters.packets_sent);
    out.push_str("      IP addresses:\n");
    for address in &network.addresses {
        let family = if address.family == "inet" { "inet: " } else { "inet6:" };
        let _ = writeln!(out, "        {family} {}/{} ({})", clean(&address.address), clean(&address.netmask), clean(&address.scope));
    }
}

fn snapshots_text(instance: &InstanceFull, out: &mut String) {
    if instance.snapshots.is_empty() {
        return;
    }
    let mut table = Table::new(["NAME", "TAKEN AT", "EXPIRES AT", "STATEFUL"]);
    for snapshot in &instance.snapshots {
        let name = snapshot.name.rsplit('/').next().unwrap_or_default();
        table.row([name, &minute(snapshot.created_at), &minute(snapshot.expires_at), yes_no(snapshot.stateful)]);
    }
    let _ = write!(out, "\nSnapshots:\n{}", table.bordered(false));
}

fn backups_text(instance: &InstanceFull, out: &mut String) {
    if instance.backups.is_empty() {
        return;
    }
    let mut table = Table::new(["NAME", "TAKEN AT", "EXPIRES AT", "INSTANCE ONLY", "OPTIMIZED STORAGE"]);
    for backup in &instance.backups {
        let name = backup.name.rsplit('/').next().unwrap_or_default();
        let (taken, expires) = (minute(backup.created_at), minute(backup.expires_at));
        table.row([name, &taken, &expires, yes_no(backup.instance_only), yes_no(backup.optimized_storage)]);
    }
    let _ = write!(out, "\nBackups:\n{}", table.bordered(false));
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_running_instance() {
        let instance: InstanceFull = serde_json::from_str(
            r#"{"name":"t1","status":"Running","type":"container","architecture":"x86_64","location":"none",
            "state":{"pid":16794,"processes":6,"cpu":{"usage":467153369},"disk":{},
            "memory":{"usage":38584320,"usage_peak":60506112},
            "network":{"eth0":{"type":"broadcast","state":"up","host_name":"veth6fb62970","hwaddr":"00:16:3e:0e:3e:28","mtu":1500,
            "counters":{"bytes_received":2328,"bytes_sent":1006,"packets_received":30,"packets_sent":13},
            "addresses":[{"family":"inet6","address":"fe80::1","netmask":"64","scope":"link"},
              {"family":"inet","address":"10.0.0.2","netmask":"24","scope":"global"}]}}}}"#,
        )
        .unwrap();
        expect![[r#"
            Name: t1
            Status: RUNNING
            Type: container
            Architecture: x86_64
            PID: 16794

            Resources:
              Processes: 6
              CPU usage:
                CPU usage (in seconds): 0
              Memory usage:
                Memory (current): 36.80MiB
                Memory (peak): 57.70MiB
              Network usage:
                eth0:
                  Type: broadcast
                  State: UP
                  Host interface: veth6fb62970
                  MAC address: 00:16:3e:0e:3e:28
                  MTU: 1500
                  Bytes received: 2.33kB
                  Bytes sent: 1.01kB
                  Packets received: 30
                  Packets sent: 13
                  IP addresses:
                    inet6: fe80::1/64 (link)
                    inet:  10.0.0.2/24 (global)
        "#]]
        .assert_eq(&instance_text(&instance));
    }
}
