//! Metrics: LXD's names, readable for every scraper, for whom an administrator lets in.

mod openmetrics;
mod prometheus;

use coffer_testkit::Daemon;
use openmetrics::Sample;
use serde_json::{Value, json};

use crate::setting::{client_certificate, holds, ready_daemon, ready_for_genuine_client};

#[track_caller]
fn scrape(daemon: &Daemon, query: &str) -> Vec<Sample> {
    let answer = daemon.api().request("GET", &format!("/1.0/metrics{query}"), None).expect("an answer");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let text = String::from_utf8(answer.body).expect("text");
    openmetrics::read(&text).unwrap_or_else(|why| panic!("{why}\n{text}"))
}

/// The value of an instance's sample.
#[track_caller]
fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits =
        |sample: &&Sample| sample.name == name && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|is| is == value));
    samples.iter().find(fits).unwrap_or_else(|| panic!("no {name} {labels:?}")).value
}

#[test]
fn what_instances_use_is_told_by_lxds_names() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    daemon.create_instance("small", "off");
    daemon.api().expect("PATCH", "/1.0/instances/c1", Some(&json!({"config": {"limits.memory": "128MiB"}})));
    let _ = daemon.ipv4("c1", "eth0");
    // A name that would end a label early, if nobody took care.
    daemon.coffer(["exec", "c1", "--", "ip", "link", "set", "lo", "name", "l\"o\\"]).run();
    let first = scrape(&daemon, "");
    assert!(first.iter().all(|sample| sample.labels.get("name").is_none_or(|name| name == "c1")), "{first:?}");
    let own = [("name", "c1"), ("project", "default"), ("type", "container")];
    assert_eq!(value(&first, "lxd_memory_MemTotal_bytes", &own), f64::from(128 << 20));
    assert!(value(&first, "lxd_memory_MemAvailable_bytes", &own) > f64::from(64 << 20));
    assert!(value(&first, "lxd_memory_RSS_bytes", &own) > 0.0);
    assert!(value(&first, "lxd_procs_total", &own) >= 1.0);
    assert!(value(&first, "lxd_cpu_effective_total", &own) >= 1.0);
    assert!(value(&first, "lxd_network_receive_bytes_total", &[("name", "c1"), ("device", "eth0")]) > 0.0);
    assert!(value(&first, "lxd_filesystem_size_bytes", &[("name", "c1"), ("mountpoint", "/")]) > 0.0);
    for gauge in ["lxd_operations_total", "lxd_warnings_total", "lxd_uptime_seconds"] {
        assert!(value(&first, gauge, &[]) >= 0.0);
    }
    // What was worked for is counted.
    let user = |samples: &[Sample]| -> f64 {
        samples.iter().filter(|sample| sample.name == "lxd_cpu_seconds_total").map(|sample| sample.value).sum()
    };
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"]).ok();
    assert!(user(&scrape(&daemon, "")) > user(&first));
    // A project of its own has nothing that runs.
    daemon.api().expect("POST", "/1.0/projects", Some(&json!({"name": "dev"})));
    assert!(scrape(&daemon, "?project=dev").iter().all(|sample| !sample.labels.contains_key("name")));
}

/// What the queries of LXD's dashboard (grafana.com, 19131) choose and group samples by: names, and the labels beside those that every
/// sample of an instance has. Its panels of Go's runtime stay empty: there is none.
const OF_THE_DASHBOARD: &[(&str, &[&str])] = &[
    ("lxd_cpu_effective_total", &[]),
    ("lxd_cpu_seconds_total", &["cpu", "mode"]),
    ("lxd_disk_read_bytes_total", &["device"]),
    ("lxd_disk_reads_completed_total", &["device"]),
    ("lxd_disk_written_bytes_total", &["device"]),
    ("lxd_disk_writes_completed_total", &["device"]),
    ("lxd_filesystem_avail_bytes", &["device", "fstype", "mountpoint"]),
    ("lxd_filesystem_free_bytes", &["device", "fstype", "mountpoint"]),
    ("lxd_filesystem_size_bytes", &["device", "fstype", "mountpoint"]),
    ("lxd_memory_Cached_bytes", &[]),
    ("lxd_memory_MemAvailable_bytes", &[]),
    ("lxd_memory_MemFree_bytes", &[]),
    ("lxd_memory_MemTotal_bytes", &[]),
    ("lxd_memory_OOM_kills_total", &[]),
    ("lxd_memory_Swap_bytes", &[]),
    ("lxd_network_receive_bytes_total", &["device"]),
    ("lxd_network_receive_drop_total", &["device"]),
    ("lxd_network_receive_errs_total", &["device"]),
    ("lxd_network_receive_packets_total", &["device"]),
    ("lxd_network_transmit_bytes_total", &["device"]),
    ("lxd_network_transmit_drop_total", &["device"]),
    ("lxd_network_transmit_errs_total", &["device"]),
    ("lxd_network_transmit_packets_total", &["device"]),
    ("lxd_procs_total", &[]),
];

#[test]
fn what_lxds_dashboard_asks_for_is_there() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    // A disk is counted once it was read or written.
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "head -c 100000 /dev/zero > /file && sync"]).ok();
    let samples = scrape(&daemon, "");
    let lacks = |(name, labels): &&(&str, &[&str])| {
        let wanted = ["name", "project", "type"].iter().chain(labels.iter());
        let fits = |sample: &Sample| sample.name == *name && wanted.clone().all(|label| sample.labels.contains_key(*label));
        !samples.iter().any(fits)
    };
    let missing: Vec<_> = OF_THE_DASHBOARD.iter().filter(lacks).collect();
    assert!(missing.is_empty(), "{missing:?} of {samples:?}");
}

/// A status that curl gets, and the body.
fn curl(daemon: &Daemon, words: &[&str]) -> (String, String) {
    let always = ["--silent", "--insecure", "--max-time", "20", "--write-out", "\n%{http_code}"];
    let text = daemon.inside("curl", always.iter().chain(words)).ok();
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    (status.to_owned(), body.to_owned())
}

#[test]
fn a_metrics_certificate_opens_the_metrics_and_nothing_else() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.run_instance("small", "c1");
    daemon.lxc(["config", "set", "core.https_address", "127.0.0.1:8443"]).clean();
    daemon.lxc(["config", "set", "core.metrics_address", "127.0.0.1:9100"]).clean();
    let (crt, key) = client_certificate(&daemon, "metrics");
    let (api, metrics) = ("https://127.0.0.1:8443/1.0/metrics", "https://127.0.0.1:9100/1.0/metrics");
    let shown = ["--cert", &crt, "--key", &key];
    for url in [api, metrics] {
        assert_eq!(curl(&daemon, &[url]).0, "403", "{url}");
        assert_eq!(curl(&daemon, &[&shown[..], &[url]].concat()).0, "403", "{url}");
    }
    daemon.lxc(["config", "trust", "add", &crt, "--type=metrics"]).clean();
    holds(&daemon.lxc(["config", "trust", "list"]).clean(), &["metrics"]);
    for url in [api, metrics] {
        let (status, body) = curl(&daemon, &[&shown[..], &[url]].concat());
        assert_eq!(status, "200", "{body}");
        assert!(openmetrics::read(&body).is_ok_and(|samples| !samples.is_empty()), "{body}");
    }
    for place in ["/1.0/instances", "/1.0/projects", "/1.0/operations", "/1.0/images/x"] {
        let (status, _) = curl(&daemon, &[&shown[..], &[&format!("https://127.0.0.1:8443{place}")]].concat());
        assert_ne!(status, "200", "{place}");
        let (status, _) = curl(&daemon, &[&shown[..], &[&format!("https://127.0.0.1:9100{place}")]].concat());
        assert_eq!(status, "404", "{place}");
    }
    let (_, body) = curl(&daemon, &[&shown[..], &["https://127.0.0.1:8443/1.0"]].concat());
    let server: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(server["metadata"]["auth"], "untrusted");
    // Whoever wants everybody to read them says so.
    daemon.lxc(["config", "set", "core.metrics_authentication", "false"]).clean();
    for url in [api, metrics] {
        assert_eq!(curl(&daemon, &[url]).0, "200", "{url}");
    }
    assert_eq!(curl(&daemon, &["https://127.0.0.1:8443/1.0/instances"]).0, "403");
    daemon.lxc(["config", "unset", "core.metrics_address"]).clean();
    assert!(daemon.inside("curl", ["--silent", "--insecure", "--max-time", "5", metrics]).run().code != 0);
    // An address that is taken is refused, and nothing has changed.
    let text = daemon.api().refused("PATCH", "/1.0", Some(&json!({"config": {"core.metrics_address": "127.0.0.1:8443"}})), 400);
    holds(&text, &["core.metrics_address"]);
    assert_eq!(curl(&daemon, &[api]).0, "200");
}
