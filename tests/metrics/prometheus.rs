//! Prometheus of the distribution scrapes the daemon as LXD's manual tells its users, and answers what LXD's dashboard asks.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use coffer_testkit::Daemon;
use serde_json::Value;

use super::OF_THE_DASHBOARD;
use crate::setting::{client_certificate, holds, ready_daemon};

/// Where Prometheus listens, in the pen's own network.
const PROMETHEUS: &str = "127.0.0.1:9090";

/// What a scraper's administrator writes: the daemon's certificate is the authority, and its address is one of the names in it.
fn configuration(daemon: &Daemon, certificate: &str, key: &str) -> String {
    let server = daemon.state_seen().join("server.crt");
    format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: lxd\n  metrics_path: /1.0/metrics\n  scheme: https\n  \
         static_configs:\n  - targets: ['127.0.0.1:8443']\n  tls_config:\n    ca_file: {}\n    cert_file: {certificate}\n    key_file: {key}\n",
        server.display()
    )
}

/// A Prometheus that has begun to scrape; it ends with the test.
struct Prometheus(Child);

impl Prometheus {
    #[track_caller]
    fn start(daemon: &Daemon, configuration: &str) -> Self {
        let (file, data) = (daemon.scratch().join("prometheus.yml"), daemon.scratch().join("prometheus"));
        fs::write(&file, configuration).expect("its configuration");
        let mut command = daemon.pen().command("prometheus");
        command.arg(format!("--config.file={}", file.display())).arg(format!("--storage.tsdb.path={}", data.display()));
        command.arg(format!("--web.listen-address={PROMETHEUS}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("Prometheus");
        let mut lines = BufReader::new(child.stderr.take().expect("its log")).lines().map_while(Result::ok);
        let mut said = String::new();
        let is_ready = lines.by_ref().any(|line| {
            said.push_str(&line);
            said.push('\n');
            line.contains("Server is ready to receive web requests")
        });
        assert!(is_ready, "Prometheus does not start: {said}");
        // Its log must go somewhere, or it stops.
        std::thread::spawn(move || lines.for_each(drop));
        Self(child)
    }

    /// The samples that a query finds.
    #[track_caller]
    fn query(daemon: &Daemon, query: &str) -> Vec<Value> {
        let url = format!("http://{PROMETHEUS}/api/v1/query");
        let said = daemon.inside("curl", ["--silent", "--max-time", "20", "--data-urlencode", &format!("query={query}"), &url]).ok();
        let answer: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{query}: {error}: {said}"));
        assert_eq!(answer["status"], "success", "{query}: {said}");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// What Prometheus says of its one target.
    fn target(daemon: &Daemon) -> String {
        daemon.inside("curl", ["--silent", "--max-time", "20", &format!("http://{PROMETHEUS}/api/v1/targets")]).run().text()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A query of the dashboard: the sum of what a counter grew by, and a gauge as it is, for one instance.
fn asked(name: &str, labels: &[&str]) -> String {
    let chosen = format!("{name}{{job=\"lxd\",project=\"default\",name=\"c1\"}}");
    match name {
        // Their names are a counter's, and what they say goes up and down.
        "lxd_cpu_effective_total" | "lxd_procs_total" => chosen,
        _ if name.ends_with("_total") => format!("sum by ({}) (rate({chosen}[1m]))", [&["name", "project"], labels].concat().join(",")),
        _ => chosen,
    }
}

#[test]
fn prometheus_answers_what_lxds_dashboard_asks() {
    let Some(daemon) = ready_daemon() else { return };
    if !["prometheus", "promtool"].iter().all(|program| coffer_base::run::installed(program)) {
        coffer_testkit::skipped("prometheus is not installed");
        return;
    }
    daemon.run_instance("small", "c1");
    let _ = daemon.ipv4("c1", "eth0");
    // A disk is counted once it was read or written.
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "head -c 100000 /dev/zero > /file && sync"]).ok();
    let text = String::from_utf8(daemon.api().request("GET", "/1.0/metrics", None).expect("metrics").body).expect("text");
    let checked = daemon.inside("promtool", ["check", "metrics"]).input(text).run();
    assert!(checked.code == 0 || checked.code == 3, "it can't be read: {checked}");
    let both = format!("{}\n{}", checked.stderr, checked.text());
    let strange: Vec<_> = both.lines().filter(|line| !is_lxds_own(line)).collect();
    assert!(strange.is_empty(), "{strange:#?}");

    daemon.coffer(["config", "set", "core.https_address", "127.0.0.1:8443"]).ok();
    let (certificate, key) = client_certificate(&daemon, "metrics.local");
    let prometheus = Prometheus::start(&daemon, &configuration(&daemon, &certificate, &key));
    // Nobody has let it in yet.
    assert!(daemon.eventually(|| Prometheus::target(&daemon).contains("403")), "{}", Prometheus::target(&daemon));
    daemon.coffer(["config", "trust", "add", &certificate, "--type=metrics"]).ok();
    let is_scraped = daemon.eventually(|| !Prometheus::query(&daemon, "up == 1").is_empty());
    assert!(is_scraped, "{}", Prometheus::target(&daemon));
    // A rate is known from the second scrape on.
    let is_rated = daemon.eventually(|| !Prometheus::query(&daemon, &asked("lxd_cpu_seconds_total", &[])).is_empty());
    assert!(is_rated, "{}", Prometheus::target(&daemon));
    for (name, labels) in OF_THE_DASHBOARD {
        let query = asked(name, labels);
        let found = Prometheus::query(&daemon, &query);
        assert!(!found.is_empty(), "{query} finds nothing");
        for sample in found {
            assert_eq!(sample["metric"]["name"], "c1", "{query}: {sample}");
            let value = sample["value"][1].as_str().and_then(|text| text.parse::<f64>().ok());
            assert!(value.is_some_and(|value| value.is_finite() && value >= 0.0), "{query}: {sample}");
        }
    }
    holds(&Prometheus::target(&daemon), &["\"health\":\"up\""]);
    drop(prometheus);
}

/// What promtool says against names that are LXD's, not ours to change.
fn is_lxds_own(line: &str) -> bool {
    // It reads the format before OpenMetrics, where a counter is described under the name of its samples.
    let why = ["no help text", "should not have \"_total\" suffix", "camelCase", "abbreviated units"];
    line.is_empty() || line.starts_with("lxd_") && why.iter().any(|why| line.contains(why))
}
