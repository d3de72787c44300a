//! The packages of PyPI that tests use: reads `distro/packages.python` and puts them into the build directory.

use std::path::PathBuf;

use crate::Outcome;
use crate::run::{build_directory, command, finish, line, top};

/// Where the interpreter is that has the packages.
///
/// # Errors
/// The running program does not lie in a build directory.
pub fn interpreter() -> Result<PathBuf, String> {
    Ok(directory()?.join("bin/python3"))
}

/// Installs the packages, unless just these are there.
///
/// # Errors
/// No Python with `venv`, or the registry can't be reached.
pub fn ensure() -> Outcome {
    let directory = directory()?;
    let list = std::fs::read_to_string(top().join("distro/packages.python"))
        .map_err(|error| format!("reading distro/packages.python: {error}"))?;
    let mark = directory.join("installed");
    if std::fs::read_to_string(&mark).is_ok_and(|installed| installed == list) {
        return Ok(());
    }
    let wanted = requirements(&list)?;
    println!("Installing packages of PyPI into {}: {}", directory.display(), wanted.join(" "));
    run("python3", &["-m", "venv", "--clear", &directory.display().to_string()])?;
    let mut words = vec!["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    words.extend(wanted);
    run(&interpreter()?.display().to_string(), &words)?;
    std::fs::write(&mark, list).map_err(|error| format!("writing {}: {error}", mark.display()))
}

fn directory() -> Result<PathBuf, String> {
    Ok(build_directory()?.join("python"))
}

fn run(program: &str, words: &[&str]) -> Outcome {
    let mut command = command(program, words);
    println!("+ {}", line(&command));
    finish(program, command.status())
}

/// Reads the list.
fn requirements(text: &str) -> Result<Vec<&str>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let one = |line: &'_ str| -> Result<usize, String> {
        line.find(char::is_whitespace).ok_or_else(|| format!("distro/packages.python: {line}: a package without a reason"))
    };
    lines.map(|line| Ok(&line[..one(line)?])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_a_version_and_a_reason() {
        let text = std::fs::read_to_string(top().join("distro/packages.python")).unwrap();
        let wanted = requirements(&text).unwrap();
        assert!(!wanted.is_empty() && wanted.iter().all(|requirement| requirement.contains("==")), "{wanted:?}");
        assert!(requirements("lonely\n").unwrap_err().contains("without a reason"));
    }
}
