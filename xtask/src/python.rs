//! The packages of PyPI that tests use: reads `distro/packages.python` and puts them into the build directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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
    let files =
        std::fs::read_to_string(top().join("distro/files.python")).map_err(|error| format!("reading distro/files.python: {error}"))?;
    let (mark, both) = (directory.join("installed"), format!("{list}{files}"));
    if std::fs::read_to_string(&mark).is_ok_and(|installed| installed == both) {
        return Ok(());
    }
    let wanted = requirements(&list)?;
    println!("Installing packages of PyPI into {}: {}", directory.display(), wanted.join(" "));
    run("python3", &["-m", "venv", "--clear", &directory.display().to_string()])?;
    let mut words = vec!["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    words.extend(wanted);
    run(&interpreter()?.display().to_string(), &words)?;
    pick(&files, &directory)?;
    std::fs::write(&mark, both).map_err(|error| format!("writing {}: {error}", mark.display()))
}

/// Takes single files out of packages: one download for each package, nothing of which stays but the files.
fn pick(text: &str, directory: &Path) -> Outcome {
    let python = interpreter()?.display().to_string();
    let (wheels, picked) = (directory.join("wheels"), directory.join("picked"));
    let (wheels_text, picked_text) = (wheels.display().to_string(), picked.display().to_string());
    let files = picks(text)?;
    let packages: BTreeSet<&str> = files.iter().map(|(requirement, _)| *requirement).collect();
    let mut words = vec!["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", &wheels_text];
    words.extend(packages);
    run(&python, &words)?;
    let mut words = vec!["-c", include_str!("pick.py"), &wheels_text, &picked_text];
    words.extend(files.iter().map(|(_, path)| *path));
    finish(&python, command(&python, &words).status())?;
    std::fs::remove_dir_all(&wheels).map_err(|error| format!("removing {wheels_text}: {error}"))
}

/// Reads the list of files: packages and paths.
fn picks(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let one = |line| {
        let mut words = str::split_whitespace(line);
        let whole = (words.next(), words.next(), words.next());
        let (Some(requirement), Some(path), Some(_)) = whole else {
            return Err(format!("distro/files.python: {line}: it is not REQUIREMENT, PATH and why"));
        };
        Ok((requirement, path))
    };
    lines.map(one).collect()
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
        let text = std::fs::read_to_string(top().join("distro/files.python")).unwrap();
        let wanted = picks(&text).unwrap();
        assert!(!wanted.is_empty() && wanted.iter().all(|(requirement, _)| requirement.contains("==")), "{wanted:?}");
        assert!(picks("a==1 path\n").unwrap_err().contains("why"));
    }
}
