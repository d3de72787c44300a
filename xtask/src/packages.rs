//! The distribution's packages: reads `distro/packages.debian` and installs what is missing.

use std::collections::BTreeMap;

use crate::Outcome;
use crate::run::{as_root, capture, command, finish, installed, line, top};

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Package {
    name: String,
    /// Not every release of the distribution has it.
    optional: bool,
}

/// Installs the packages of these sections that are not there yet, saying which.
///
/// # Errors
/// Not a system with apt, an unknown section, no right to install, or apt's own failure.
pub fn ensure(sections: &[&str]) -> Outcome {
    let text = std::fs::read_to_string(top().join("distro/packages.debian"))
        .map_err(|error| format!("reading distro/packages.debian: {error}"))?;
    let list = parse(&text)?;
    let mut wanted = Vec::<Package>::new();
    for section in sections {
        let packages = list.get(*section).ok_or_else(|| format!("distro/packages.debian has no section [{section}]"))?;
        for package in packages {
            if !wanted.contains(package) {
                wanted.push(package.clone());
            }
        }
    }
    if !installed("dpkg-query") || !installed("apt-get") {
        let names: Vec<_> = wanted.iter().map(|package| package.name.as_str()).collect();
        println!("This is no Debian or Ubuntu: see to it that what these packages hold is installed: {}", names.join(" "));
        return Ok(());
    }
    let present = present();
    let missing: Vec<_> = wanted.into_iter().filter(|package| !present.contains(&package.name)).collect();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

fn install(missing: &[Package]) -> Outcome {
    let mut known = available(missing)?;
    if known.len() < missing.len() {
        apt(&["update", "--quiet"])?;
        known = available(missing)?;
    }
    let (have, lack): (Vec<_>, Vec<_>) = missing.iter().partition(|package| known.contains(&package.name));
    for package in lack {
        if !package.optional {
            return Err(format!("this release has no package {}; see distro/packages.debian", package.name));
        }
        println!("Package {} is not in this release: what needs it will be skipped.", package.name);
    }
    if have.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = have.iter().map(|package| package.name.as_str()).collect();
    println!("Installing packages: {}", names.join(" "));
    let install = |names: &[&str]| {
        let mut words = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
        words.extend(names);
        apt(&words)
    };
    // Lists of packages that have grown old name versions that are gone: fetch new ones and try once more.
    install(&names).or_else(|_| apt(&["update", "--quiet"]).and_then(|()| install(&names)))
}

fn apt(words: &[&str]) -> Outcome {
    let mut whole = as_root();
    if !whole.is_empty() && !installed("sudo") {
        return Err(format!("installing packages needs root, and sudo is not installed; as root run: apt-get {}", words.join(" ")));
    }
    whole.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    whole.extend(words);
    let mut command = command(whole[0], &whole[1..]);
    println!("+ {}", line(&command));
    finish("apt-get", command.status())
}

/// Returns the packages that are installed.
fn present() -> Vec<String> {
    let text = capture("dpkg-query", ["--show", "--showformat=${db:Status-Abbrev} ${Package}\\n"]).unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix("ii ")).map(|name| name.trim().to_owned()).collect()
}

/// Returns those of the packages that apt knows a version of.
fn available(packages: &[Package]) -> Result<Vec<String>, String> {
    let names = packages.iter().map(|package| package.name.as_str());
    let text = capture("apt-cache", ["policy"].into_iter().chain(names))?;
    Ok(candidates(&text))
}

/// Reads `apt-cache policy`: the packages with a candidate.
fn candidates(policy: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut package = "";
    for line in policy.lines() {
        if let Some(version) = line.trim().strip_prefix("Candidate:") {
            if version.trim() != "(none)" {
                found.push(package.to_owned());
            }
        } else if !line.starts_with(' ') {
            package = line.trim_end_matches(':');
        }
    }
    found
}

fn parse(text: &str) -> Result<BTreeMap<String, Vec<Package>>, String> {
    let mut list = BTreeMap::<String, Vec<Package>>::new();
    let mut section = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = Some(name.to_owned());
            continue;
        }
        let bad = |why| format!("distro/packages.debian, line {}: {why}", number + 1);
        let section = section.clone().ok_or_else(|| bad("a package before the first [section]"))?;
        let (name, _why) = line.split_once(char::is_whitespace).ok_or_else(|| bad("a package without a reason"))?;
        let optional = name.starts_with('?');
        let name = name.trim_start_matches('?').to_owned();
        list.entry(section).or_default().push(Package { name, optional });
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_in_the_repository_reads() {
        let text = std::fs::read_to_string(top().join("distro/packages.debian")).unwrap();
        let list = parse(&text).unwrap();
        for section in ["build", "run", "try", "test", "bench"] {
            assert!(list.contains_key(section), "no section [{section}]");
        }
    }

    #[test]
    fn every_package_has_a_reason_and_a_section() {
        assert!(parse("[a]\nlonely\n").unwrap_err().contains("line 2"));
        assert!(parse("gcc why\n").unwrap_err().contains("before the first"));
        let list = parse("[a]\n?lxd  to compare\n").unwrap();
        assert_eq!(list["a"], [Package { name: "lxd".into(), optional: true }]);
    }

    #[test]
    fn packages_without_a_candidate_are_not_available() {
        let policy = "gcc:\n  Installed: 1\n  Candidate: 1\n  Version table:\n     1 500\nlxd:\n  Installed: (none)\n  Candidate: (none)\n";
        assert_eq!(candidates(policy), ["gcc"]);
    }
}
