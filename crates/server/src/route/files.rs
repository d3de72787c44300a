//! `/1.0/instances/{name}/files`.

use std::io;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use coffer_engine::{FileInfo, FileKind, Files};
use coffer_model::InstanceName;
use futures_util::{Stream, StreamExt as _, stream};

use super::file_headers::{Described, What, described, own_headers};
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Named, Parameters, Peer, Place, collect};
use crate::refusal::Refusal;

/// What has arrived is written when it has become so much.
const CHUNK: usize = 256 << 10;

/// The routes.
pub fn routes(prefix: &str) -> Router<App> {
    Router::new().route(&format!("{prefix}/{{name}}/files"), get(read).head(look).post(write).delete(remove))
}

/// `HEAD /1.0/instances/{name}/files?path=`: the headers alone.
async fn look(State(app): State<App>, Named(name): Named<InstanceName>, Place(project): Place, parameters: Parameters) -> Answer {
    let path = path(&parameters)?;
    let info = app.run(move |engine| engine.files(&project, &name)?.look(&path)).await?;
    let mut response = envelope::raw(Body::empty());
    own_headers(&mut response, &info)?;
    if info.kind == FileKind::File {
        envelope::set(&mut response, header::CONTENT_LENGTH, &info.size.to_string());
    }
    Ok(response)
}

/// What was found at a path.
enum Found {
    Directory(Vec<String>),
    Link(String),
    /// The beginning of the content, and the conversation if there is more.
    File(Vec<u8>, Option<Box<Files>>),
}

/// `GET /1.0/instances/{name}/files?path=`: content, names, or a link's target.
async fn read(
    State(app): State<App>,
    Peer { caller, .. }: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    parameters: Parameters,
) -> Answer {
    let path = path(&parameters)?;
    let file_name = file_name(&path);
    let work = move |engine: &coffer_engine::Engine| {
        let mut files = engine.files(&project, &name)?;
        let mut info = files.look(&path)?;
        let found = match info.kind {
            FileKind::Directory => Found::Directory(files.list(&path)?),
            FileKind::Symlink => Found::Link(resolved(&path, &files.read_link(&path)?)),
            // Opening it says what it is.
            FileKind::File | FileKind::Special => {
                info = files.open(&path)?;
                let first = files.read()?;
                let whole = first.is_empty() || first.len() as u64 == info.size && files.read()?.is_empty();
                files.tell("instance-file-retrieved", &path, &caller);
                Found::File(first, (!whole).then_some(Box::new(files)))
            }
        };
        Ok((info, found))
    };
    let (info, found) = app.run(work).await?;
    let mut response = match found {
        Found::Directory(names) => envelope::sync(names)?,
        Found::Link(target) => envelope::raw(target),
        Found::File(first, rest) => content(app, &info, first, rest),
    };
    own_headers(&mut response, &info)?;
    if info.kind == FileKind::File {
        envelope::set(&mut response, header::CONTENT_DISPOSITION, &format!("inline;filename={file_name}"));
    }
    Ok(response)
}

/// A file's content; the length of one whose size the kernel does not say (in `/proc`) is not announced.
fn content(app: App, info: &FileInfo, first: Vec<u8>, rest: Option<Box<Files>>) -> Response {
    let Some(files) = rest else { return envelope::raw(first) };
    let first = stream::once(async move { Ok(Bytes::from(first)) });
    let mut response = envelope::raw(Body::from_stream(first.chain(following(app, files))));
    if info.size > 0 {
        envelope::set(&mut response, header::CONTENT_LENGTH, &info.size.to_string());
    }
    response
}

/// What follows, read as fast as the client takes it. No thread waits for the client.
fn following(app: App, files: Box<Files>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(Some((app, files)), async |state| {
        let Some((app, mut files)) = state else { return Ok(None) };
        let read = app.attempt(move |_| files.read().map(|bytes| (bytes, files))).await;
        match read {
            Ok((bytes, _)) if bytes.is_empty() => Ok(None),
            Ok((bytes, files)) => Ok(Some((Bytes::from(bytes), Some((app, files))))),
            Err(error) => Err(io::Error::other(coffer_base::chain(&error))),
        }
    })
}

/// `POST /1.0/instances/{name}/files?path=`: makes or overwrites a file, makes a directory or a link.
async fn write(
    State(app): State<App>,
    Peer { caller, .. }: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    parameters: Parameters,
    headers: HeaderMap,
    request: Request,
) -> Answer {
    let path = path(&parameters)?;
    let Described { what, new } = described(&headers)?;
    let told = ("instance-file-pushed", path.clone(), caller);
    match what {
        What::Directory => {
            app.run(move |engine| {
                let mut files = engine.files(&project, &name)?;
                files.make_directory(&path, new)?;
                files.tell(told.0, &told.1, &told.2);
                Ok(())
            })
            .await?;
        }
        What::Symlink => {
            let target = collect(request.into_body()).await?;
            app.run(move |engine| {
                let mut files = engine.files(&project, &name)?;
                files.make_link(&path, &target)?;
                files.tell(told.0, &told.1, &told.2);
                Ok(())
            })
            .await?;
        }
        What::File { append } => {
            let mut arriving = Arriving { body: request.into_body().into_data_stream(), ended: false };
            let mut pieces = arriving.gather().await?;
            let mut files = None;
            loop {
                // The first time everything is begun, the last time everything is ended: a small file is one turn.
                let (last, place, told) = (arriving.ended, (project.clone(), name.clone(), path.clone()), told.clone());
                let turn = move |engine: &coffer_engine::Engine| {
                    let mut files = match files {
                        Some(files) => files,
                        None => {
                            let mut files: Files = engine.files(&place.0, &place.1)?;
                            files.create(&place.2, new, append)?;
                            files
                        }
                    };
                    for piece in pieces {
                        files.write(&piece)?;
                    }
                    if last {
                        files.finish()?;
                        files.tell(told.0, &told.1, &told.2);
                    }
                    Ok(files)
                };
                files = Some(app.run(turn).await?);
                if last {
                    break;
                }
                pieces = arriving.gather().await?;
            }
        }
    }
    envelope::done()
}

/// `DELETE /1.0/instances/{name}/files?path=`: a file or an empty directory.
async fn remove(
    State(app): State<App>,
    Peer { caller, .. }: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    parameters: Parameters,
) -> Answer {
    let path = path(&parameters)?;
    app.run(move |engine| {
        let mut files = engine.files(&project, &name)?;
        files.remove(&path)?;
        files.tell("instance-file-deleted", &path, &caller);
        Ok(())
    })
    .await?;
    envelope::done()
}

/// A body that arrives.
struct Arriving {
    body: BodyDataStream,
    ended: bool,
}

impl Arriving {
    /// Waits until a chunk is together or the body has ended.
    async fn gather(&mut self) -> Result<Vec<Bytes>, Refusal> {
        let (mut pieces, mut length) = (Vec::new(), 0);
        while length < CHUNK && !self.ended {
            match self.body.next().await {
                Some(Ok(bytes)) => {
                    length += bytes.len();
                    pieces.push(bytes);
                }
                Some(Err(error)) => return Err(Refusal::bad_request(format!("receiving the file: {error}"))),
                None => self.ended = true,
            }
        }
        Ok(pieces)
    }
}

/// The path in the query; one without a leading slash begins at the root too.
fn path(parameters: &Parameters) -> Result<String, Refusal> {
    let path = parameters.get("path").ok_or_else(|| Refusal::bad_request("missing path argument"))?;
    if path.contains('\0') {
        return Err(Refusal::bad_request("a path cannot hold a NUL character"));
    }
    Ok(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

/// A link's target as older clients rely on it: absolute, a relative one counted from the link's directory.
fn resolved(path: &str, target: &[u8]) -> String {
    let target = String::from_utf8_lossy(target);
    if target.starts_with('/') {
        return target.into_owned();
    }
    let above = path.trim_end_matches('/').rsplit_once('/').map_or("", |(above, _)| above);
    let mut parts: Vec<&str> = Vec::new();
    for part in above.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The last part of a path, for whoever saves the answer.
fn file_name(path: &str) -> String {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    name.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, target: &str, expect: &str) {
        assert_eq!(resolved(path, target.as_bytes()), expect);
    }

    #[test]
    fn targets_of_links_are_absolute() {
        check("/etc/mtab", "/proc/mounts", "/proc/mounts");
        check("/etc/localtime", "../usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/UTC");
        check("/a", "b", "/b");
        check("/a/b/", "./c/../../../../d", "/d");
    }

    #[test]
    fn paths_begin_at_the_root() {
        let path = |query: &str| path(&Parameters::parse(Some(query))).map_err(|error| error.to_string());
        assert_eq!(path("path=etc%2Fx"), Ok("/etc/x".to_owned()));
        assert_eq!(path("path=/etc/x"), Ok("/etc/x".to_owned()));
        assert_eq!(path("path="), Err("missing path argument".to_owned()));
        assert!(path("path=a%00b").is_err());
    }
}
