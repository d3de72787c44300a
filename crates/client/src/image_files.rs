//! Image files: uploading and downloading them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName};

use crate::images::image_path;
use crate::path::encode;
use crate::{ApiPath, Client, ClientError, Download, Part, Pending, Source, Upload};

/// An image to upload.
#[derive(Debug, Clone, Default)]
pub struct ImageUpload {
    /// The unified tarball, or the metadata of a split image.
    pub metadata: PathBuf,
    /// The root file system of a split image.
    pub rootfs: Option<PathBuf>,
    /// Whether untrusted clients may read it.
    pub public: bool,
    /// Properties over those of the metadata.
    pub properties: BTreeMap<String, String>,
}

/// A downloaded image: its first part, and whether a second one follows in the same body.
pub struct ImageDownload {
    /// The body.
    pub body: Download,
    /// Boundary of a split image's multipart body.
    pub boundary: Option<String>,
    /// File name the server proposes for a unified image; not to be trusted as a path.
    pub filename: String,
}

/// Name of one part of a split image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFile {
    /// Its metadata.
    Metadata,
    /// Its root file system.
    Rootfs,
}

impl Client {
    /// Uploads an image; `watch` hears of bytes sent and bytes in all.
    ///
    /// # Errors
    /// If a file can't be read, or the server refuses or can't be reached.
    pub async fn upload_image(
        &self,
        image: &ImageUpload,
        watch: impl Fn(u64, Option<u64>) + Send + Sync + 'static,
    ) -> Result<Pending, ClientError> {
        let boundary = boundary();
        let (upload, content_type) = match &image.rootfs {
            None => (Upload::new(vec![file_part(&image.metadata)?]), "application/octet-stream".to_owned()),
            Some(rootfs) => (split_body(&image.metadata, rootfs, &boundary)?, format!("multipart/form-data; boundary={boundary}")),
        };
        let filename = file_name(&image.metadata);
        let properties = query(&image.properties);
        let mut headers = vec![(CONTENT_TYPE, content_type.as_str())];
        if image.rootfs.is_none() {
            headers.push((HeaderName::from_static("x-lxd-filename"), &filename));
        }
        if image.public {
            headers.push((HeaderName::from_static("x-lxd-public"), "true"));
        }
        if !properties.is_empty() {
            headers.push((HeaderName::from_static("x-lxd-properties"), &properties));
        }
        let answer = self.upload(ApiPath::new("/1.0/images"), &headers, upload.watched(watch)).await?;
        Ok(Pending::new(self.clone(), answer))
    }

    /// Uploads an image from a source: a file, or a form of the content type's boundary.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn upload_image_stream(
        &self,
        content_type: &str,
        filename: &str,
        public: bool,
        source: Source,
    ) -> Result<Pending, ClientError> {
        let filename = file_name(Path::new(filename));
        let mut headers = vec![(CONTENT_TYPE, content_type)];
        if !filename.is_empty() {
            headers.push((HeaderName::from_static("x-lxd-filename"), &filename));
        }
        if public {
            headers.push((HeaderName::from_static("x-lxd-public"), "true"));
        }
        let answer = self.upload(ApiPath::new("/1.0/images"), &headers, Upload::new(vec![Part::Stream(source)])).await?;
        Ok(Pending::new(self.clone(), answer))
    }

    /// Downloads an image.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn export_image(&self, fingerprint: &str) -> Result<ImageDownload, ClientError> {
        let body = self.download(image_path(fingerprint).then("export")).await?;
        let boundary = parameter(body.header("content-type"), "boundary").map(str::to_owned);
        let boundary = boundary.filter(|_| body.header("content-type").starts_with("multipart/"));
        let filename = parameter(body.header("content-disposition"), "filename").unwrap_or_default().to_owned();
        Ok(ImageDownload { body, boundary, filename })
    }
}

fn split_body(metadata: &PathBuf, rootfs: &PathBuf, boundary: &str) -> Result<Upload, ClientError> {
    let head = |name: &str, file: &PathBuf| {
        let text = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{}\"\r\nContent-Type: application/octet-stream\r\n\r\n",
            file_name(file)
        );
        Part::Bytes(Bytes::from(text))
    };
    let text = |text: String| Part::Bytes(Bytes::from(text));
    Ok(Upload::new(vec![
        head("metadata", metadata),
        file_part(metadata)?,
        text("\r\n".to_owned()),
        head("rootfs", rootfs),
        file_part(rootfs)?,
        text(format!("\r\n--{boundary}--\r\n")),
    ]))
}

fn file_part(path: &PathBuf) -> Result<Part, ClientError> {
    let fail = |cause| ClientError::LocalFile { file: path.clone(), cause };
    let file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    Ok(Part::File(file, length))
}

/// Returns the last part of a path with quotes and everything unprintable left out.
fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.chars().filter(|c| c.is_ascii_graphic() && *c != '"' && *c != '\\').collect()
}

fn boundary() -> String {
    // Also a websocket key is sixteen random bytes; letters and digits of it are enough here.
    let random = tokio_tungstenite::tungstenite::handshake::client::generate_key()
        + &tokio_tungstenite::tungstenite::handshake::client::generate_key();
    random.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn query(pairs: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        encode(key, &mut text);
        text.push('=');
        encode(value, &mut text);
    }
    text
}

/// Finds a parameter of a structured header, quotes taken off.
fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let pairs = header.split(';').filter_map(|part| part.trim().split_once('='));
    let (_, value) = pairs.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found() {
        assert_eq!(parameter("inline;filename=abc.tar.xz", "filename"), Some("abc.tar.xz"));
        assert_eq!(parameter("multipart/form-data; boundary=\"x y\"", "boundary"), Some("x y"));
        assert_eq!(parameter("application/json", "boundary"), None);
    }

    #[test]
    fn file_names_cannot_break_headers() {
        assert_eq!(file_name(Path::new("/a/b\"c\r\n.tar")), "bc.tar");
    }

    #[test]
    fn properties_are_a_query() {
        let properties = BTreeMap::from([("os".to_owned(), "Debian 12".to_owned()), ("a".to_owned(), "&".to_owned())]);
        assert_eq!(query(&properties), "a=%26&os=Debian%2012");
    }
}
