//! `coffer-monitor run`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use coffer_runtime_spec::request::Listen;
use coffer_runtime_spec::{ExitReason, Report, Request, Source, Spec};
use coffer_sys::path::Root;

use super::arguments::Arguments;
use super::{CommandError, relay};
use crate::{ClientError, MonitorClient, MonitorProgram, Nursery};

/// Starts an instance from a file and stays with it.
pub(super) fn run(arguments: &Arguments) -> Result<u8, CommandError> {
    let path = arguments.spec.as_ref().ok_or_else(|| CommandError::Usage("--spec is missing".into()))?;
    let text = std::fs::read_to_string(path).map_err(|cause| CommandError::ReadSpec { path: path.clone(), cause })?;
    let spec: Spec = serde_json::from_str(&text).map_err(|cause| CommandError::ParseSpec { path: path.clone(), cause })?;
    spec.check().map_err(|cause| CommandError::Spec { path: path.clone(), cause })?;
    if names_descriptors(&spec) {
        return Err(CommandError::Usage(format!("spec {path} names descriptors; from a file only paths can be meant")));
    }
    let program = MonitorProgram::load(Path::new("/proc/self/exe")).map_err(CommandError::Spawn)?;
    let beside = spec.cgroup.rsplit_once('/').map_or("", |(above, _)| above);
    let monitor = Nursery::new(program, beside).take().map_err(CommandError::Spawn)?;
    let mut client = MonitorClient::new(monitor.connection);
    if !arguments.detach {
        client.call(Request::Subscribe, &[])?;
    }
    let (listen, dir) = listen(arguments)?;
    let fds: Vec<_> = dir.iter().map(AsFd::as_fd).collect();
    client.call(Request::Start { spec: Box::new(spec), listen }, &fds)?;
    if arguments.detach {
        return Ok(0);
    }
    if arguments.console {
        relay::console(&mut client)?;
    }
    loop {
        match client.next_report() {
            Ok(Report::Exited { reason }) => return Ok(status(reason)),
            Ok(_) => {}
            Err(ClientError::Gone) => return Ok(1),
            Err(error) => return Err(error.into()),
        }
    }
}

fn listen(arguments: &Arguments) -> Result<(Option<Listen>, Option<OwnedFd>), CommandError> {
    let Some(socket) = &arguments.socket else { return Ok((None, None)) };
    let path = Path::new(socket);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| CommandError::Usage(format!("--socket {socket:?} does not end with a name")))?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let told = |cause| CommandError::System { doing: "opening the directory of --socket", cause };
    let dir = Root::open(above).and_then(|root| root.as_fd().try_clone_to_owned()).map_err(told)?;
    Ok((Some(Listen { directory: 0, name }), Some(dir)))
}

/// Says whether a spec names anything by the position of a descriptor.
fn names_descriptors(spec: &Spec) -> bool {
    let of_mounts = spec.mounts.iter().filter_map(|mount| match &mount.source {
        coffer_runtime_spec::MountSource::Host(source) => Some(source),
        coffer_runtime_spec::MountSource::Filesystem { .. } => None,
    });
    let mut all = of_mounts.chain(&spec.log).chain(&spec.console.log).chain([&spec.root.source]);
    all.any(|source| match source {
        Source::Path(_) => false,
        Source::Fd(_) | Source::Mount(_) => true,
    })
}

fn status(reason: ExitReason) -> u8 {
    match reason {
        ExitReason::Halted | ExitReason::Reboot => 0,
        ExitReason::Oom => 137,
        ExitReason::Signal(signal) => 128 + signal.number() as u8,
        ExitReason::Exit(status) => status,
    }
}
