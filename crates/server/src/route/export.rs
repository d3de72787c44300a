//! Downloading images.

use std::fs::File;
use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use bytes::Bytes;
use coffer_engine::ExportedFile;
use futures_util::{Stream, StreamExt as _, stream};
use tokio_util::io::ReaderStream;

use super::images;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Named, Parameters, Peer, Place};

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// `GET /1.0/images/{fingerprint}/export`: one file as it is, two as a form.
pub async fn download(
    State(app): State<App>,
    peer: Peer,
    Named(prefix): Named<String>,
    Place(project): Place,
    parameters: Parameters,
) -> Answer {
    let secret = parameters.get("secret").map(str::to_owned);
    let opened = app.run(move |engine| {
        let fingerprint = images::visible(engine, &peer, &project, &prefix, secret.as_deref(), true)?.image.fingerprint;
        let files = engine.export_image(&project, fingerprint.as_str())?;
        engine.events().lifecycle(Some(&project), "image-retrieved", format!("/1.0/images/{fingerprint}"), Some(&peer.caller));
        Ok(files)
    });
    Ok(answer(opened.await?))
}

/// Answers an image's one or two files.
pub fn answer(mut files: Vec<ExportedFile>) -> axum::response::Response {
    if files.len() == 1
        && let Some(file) = files.pop()
    {
        return single(file);
    }
    form(files)
}

fn single(file: ExportedFile) -> axum::response::Response {
    let mut response = envelope::raw(Body::from_stream(content(file.file, file.size)));
    envelope::set(&mut response, header::CONTENT_LENGTH, &file.size.to_string());
    envelope::set(&mut response, header::CONTENT_DISPOSITION, &format!("inline;filename={}", file.filename));
    response
}

fn form(files: Vec<ExportedFile>) -> axum::response::Response {
    let boundary = format!("coffer{}", uuid::Uuid::new_v4().simple());
    let end = format!("\r\n--{boundary}--\r\n");
    let mut length = end.len() as u64;
    let mut parts: Vec<stream::BoxStream<'static, io::Result<Bytes>>> = Vec::new();
    for (index, file) in files.into_iter().enumerate() {
        let head = part_head(&boundary, index == 0, file.field, &file.filename);
        length += head.len() as u64 + file.size;
        parts.push(once(head).boxed());
        parts.push(content(file.file, file.size).boxed());
    }
    parts.push(once(end).boxed());
    let mut response = envelope::raw(Body::from_stream(stream::iter(parts).flatten()));
    envelope::set(&mut response, header::CONTENT_LENGTH, &length.to_string());
    envelope::set(&mut response, header::CONTENT_TYPE, &format!("multipart/form-data; boundary={boundary}"));
    response
}

fn part_head(boundary: &str, first: bool, name: &str, filename: &str) -> String {
    let before = if first { "" } else { "\r\n" };
    format!(
        "{before}--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{filename}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
}

fn once(text: String) -> impl Stream<Item = io::Result<Bytes>> {
    stream::once(async move { Ok(Bytes::from(text)) })
}

/// The file's first `size` bytes: the length was announced.
pub fn content(file: File, size: u64) -> impl Stream<Item = io::Result<Bytes>> {
    let mut file = tokio::fs::File::from_std(file);
    file.set_max_buf_size(CHUNK);
    ReaderStream::with_capacity(tokio::io::AsyncReadExt::take(file, size), CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use std::io::{Seek as _, Write as _};

    fn file(field: &'static str, content: &[u8]) -> ExportedFile {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        ExportedFile { field, filename: format!("{field}.tar"), file, size: content.len() as u64 }
    }

    #[tokio::test]
    async fn two_files_are_a_form_of_the_announced_length() {
        let response = form(vec![file("metadata", b"abc"), file("rootfs", &[b'x'; 600_000])]);
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let boundary = kind.split_once("boundary=").unwrap().1.to_owned();
        let length: usize = response.headers()[header::CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), length);
        let text = String::from_utf8(body.to_vec()).unwrap();
        let expect = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"metadata\"; filename=\"metadata.tar\"\r\n\
             Content-Type: application/octet-stream\r\n\r\nabc\r\n--{boundary}\r\n"
        );
        assert!(text.starts_with(&expect), "{text:.300}");
        assert!(text.ends_with(&format!("xxx\r\n--{boundary}--\r\n")));
    }

    #[tokio::test]
    async fn one_file_comes_as_it_is() {
        let response = single(file("metadata", b"abc"));
        assert_eq!(response.headers()[header::CONTENT_DISPOSITION], "inline;filename=metadata.tar");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "abc");
    }
}
