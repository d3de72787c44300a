//! The text of an instance's profile.
//!
//! It comes on top of namespaces, capabilities and the filter of system calls, and rests on none of them: what is the host's is
//! closed to root inside too, even where a mount would be opened again. Everything else is left to those.

use coffer_model::{Config, apparmor};

/// What is allowed: all that the kernel asks about, towards the instance's own processes alone.
const ALLOWED: &str = "\
  capability,
  dbus,
  file,
  mount,
  network,
  pivot_root,
  remount,
  umount,
  unix,
  signal (receive),
  ptrace (readby, tracedby),
";

/// What is not, whoever asks. Source: proc(5), and Documentation/ABI of Linux for what is below `/sys`.
const DENIED: &str = "\
  deny mount fstype=(configfs, debugfs, devtmpfs, efivarfs, pstore, securityfs, tracefs),
  deny /proc/{kcore,kmem,mem,sysrq-trigger,timer_stats} rwklx,
  deny /proc/acpi/** wklx,
  deny /proc/sys/{abi,debug,dev,fs,vm}/** wklx,
  deny /proc/sys/kernel/{core_pattern,core_pipe_limit,core_uses_pid,hotplug,modprobe,modules_disabled} wklx,
  deny /proc/sys/kernel/{dmesg_restrict,kptr_restrict,kexec_load_disabled,randomize_va_space,sysrq} wklx,
  deny /proc/sys/kernel/{panic,panic_on_oops,perf_event_paranoid,printk,threads-max,unprivileged_bpf_disabled} wklx,
  deny /sys/{block,bus,dev,firmware,hypervisor,module,power}/** wklx,
  deny /sys/firmware/efi/efivars/** rwklx,
  deny /sys/kernel/** wklx,
  deny /sys/kernel/{debug,tracing}/** rwklx,
";

/// Writes the profile of an instance.
pub(super) fn text(name: &str, config: &Config) -> String {
    let raw: String = apparmor::rules(config.get(super::RAW).unwrap_or_default()).map(|rule| format!("  {rule}\n")).collect();
    format!(
        "profile \"{name}\" flags=(attach_disconnected,mediate_deleted) {{\n\
         {ALLOWED}  signal (send) peer=\"{name}\",\n  ptrace (read, trace) peer=\"{name}\",\n{DENIED}{raw}}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_ends_with_the_users_rules() {
        let config = [("raw.apparmor", "# mine\n deny /root/locked w,")].into_iter().collect();
        let text = text("coffer-0a1b2c3d-web", &config);
        assert!(text.starts_with("profile \"coffer-0a1b2c3d-web\" flags=(attach_disconnected,mediate_deleted) {\n"));
        assert!(text.ends_with("  deny /root/locked w,\n}\n") && !text.contains("mine"), "{text}");
        assert!(text.contains("signal (send) peer=\"coffer-0a1b2c3d-web\",\n"));
    }

    #[test]
    fn every_line_is_a_rule() {
        for line in ALLOWED.lines().chain(DENIED.lines()) {
            assert_eq!(apparmor::check(line), Ok(()), "{line}");
        }
    }
}
