//! `/1.0/instances/{name}/sftp`.

use std::os::fd::OwnedFd;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use coffer_engine::SftpDoor;
use coffer_model::InstanceName;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::UnixStream;

use crate::app::App;
use crate::envelope::Answer;
use crate::extract::{Named, Place};
use crate::refusal::Refusal;

/// The protocol's name in the upgrade.
const PROTOCOL: &str = "sftp";

/// The routes.
pub fn routes(prefix: &str) -> Router<App> {
    Router::new().route(&format!("{prefix}/{{name}}/sftp"), get(connect))
}

/// `GET /1.0/instances/{name}/sftp`: the connection becomes one to the instance's file server.
async fn connect(
    State(app): State<App>,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    headers: HeaderMap,
    mut request: Request,
) -> Answer {
    if !wanted(&headers) {
        return Err(Refusal::bad_request("this speaks SFTP: ask for an upgrade to it (Connection: Upgrade, Upgrade: sftp)"));
    }
    let pending = request.extensions_mut().remove::<OnUpgrade>();
    let pending = pending.ok_or_else(|| Refusal::bad_request("the connection cannot become one for SFTP: use HTTP/1.1"))?;
    let door = app.run(move |engine| engine.sftp(&project, &name)).await?;
    tokio::spawn(async move {
        let done = match pending.await {
            Ok(upgraded) => serve(upgraded, door).await,
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = done {
            tracing::debug!("SFTP: {error}");
        }
    });
    Ok(switched())
}

fn wanted(headers: &HeaderMap) -> bool {
    let has = |name: HeaderName, word: &str| {
        let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        lists.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
    };
    has(header::CONNECTION, "upgrade") && has(header::UPGRADE, PROTOCOL)
}

fn switched() -> Response {
    let headers = [(header::CONNECTION, HeaderValue::from_static("Upgrade")), (header::UPGRADE, HeaderValue::from_static(PROTOCOL))];
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

/// Gives the client's own socket to the file server where that can be: then nothing stands between the two.
async fn serve(upgraded: Upgraded, door: SftpDoor) -> Result<(), String> {
    let hand_over = |door: SftpDoor, stream: std::os::unix::net::UnixStream| {
        stream.set_nonblocking(false).map_err(|error| error.to_string())?;
        door.hand_over(OwnedFd::from(stream)).map_err(|error| coffer_base::chain(&error))
    };
    match upgraded.downcast::<TokioIo<UnixStream>>() {
        Ok(parts) if parts.read_buf.is_empty() => {
            let stream = parts.io.into_inner().into_std().map_err(|error| error.to_string())?;
            hand_over(door, stream)
        }
        Ok(parts) => {
            let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
            hand_over(door, theirs.into_std().map_err(|error| error.to_string())?)?;
            pump(parts.io.into_inner(), &parts.read_buf, ours).await
        }
        Err(upgraded) => {
            let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
            hand_over(door, theirs.into_std().map_err(|error| error.to_string())?)?;
            pump(TokioIo::new(upgraded), &[], ours).await
        }
    }
}

/// Carries bytes between a client that is no bare socket, or that spoke early, and the file server.
async fn pump(
    mut client: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    early: &[u8],
    mut server: UnixStream,
) -> Result<(), String> {
    let pumped = async {
        server.write_all(early).await?;
        copy_bidirectional(&mut client, &mut server).await
    };
    pumped.await.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_sftp() {
        let map = |pairs: &[(HeaderName, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
        };
        assert!(wanted(&map(&[(header::CONNECTION, "Upgrade"), (header::UPGRADE, "sftp")])));
        assert!(!wanted(&map(&[(header::CONNECTION, "Upgrade"), (header::UPGRADE, "websocket")])));
        assert!(!wanted(&map(&[(header::UPGRADE, "sftp")])));
    }
}
