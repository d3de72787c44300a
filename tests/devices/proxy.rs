//! `proxy`: every kind of socket to every other, both ways, through restarts of the daemon.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use coffer_testkit::Daemon;
use serde_json::json;

use super::{add, inside, refused, remove};
use crate::setting::{holds, ready_daemon, ready_for_genuine_client};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A stream of any kind.
trait Stream: Read + Write + Send + Sized + 'static {
    fn end_of_words(&self);
    fn be_patient(&self);
}

impl Stream for TcpStream {
    fn end_of_words(&self) {
        self.shutdown(Shutdown::Write).expect("ending a stream");
    }

    fn be_patient(&self) {
        self.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    }
}

impl Stream for UnixStream {
    fn end_of_words(&self) {
        self.shutdown(Shutdown::Write).expect("ending a stream");
    }

    fn be_patient(&self) {
        self.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    }
}

/// Answers each client of a server: once with all it says, turned round.
fn serve<S: Stream>(mut accept: impl FnMut() -> Option<S> + Send + 'static) {
    thread::spawn(move || {
        while let Some(mut stream) = accept() {
            thread::spawn(move || {
                let mut said = Vec::new();
                let _ = stream.read_to_end(&mut said);
                said.reverse();
                let _ = stream.write_all(&said);
            });
        }
    });
}

fn serve_tcp(listener: TcpListener) -> SocketAddr {
    let address = listener.local_addr().expect("a listener's address");
    serve(move || listener.accept().ok().map(|(stream, _)| stream));
    address
}

fn serve_unix(listener: UnixListener) {
    serve(move || listener.accept().ok().map(|(stream, _)| stream));
}

/// Answers each datagram, turned round.
fn serve_udp(socket: UdpSocket) {
    thread::spawn(move || {
        let mut buffer = [0; 65_535];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            buffer[..count].reverse();
            let _ = socket.send_to(&buffer[..count], from);
        }
    });
}

/// Says something and returns the whole answer.
#[track_caller]
fn ask<S: Stream>(mut stream: S, words: &[u8]) -> Vec<u8> {
    stream.be_patient();
    stream.write_all(words).expect("saying something");
    stream.end_of_words();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    answer
}

#[track_caller]
fn ask_tcp(daemon: &Daemon, address: &str, words: &[u8]) -> Vec<u8> {
    let stream = daemon.in_network(|| TcpStream::connect(address));
    ask(stream.unwrap_or_else(|error| panic!("connecting to {address}: {error}")), words)
}

#[track_caller]
fn ask_udp(socket: &UdpSocket, address: &str, words: &[u8]) -> Vec<u8> {
    socket.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    socket.send_to(words, address).expect("sending a datagram");
    let mut buffer = [0; 65_535];
    let count = socket.recv(&mut buffer).expect("an answer");
    buffer[..count].to_vec()
}

/// An instance with a directory of the host at `/shared`, through which both sides reach one unix socket.
fn ready() -> Option<(Daemon, PathBuf)> {
    let daemon = ready_daemon()?;
    daemon.run_instance("small", "c1");
    let shared = daemon.scratch().join("shared");
    fs::create_dir_all(&shared).expect("a directory to share");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).expect("its mode");
    let disk = json!({"type": "disk", "source": shared.display().to_string(), "path": "/shared", "shift": "true"});
    add(&daemon, "c1", "shared", &disk);
    Some((daemon, shared))
}

fn proxy(listen: &str, connect: &str) -> serde_json::Value {
    json!({"type": "proxy", "listen": listen, "connect": connect})
}

#[test]
fn streams_go_from_every_kind_to_every_kind() {
    let Some((daemon, shared)) = ready() else { return };
    daemon.in_instances_network("c1", || serve_tcp(TcpListener::bind("127.0.0.1:80").expect("a server")));
    serve_unix(UnixListener::bind(shared.join("server")).expect("a server"));
    let name = std::os::unix::net::SocketAddr::from_abstract_name("served").expect("a name");
    daemon.in_instances_network("c1", || serve_unix(UnixListener::bind_addr(&name).expect("a server")));
    // More than all buffers on the way hold, so that it has to flow.
    let words: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let turned: Vec<u8> = words.iter().rev().copied().collect();
    let socket = daemon.scratch().join("front");
    let front = std::os::unix::net::SocketAddr::from_abstract_name("front").expect("a name");
    for (at, connect) in ["tcp:127.0.0.1:80", "unix:/shared/server", "unix:@served"].into_iter().enumerate() {
        let port = 8000 + at;
        add(&daemon, "c1", "p", &proxy(&format!("tcp:127.0.0.1:{port}"), connect));
        assert!(ask_tcp(&daemon, &format!("127.0.0.1:{port}"), &words) == turned, "tcp to {connect}");
        add(&daemon, "c1", "p", &proxy(&format!("unix:{}", socket.display()), connect));
        assert!(ask(UnixStream::connect(&socket).expect("the proxy's socket"), &words) == turned, "unix to {connect}");
        add(&daemon, "c1", "p", &proxy("unix:@front", connect));
        assert!(!socket.exists(), "a socket goes with its proxy");
        let stream = daemon.in_network(|| UnixStream::connect_addr(&front).expect("the proxy's name"));
        assert!(ask(stream, &words) == turned, "an abstract name to {connect}");
    }
    remove(&daemon, "c1", "p");
    assert!(daemon.in_network(|| UnixStream::connect_addr(&front)).is_err());
}

#[test]
fn datagrams_go_from_and_to_every_kind() {
    let Some((daemon, shared)) = ready() else { return };
    daemon.in_instances_network("c1", || serve_udp(UdpSocket::bind("127.0.0.1:53").expect("a server")));
    let client = daemon.in_network(|| UdpSocket::bind("127.0.0.1:0").expect("a client"));
    let other = daemon.in_network(|| UdpSocket::bind("127.0.0.1:0").expect("a client"));
    add(&daemon, "c1", "p", &proxy("udp:127.0.0.1:5300", "udp:127.0.0.1:53"));
    for (client, words) in [(&client, "one"), (&other, "two"), (&client, "three")] {
        assert_eq!(ask_udp(client, "127.0.0.1:5300", words.as_bytes()), words.bytes().rev().collect::<Vec<_>>());
    }
    let long = vec![7; 60_000];
    assert_eq!(ask_udp(&client, "127.0.0.1:5300", &long).len(), long.len());

    // A stream of bytes to datagrams, and datagrams to a stream.
    add(&daemon, "c1", "p", &proxy("tcp:127.0.0.1:5301", "udp:127.0.0.1:53"));
    let mut stream = daemon.in_network(|| TcpStream::connect("127.0.0.1:5301").expect("the proxy"));
    stream.be_patient();
    stream.write_all(b"abc").expect("saying something");
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"cba");

    let server = UnixListener::bind(shared.join("lines")).expect("a server");
    thread::spawn(move || {
        let Ok((mut stream, _)) = server.accept() else { return };
        let mut word = [0; 4];
        while stream.read_exact(&mut word).is_ok() && stream.write_all(&word.map(|byte| byte.to_ascii_uppercase())).is_ok() {}
    });
    add(&daemon, "c1", "p", &proxy("udp:127.0.0.1:5302", "unix:/shared/lines"));
    assert_eq!(ask_udp(&client, "127.0.0.1:5302", b"word"), b"WORD");
    assert_eq!(ask_udp(&client, "127.0.0.1:5302", b"more"), b"MORE");
}

#[test]
fn the_instance_reaches_the_hosts_services_where_allowed() {
    let Some((daemon, _)) = ready() else { return };
    daemon.in_network(|| serve_tcp(TcpListener::bind("127.0.0.1:3128").expect("a server")));
    for bind in ["instance", "container"] {
        let mut device = proxy("tcp:127.0.0.1:3128", "tcp:127.0.0.1:3128");
        device["bind"] = json!(bind);
        add(&daemon, "c1", "p", &device);
        let stream = daemon.in_instances_network("c1", || TcpStream::connect("127.0.0.1:3128").expect("the proxy"));
        assert_eq!(ask(stream, b"abc"), b"cba");
    }
    // A unix socket inside has its owner and mode as the instance counts ids.
    let host = daemon.scratch().join("host.sock");
    serve_unix(UnixListener::bind(&host).expect("a server"));
    let mut device = proxy("unix:/run/host.sock", &format!("unix:{}", host.display()));
    for (key, value) in [("bind", "instance"), ("uid", "1000"), ("gid", "1001"), ("mode", "0620")] {
        device[key] = json!(value);
    }
    add(&daemon, "c1", "p", &device);
    assert_eq!(inside(&daemon, "c1", "stat -c '%F %u:%g %a' /run/host.sock"), "socket 1000:1001 620");
    let pid = daemon.instance_state("c1")["pid"].clone();
    let stream = UnixStream::connect(format!("/proc/{pid}/root/run/host.sock")).expect("the proxy's socket");
    assert_eq!(ask(stream, b"abc"), b"cba");
    // The process that connects on the host is the user that it was told to be, without any right.
    device["security.uid"] = json!("4711");
    device["security.gid"] = json!("4712");
    add(&daemon, "c1", "p", &device);
    let status = proxy_status(&daemon);
    holds(&status, &["Uid:\t4711\t4711", "Gid:\t4712\t4712", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"]);
    fs::set_permissions(&host, fs::Permissions::from_mode(0o600)).expect("the server's mode");
    let stream = UnixStream::connect(format!("/proc/{pid}/root/run/host.sock")).expect("the proxy's socket");
    let mut nothing = Vec::new();
    assert_eq!((&stream).read_to_end(&mut nothing).unwrap_or(0), 0, "a socket of root is closed to it");
}

/// What the kernel says of the one proxy process that this test program's daemon has.
#[track_caller]
fn proxy_status(daemon: &Daemon) -> String {
    let init = daemon.instance_state("c1")["pid"].clone();
    let namespace =
        |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid_for_children")).or_else(|_| fs::read_link(format!("/proc/{pid}/ns/pid")));
    let wanted = namespace(&init.to_string()).expect("init's namespace");
    let all = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let found = all.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit())).find(|pid| {
        let named = fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "coffer-proxy");
        named && namespace(pid).is_ok_and(|namespace| namespace == wanted)
    });
    fs::read_to_string(format!("/proc/{}/status", found.expect("a proxy's process"))).expect("its status")
}

#[test]
fn a_proxy_lives_on_without_the_daemon_and_ends_with_the_instance() {
    let Some((mut daemon, _)) = ready() else { return };
    daemon.in_instances_network("c1", || serve_tcp(TcpListener::bind("127.0.0.1:80").expect("a server")));
    let socket = daemon.scratch().join("front");
    let mut device = proxy(&format!("unix:{}", socket.display()), "tcp:127.0.0.1:80");
    device["uid"] = json!("4711");
    device["gid"] = json!("4712");
    device["mode"] = json!("0640");
    add(&daemon, "c1", "file", &device);
    add(&daemon, "c1", "p", &proxy("tcp:127.0.0.1:8080", "tcp:127.0.0.1:80"));
    let metadata = fs::metadata(&socket).expect("the socket's file");
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (4711, 4712, 0o640));
    let open = daemon.in_network(|| TcpStream::connect("127.0.0.1:8080").expect("the proxy"));
    daemon.kill9();
    assert_eq!(ask_tcp(&daemon, "127.0.0.1:8080", b"abc"), b"cba", "without a daemon");
    daemon.launch();
    assert_eq!(ask(open, b"xyz"), b"zyx", "a connection from before");
    assert_eq!(ask(UnixStream::connect(&socket).expect("the socket"), b"abc"), b"cba");

    // Who is in the instance sees it as a process of theirs and cannot look into it.
    let seen = inside(&daemon, "c1", "for p in /proc/[0-9]*; do grep -q coffer-proxy $p/comm && ls $p/fd 2>&1; done; true");
    holds(&seen, &["Permission denied"]);

    daemon.change_state("c1", "restart");
    daemon.in_instances_network("c1", || serve_tcp(TcpListener::bind("127.0.0.1:80").expect("a server")));
    assert_eq!(ask_tcp(&daemon, "127.0.0.1:8080", b"abc"), b"cba", "it comes back with the instance");
    daemon.change_state("c1", "stop");
    assert!(daemon.in_network(|| TcpStream::connect("127.0.0.1:8080")).is_err());
    assert!(!socket.exists());
    assert!(daemon.world().about("coffer-proxy").is_empty());
}

#[test]
fn a_socket_that_cannot_be_had_is_said_and_nothing_changes() {
    let Some((daemon, _)) = ready() else { return };
    let taken = daemon.in_network(|| TcpListener::bind("127.0.0.1:8080").expect("a listener"));
    let answer = daemon.api().request(
        "PATCH",
        "/1.0/instances/c1",
        Some(&json!({"devices": {"p": proxy("tcp:127.0.0.1:8080", "tcp:127.0.0.1:80")}})),
    );
    let text = answer.expect("an answer").json()["error"].as_str().unwrap_or_default().to_owned();
    holds(&text, &["p", "tcp:127.0.0.1:8080", "Address already in use"]);
    assert!(daemon.api().get("/1.0/instances/c1")["devices"]["p"].is_null());
    daemon.change_state("c1", "stop");
    add(&daemon, "c1", "p", &proxy("tcp:127.0.0.1:8080", "tcp:127.0.0.1:80"));
    holds(&daemon.coffer(["start", "c1"]).fails(), &["tcp:127.0.0.1:8080", "Address already in use"]);
    assert_eq!(daemon.instance_state("c1")["status"], "Stopped");
    drop(taken);
    daemon.coffer(["start", "c1"]).ok();
    for (keys, words) in [
        (proxy("tcp::80", "tcp:127.0.0.1:80"), ["listen", "the address is missing"]),
        (proxy("tcp:127.0.0.1:80", "tcp:web:80"), ["connect", "no IP address"]),
        (proxy("unix:relative", "tcp:127.0.0.1:80"), ["listen", "absolute"]),
    ] {
        holds(&refused(&daemon, "c1", &keys), &words);
    }
    // A file that is no socket is not replaced.
    let file = daemon.scratch().join("precious");
    fs::write(&file, "kept").expect("a file");
    let body = json!({"devices": {"q": proxy(&format!("unix:{}", file.display()), "tcp:127.0.0.1:80")}});
    assert!(daemon.api().request("PATCH", "/1.0/instances/c1", Some(&body)).expect("an answer").status >= 400);
    assert_eq!(fs::read_to_string(&file).expect("the file"), "kept");
}

#[test]
fn ranges_of_ports_and_the_senders_address() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.run_instance("small", "c1");
    let words = ["config", "device", "add", "c1", "web", "proxy", "listen=tcp:127.0.0.1:8000-8001,8010", "connect=tcp:127.0.0.1:80-81,90"];
    daemon.lxc(words).clean();
    for (outside, within) in [(8000, 80), (8001, 81), (8010, 90)] {
        let server = daemon.in_instances_network("c1", || TcpListener::bind(("127.0.0.1", within)).expect("a server"));
        serve_tcp(server);
        assert_eq!(ask_tcp(&daemon, &format!("127.0.0.1:{outside}"), b"abc"), b"cba", "{outside}");
    }
    daemon.lxc(["config", "device", "set", "c1", "web", "proxy_protocol=true"]).clean();
    let answer = ask_tcp(&daemon, "127.0.0.1:8000", b"");
    let line: String = String::from_utf8_lossy(&answer).chars().rev().collect();
    holds(&line, &["PROXY TCP4 127.0.0.1 127.0.0.1 ", " 8000\r\n"]);
    daemon.lxc(["config", "device", "remove", "c1", "web"]).clean();
    assert!(daemon.in_network(|| TcpStream::connect("127.0.0.1:8000")).is_err());
}

#[test]
fn the_firewall_redirects_where_asked() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let mut device = proxy("tcp:10.99.7.1:8000-8001", "tcp:0.0.0.0:80-81");
    device["nat"] = json!("true");
    holds(&refused(&daemon, "c1", &device), &["dev", "nat", "ipv4.address"]);
    add(&daemon, "c1", "eth0", &json!({"type": "nic", "network": "testbr0", "name": "eth0", "ipv4.address": "10.99.7.77"}));
    add(&daemon, "c1", "p", &device);
    let server = || serve_tcp(daemon.in_instances_network("c1", || TcpListener::bind("0.0.0.0:81").expect("a server")));
    server();
    assert_eq!(ask_tcp(&daemon, "10.99.7.1:8001", b"abc"), b"cba", "from the host itself");
    daemon.change_state("c1", "stop");
    assert!(daemon.world().about("coffer_proxy_c1").is_empty(), "{:?}", daemon.world().about("coffer_proxy"));
    daemon.change_state("c1", "start");
    let server = || serve_tcp(daemon.in_instances_network("c1", || TcpListener::bind("0.0.0.0:81").expect("a server")));
    server();
    assert_eq!(ask_tcp(&daemon, "10.99.7.1:8001", b"abc"), b"cba", "it comes back with the instance");
    daemon.kill9();
    assert_eq!(ask_tcp(&daemon, "10.99.7.1:8001", b"abc"), b"cba", "without a daemon");
    daemon.launch();
    remove(&daemon, "c1", "p");
    assert!(daemon.world().about("coffer_proxy").is_empty());
    for (listen, word) in [("tcp:0.0.0.0:80", "0.0.0.0"), ("tcp:127.0.0.1:80", "127.0.0.1")] {
        let mut device = proxy(listen, "tcp:10.99.7.77:80");
        device["nat"] = json!("true");
        holds(&refused(&daemon, "c1", &device), &["dev", "nat", word]);
    }
}
