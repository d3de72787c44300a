//! The grammar of the command line.

use std::ffi::OsString;

use clap::error::{ContextKind, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser};

use crate::app::Globals;
use crate::command::{self, Command};

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

/// Reads a command line with the grammar of its own command alone; errors and help of the whole come from the whole.
///
/// # Errors
/// If the line is no command, or asks for help or the version.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let whole = || Cli::command().try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    let Some(word) = first_word(arguments) else { return whole() };
    let base = Globals::augment_args(clap::Command::new("coffer").version(env!("CARGO_PKG_VERSION")).max_term_width(120));
    let Some(mut grammar) = command::augment_one(base, word) else { return whole() };
    let matches = grammar.try_get_matches_from_mut(arguments)?;
    // The process ends soon enough; taking the grammar apart would only cost time.
    std::mem::forget(grammar);
    Ok(Cli { globals: Globals::from_arg_matches(&matches)?, command: Command::from_arg_matches(&matches)? })
}

/// Says whether what is wrong with a line is that it names the member of a cluster, which only commands for clusters know.
pub(crate) fn names_a_member(error: &clap::Error) -> bool {
    let unknown = error.kind() == ErrorKind::UnknownArgument;
    let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string);
    unknown && argument.is_some_and(|argument| matches!(argument.as_str(), "--target" | "--destination-target"))
}

/// Finds the first argument that is neither an option nor the value of the one global option that has a value.
fn first_word(arguments: &[OsString]) -> Option<&str> {
    let mut words = arguments.iter().skip(1);
    while let Some(word) = words.next() {
        let word = word.to_str()?;
        if word == "--project" {
            words.next();
        } else if !word.starts_with('-') {
            return Some(word);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[track_caller]
    fn accepts(line: &str) {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let whole = Cli::try_parse_from(&words).map(|cli| format!("{cli:?}"));
        match (parse(&words).map(|cli| format!("{cli:?}")), whole) {
            (Ok(alone), Ok(whole)) => assert_eq!(alone, whole, "{line}"),
            (Err(error), _) | (_, Err(error)) => panic!("{line}: {error}"),
        }
    }

    #[test]
    fn a_member_of_a_cluster_is_refused_by_name() {
        let wrong = |line: &str| parse(&line.split(' ').map(OsString::from).collect::<Vec<_>>()).unwrap_err();
        for line in ["lxc storage create p dir --target x", "lxc storage volume copy p/v p/w --destination-target=x"] {
            assert!(names_a_member(&wrong(line)), "{line}");
        }
        assert!(!names_a_member(&wrong("lxc storage create p dir --targets x")));
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
            "lxc project show default",
            "lxc project create p -c features.images=false",
            "lxc project info p --project q",
            "lxc -q profile copy a b --target-project c",
            "lxc storage volume list default",
            "lxc config device set c1 eth0 limits.max 1",
            "lxd admin waitready --timeout 5",
        ] {
            accepts(line);
        }
    }
}
