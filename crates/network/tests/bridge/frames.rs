//! Frames by hand: this program, run inside a machine, sends them or writes down those it receives.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags, sockopt};

use crate::lab::Machine;

/// `frames-send INTERFACE HEX…`
pub fn send(arguments: &[String]) -> ExitCode {
    let socket = open(&arguments[0]);
    for frame in &arguments[1..] {
        rustix::net::send(&socket, &from_hex(frame), SendFlags::empty()).unwrap();
    }
    ExitCode::SUCCESS
}

/// `frames-watch INTERFACE LAST`: writes every frame as a line until one holds LAST.
pub fn watch(arguments: &[String]) -> ExitCode {
    let socket = open(&arguments[0]);
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_secs(10))).unwrap();
    let mut output = std::io::stdout();
    writeln!(output, "ready").unwrap();
    let mut buffer = [0; 65536];
    loop {
        let length = match rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((_, length)) => length,
            // The interface was switched off; it comes back.
            Err(rustix::io::Errno::NETDOWN) => continue,
            Err(_) => return ExitCode::FAILURE,
        };
        let frame = to_hex(&buffer[..length]);
        writeln!(output, "{frame}").unwrap();
        if frame.contains(&arguments[1]) {
            return ExitCode::SUCCESS;
        }
    }
}

fn open(interface: &str) -> std::os::fd::OwnedFd {
    let index = coffer_sys::netlink::link_index(interface).unwrap().unwrap();
    coffer_sys::netlink::packet::open(index).unwrap()
}

pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Sends frames from one machine and returns what another received until `last` came through.
#[track_caller]
pub fn exchange(from: &Machine, to: &Machine, interface: &str, frames: &[Vec<u8>], last: Vec<u8>) -> Vec<String> {
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    // The end of what it says; frames are padded to their least length behind it.
    let end = to_hex(&last[last.len() - 8..]);
    let mut watcher = to.command(own).args(["frames-watch", interface, &end]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    send_from(from, "eth0", &[frames, &[last]].concat());
    let received = lines.map(Result::unwrap).collect();
    assert!(watcher.wait().unwrap().success(), "the last frame did not come through: {received:?}");
    received
}

/// Does something and waits until a machine sees a frame that holds `wanted`.
#[track_caller]
pub fn seen(machine: &Machine, interface: &str, wanted: &[u8], act: impl FnOnce()) {
    let own = std::env::current_exe().unwrap();
    let mut watcher = machine.command(own.to_str().unwrap());
    let mut watcher = watcher.args(["frames-watch", interface, &to_hex(wanted)]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    act();
    let received: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(watcher.wait().unwrap().success(), "it is not among {received:?}");
}

/// Sends frames from a machine.
#[track_caller]
pub fn send_from(machine: &Machine, interface: &str, frames: &[Vec<u8>]) {
    let own = std::env::current_exe().unwrap();
    // Every frame has its least length.
    let padded = |frame: &Vec<u8>| to_hex(&[&frame[..], &vec![0; 60_usize.saturating_sub(frame.len())]].concat());
    let frames: Vec<String> = frames.iter().map(padded).collect();
    assert!(machine.command(own.to_str().unwrap()).args(["frames-send", interface]).args(&frames).status().unwrap().success());
}

pub type Mac = [u8; 6];
pub const EVERYBODY: Mac = [0xff; 6];

/// A frame to everybody.
pub fn frame(from: Mac, protocol: u16, payload: &[u8]) -> Vec<u8> {
    frame_to(EVERYBODY, from, protocol, payload)
}

pub fn frame_to(to: Mac, from: Mac, protocol: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &protocol.to_be_bytes(), payload].concat()
}

/// Says whether a frame is among those received: from its sender's address on, as the padding may change on the way.
pub fn came(received: &[String], frame: &[u8]) -> bool {
    let sent = to_hex(&frame[6..]);
    received.iter().any(|received| received[12..].starts_with(&sent))
}

pub fn arp(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let fixed = [0, 1, 8, 0, 6, 4];
    [&fixed[..], &operation.to_be_bytes(), &sender.0, &sender.1.octets(), &target.0, &target.1.octets()].concat()
}

pub fn udp4(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), data: &[u8]) -> Vec<u8> {
    let udp = [&from.1.to_be_bytes()[..], &to.1.to_be_bytes(), &(8 + data.len() as u16).to_be_bytes(), &[0, 0], data].concat();
    let mut header =
        [&[0x45, 0][..], &(20 + udp.len() as u16).to_be_bytes(), &[0, 1, 0, 0, 64, 17, 0, 0], &from.0.octets(), &to.0.octets()].concat();
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [header, udp].concat()
}

pub fn ipv6(next: u8, from: Ipv6Addr, to: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    [&[0x60, 0, 0, 0, length[0], length[1], next, 255][..], &from.octets(), &to.octets(), payload].concat()
}

pub fn ipv6_udp(from: (Ipv6Addr, u16), to: (Ipv6Addr, u16), data: &[u8]) -> Vec<u8> {
    let length = 8 + data.len() as u16;
    let mut udp = [&from.1.to_be_bytes()[..], &to.1.to_be_bytes(), &length.to_be_bytes(), &[0, 0], data].concat();
    let pseudo = [&from.0.octets()[..], &to.0.octets(), &u32::from(length).to_be_bytes(), &[0, 0, 0, 17], &udp].concat();
    let sum = checksum(&pseudo);
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    ipv6(17, from.0, to.0, &udp)
}

/// An ICMPv6 message with its checksum.
pub fn icmp6(from: Ipv6Addr, to: Ipv6Addr, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0][..], rest].concat();
    let pseudo = [&from.octets()[..], &to.octets(), &(message.len() as u32).to_be_bytes(), &[0, 0, 0, 58], &message].concat();
    let sum = checksum(&pseudo);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv6(58, from, to, &message)
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
