//! Whether what an instance is for works: what is checked, how often, and what comes of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::command_line;
use crate::config::Config;

/// How an instance's health is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPlan {
    /// All of these must pass.
    pub checks: Vec<HealthCheck>,
    /// The time from the end of one check to the next one.
    pub interval: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// So many failures in a row make it unhealthy.
    pub retries: u32,
    /// How long after its start failures do not count.
    pub start_period: Duration,
    /// Whether it is restarted when it is unhealthy.
    pub restart: bool,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthCheck {
    /// A command inside ends with status 0.
    Exec(Vec<String>),
    /// Somebody accepts connections at this address inside.
    Tcp(SocketAddr),
    /// A request of this path is answered with a status from 200 to 399.
    Http {
        /// Where, inside.
        address: SocketAddr,
        /// What the request says that it is for.
        host: String,
        /// The path, with its query.
        path: String,
    },
}

/// How an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// No check has passed yet since its start.
    Starting,
    /// The last check passed, or too few have failed since.
    Healthy,
    /// Too many checks in a row have failed.
    Unhealthy,
}

impl Health {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl HealthPlan {
    /// The plan of an instance with this configuration, which passed the gate; `None` if nothing is checked.
    #[must_use]
    pub fn of(config: &Config) -> Option<Self> {
        let exec = config.get("health.exec").and_then(|line| command(line).ok()).map(HealthCheck::Exec);
        let tcp = config.get("health.tcp").and_then(|text| tcp(text).ok()).map(HealthCheck::Tcp);
        let http = config.get("health.http").and_then(|text| http(text).ok());
        let checks: Vec<HealthCheck> = [exec, tcp, http].into_iter().flatten().collect();
        let seconds = |key: &str, default| Duration::from_secs(config.parse(key).unwrap_or(default));
        (!checks.is_empty()).then(|| Self {
            checks,
            interval: seconds("health.interval", 30),
            timeout: seconds("health.timeout", 10),
            retries: config.parse("health.retries").unwrap_or(3),
            start_period: seconds("health.start_period", 0),
            restart: config.flag("health.restart", false),
        })
    }
}

/// Reads a command line of one word at least.
///
/// # Errors
/// A sentence for the user.
pub fn command(text: &str) -> Result<Vec<String>, String> {
    let words = command_line::split(text).map_err(|error| error.to_string())?;
    if words.first().is_none_or(String::is_empty) { Err("the command is empty".into()) } else { Ok(words) }
}

/// Reads `PORT` of the instance's own loopback, or `ADDRESS:PORT`.
///
/// # Errors
/// A sentence for the user.
pub fn tcp(text: &str) -> Result<SocketAddr, String> {
    let local = text.parse().ok().filter(|port| *port > 0).map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    let given = || text.parse::<SocketAddr>().ok().filter(|address| address.port() > 0);
    local.or_else(given).ok_or_else(|| "it must be a port, or an address and a port such as 127.0.0.1:80".into())
}

/// Reads `http://ADDRESS[:PORT]/PATH`.
///
/// # Errors
/// A sentence for the user.
pub fn http(text: &str) -> Result<HealthCheck, String> {
    const WHY: &str = "it must be a URL such as http://localhost:8080/path, with an address for the host";
    let rest = text.strip_prefix("http://").ok_or(WHY)?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    if !path.chars().all(|letter| letter.is_ascii_graphic()) || host.contains('@') {
        return Err(WHY.into());
    }
    let numbers = match host.strip_prefix("localhost") {
        Some(port) => format!("127.0.0.1{port}"),
        None => host.to_owned(),
    };
    let whole = numbers.parse::<SocketAddr>();
    let bare = || numbers.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().map(|address| SocketAddr::new(address, 80));
    let address = whole.or_else(|_| bare()).ok().filter(|address| address.port() > 0).ok_or(WHY)?;
    Ok(HealthCheck::Http { address, host: host.to_owned(), path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_http(text: &str, expect: Option<(&str, &str)>) {
        let got = http(text).ok().and_then(|check| match check {
            HealthCheck::Http { address, path, .. } => Some((address.to_string(), path)),
            HealthCheck::Exec(_) | HealthCheck::Tcp(_) => None,
        });
        assert_eq!(got, expect.map(|(address, path)| (address.to_owned(), path.to_owned())), "{text}");
    }

    #[test]
    fn urls_name_an_address_inside() {
        check_http("http://localhost/", Some(("127.0.0.1:80", "/")));
        check_http("http://localhost:8080/a?b=c", Some(("127.0.0.1:8080", "/a?b=c")));
        check_http("http://10.0.0.1", Some(("10.0.0.1:80", "/")));
        check_http("http://[::1]:81/x", Some(("[::1]:81", "/x")));
        check_http("http://[::1]/x", Some(("[::1]:80", "/x")));
        for bad in ["", "https://localhost/", "http://example.org/", "http://localhost:0/", "http://localhost/a b", "http://u@127.0.0.1/"] {
            check_http(bad, None);
        }
    }

    #[test]
    fn ports_and_addresses() {
        assert_eq!(tcp("80").unwrap().to_string(), "127.0.0.1:80");
        assert_eq!(tcp("[::1]:80").unwrap().to_string(), "[::1]:80");
        assert!(tcp("0").is_err() && tcp("70000").is_err() && tcp("web:80").is_err());
    }

    #[test]
    fn a_plan_has_defaults_and_needs_a_check() {
        assert_eq!(HealthPlan::of(&[("health.interval", "5")].into_iter().collect()), None);
        let plan = HealthPlan::of(&[("health.tcp", "80"), ("health.interval", "5")].into_iter().collect()).unwrap();
        assert_eq!((plan.interval.as_secs(), plan.timeout.as_secs(), plan.retries, plan.restart), (5, 10, 3, false));
    }
}
