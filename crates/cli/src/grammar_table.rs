//! The commands that people and scripts type, as a table: a change of the grammar that takes one away is seen here.

use clap::{Command, CommandFactory};

use crate::grammar::Cli;

/// A command, its other names, and its options: those of the genuine client that mean something on one host, and ours.
const ROWS: &[(&str, &str, &str)] = &[
    ("admin init", "", "auto minimal preseed dump storage-backend"),
    ("admin shutdown", "", "force timeout"),
    ("admin waitready", "", "timeout"),
    ("alias add", "create", ""),
    ("alias edit", "", ""),
    ("alias list", "ls", "format"),
    ("alias remove", "delete rm", ""),
    ("alias rename", "mv", ""),
    ("alias show", "", ""),
    ("completion", "", "name"),
    ("config device add", "create", ""),
    ("config device get", "", ""),
    ("config device list", "ls", ""),
    ("config device override", "", ""),
    ("config device remove", "delete rm", ""),
    ("config device set", "", ""),
    ("config device show", "", ""),
    ("config device unset", "", ""),
    ("config edit", "", ""),
    ("config get", "", "expanded"),
    ("config metadata edit", "", ""),
    ("config metadata show", "", ""),
    ("config set", "", ""),
    ("config show", "", "expanded"),
    ("config template create", "add", ""),
    ("config template delete", "remove rm", ""),
    ("config template edit", "", ""),
    ("config template list", "ls", "format"),
    ("config template show", "", ""),
    ("config trust add", "", "name projects restricted type"),
    ("config trust edit", "", ""),
    ("config trust list", "ls", "format"),
    ("config trust list-tokens", "", "format"),
    ("config trust remove", "delete rm", ""),
    ("config trust revoke-token", "", ""),
    ("config trust show", "", ""),
    ("config unset", "", ""),
    ("console", "", "show-log type"),
    (
        "copy",
        "cp",
        "allow-inconsistent config device ephemeral instance-only mode no-profiles profile refresh stateless storage target-project",
    ),
    ("delete", "remove rm", "force interactive"),
    ("exec", "", "cwd disable-stdin env force-interactive force-noninteractive group mode user"),
    ("export", "", "compression instance-only optimized-storage"),
    ("file delete", "remove rm", ""),
    ("file edit", "", ""),
    ("file mount", "", ""),
    ("file pull", "", "create-dirs recursive"),
    ("file push", "", "create-dirs gid mode recursive uid"),
    ("image alias create", "add", ""),
    ("image alias delete", "remove rm", ""),
    ("image alias list", "ls", "format"),
    ("image alias rename", "mv", ""),
    ("image copy", "cp", "alias auto-update copy-aliases mode public target-project vm"),
    ("image delete", "remove rm", ""),
    ("image edit", "", ""),
    ("image export", "", "vm"),
    ("image get-property", "", ""),
    ("image import", "", "alias public"),
    ("image info", "", "vm"),
    ("image list", "ls", "columns format"),
    ("image refresh", "", ""),
    ("image set-property", "", ""),
    ("image show", "", "vm"),
    ("image unset-property", "", ""),
    ("import", "", "storage"),
    ("info", "", "resources show-log"),
    ("init", "", "config device empty ephemeral network no-profiles profile storage target type vm"),
    ("launch", "", "config console device empty ephemeral network no-profiles profile storage target type vm wait wait-timeout"),
    ("list", "ls", "all-projects columns fast format"),
    ("manual", "manpage", ""),
    ("monitor", "", "all-projects format loglevel pretty type"),
    ("move", "mv", "allow-inconsistent config device instance-only mode no-profiles profile stateless storage target-project"),
    ("network attach", "", ""),
    ("network attach-profile", "", ""),
    ("network create", "add", "type"),
    ("network delete", "remove rm", ""),
    ("network detach", "", ""),
    ("network detach-profile", "", ""),
    ("network edit", "", ""),
    ("network get", "", ""),
    ("network info", "", ""),
    ("network list", "ls", "format"),
    ("network list-leases", "", "format"),
    ("network rename", "mv", ""),
    ("network set", "", ""),
    ("network show", "", ""),
    ("network unset", "", ""),
    ("operation delete", "cancel remove rm", ""),
    ("operation list", "ls", "format"),
    ("operation show", "", ""),
    ("pause", "freeze", "all"),
    ("profile add", "", ""),
    ("profile assign", "apply", ""),
    ("profile copy", "cp", "target-project"),
    ("profile create", "", ""),
    ("profile delete", "rm", ""),
    ("profile device add", "create", ""),
    ("profile device get", "", ""),
    ("profile device list", "ls", ""),
    ("profile device remove", "delete rm", ""),
    ("profile device set", "", ""),
    ("profile device show", "", ""),
    ("profile device unset", "", ""),
    ("profile edit", "", ""),
    ("profile get", "", ""),
    ("profile list", "ls", "format"),
    ("profile remove", "", ""),
    ("profile rename", "mv", ""),
    ("profile set", "", ""),
    ("profile show", "", ""),
    ("profile unset", "", ""),
    ("project create", "add", "config"),
    ("project delete", "remove rm", ""),
    ("project edit", "", ""),
    ("project get", "", ""),
    ("project get-current", "", ""),
    ("project info", "", "format"),
    ("project list", "ls", "format"),
    ("project rename", "mv", ""),
    ("project set", "", ""),
    ("project show", "", ""),
    ("project switch", "", ""),
    ("project unset", "", ""),
    ("publish", "", "alias compression expire force public"),
    ("query", "", "data raw request wait"),
    ("rebuild", "", "empty force"),
    ("remote add", "", "accept-certificate auth-type password project protocol public token"),
    ("remote get-default", "", ""),
    ("remote list", "ls", "format"),
    ("remote remove", "delete rm", ""),
    ("remote rename", "mv", ""),
    ("remote set-url", "", ""),
    ("remote switch", "set-default", ""),
    ("rename", "", ""),
    ("restart", "", "all console force timeout"),
    ("restore", "", "stateful"),
    ("resume", "unfreeze", ""),
    ("share", "", "as"),
    ("shell", "", ""),
    ("snapshot", "", "no-expiry reuse stateful"),
    ("start", "", "all console stateless wait wait-timeout"),
    ("stop", "", "all console force stateful timeout"),
    ("storage create", "add", ""),
    ("storage delete", "remove rm", ""),
    ("storage edit", "", ""),
    ("storage get", "", ""),
    ("storage info", "", "bytes"),
    ("storage list", "ls", "format"),
    ("storage set", "", ""),
    ("storage show", "", "resources"),
    ("storage unset", "", ""),
    ("storage volume attach", "", ""),
    ("storage volume attach-profile", "", ""),
    ("storage volume copy", "cp", "mode refresh target-project volume-only"),
    ("storage volume create", "add", "type"),
    ("storage volume delete", "remove rm", ""),
    ("storage volume detach", "", ""),
    ("storage volume detach-profile", "", ""),
    ("storage volume edit", "", ""),
    ("storage volume get", "", ""),
    ("storage volume info", "", ""),
    ("storage volume list", "ls", "all-projects columns format"),
    ("storage volume move", "mv", "mode target-project"),
    ("storage volume rename", "", ""),
    ("storage volume restore", "", ""),
    ("storage volume set", "", ""),
    ("storage volume show", "", ""),
    ("storage volume snapshot", "", "no-expiry reuse"),
    ("storage volume unset", "", ""),
    ("unshare", "", ""),
    ("version", "", ""),
    ("wait", "", "timeout"),
    ("warning acknowledge", "ack", ""),
    ("warning delete", "remove rm", "all"),
    ("warning list", "ls", "all columns format"),
    ("warning show", "", ""),
];

fn find<'a>(grammar: &'a Command, path: &str) -> Option<&'a Command> {
    path.split(' ').try_fold(grammar, |command, word| command.find_subcommand(word))
}

#[test]
fn every_command_has_its_names_options_and_help() {
    let grammar = Cli::command();
    let mut wrong = Vec::new();
    for (path, aliases, flags) in ROWS {
        let Some(command) = find(&grammar, path) else {
            wrong.push(format!("{path} is missing"));
            continue;
        };
        let (group, _) = path.rsplit_once(' ').unwrap_or(("", path));
        let group = if group.is_empty() { Some(&grammar) } else { find(&grammar, group) };
        for alias in aliases.split_whitespace() {
            let same = group.and_then(|group| group.find_subcommand(alias)).is_some_and(|found| found.get_name() == command.get_name());
            if !same {
                wrong.push(format!("{path} does not answer to {alias}"));
            }
        }
        for flag in flags.split_whitespace() {
            let known = |command: &Command| command.get_arguments().any(|argument| argument.get_long() == Some(flag));
            if !known(command) && !known(&grammar) {
                wrong.push(format!("{path} has no --{flag}"));
            }
        }
        if command.get_about().is_none_or(|about| about.to_string().is_empty()) {
            wrong.push(format!("{path} does not say what it does"));
        }
        let unsaid = command.get_arguments().filter(|argument| argument.get_help().is_none() && !argument.is_hide_set());
        wrong.extend(unsaid.map(|argument| format!("{path}: {} does not say what it is", argument.get_id())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn typing_errors_get_a_hint() {
    for (line, hint) in [("coffer lanch x", "launch"), ("coffer image lst", "list"), ("coffer list --formt json", "--format")] {
        let told = crate::grammar::parse(&line.split(' ').map(Into::into).collect::<Vec<_>>()).unwrap_err().to_string();
        assert!(told.contains(hint), "{line}: {told}");
    }
}
