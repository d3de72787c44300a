//! The grammar of the command line.

use clap::Parser;

use crate::app::Globals;
use crate::command::Command;

/// System containers: make them, run them, look into them
///
/// Names may carry a remote in front, as in `images:debian/12`. Every command explains itself with --help.
#[derive(Debug, Parser)]
#[command(name = "coffer", version, subcommand_required = true, arg_required_else_help = true, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[track_caller]
    fn accepts(line: &str) {
        let words = line.split_whitespace();
        if let Err(error) = Cli::try_parse_from(words) {
            panic!("{line}: {error}");
        }
    }

    #[test]
    fn lines_of_the_tutorial_are_understood() {
        for line in [
            "lxc remote list",
            "lxc image list ubuntu:",
            "lxc image list ubuntu: 18.04 amd64",
            "lxc image list images: os=Debian",
            "lxc launch ubuntu:bionic test",
            "lxc list",
            "lxc exec test -- /bin/bash",
            "lxc exec test --env A=B --cwd /tmp -- ls -l --all",
            "lxc exec test ls -l",
            "lxc exec -T test -- sh",
            "lxc stop test",
            "lxc rm test",
            "lxc storage create mybtrfs btrfs source=/dev/loop0",
            "lxc storage show mybtrfs",
            "lxc profile create myprof",
            "lxc profile edit myprof",
            "lxc launch ubuntu:18.04 web --profile myprof",
            "lxc config device add test srcdir disk path=/home/ubuntu/src source=/home/my/src",
            "lxc network create isolated",
            "lxc network set isolated ipv4.nat false",
            "lxc network attach isolated webdev",
            "lxc config set webdev security.privileged true",
            "lxc config show webdev",
            "lxc restart webdev --force",
            "lxc shell webdev",
            "lxc list -c ns46 --format=csv",
            "lxc delete -f a b",
            "lxc query -X POST -d {} --wait /1.0/instances",
            "lxc --project p list",
            "lxc list --project p",
            "lxc stop test --timeout -1",
            "lxc file push a b c/tmp/ --uid 0 --mode 0644",
            "lxd admin init --auto --storage-backend=btrfs",
            "lxc image import meta.tar.xz rootfs.squashfs --alias a --alias b",
            "lxc init --empty c1 -c limits.cpu=2 -d root,size=1GiB -n br0 -s pool --no-profiles",
            "lxc console c1 --show-log",
            "lxc launch img c1 --console",
            "lxc launch img c1 --console=vga",
            "lxc monitor --type=lifecycle --pretty",
            "lxc operation list --all-projects",
        ] {
            accepts(line);
        }
    }
}
