//! Which NIC has which addresses and which name: one small file each, in directories that dnsmasq watches.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use coffer_model::{DeviceName, InstanceName, NetworkName};

use super::release::release;
use super::{Dnsmasq, Files, dynamic_leases};
use crate::error::{NetworkError, file};
use crate::hwaddr::HwAddr;

/// What a network keeps for one NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Whose NIC it is: the instance's name as it stands on disk, with its project.
    pub owner: String,
    /// The NIC's device.
    pub device: DeviceName,
    /// The name that neighbours find it by.
    pub name: InstanceName,
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
    files: &'a Files,
    /// Where dnsmasq listens for DHCP, if it does.
    server: Option<Ipv4Addr>,
}

impl Reservation {
    /// The name of both its files: `NAME.OWNER.DEVICE`, so that one look at the directory shows who has a name.
    fn file_name(&self) -> String {
        format!("{}.{}.{}", self.name, encode(&self.owner), encode(self.device.as_str()))
    }

    /// The line for DHCP: `MAC,ADDRESS`; none without an address to give.
    fn host_line(&self) -> Option<String> {
        let v4 = self.ipv4.map(|address| format!(",{address}")).unwrap_or_default();
        let v6 = self.ipv6.map(|address| format!(",[{address}]")).unwrap_or_default();
        (!v4.is_empty() || !v6.is_empty()).then(|| format!("{}{v4}{v6}\n", self.hwaddr))
    }

    /// The lines for names: `ADDRESS NAME`; none for a name that means the asking machine itself.
    fn name_lines(&self) -> Option<String> {
        let line = |address: IpAddr| format!("{address} {}\n", self.name.as_str().to_ascii_lowercase());
        let lines: String = [self.ipv4.map(IpAddr::V4), self.ipv6.map(IpAddr::V6)].into_iter().flatten().map(line).collect();
        (!lines.is_empty() && !self.name.as_str().eq_ignore_ascii_case("localhost")).then_some(lines)
    }
}

impl<'a> Reservations<'a> {
    /// Names the reservations of a network whose DHCP server, if it has one, is at `server`.
    #[must_use]
    pub fn of(network: &'a NetworkName, files: &'a Files, server: Option<Ipv4Addr>) -> Self {
        Self { network, files, server }
    }

    /// Writes down what a NIC has. Writes nothing if it stands there already, which is so at every start but the first.
    ///
    /// # Errors
    /// If another instance has the same name on this network, or a file cannot be written.
    pub fn set(&self, reservation: &Reservation) -> Result<(), NetworkError> {
        let name = reservation.file_name();
        let (hosts, names) = (self.files.hosts(), self.files.names());
        let unchanged = holds(&hosts.join(&name), reservation.host_line()) && holds(&names.join(&name), reservation.name_lines());
        if unchanged {
            return Ok(());
        }
        self.check_name(reservation)?;
        let changed = hosts.join(&name).exists();
        write(&hosts, &name, reservation.host_line())?;
        write(&names, &name, reservation.name_lines())?;
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

    /// Refuses a name that another instance has.
    fn check_name(&self, reservation: &Reservation) -> Result<(), NetworkError> {
        let (own_name, own) = (reservation.name.as_str(), encode(&reservation.owner));
        for entry in listed(&self.files.names())? {
            let Some((name, rest)) = entry.split_once('.') else { continue };
            let owner = rest.split('.').next().unwrap_or_default();
            if name.eq_ignore_ascii_case(own_name) && owner != own {
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
    name.replace('-', "--").replace(['/', ':', '.'], "-")
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
