//! What an image says about itself and about the process in it.

use std::collections::BTreeMap;

use coffer_base::Architecture;
use jiff::Timestamp;
use serde::Deserialize;

use super::registry::OciError;

/// The largest number of entries of each kind.
const MOST: usize = 512;

/// The configuration of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// What its programs run on.
    pub architecture: Architecture,
    /// When it was made, in seconds since 1970.
    pub created_at: Option<i64>,
    /// Whom the process is to be: empty, or a name or number, perhaps with a group behind a colon.
    pub user: String,
    /// The environment, in its order.
    pub env: Vec<(String, String)>,
    /// The program and its arguments: the entry point, and the command behind it.
    pub command: Vec<String>,
    /// The working directory; empty is the root.
    pub cwd: String,
    /// Ports that the process listens on, as `80/tcp`.
    pub ports: Vec<String>,
    /// Paths that are meant to outlive the instance.
    pub volumes: Vec<String>,
    /// The name or number of the signal that asks the process to end; empty is the usual one.
    pub stop_signal: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    architecture: String,
    variant: String,
    os: String,
    created: String,
    config: Option<Process>,
    rootfs: Rootfs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rootfs {
    diff_ids: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Process {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    stop_signal: Option<String>,
}

impl ImageConfig {
    /// Reads a configuration that belongs to so many layers.
    pub(super) fn parse(bytes: &[u8], layers: usize) -> Result<Self, OciError> {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|cause| OciError::Json { what: "the image's configuration", cause })?;
        let strange = |what: String| OciError::Strange { what };
        if document.os != "linux" {
            return Err(strange(format!("an image for the system {:?}", document.os.chars().take(40).collect::<String>())));
        }
        if document.rootfs.diff_ids.len() != layers {
            return Err(strange(format!("a configuration of {} layers for {layers}", document.rootfs.diff_ids.len())));
        }
        let name = if document.architecture == "arm" && document.variant == "v6" { "armv6l" } else { &document.architecture };
        let architecture =
            name.parse().map_err(|_| strange(format!("an image for the machine {:?}", name.chars().take(40).collect::<String>())))?;
        let process = document.config.unwrap_or_default();
        let volumes: Vec<String> = process.volumes.unwrap_or_default().into_keys().collect();
        if let Some(bad) = volumes.iter().find(|path| !is_inside(path)) {
            return Err(strange(format!("the volume {:?}, which leads out of the instance", bad.chars().take(80).collect::<String>())));
        }
        let command: Vec<String> = process.entrypoint.unwrap_or_default().into_iter().chain(process.cmd.unwrap_or_default()).collect();
        let env = process.env.unwrap_or_default();
        let cwd = process.working_dir.unwrap_or_default();
        if !cwd.is_empty() && !is_inside(&cwd) {
            return Err(strange(format!("the working directory {:?}", cwd.chars().take(80).collect::<String>())));
        }
        if command.len().max(env.len()).max(volumes.len()) > MOST {
            return Err(strange(format!("a list of more than {MOST} entries in its configuration")));
        }
        let created = document.created.parse::<Timestamp>().ok();
        Ok(Self {
            architecture,
            created_at: created.map(Timestamp::as_second).filter(|seconds| *seconds > 0),
            user: process.user.unwrap_or_default(),
            env: env
                .iter()
                .filter_map(|pair| pair.split_once('='))
                .filter(|(key, _)| !key.is_empty())
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            command,
            cwd,
            ports: process.exposed_ports.unwrap_or_default().into_keys().take(MOST).collect(),
            volumes,
            stop_signal: process.stop_signal.unwrap_or_default(),
        })
    }
}

/// Says whether a path is absolute and leads nowhere but down.
fn is_inside(path: &str) -> bool {
    path.starts_with('/') && path.len() < 4096 && !path.contains('\0') && path.split('/').all(|part| part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_as_builders_write_it() {
        let text = br#"{"architecture":"amd64","os":"linux","created":"2026-11-01T10:00:00.5Z","config":{"User":"1000:50",
            "Env":["PATH=/bin","A=b=c","broken","=x"],"Entrypoint":["/run.sh"],"Cmd":["serve","--all"],"WorkingDir":"/srv",
            "ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}},"StopSignal":"SIGQUIT","Labels":{"a":"b"}},
            "rootfs":{"type":"layers","diff_ids":["sha256:a"]}}"#;
        let config = ImageConfig::parse(text, 1).unwrap();
        assert_eq!(config.command, ["/run.sh", "serve", "--all"]);
        assert_eq!(config.env, [("PATH".to_owned(), "/bin".to_owned()), ("A".into(), "b=c".into())]);
        assert_eq!((config.cwd.as_str(), config.user.as_str(), config.stop_signal.as_str()), ("/srv", "1000:50", "SIGQUIT"));
        assert_eq!((config.ports, config.volumes), (vec!["80/tcp".to_owned()], vec!["/data".to_owned()]));
        assert_eq!(config.created_at, Some(1_793_527_200));
        assert!(ImageConfig::parse(text, 2).unwrap_err().to_string().contains("1 layers for 2"));
    }

    #[test]
    fn hostile_configurations_are_refused() {
        let check = |part: &str, expect: &str| {
            let text = format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{{"diff_ids":[]}},{part}}}"#);
            let error = ImageConfig::parse(text.as_bytes(), 0).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(r#""config":{"Volumes":{"/../../../etc":{}}}"#, "leads out of the instance");
        check(r#""config":{"Volumes":{"etc":{}}}"#, "leads out of the instance");
        check(r#""config":{"WorkingDir":"/proc/../../x"}"#, "working directory");
        check(&format!(r#""config":{{"Cmd":[{}]}}"#, vec!["\"x\""; 600].join(",")), "more than 512");
        let error = ImageConfig::parse(br#"{"architecture":"amd64","os":"windows"}"#, 0).unwrap_err().to_string();
        assert!(error.contains("windows"), "{error}");
    }
}
