//! Root file systems of a distribution's packages, by mmdebstrap on this host.
//!
//! It runs in a user namespace of its own: no maintainer's script is this host's root. See decision 018.

use std::path::Path;
use std::time::Duration;

use coffer_base::run::Program;

use crate::error::BuildError;
use crate::recipe::Bootstrap;

/// How long packages may take to arrive.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Makes the archive `target`.
pub(super) fn bootstrap(bootstrap: &Bootstrap, epoch: i64, target: &Path) -> Result<(), BuildError> {
    Program::new("env")
        .arg(format!("SOURCE_DATE_EPOCH={epoch}"))
        .arg("TMPDIR=/tmp")
        .arg("mmdebstrap")
        .args(arguments(bootstrap))
        .arg(target)
        .args((!bootstrap.mirror.is_empty()).then_some(&bootstrap.mirror))
        .deadline(PATIENCE)
        .run()?;
    Ok(())
}

fn arguments(bootstrap: &Bootstrap) -> Vec<String> {
    let mut arguments = vec![
        "--mode=unshare".to_owned(),
        "--format=tar".into(),
        format!("--variant={}", bootstrap.variant),
        "--aptopt=Acquire::Retries \"3\"".into(),
    ];
    let lists = [("--include", &bootstrap.include), ("--components", &bootstrap.components)];
    arguments.extend(lists.iter().filter(|(_, list)| !list.is_empty()).map(|(option, list)| format!("{option}={}", list.join(","))));
    arguments.extend(bootstrap.exclude.iter().map(|pattern| format!("--dpkgopt=path-exclude={pattern}")));
    for (option, value) in [("--architectures", &bootstrap.architecture), ("--keyring", &bootstrap.keyring)] {
        arguments.extend((!value.is_empty()).then(|| format!("{option}={value}")));
    }
    // Whatever a recipe's words begin with, they are no options.
    arguments.extend(["--".to_owned(), bootstrap.suite.clone()]);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_say_what_the_recipe_says() {
        let wanted = Bootstrap {
            suite: "bookworm".into(),
            variant: "minbase".into(),
            include: vec!["systemd".into(), "dbus".into()],
            exclude: vec!["/usr/share/doc/*".into()],
            ..Bootstrap::default()
        };
        let expect = [
            "--mode=unshare",
            "--format=tar",
            "--variant=minbase",
            "--aptopt=Acquire::Retries \"3\"",
            "--include=systemd,dbus",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--",
            "bookworm",
        ];
        assert_eq!(arguments(&wanted), expect);
    }
}
