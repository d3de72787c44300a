//! The routes with a real engine behind them, in a directory of its own.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use coffer_api::routes::{Access, Kind, ROUTES};
use coffer_engine::{Caller, Engine, Settings};
use coffer_web::{Identity, Role};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use crate::app::{App, Phase};
use crate::extract::{Peer, Trust};
use crate::network::Network;
use crate::route::router;

/// A server that serves nobody but the test.
struct Server {
    app: App,
    trust: Trust,
    _dir: Arc<tempfile::TempDir>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Server {
    /// `None` where the engine cannot run.
    fn start() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: the engine needs root");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            dir: dir.path().to_owned(),
            monitor: "/bin/true".into(),
            unpack: "/bin/true".into(),
            files: "/bin/true".into(),
            group: None,
        };
        let app = App::new(Engine::open(settings).unwrap(), dir.path().to_owned(), network(), network());
        app.enter(Phase::Serving);
        Some(Self { app, trust: Trust::Admin, _dir: Arc::new(dir) })
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let caller = Caller { username: "root".into(), protocol: "unix", address: "@".into() };
        let mut request = Request::builder().method(method).uri(path).extension(Peer { caller, trust: self.trust, connection: None });
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let router = TowerToHyperService::new(router(self.app.clone()));
        let response = router.call(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: serde_json::from_slice(&bytes).unwrap_or_default() }
    }

    async fn check(&self, line: &str, body: &str, expect: &str) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let answer = self.ask(method, path, &[], body).await;
        let text = match answer.body["type"].as_str() {
            Some("error") => answer.body["error"].as_str().unwrap().to_owned(),
            _ => answer.body["metadata"].to_string(),
        };
        assert_eq!(format!("{} {text}", answer.status), expect, "{line}");
        answer
    }
}

/// A listener that listens nowhere.
fn network() -> Network {
    Network::new(Identity::generate(Role::Server, "test", &["test".into()]).unwrap().into()).unwrap()
}

/// A path of the table with names in it.
fn example(template: &str) -> String {
    let names =
        [("{name}", "x1"), ("{pool}", "p1"), ("{fingerprint}", "aaaa"), ("{type}", "custom"), ("{file}", "a.log"), ("{snapshot}", "s1")];
    let path = names.iter().fold(template.to_owned(), |path, (variable, name)| path.replace(variable, name));
    path.replace("{id}", "00a7e06f-56a4-48df-b515-4c9bd150be80")
}

#[tokio::test]
async fn every_route_of_the_table_is_served() {
    let Some(server) = Server::start() else { return };
    for route in ROUTES.iter().filter(|route| route.path != "/internal/shutdown") {
        let answer = server.ask(route.method.as_str(), &example(route.path), &[], "{}").await;
        let unknown = answer.body["error"] == "not found" || answer.body["error"] == "not implemented";
        assert!(!unknown, "{} {}", route.method.as_str(), route.path);
        if route.kind == Kind::Async {
            assert!(matches!(answer.status, 202 | 400 | 404 | 501), "{} {}: {}", route.method.as_str(), route.path, answer.status);
        }
    }
}

#[tokio::test]
async fn who_is_not_trusted_is_refused_everywhere_else() {
    let Some(mut server) = Server::start() else { return };
    server.trust = Trust::None;
    for route in ROUTES.iter().filter(|route| route.access != Access::Anyone) {
        for path in [example(route.path), example(route.path).replace("/1.0/instances", "/1.0/containers")] {
            let answer = server.ask(route.method.as_str(), &path, &[], "{}").await;
            assert_eq!(answer.status, 403, "{} {path}", route.method.as_str());
        }
    }
    let answer = server.ask("GET", "/1.0", &[], "").await;
    assert_eq!((answer.status, &answer.body["metadata"]["auth"]), (200, &"untrusted".into()));
    assert_eq!(answer.body["metadata"].get("config"), None);
}

#[tokio::test]
async fn paths_are_matched_as_they_come() {
    let Some(server) = Server::start() else { return };
    server.check("GET /", "", r#"200 ["/1.0"]"#).await;
    for unknown in ["/1.0/", "//1.0/instances", "/1.0/nothing", "/2.0", "/1.0/instances/a/b/c"] {
        server.check(&format!("GET {unknown}"), "", "404 not found").await;
    }
    server.check("DELETE /1.0/instances", "", "501 not implemented").await;
    server.check("OPTIONS /1.0", "", "501 not implemented").await;
    let dots = "it may hold only letters, digits and hyphens";
    server.check("GET /1.0/instances/%2e%2e", "", &format!("400 invalid instance name \"..\": {dots}")).await;
    server.check("GET /1.0/instances/a%2Fb", "", &format!("400 invalid instance name \"a/b\": {dots}")).await;
    server.check("GET /1.0/images/aliases/debian%2F12", "", "404 image alias debian/12 not found").await;
    server.check("GET /1.0/images/aliases/debian/12", "", "404 image alias debian/12 not found").await;
    server.check("GET /1.0/containers/web", "", "404 instance web not found").await;
}

#[tokio::test]
async fn queries_are_read_strictly_where_it_matters() {
    let Some(server) = Server::start() else { return };
    server.check("GET /1.0/instances?project=&filter=&recursion=2", "", "200 []").await;
    server.check("GET /1.0/instances?target=a", "", "400 this server is not part of a cluster: leave out the target").await;
    server.check("GET /1.0/instances?project=a&all-projects=true", "", "400 project and all-projects do not go together").await;
    server.check("GET /1.0/instances?project=nix", "", "404 project nix not found").await;
    server.check("GET /1.0/profiles?project=nix", "", "404 project nix not found").await;
    server.check("GET /1.0/instances?all-projects=true", "", "200 []").await;
    let why = "the operator must be eq or ne; write FIELD eq VALUE [and|or [not] …]";
    server.check("GET /1.0/images?filter=a+is+b", "", &format!("400 invalid filter \"a is b\": {why}")).await;
}

#[tokio::test]
async fn the_empty_lists_are_lists() {
    let Some(server) = Server::start() else { return };
    for path in ["certificates", "warnings", "storage-pools", "images", "images/aliases", "virtual-machines", "instances"] {
        server.check(&format!("GET /1.0/{path}?recursion=1"), "", "200 []").await;
    }
    server.check("GET /1.0/cluster", "", r#"200 {"enabled":false,"member_config":[],"server_name":""}"#).await;
    server.check("GET /1.0/cluster/members", "", "501 clusters are not supported yet").await;
    let no_certificate = "400 there is no certificate: give one, or connect with one over HTTPS";
    server.check("POST /1.0/certificates", "{}", no_certificate).await;
    server.check("GET /1.0/network-acls", "", "501 network ACLs are not supported yet").await;
    server.check("GET /1.0/instances/x/snapshots", "", "404 instance x not found").await;
}

#[tokio::test]
async fn a_profile_lives_and_is_guarded_by_its_tag() {
    let Some(server) = Server::start() else { return };
    let made = server.check("POST /1.0/profiles", r#"{"config":null,"description":"","devices":null,"name":"web"}"#, "201 null").await;
    assert_eq!(made.headers["location"], "/1.0/profiles/web");
    let read = server.ask("GET", "/1.0/profiles/web", &[], "").await;
    let tag = read.headers["etag"].to_str().unwrap().to_owned();
    assert!(tag.len() == 66 && tag.starts_with('"'));
    let body = r#"{"config":{"limits.cpu":"2"},"description":"x","devices":{}}"#;
    let stale = server.ask("PUT", "/1.0/profiles/web", &[("if-match", "\"abc\"")], body).await;
    assert_eq!(stale.status, 412);
    assert_eq!(server.ask("PUT", "/1.0/profiles/web", &[("if-match", &tag)], body).await.status, 200);
    assert_eq!(server.ask("PUT", "/1.0/profiles/web", &[("if-match", &tag)], body).await.status, 412);
    server.check("PATCH /1.0/profiles/web", r#"{"config":{"limits.cpu":"","user.a":"b"}}"#, "200 {}").await;
    let shown = r#"{"config":{"user.a":"b"},"description":"x","devices":{},"name":"web","used_by":[]}"#;
    server.check("GET /1.0/profiles/web", "", &format!("200 {}", serde_json::from_str::<Value>(shown).unwrap())).await;
    server.check("GET /1.0/profiles?filter=config.user.a+eq+b", "", r#"200 ["/1.0/profiles/web"]"#).await;
    server.check("POST /1.0/profiles/web", r#"{"name":"www"}"#, "201 null").await;
    server.check("DELETE /1.0/profiles/www", "", "200 {}").await;
    server.check("GET /1.0/profiles", "", r#"200 ["/1.0/profiles/default"]"#).await;
}

#[tokio::test]
async fn bodies_are_read_strictly() {
    let Some(server) = Server::start() else { return };
    let twice = r#"{"config":{"user.a":"1"},"config":{"user.a":"2"}}"#;
    server.check("PUT /1.0", twice, "400 invalid JSON in the request: key \"config\" stands twice at line 1 column 33").await;
    server.check("PUT /1.0", "", "400 invalid JSON in the request: EOF while parsing a value at line 1 column 0").await;
    server.check("PUT /1.0", r#"{"config":{"user.a":1}}"#, "200 {}").await;
    server.check("PATCH /1.0", r#"{"config":{"user.b":"x"}}"#, "200 {}").await;
    let read = server.ask("GET", "/1.0", &[], "").await;
    assert_eq!(read.body["metadata"]["config"].to_string(), r#"{"user.a":"1","user.b":"x"}"#);
    let unknown = server.ask("PUT", "/1.0", &[], r#"{"config":{"core.no":"1"}}"#).await;
    assert_eq!(unknown.status, 400);
}

#[tokio::test]
async fn operations_are_found_by_their_identity_only() {
    let Some(server) = Server::start() else { return };
    server.check("GET /1.0/operations?recursion=1", "", "200 {}").await;
    let id = "00a7e06f-56a4-48df-b515-4c9bd150be80";
    server.check(&format!("GET /1.0/operations/{id}"), "", &format!("404 operation {id} not found")).await;
    server.check("GET /1.0/operations/x/wait?timeout=1", "", "404 operation x not found").await;
    let hint = "400 this is a websocket: ask for an upgrade to one (RFC 6455)";
    server.check(&format!("GET /1.0/operations/{id}/websocket?secret=x"), "", hint).await;
    server.check("GET /1.0/events?type=operation", "", hint).await;
}

#[tokio::test]
async fn a_starting_daemon_asks_for_patience_and_an_ending_one_only_answers() {
    let Some(server) = Server::start() else { return };
    let dir = server.app.engine.clone();
    let starting =
        Server { app: App::new(dir, server._dir.path().to_owned(), network(), network()), trust: Trust::Admin, _dir: server._dir.clone() };
    starting.check("GET /1.0", "", "503 the daemon is starting; try again in a moment").await;
    starting.check("GET /internal/ready", "", "503 the daemon is starting").await;
    starting.app.enter(Phase::Serving);
    starting.check("GET /internal/ready?timeout=1", "", "200 {}").await;
    starting.app.enter(Phase::Stopping);
    assert_eq!(starting.ask("GET", "/1.0", &[], "").await.status, 200);
    starting.check("POST /1.0/profiles", r#"{"name":"x"}"#, "503 the daemon is shutting down").await;
}
