//! Kernel modules that an instance wants loaded before it starts.

use std::path::Path;

use coffer_base::run::Program;

use super::start::Loaded;
use crate::error::EngineError;

/// Loads the modules of `linux.kernel_modules` that are not there yet, with what they need.
pub(super) fn ensure_loaded(loaded: &Loaded) -> Result<(), EngineError> {
    let Some(list) = loaded.config.get("linux.kernel_modules") else { return Ok(()) };
    for module in list.split(',').map(str::trim).filter(|module| !is_there(module)) {
        // The key's type lets no name begin with a dash; the program is told all the same where its options end.
        Program::new("modprobe").args(["--", module]).run().map_err(|error| {
            EngineError::Refused(format!(
                "instance {}: loading kernel module {module}: {}; see linux.kernel_modules",
                loaded.instance.name,
                coffer_base::chain(&error)
            ))
        })?;
    }
    Ok(())
}

/// Modules that are built in have a directory too, if they have parameters; `modprobe` knows the others.
fn is_there(module: &str) -> bool {
    Path::new("/sys/module").join(module.replace('-', "_")).exists()
}
