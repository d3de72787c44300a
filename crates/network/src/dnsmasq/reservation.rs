//! Which NIC has which addresses and which name: one small file each, in directories that dnsmasq watches.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use coffer_model::{DeviceName, InstanceName, NetworkName, ProjectName};

use super::release::release;
use super::{Dnsmasq, Files, dynamic_leases};
use crate::error::{NetworkError, file};
use crate::hwaddr::HwAddr;

/// What a network keeps for one NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The project of the instance whose NIC it is.
    pub project: ProjectName,
    /// The instance's name.
    pub name: InstanceName,
    /// The NIC's device.
    pub device: DeviceName,
    /// Its hardware address.
    pub hwaddr: HwAddr,
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
}

/// The reservations of one network, as they lie on disk.
#[derive(Debug, Clone)]
pub struct Reservations<'a> {
    network: &'a NetworkName,
    /// The domain of the network's names.
    domain: &'a str,
    files: &'a Files,
    /// Where dnsmasq listens for DHCP, if it does.
    server: Option<Ipv4Addr>,
}

impl Reservation {
    /// The name of both its files: `INSTANCE.DEVICE`, or `PROJECT_INSTANCE.DEVICE` outside the default project, so that one look
    /// at the directory shows whose they are.
    fn file_name(&self) -> String {
        let owner = self.project.prefix(self.name.as_str());
        format!("{}.{}", encode(&owner), encode(self.device.as_str()))
    }

    /// The name that neighbours find it by, below the network's domain: `INSTANCE`, or `INSTANCE.PROJECT` outside the default
    /// project. Upper and lower case are the same to whoever asks.
    ///
    /// None for a name that means the asking machine itself, and for one that no host name can be.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        let name = self.name.as_str().to_ascii_lowercase();
        if self.project.is_default() {
            return (name != "localhost").then_some(name);
        }
        let project = self.project.as_str().to_ascii_lowercase();
        let label = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        project.split('.').all(label).then(|| format!("{name}.{project}"))
    }

    /// Its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        [self.ipv4.map(IpAddr::V4), self.ipv6.map(IpAddr::V6)].into_iter().flatten()
    }

    /// The line for DHCP: `MAC,ADDRESS`; none without an address to give.
    fn host_line(&self) -> Option<String> {
        let v4 = self.ipv4.map(|address| format!(",{address}")).unwrap_or_default();
        let v6 = self.ipv6.map(|address| format!(",[{address}]")).unwrap_or_default();
        (!v4.is_empty() || !v6.is_empty()).then(|| format!("{}{v4}{v6}\n", self.hwaddr))
    }

    /// The lines for names: `ADDRESS NAME`; none without a name or an address.
    ///
    /// A name of several parts is written with its domain: dnsmasq adds it to single ones only, and `web.com` without it would
    /// stand before somebody else's name in the world.
    fn name_lines(&self, domain: &str) -> Option<String> {
        let host = self.host()?;
        let host = if host.contains('.') { format!("{host}.{domain}") } else { host };
        let line = |address: IpAddr| format!("{address} {host}\n");
        let lines: String = self.addresses().map(line).collect();
        (!lines.is_empty()).then_some(lines)
    }
}

impl<'a> Reservations<'a> {
    /// Names the reservations of a network whose names are in `domain` and whose DHCP server, if it has one, is at `server`.
    #[must_use]
    pub fn of(network: &'a NetworkName, domain: &'a str, files: &'a Files, server: Option<Ipv4Addr>) -> Self {
        Self { network, domain, files, server }
    }

    /// Writes down what a NIC has. Writes nothing if it stands there already, which is so at every start but the first.
    ///
    /// # Errors
    /// If another instance has the same name on this network, or a file cannot be written.
    pub fn set(&self, reservation: &Reservation) -> Result<(), NetworkError> {
        let name = reservation.file_name();
        let (hosts, names) = (self.files.hosts(), self.files.names());
        let name_lines = || reservation.name_lines(self.domain);
        let unchanged = holds(&hosts.join(&name), reservation.host_line()) && holds(&names.join(&name), name_lines());
        if unchanged {
            return Ok(());
        }
        self.check_name(reservation)?;
        let changed = hosts.join(&name).exists();
        write(&hosts, &name, reservation.host_line())?;
        write(&names, &name, name_lines())?;
        self.end_leases_of_others(reservation)?;
        // dnsmasq keeps the old one of two lines about the same machine until it is told to start afresh.
        if changed { self.reload() } else { Ok(()) }
    }

    /// Forgets a NIC.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn remove(&self, reservation: &Reservation) -> Result<(), NetworkError> {
        let name = reservation.file_name();
        let hosts = remove(&self.files.hosts(), &name)?;
        let names = remove(&self.files.names(), &name)?;
        if hosts || names {
            self.reload()?;
        }
        reservation.ipv4.map_or(Ok(()), |address| self.release(reservation.hwaddr, address))
    }

    /// Makes the files be those of exactly these NICs.
    ///
    /// # Errors
    /// If a file cannot be written or removed.
    pub fn reconcile(&self, reservations: &[Reservation]) -> Result<(), NetworkError> {
        let wanted: Vec<String> = reservations.iter().map(Reservation::file_name).collect();
        let mut removed = false;
        for dir in [self.files.hosts(), self.files.names()] {
            for name in listed(&dir)?.into_iter().filter(|name| !wanted.contains(name)) {
                removed |= remove(&dir, &name)?;
            }
        }
        if removed {
            self.reload()?;
        }
        reservations.iter().try_for_each(|reservation| self.set(reservation))
    }

    /// Refuses a name that another instance of the project has: one that differs in upper and lower case only.
    fn check_name(&self, reservation: &Reservation) -> Result<(), NetworkError> {
        let own = encode(&reservation.project.prefix(reservation.name.as_str()));
        for entry in listed(&self.files.names())? {
            let owner = entry.split('.').next().unwrap_or_default();
            if owner.eq_ignore_ascii_case(&own) && owner != own {
                let (network, name) = (self.network.clone(), reservation.name.clone());
                return Err(NetworkError::NameTaken { network, name, owner: owner.to_owned() });
            }
        }
        Ok(())
    }

    /// Gives back a lease on the NIC's address that another machine holds.
    fn end_leases_of_others(&self, reservation: &Reservation) -> Result<(), NetworkError> {
        let Some(address) = reservation.ipv4 else { return Ok(()) };
        let held = |lease: &super::Lease| lease.address == IpAddr::V4(address) && lease.hwaddr != Some(reservation.hwaddr);
        let holder = dynamic_leases(self.files)?.into_iter().find(held).and_then(|lease| lease.hwaddr);
        holder.map_or(Ok(()), |holder| self.release(holder, address))
    }

    fn release(&self, holder: HwAddr, address: Ipv4Addr) -> Result<(), NetworkError> {
        let Some(server) = self.server else { return Ok(()) };
        release(server, holder, address).map_err(crate::error::kernel(self.network, "giving back a lease"))
    }

    fn reload(&self) -> Result<(), NetworkError> {
        match Dnsmasq::find(self.files) {
            Some(running) => running.reload().map_err(crate::error::kernel(self.network, "telling dnsmasq to read its files again")),
            None => Ok(()),
        }
    }
}

/// Writes a name so that it is one part of a file's name.
fn encode(name: &str) -> String {
    let one = |letter: char| match letter {
        '-' => "--".to_owned(),
        '/' => "-s".to_owned(),
        ':' => "-c".to_owned(),
        '.' => "-d".to_owned(),
        // dnsmasq reads no file whose name ends with it.
        '~' => "-t".to_owned(),
        letter => letter.to_string(),
    };
    name.chars().map(one).collect()
}

fn holds(path: &Path, wanted: Option<String>) -> bool {
    match (fs::read_to_string(path), wanted) {
        (Ok(present), Some(wanted)) => present == wanted,
        (Err(error), None) => error.kind() == io::ErrorKind::NotFound,
        (Ok(_), None) | (Err(_), Some(_)) => false,
    }
}

/// Writes a file so that dnsmasq sees all of it or nothing: under a name that it skips, then renamed.
fn write(dir: &Path, name: &str, text: Option<String>) -> Result<(), NetworkError> {
    let Some(text) = text else { return remove(dir, name).map(drop) };
    let (path, temporary) = (dir.join(name), dir.join(format!(".{name}")));
    fs::write(&temporary, text).map_err(file("writing", &temporary))?;
    fs::rename(&temporary, &path).map_err(file("writing", &path))
}

/// Removes a file; says whether it was there.
fn remove(dir: &Path, name: &str) -> Result<bool, NetworkError> {
    let path = dir.join(name);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(file("removing", path)(error)),
    }
}

fn listed(dir: &Path) -> Result<Vec<String>, NetworkError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file("reading", dir)(error)),
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.collect::<Result<_, _>>().map_err(file("reading", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(project: &str, name: &str, file: &str, lines: &str) {
        let reservation = Reservation {
            project: project.parse().unwrap(),
            name: name.parse().unwrap(),
            device: "eth0".parse().unwrap(),
            hwaddr: HwAddr::from_seed(name),
            ipv4: Some(Ipv4Addr::new(10, 9, 8, 7)),
            ipv6: None,
        };
        assert_eq!(reservation.file_name(), file);
        assert_eq!(reservation.name_lines("coffer").unwrap_or_default(), lines);
    }

    #[test]
    fn names_tell_projects_apart() {
        check("default", "Web", "Web.eth0", "10.9.8.7 web\n");
        check("dev", "web", "dev_web.eth0", "10.9.8.7 web.dev.coffer\n");
        check("a-b.c", "w-1", "a--b-dc_w--1.eth0", "10.9.8.7 w-1.a-b.c.coffer\n");
        // Neither the host's own name for itself nor what no host is called.
        check("default", "localhost", "localhost.eth0", "");
        check("dev", "localhost", "dev_localhost.eth0", "10.9.8.7 localhost.dev.coffer\n");
        check("a@b", "web", "a@b_web.eth0", "");
        check("a..b", "web", "a-d-db_web.eth0", "");
    }
}
