//! Packages, by the managers of distributions.

use std::collections::BTreeMap;

use super::RecipeError;
use crate::recipe::{Run, Step, Work};

/// What is done with packages.
#[derive(Clone, Debug, Default)]
pub(super) struct Packages {
    pub(super) manager: String,
    /// Whether the lists are fetched anew before.
    pub(super) update: bool,
    /// Whether what is installed is brought up to date.
    pub(super) upgrade: bool,
    pub(super) install: Vec<String>,
    pub(super) remove: Vec<String>,
    /// More options of the manager's install command.
    pub(super) flags: Vec<String>,
}

/// A manager of packages, and its commands.
struct Manager {
    name: &'static str,
    update: &'static str,
    upgrade: &'static str,
    install: &'static str,
    remove: &'static str,
}

const MANAGERS: [Manager; 9] = [
    Manager {
        name: "apt",
        update: "apt-get update",
        upgrade: "apt-get dist-upgrade --yes",
        install: "apt-get install --yes --no-install-recommends",
        remove: "apt-get purge --auto-remove --yes",
    },
    Manager { name: "apk", update: "apk update", upgrade: "apk upgrade", install: "apk add", remove: "apk del --rdepends" },
    Manager {
        name: "dnf",
        update: "dnf makecache",
        upgrade: "dnf upgrade -y",
        install: "dnf install -y --setopt=install_weak_deps=False",
        remove: "dnf remove -y",
    },
    Manager { name: "yum", update: "yum makecache", upgrade: "yum update -y", install: "yum install -y", remove: "yum remove -y" },
    Manager {
        name: "pacman",
        update: "pacman -Sy --noconfirm",
        upgrade: "pacman -Su --noconfirm",
        install: "pacman -S --needed --noconfirm",
        remove: "pacman -Rcs --noconfirm",
    },
    Manager {
        name: "zypper",
        update: "zypper --non-interactive refresh",
        upgrade: "zypper --non-interactive update",
        install: "zypper --non-interactive install --no-recommends",
        remove: "zypper --non-interactive remove --clean-deps",
    },
    Manager { name: "xbps", update: "xbps-install -S", upgrade: "xbps-install -yu", install: "xbps-install -y", remove: "xbps-remove -Ry" },
    Manager { name: "opkg", update: "opkg update", upgrade: "true", install: "opkg install", remove: "opkg remove --autoremove" },
    Manager {
        name: "portage",
        update: "emerge --sync",
        upgrade: "emerge --update --deep @world",
        install: "emerge",
        remove: "emerge --depclean",
    },
];

/// The step that does it; none if there is nothing to do.
pub(super) fn step(packages: &Packages, line: usize, environment: &BTreeMap<String, String>) -> Result<Option<Step>, RecipeError> {
    let manager = MANAGERS.iter().find(|manager| manager.name == packages.manager).ok_or_else(|| {
        let known: Vec<&str> = MANAGERS.iter().map(|manager| manager.name).collect();
        RecipeError::at(line, format!("the package manager '{}' is not supported; these are: {}", packages.manager, known.join(", ")))
    })?;
    for word in packages.install.iter().chain(&packages.remove).chain(&packages.flags) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-.:~=/_@,*<>!".contains(c);
        if word.is_empty() || !word.chars().all(plain) {
            return Err(RecipeError::at(line, format!("'{word}' can't be a package")));
        }
    }
    let mut lines = Vec::new();
    lines.extend(packages.update.then(|| manager.update.to_owned()));
    lines.extend(packages.upgrade.then(|| manager.upgrade.to_owned()));
    let words = |command: &str, flags: &[String], names: &[String]| {
        let mut words = vec![command.to_owned()];
        words.extend(flags.iter().cloned());
        words.extend(names.iter().map(|name| format!("'{name}'")));
        words.join(" ")
    };
    if !packages.install.is_empty() {
        lines.push(words(manager.install, &packages.flags, &packages.install));
    }
    if !packages.remove.is_empty() {
        lines.push(words(manager.remove, &[], &packages.remove));
    }
    if lines.is_empty() {
        return Ok(None);
    }
    let mut environment = environment.clone();
    if manager.name == "apt" {
        environment.entry("DEBIAN_FRONTEND".into()).or_insert_with(|| "noninteractive".into());
    }
    let command = ["/bin/sh", "-ec", &lines.join("\n")].map(str::to_owned).to_vec();
    let work = Work::Run(Run { command, environment, ..Run::default() });
    Ok(Some(Step { line, title: title(packages), work }))
}

fn title(packages: &Packages) -> String {
    let counted = |count: usize, verb: &str| match count {
        0 => None,
        1 => Some(format!("{verb} 1 package")),
        _ => Some(format!("{verb} {count} packages")),
    };
    let parts: Vec<String> =
        counted(packages.install.len(), "install").into_iter().chain(counted(packages.remove.len(), "remove")).collect();
    let done = match (parts.is_empty(), packages.upgrade) {
        (true, true) => "upgrade all packages".to_owned(),
        (true, false) => "fetch the lists of packages".to_owned(),
        (false, _) => parts.join(", "),
    };
    format!("{}: {done}", packages.manager)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(packages: Packages, expect: &str) {
        let got = match step(&packages, 3, &BTreeMap::new()) {
            Ok(Some(Step { title, work: Work::Run(run), .. })) => format!("{title} | {}", run.command[2]),
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn commands_by_manager() {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let apt =
            Packages { manager: "apt".into(), update: true, install: names("nginx curl"), remove: names("nano"), ..Default::default() };
        check(
            apt,
            "apt: install 2 packages, remove 1 package | apt-get update\napt-get install --yes --no-install-recommends 'nginx' 'curl'\napt-get purge --auto-remove --yes 'nano'",
        );
        check(
            Packages { manager: "apk".into(), install: names("openssh"), ..Default::default() },
            "apk: install 1 package | apk add 'openssh'",
        );
        check(Packages { manager: "apk".into(), ..Default::default() }, "None");
    }

    #[test]
    fn no_name_reaches_the_shell() {
        let hostile = |name: &str| Packages { manager: "apt".into(), install: vec![name.into()], ..Default::default() };
        check(hostile("x; rm -rf /"), "line 3: 'x; rm -rf /' can't be a package");
        check(hostile("x'$(id)'"), "line 3: 'x'$(id)'' can't be a package");
        check(
            Packages { manager: "brew".into(), ..Default::default() },
            "line 3: the package manager 'brew' is not supported; these are: apt, apk, dnf, yum, pacman, zypper, xbps, opkg, portage",
        );
    }
}
