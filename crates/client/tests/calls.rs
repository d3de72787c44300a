//! Plain calls, operations and events against a server of a few lines.

#![allow(clippy::unwrap_used, missing_docs, reason = "a failed step is the failed test")]

#[allow(dead_code, reason = "each test file uses its part")]
mod fake;

use std::cell::RefCell;
use std::io::Write;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use coffer_api::{InstanceStatePut, ProfilePut};
use coffer_client::websocket::Opcode;
use coffer_client::{ClientError, ImageUpload};
use fake::{Fake, Reply, accepted, refused, sync};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn objects_come_with_their_tag_and_go_back_with_it() {
    let fake = Fake::start(|request| match (request.line.as_str(), request.header("if-match")) {
        ("GET /1.0/profiles/web%2F1?project=p", _) => {
            let Reply::Json(code, _, body) = sync(r#"{"name":"web/1","config":{"a":"b"},"devices":null}"#) else { unreachable!() };
            Reply::Json(code, "ETag: \"abc\"\r\n", body)
        }
        ("PUT /1.0/profiles/web%2F1?project=p", Some("\"abc\"")) => {
            assert_eq!(request.text(), r#"{"config":{"a":"b"},"description":"","devices":{}}"#);
            sync("{}")
        }
        ("PUT /1.0/profiles/web%2F1?project=p", _) => refused(412, "Precondition failed"),
        other => panic!("{other:?}"),
    });
    let client = fake.client().with_project("p");
    block_on(async {
        let read = client.profile("web/1").await.unwrap();
        assert_eq!((read.value.name.as_str(), read.etag.as_str()), ("web/1", "\"abc\""));
        let put: ProfilePut = read.value.writable();
        client.update_profile("web/1", &put, &read.etag).await.unwrap();
        let error = client.update_profile("web/1", &put, "\"old\"").await.unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (Some(412), "Precondition failed"));
    });
}

#[test]
fn one_connection_serves_many_requests_and_a_closed_one_is_replaced() {
    let fake = Fake::start(|request| match request.line.as_str() {
        "GET /1.0/profiles?recursion=1" => sync("[]"),
        "GET /1.0/networks?recursion=1" => Reply::Last(200, r#"{"type":"sync","metadata":null}"#.to_owned()),
        other => panic!("{other}"),
    });
    let client = fake.client();
    block_on(async {
        client.profiles().await.unwrap();
        client.profiles().await.unwrap();
        assert_eq!(fake.connections(), 1);
        client.networks().await.unwrap();
        client.profiles().await.unwrap();
        assert_eq!(fake.connections(), 2);
    });
}

#[test]
fn what_is_no_envelope_is_an_error_that_names_the_path() {
    let fake = Fake::start(|request| match request.line.as_str() {
        "GET /1.0/profiles?recursion=1" => Reply::Json(200, "", "<html>".into()),
        _ => Reply::Json(502, "", "<html>".into()),
    });
    block_on(async {
        let error = fake.client().profiles().await.unwrap_err();
        assert_eq!(error.to_string(), "reading the answer to /1.0/profiles?recursion=1");
        let error = fake.client().networks().await.unwrap_err();
        assert_eq!(error.to_string(), "the server answered with status 502 and no reason");
    });
}

#[test]
fn a_missing_socket_says_what_to_do() {
    let client = coffer_client::Client::new(coffer_client::Endpoint::Unix("/nonexistent/unix.socket".into()), "");
    let error = block_on(client.profiles()).unwrap_err();
    assert!(error.to_string().starts_with("no server is there (start cofferd"), "{error}");
}

const STOP: &str = "PUT /1.0/instances/c1/state";
const WAIT: &str = "GET /1.0/operations/op/wait";

#[test]
fn operations_are_waited_for() {
    let fake = Fake::start(|request| match request.line.as_str() {
        STOP => {
            assert_eq!(request.text(), r#"{"action":"stop","timeout":-1,"force":true,"stateful":false}"#);
            accepted(r#"{"id":"op","status":"Running","status_code":103}"#)
        }
        WAIT => sync(r#"{"id":"op","status":"Failure","status_code":400,"err":"it will not stop"}"#),
        other => panic!("{other}"),
    });
    block_on(async {
        let request = InstanceStatePut { action: "stop".into(), timeout: -1, force: true, stateful: false };
        let error = fake.client().change_state("c1", &request).await.unwrap().wait().await.unwrap_err();
        assert!(matches!(&error, ClientError::OperationFailed { text } if text == "it will not stop"));
    });
}

#[test]
fn an_operation_that_is_over_is_not_asked_for_again() {
    let fake = Fake::start(|request| match request.line.as_str() {
        STOP => accepted(r#"{"id":"op","status":"Success","status_code":200,"metadata":{"a":"b"}}"#),
        other => panic!("{other}"),
    });
    block_on(async {
        let done = fake.client().change_state("c1", &InstanceStatePut::default()).await.unwrap().wait().await.unwrap();
        assert_eq!(done.metadata_text("a"), Some("b"));
    });
}

#[test]
fn progress_is_heard_while_waiting() {
    // The wait is answered once the events were sent, so the order is fixed.
    let (sent, all_sent) = mpsc::channel::<()>();
    let all_sent = Mutex::new(all_sent);
    let fake = Fake::start(move |request| match request.line.as_str() {
        STOP => accepted(r#"{"id":"op","status":"Running","status_code":103}"#),
        "GET /1.0/events?type=operation" => {
            let sent = sent.clone();
            Reply::Websocket(Box::new(move |mut peer| {
                let event = |id: &str, text: &str| {
                    format!(r#"{{"type":"operation","metadata":{{"id":"{id}","metadata":{{"download_progress":"{text}"}}}}}}"#)
                };
                peer.send(true, Opcode::Text, event("other", "9%").as_bytes());
                peer.send(true, Opcode::Ping, b"there?");
                let (first, second) = ("{\"type\":\"operation\",\"metadata\":", r#"{"id":"op","metadata":{"download_progress":"10%"}}}"#);
                peer.send(false, Opcode::Text, first.as_bytes());
                peer.send(true, Opcode::Continuation, second.as_bytes());
                peer.send(true, Opcode::Text, event("op", "90%").as_bytes());
                assert_eq!(peer.receive(), Some((Opcode::Pong, b"there?".to_vec())));
                sent.send(()).unwrap();
                // The socket stays open until the client goes.
                assert_eq!(peer.receive(), None);
            }))
        }
        WAIT => {
            all_sent.lock().unwrap().recv().unwrap();
            sync(r#"{"id":"op","status":"Success","status_code":200}"#)
        }
        other => panic!("{other}"),
    });
    let heard = RefCell::new(Vec::new());
    block_on(async {
        let pending = fake.client().change_state("c1", &InstanceStatePut::default()).await.unwrap();
        let listener = |operation: &coffer_api::Operation| {
            heard.borrow_mut().extend(operation.metadata_text("download_progress").map(str::to_owned));
        };
        pending.watch(&listener).await.unwrap();
    });
    assert_eq!(heard.borrow().first().map(String::as_str), Some("10%"));
}

#[test]
fn a_split_image_is_sent_as_two_parts() {
    let directory = tempfile::tempdir().unwrap();
    let (metadata, rootfs) = (directory.path().join("meta.tar"), directory.path().join("root.squashfs"));
    std::fs::write(&metadata, "META").unwrap();
    std::fs::write(&rootfs, "ROOT".repeat(1 << 20)).unwrap();
    let fake = Fake::start(|request| {
        assert_eq!(request.line, "POST /1.0/images");
        assert_eq!(request.header("x-lxd-properties"), Some("os=De%20bian"));
        let boundary = request.header("content-type").unwrap().split_once("boundary=").unwrap().1;
        let text = request.text();
        let parts: Vec<&str> = text.split(&format!("--{boundary}")).collect();
        assert!(parts[1].contains(r#"name="metadata"; filename="meta.tar""#) && parts[1].ends_with("\r\n\r\nMETA\r\n"));
        assert!(parts[2].contains(r#"name="rootfs"; filename="root.squashfs""#) && parts[2].len() > 4 << 20);
        assert_eq!(parts[3], "--\r\n");
        accepted(r#"{"id":"op","status_code":200,"metadata":{"fingerprint":"abc"}}"#)
    });
    let seen = Arc::new(Mutex::new(0));
    let counted = seen.clone();
    block_on(async {
        let properties = [("os".to_owned(), "De bian".to_owned())].into();
        let image = ImageUpload { metadata, rootfs: Some(rootfs), public: false, properties };
        let pending = fake.client().upload_image(&image, move |sent, _| *counted.lock().unwrap() = sent).await.unwrap();
        assert_eq!(pending.wait().await.unwrap().metadata_text("fingerprint"), Some("abc"));
    });
    assert!(*seen.lock().unwrap() > 4 << 20);
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_breaks_the_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f");
    std::fs::File::create(&path).unwrap().write_all(&[0; 4096]).unwrap();
    let upload = coffer_client::Upload::file(&path).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(10).unwrap();
    let fake = Fake::start(|_| sync("{}"));
    assert!(block_on(fake.client().import_instance(upload, "", "")).is_err());
}
