//! Looking at one thing inside an instance: a command, a port, an HTTP server. Sockets are made in the instance's network
//! namespace; commands run as any other; no path of the host is involved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use coffer_model::{HealthCheck, HealthPlan, InstanceName, ProjectName};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::Engine;
use crate::request::ExecRequest;

/// The signal that ends what took too long.
const SIGKILL: i32 = 9;

/// An HTTP answer's first line is not longer.
const MOST_ANSWER: usize = 1024;

impl Engine {
    /// Makes all checks of a plan; why the first fails that does.
    pub(super) async fn check(&self, project: &ProjectName, name: &InstanceName, plan: &HealthPlan) -> Result<(), String> {
        for check in &plan.checks {
            match check {
                HealthCheck::Exec(command) => match self.run_inside(project, name, command, plan.timeout).await? {
                    0 => {}
                    status => return Err(format!("{:?} ended with status {status}", command.join(" "))),
                },
                HealthCheck::Tcp(address) => {
                    let connected = within(plan.timeout, self.connect(project, name, *address)).await;
                    connected.map_err(|why| format!("connecting to {address}: {why}"))?;
                }
                HealthCheck::Http { address, host, path } => {
                    let asked = within(plan.timeout, self.ask_http(project, name, *address, host, path)).await;
                    match asked.map_err(|why| format!("asking http://{host}{path}: {why}"))? {
                        200..=399 => {}
                        status => return Err(format!("http://{host}{path} answered {status}")),
                    }
                }
            }
        }
        Ok(())
    }

    /// Runs a command as root inside and answers its exit status. One that takes too long is killed.
    pub(crate) async fn run_inside(
        &self,
        project: &ProjectName,
        name: &InstanceName,
        command: &[String],
        patience: Duration,
    ) -> Result<i32, String> {
        let request = ExecRequest {
            command: command.to_vec(),
            environment: Default::default(),
            user: 0,
            group: 0,
            cwd: String::new(),
            terminal: None,
            operation: None,
        };
        let (engine, place) = (self.clone(), (project.clone(), name.clone()));
        let begun = tokio::task::spawn_blocking(move || engine.exec_recorded(&place.0, &place.1, request, None, 0)).await;
        let session = begun.map_err(|panic| panic.to_string())?.map_err(|error| coffer_base::chain(&error))?;
        match tokio::time::timeout(patience, session.exit).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(_)) => Err("the instance ended".into()),
            Err(_) => {
                let (engine, place) = (self.clone(), (project.clone(), name.clone()));
                let kill = move || engine.exec_signal(&place.0, &place.1, session.id, SIGKILL);
                // It may just have ended after all.
                drop(tokio::task::spawn_blocking(kill).await);
                Err(format!("{:?} took longer than {} seconds", command.join(" "), patience.as_secs()))
            }
        }
    }

    /// Connects to an address inside.
    async fn connect(&self, project: &ProjectName, name: &InstanceName, address: SocketAddr) -> Result<TcpStream, String> {
        let running = self.inner.cells.get(project, name).running().map_err(|error| error.to_string())?;
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let make = || -> std::io::Result<OwnedFd> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
        };
        let socket = coffer_sys::ns::in_network(running.netns.as_fd(), make).map_err(|error| error.to_string())?;
        TcpSocket::from_std_stream(socket.into()).connect(address).await.map_err(|error| error.to_string())
    }

    /// Asks for a path and answers the status.
    async fn ask_http(
        &self,
        project: &ProjectName,
        name: &InstanceName,
        address: SocketAddr,
        host: &str,
        path: &str,
    ) -> Result<u16, String> {
        let mut stream = self.connect(project, name, address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: coffer-health\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        while !answer.contains(&b'\n') && answer.len() < MOST_ANSWER {
            if stream.read_buf(&mut answer).await.map_err(|error| error.to_string())? == 0 {
                break;
            }
        }
        status(&answer).ok_or_else(|| "what answers does not speak HTTP".into())
    }

    /// Says whether somebody accepts connections at a port inside, at whichever of these addresses.
    pub(super) async fn is_open(&self, project: &ProjectName, name: &InstanceName, port: u16, addresses: &[IpAddr]) -> bool {
        let local = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        for address in local.iter().chain(addresses) {
            if within(Duration::from_secs(1), self.connect(project, name, SocketAddr::new(*address, port))).await.is_ok() {
                return true;
            }
        }
        false
    }
}

async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| Err(format!("no answer within {} seconds", patience.as_secs()));
    tokio::time::timeout(patience, work).await.unwrap_or_else(late)
}

/// Reads the status of `HTTP/1.1 200 OK`.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let mut fields = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    fields.next().filter(|version| version.starts_with("HTTP/"))?;
    fields.next()?.parse().ok().filter(|status| (100..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\n\r\n"), Some(204));
        assert_eq!(status(b"HTTP/1.0 503\n"), Some(503));
        assert_eq!(status(b"SSH-2.0-OpenSSH\r\n"), None);
        assert_eq!(status(b"HTTP/1.1 9999 x\r\n"), None);
        assert_eq!(status(b""), None);
    }
}
