//! Uploading images: one file, or a form with metadata and root file system, written to disk while it arrives.

use std::io;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use coffer_api::ImagesPost;
use coffer_engine::{Engine, EngineError, ImageUpload};
use coffer_engine::{Incoming, ReceiveError};
use coffer_web::multipart::{Form, FormError, Piece};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::{images, pushes};
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Peer, Place, collect, parse};
use crate::refusal::Refusal;

/// The longest request that is tried as JSON where the content type does not say what it is.
const JSON_LIMIT: usize = 1 << 20;

/// Pieces on their way from the network to the disk. A slow disk holds the network up.
const ON_THE_WAY: usize = 8;

/// `POST /1.0/images`. JSON asks for an image from elsewhere; anything else is the image.
pub async fn create(State(app): State<App>, peer: Peer, Place(project): Place, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let expected = pushes::admitted(&app, &peer, &project, &parts.headers)?;
    let kind = text(&parts.headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    // Who sends what is expected sends an image and nothing else.
    let may_ask = expected.is_none();
    if may_ask && kind.starts_with("application/json") {
        let body = parse(&collect(body).await?)?;
        return images::from_source(app, peer, project, body).await;
    }
    let mut upload = described(&parts.headers)?;
    if let Some(expected) = expected {
        upload = ImageUpload { filename: upload.filename, profiles: upload.profiles, ..expected };
    }
    let form = Form::of_content_type(&kind).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let mut arriving = Arriving { body: body.into_data_stream(), early: None };
    if form.is_none()
        && may_ask
        && let Some(body) = arriving.as_json().await?
    {
        return images::from_source(app, peer, project, body).await;
    }
    let (receiver, place) = (app.clone(), project.clone());
    let incoming = receiver.run(move |engine| engine.receive_image(&place)).await?;
    let incoming = match form {
        Some(form) => receive_form(arriving, form, incoming, &mut upload).await?,
        None => receive_file(arriving, incoming).await?,
    };
    let view = app.run(move |engine| engine.store_image(&peer.caller, &project, incoming, upload)).await?;
    envelope::accepted(&view)
}

/// What the headers say of the image.
fn described(headers: &HeaderMap) -> Result<ImageUpload, Refusal> {
    let query = |name: &str| {
        let text = text(headers, name).unwrap_or_default();
        form_urlencoded::parse(text.as_bytes()).into_owned().collect::<Vec<_>>()
    };
    let profiles = query("x-lxd-profiles").into_iter().filter(|(key, _)| key == "profile");
    Ok(ImageUpload {
        filename: text(headers, "x-lxd-filename").unwrap_or_default(),
        public: text(headers, "x-lxd-public").is_some_and(|value| coffer_model::config::truth(&value)),
        properties: query("x-lxd-properties").into_iter().collect(),
        profiles: profiles.map(|(_, name)| Ok(name.parse()?)).collect::<Result<_, Refusal>>()?,
        fingerprint: text(headers, "x-lxd-fingerprint").map(|value| value.parse()).transpose()?,
        ..ImageUpload::default()
    })
}

/// A header's text; none if it is absent or empty.
pub fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().filter(|value| !value.is_empty()).map(str::to_owned)
}

/// A body that arrives.
struct Arriving {
    body: BodyDataStream,
    early: Option<Bytes>,
}

impl Arriving {
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        if let Some(bytes) = self.early.take() {
            return Ok(Some(bytes));
        }
        let next = self.body.next().await.transpose();
        next.map_err(|error| Refusal::bad_request(format!("receiving the image: {error}")))
    }

    /// Reads what is JSON after all; keeps what was read for the upload if it is not.
    async fn as_json(&mut self) -> Result<Option<ImagesPost>, Refusal> {
        let mut start = BytesMut::new();
        while start.len() < JSON_LIMIT {
            match self.next().await? {
                Some(bytes) => start.extend_from_slice(&bytes),
                None => break,
            }
            if start.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte != b'{') {
                break;
            }
        }
        let start = start.freeze();
        if start.starts_with(b"{")
            && let Ok(body) = parse(&start)
        {
            return Ok(Some(body));
        }
        self.early = Some(start);
        Ok(None)
    }
}

/// What goes to the thread that writes.
enum Order {
    Bytes(Bytes),
    Rootfs,
    Done,
}

/// Writes to disk on a thread of its own what is sent to it. What ends without `Done` was cut off, and leaves nothing.
struct Disk {
    orders: mpsc::Sender<Order>,
    written: tokio::task::JoinHandle<Result<Incoming, ReceiveError>>,
}

impl Disk {
    fn write(incoming: Incoming) -> Self {
        let (orders, received) = mpsc::channel(ON_THE_WAY);
        Self { orders, written: tokio::task::spawn_blocking(move || write(incoming, received)) }
    }

    /// Sends an order. A writer that is gone says why in the end.
    async fn send(&self, order: Order) -> bool {
        self.orders.send(order).await.is_ok()
    }

    async fn finish(self) -> Result<Incoming, Refusal> {
        let _ = self.send(Order::Done).await;
        match self.written.await {
            Ok(result) => result.map_err(|error| EngineError::from(error).into()),
            Err(error) => Err(Refusal::internal(format!("writing the image was cut off: {error}"))),
        }
    }
}

fn write(mut incoming: Incoming, mut orders: mpsc::Receiver<Order>) -> Result<Incoming, ReceiveError> {
    loop {
        match orders.blocking_recv() {
            Some(Order::Bytes(bytes)) => incoming.write(&bytes)?,
            Some(Order::Rootfs) => incoming.begin_rootfs()?,
            Some(Order::Done) => return Ok(incoming),
            None => {
                let cause = io::ErrorKind::UnexpectedEof.into();
                return Err(ReceiveError::Write { received: incoming.received(), cause });
            }
        }
    }
}

/// Receives a body that is one file into what the engine begins.
///
/// # Errors
/// If the engine refuses it before it is read, or it is cut off or cannot be written.
pub async fn receive(
    app: &App,
    body: Body,
    begin: impl FnOnce(&Engine) -> Result<Incoming, EngineError> + Send + 'static,
) -> Result<Incoming, Refusal> {
    let mut arriving = Arriving { body: body.into_data_stream(), early: None };
    match app.run(begin).await {
        Ok(incoming) => receive_file(arriving, incoming).await,
        Err(error) => {
            // A client that is still sending would see a broken connection instead of the reason.
            while let Ok(Some(_)) = arriving.next().await {}
            Err(error)
        }
    }
}

async fn receive_file(mut arriving: Arriving, incoming: Incoming) -> Result<Incoming, Refusal> {
    let disk = Disk::write(incoming);
    while let Some(bytes) = arriving.next().await? {
        if !disk.send(Order::Bytes(bytes)).await {
            break;
        }
    }
    disk.finish().await
}

/// Receives the parts `metadata` and `rootfs`, in this order. The second's file name is the image's.
async fn receive_form(mut arriving: Arriving, mut form: Form, incoming: Incoming, upload: &mut ImageUpload) -> Result<Incoming, Refusal> {
    let damaged = |error: FormError| Refusal::bad_request(error.to_string());
    let disk = Disk::write(incoming);
    let mut parts = 0;
    let mut writing = true;
    'body: while let Some(bytes) = arriving.next().await? {
        form.push(&bytes);
        while let Some(piece) = form.piece().map_err(damaged)? {
            writing = match piece {
                Piece::Part { name, filename } => {
                    parts += 1;
                    begin_part(&disk, parts, &name, filename, upload).await?
                }
                Piece::Content(bytes) => disk.send(Order::Bytes(bytes)).await,
                Piece::End => break 'body,
            };
            if !writing {
                break 'body;
            }
        }
    }
    if writing {
        form.finish().map_err(damaged)?;
        if parts != 2 {
            return Err(Refusal::bad_request("the form has no root file system: it must have the parts metadata and rootfs"));
        }
    }
    disk.finish().await
}

async fn begin_part(disk: &Disk, number: u32, name: &str, filename: Option<String>, upload: &mut ImageUpload) -> Result<bool, Refusal> {
    match (number, name) {
        (1, "metadata") => Ok(true),
        (2, "rootfs") => {
            upload.filename = filename.unwrap_or_default();
            Ok(disk.send(Order::Rootfs).await)
        }
        (2, "rootfs.img") => Err(Refusal::unsupported("images of virtual machines")),
        _ => Err(Refusal::bad_request(format!("the form has an unexpected part {name:?}: it must have metadata, then rootfs"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    fn incoming(dir: &std::path::Path) -> Incoming {
        let images = std::fs::File::open(dir).unwrap();
        Incoming::begin(images.as_fd(), None, None, coffer_base::Progress::default()).unwrap()
    }

    fn arriving(pieces: &[&[u8]]) -> Arriving {
        let pieces: Vec<io::Result<Bytes>> = pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Arriving { body: Body::from_stream(futures_util::stream::iter(pieces)).into_data_stream(), early: None }
    }

    #[tokio::test]
    async fn a_form_is_split_into_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let part = |name: &str| format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}.tar.xz\"\r\n\r\n");
        let body = format!("{}a\r\n{}bc\r\n--B--\r\n", part("metadata"), part("rootfs"));
        let (first, second) = body.as_bytes().split_at(90);
        let form = Form::of_content_type("multipart/form-data; boundary=B").unwrap().unwrap();
        let mut upload = ImageUpload::default();
        let received = receive_form(arriving(&[first, second]), form, incoming(dir.path()), &mut upload).await.unwrap();
        let arrived = received.finish().unwrap();
        assert_eq!(arrived.fingerprint().as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(upload.filename, "rootfs.tar.xz");
    }

    #[tokio::test]
    async fn other_parts_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let form = || Form::of_content_type("multipart/form-data; boundary=B").unwrap().unwrap();
        let part = |name: &str| format!("--B\r\nContent-Disposition: form-data; name={name}\r\n\r\nx\r\n");
        for (body, expect) in [
            (part("rootfs"), "the form has an unexpected part \"rootfs\": it must have metadata, then rootfs"),
            (part("metadata") + "--B--", "the form has no root file system: it must have the parts metadata and rootfs"),
            (part("metadata"), "the form is cut off"),
            (part("metadata") + &part("rootfs.img"), "images of virtual machines are not supported yet"),
        ] {
            let error = receive_form(arriving(&[body.as_bytes()]), form(), incoming(dir.path()), &mut ImageUpload::default()).await.err();
            assert_eq!(error.unwrap().to_string(), expect);
        }
    }

    #[tokio::test]
    async fn json_without_its_content_type_is_found_and_files_are_kept_whole() {
        let body = arriving(&[b"{\"source\":", b"{\"type\":\"url\"}}"]).as_json().await.unwrap().unwrap();
        assert_eq!(body.source.unwrap().kind, "url");
        let dir = tempfile::tempdir().unwrap();
        let mut file = arriving(&[b"a", b"b", b"c"]);
        assert!(file.as_json().await.unwrap().is_none());
        let arrived = receive_file(file, incoming(dir.path())).await.unwrap().finish().unwrap();
        assert_eq!(arrived.size(), 3);
    }

    #[test]
    fn headers_describe_the_image() {
        let mut headers = HeaderMap::new();
        headers.insert("x-lxd-properties", "os=Debian+GNU&a%3D=b".parse().unwrap());
        headers.insert("x-lxd-profiles", "profile=default&profile=web".parse().unwrap());
        headers.insert("x-lxd-public", "true".parse().unwrap());
        let upload = described(&headers).unwrap();
        assert_eq!(upload.properties.iter().collect::<Vec<_>>(), [("a=", "b"), ("os", "Debian GNU")]);
        assert_eq!(upload.profiles.len(), 2);
        assert!(upload.public);
        headers.insert("x-lxd-fingerprint", "abc".parse().unwrap());
        assert!(described(&headers).is_err());
    }
}
