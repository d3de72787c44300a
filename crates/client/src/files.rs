//! Files inside instances.

use coffer_api::Response;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderName};

use crate::instances::instance_path;
use crate::{ApiPath, Client, ClientError, Download, Upload};

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

impl FileKind {
    fn as_str(self) -> &'static str {
        match self {
            FileKind::File => "file",
            FileKind::Directory => "directory",
            FileKind::Symlink => "symlink",
        }
    }
}

/// Whose a file is and who may do what with it; `None` leaves it to the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileOwner {
    /// User id inside the instance.
    pub uid: Option<u32>,
    /// Group id inside the instance.
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: Option<u32>,
}

/// Something to make inside an instance.
pub struct NewFile {
    /// What it is.
    pub kind: FileKind,
    /// Whose it is, if it is new.
    pub owner: FileOwner,
    /// Content of a file, target of a link, nothing for a directory.
    pub content: Upload,
}

/// What lies at a path inside an instance.
pub enum FileReply {
    /// A file and its content.
    File(FileOwner, Download),
    /// A directory and the names in it.
    Directory(FileOwner, Vec<String>),
    /// A link and its target.
    Symlink(FileOwner, Vec<u8>),
}

impl Client {
    /// Reads what lies at a path inside an instance.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn file(&self, instance: &str, path: &str) -> Result<FileReply, ClientError> {
        let answer = self.download(files_path(instance, path)).await?;
        let owner = FileOwner {
            uid: answer.header("x-lxd-uid").parse().ok(),
            gid: answer.header("x-lxd-gid").parse().ok(),
            mode: u32::from_str_radix(answer.header("x-lxd-mode"), 8).ok(),
        };
        match answer.header("x-lxd-type") {
            "directory" => {
                let asked = answer.path().to_owned();
                let body = answer.bytes().await?;
                let names: Response<Vec<String>> =
                    serde_json::from_slice(&body).map_err(|cause| ClientError::Reading { path: asked, cause })?;
                Ok(FileReply::Directory(owner, names.metadata))
            }
            "symlink" => Ok(FileReply::Symlink(owner, answer.bytes().await?)),
            _ => Ok(FileReply::File(owner, answer)),
        }
    }

    /// Makes or overwrites something inside an instance.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn create_file(&self, instance: &str, path: &str, file: NewFile) -> Result<(), ClientError> {
        let text = |value: Option<u32>| value.map(|value| value.to_string());
        let (uid, gid) = (text(file.owner.uid), text(file.owner.gid));
        let mode = file.owner.mode.map(|mode| format!("{mode:04o}"));
        let mut headers = vec![(CONTENT_TYPE, "application/octet-stream"), (name("x-lxd-type"), file.kind.as_str())];
        for (header, value) in [("x-lxd-uid", &uid), ("x-lxd-gid", &gid), ("x-lxd-mode", &mode)] {
            headers.extend(value.as_deref().map(|value| (name(header), value)));
        }
        self.upload(files_path(instance, path), &headers, file.content).await.map(drop)
    }

    /// Deletes a file or an empty directory inside an instance.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_file(&self, instance: &str, path: &str) -> Result<(), ClientError> {
        self.change::<()>(Method::DELETE, files_path(instance, path), None, "").await.map(drop)
    }
}

fn name(header: &'static str) -> HeaderName {
    HeaderName::from_static(header)
}

fn files_path(instance: &str, path: &str) -> ApiPath {
    instance_path(instance).then("files").query("path", path)
}
