//! The second drive: the test programs of this build, at the paths where they lie on the host, and the list to run.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::guest::{self, Guest};
use super::suite::Suite;
use crate::Outcome;
use crate::run::{build_directory, capture, show};

/// What starts a Ceph cluster in the guest.
const CLUSTER: &str = include_str!("ceph.sh");

/// Failure points are compiled in, as in all tests.
const FEATURE: &str = "cofferd/fault";

/// Builds the suites' programs and packs them into a drive beside the guest.
///
/// # Errors
/// Something does not build, or the drive cannot be made.
pub fn make(guest: &Guest, modules: &Path, suites: &[Suite]) -> Result<PathBuf, String> {
    let build = build_directory()?;
    let bed = build.join("bed");
    let content = guest::fresh(&bed.join("payload"))?;
    let added = modules.join("lib/modules").join(&guest.release).join("updates");
    show("cp", ["--recursive".as_ref(), added.as_os_str(), content.join("updates").as_os_str()])?;
    let mut script = format!(
        "#!/bin/bash\n# Made by `cargo xtask bed`.\nmkdir -p '{0}'\nmount --bind /bed/payload/build '{0}'\ncd /\nexport TMPDIR=/var/tmp RUST_BACKTRACE=0 COFFER_TEST_IMAGES=/var/tmp/images COFFER_TEST_PATIENCE=5\n\
         cp --recursive /bed/payload/updates /lib/modules/{1}/\ndepmod {1}\n",
        build.display(),
        guest.release
    );
    for suite in suites {
        let program = test_program(suite)?;
        pack(&build, &program, &content)?;
        for name in suite.programs {
            pack(&build, &build.join("debug").join(name), &content)?;
        }
        script += &format!("echo 'bed: begin {}'\n", suite.name);
        if suite.cluster {
            // Once it is there it stays; without one the suite has failed, whatever its tests say.
            let cluster = content.join("ceph");
            std::fs::write(&cluster, CLUSTER).map_err(|error| format!("writing {}: {error}", cluster.display()))?;
            script += &format!("[ -e /run/ceph/up ] || bash /bed/payload/ceph || {{ echo 'bed: end {} 1'; false; }} && {{\n", suite.name);
        }
        script += &format!("'{}'", program.display());
        for word in &suite.words {
            script += &format!(" '{}'", word.replace('\'', ""));
        }
        script += &format!("\necho \"bed: end {} $?\"\n", suite.name);
        if suite.cluster {
            script += "}\n";
        }
    }
    let run = content.join("run");
    std::fs::write(&run, script).map_err(|error| format!("writing {}: {error}", run.display()))?;
    show("chmod", ["0755", &run.display().to_string()])?;
    let image = guest.root.with_file_name("payload.img");
    let _ = std::fs::remove_file(&image);
    guest::drive(&content, &image, "2G")?;
    std::fs::remove_dir_all(&content).map_err(|error| format!("removing {}: {error}", content.display()))?;
    Ok(image)
}

/// Builds a suite's test program and says where it is.
fn test_program(suite: &Suite) -> Result<PathBuf, String> {
    // The whole workspace, as everywhere: for one package alone cargo would build what it stands on with other features.
    let arguments = ["test", "--workspace", "--no-run", "--message-format=json", "--features", FEATURE, "--test", suite.target];
    if !suite.programs.is_empty() {
        show("cargo", ["build", "--workspace", "--bins", "--features", FEATURE])?;
    }
    println!("+ cargo {}", arguments.join(" "));
    executable(&capture("cargo", arguments)?, suite.target).ok_or_else(|| format!("cargo names no program for the tests {}", suite.target))
}

/// Reads cargo's messages: the path of a test target's program.
fn executable(messages: &str, target: &str) -> Option<PathBuf> {
    let mut programs = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == target).then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    programs.next_back()
}

/// Puts a program, without its debugging information, where it lies below the build directory.
fn pack(build: &Path, program: &Path, content: &Path) -> Outcome {
    let below = program.strip_prefix(build).map_err(|_| format!("{} does not lie in the build directory", program.display()))?;
    let target = content.join("build").join(below);
    let folder = target.parent().unwrap_or(content);
    std::fs::create_dir_all(folder).map_err(|error| format!("making {}: {error}", folder.display()))?;
    show("strip", ["-o".as_ref(), target.as_os_str(), program.as_os_str()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_read_out_of_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"other\"},\"executable\":\"/a\"}\n\
                        {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"suite\"},\"executable\":\"/b\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages, "suite"), Some("/b".into()));
        assert_eq!(executable(messages, "none"), None);
    }
}
