//! Images of another daemon, by its API.

use std::collections::BTreeMap;

use coffer_base::Architecture;
use coffer_web::multipart::{Form, Piece};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::RemoteError;
use crate::image::{ImageKind, RemoteImage, is_hash};
use crate::server::{Hashing, Server, Wanted};

/// The largest answer that is read.
const LIMIT: usize = 32 << 20;

/// The part of an answer that is of interest.
#[derive(Deserialize)]
struct Envelope<T> {
    metadata: T,
}

#[derive(Deserialize)]
struct AliasEntry {
    target: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    fingerprint: String,
    architecture: String,
    size: u64,
    filename: String,
    #[serde(rename = "type")]
    kind: String,
    properties: Option<BTreeMap<String, String>>,
    aliases: Option<Vec<AliasName>>,
    created_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AliasName {
    name: String,
}

impl Entry {
    /// What cannot be used is none.
    fn image(self) -> Option<RemoteImage> {
        let seconds = |time: Option<Timestamp>| time.map(Timestamp::as_second).filter(|seconds| *seconds > 0);
        Some(RemoteImage {
            architecture: self.architecture.parse().ok()?,
            fingerprint: Some(self.fingerprint).filter(|fingerprint| is_hash(fingerprint))?,
            aliases: self.aliases.unwrap_or_default().into_iter().map(|alias| alias.name).collect(),
            kind: if self.kind == "virtual-machine" { ImageKind::VirtualMachine } else { ImageKind::Container },
            size: self.size,
            created_at: seconds(self.created_at).unwrap_or(0),
            expires_at: seconds(self.expires_at),
            properties: self.properties.unwrap_or_default(),
            filename: self.filename,
            files: Vec::new(),
            deltas: Vec::new(),
        })
    }
}

/// Lists the images that it shows.
pub async fn images(server: &Server, wanted: &Wanted) -> Result<Vec<RemoteImage>, RemoteError> {
    let list: Vec<Entry> = get(server, &target("/1.0/images", &[("recursion", "1"), ("project", &wanted.project)])).await?;
    Ok(list.into_iter().filter_map(Entry::image).collect())
}

/// Finds an image by alias or fingerprint.
pub async fn find(server: &Server, name: &str, host: Architecture, wanted: &Wanted) -> Result<RemoteImage, RemoteError> {
    let missing = || RemoteError::NoImage { server: server.url.to_string(), name: name.to_owned(), architecture: host.to_string() };
    let hexadecimal = !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let alias = target(&format!("/1.0/images/aliases/{}", escape(name)), &[("project", &wanted.project)]);
    let fingerprint = match get::<AliasEntry>(server, &alias).await {
        Ok(alias) if is_hash(&alias.target) => alias.target,
        Ok(_) => return Err(missing()),
        Err(error) if hexadecimal && refused(&error) => name.to_ascii_lowercase(),
        Err(error) if refused(&error) => return Err(missing()),
        Err(error) => return Err(error),
    };
    let path = target(&format!("/1.0/images/{fingerprint}"), &[("secret", &wanted.secret), ("project", &wanted.project)]);
    let entry: Entry = get(server, &path).await.map_err(|error| if refused(&error) { missing() } else { error })?;
    // The server chose what to answer: it must be what was asked for.
    let image = entry.image().filter(|image| image.fingerprint.starts_with(&fingerprint)).ok_or_else(missing)?;
    if image.kind == ImageKind::Container && host.runs(image.architecture) { Ok(image) } else { Err(missing()) }
}

/// Fetches an image: one file, or a form with two.
pub async fn fetch(server: &Server, image: &RemoteImage, wanted: &Wanted, sink: &mut Hashing<'_>) -> Result<(), RemoteError> {
    let path = format!("/1.0/images/{}/export", image.fingerprint);
    let url = server.url.at(&target(&path, &[("secret", &wanted.secret), ("project", &wanted.project)]));
    let mut reply = server.fetcher.get(&url, &[]).await?.success()?;
    let damaged = |cause| RemoteError::Damaged { url: url.to_string(), cause };
    let Some(mut form) = Form::of_content_type(reply.header("content-type")).map_err(damaged)? else {
        while let Some(chunk) = reply.chunk().await? {
            sink.write(&chunk)?;
        }
        return Ok(());
    };
    let mut parts = 0;
    while let Some(chunk) = reply.chunk().await? {
        form.push(&chunk);
        while let Some(piece) = form.piece().map_err(damaged)? {
            match piece {
                Piece::Part { .. } => {
                    parts += 1;
                    if parts > 1 {
                        sink.begin_rootfs()?;
                    }
                }
                Piece::Content(bytes) => sink.write(&bytes)?,
                Piece::End => return Ok(()),
            }
        }
    }
    form.finish().map_err(damaged)
}

async fn get<T: DeserializeOwned>(server: &Server, target: &str) -> Result<T, RemoteError> {
    let url = server.url.at(target);
    let body = server.fetcher.get(&url, &[]).await?.success()?.bytes(LIMIT).await?;
    let read: Envelope<T> = serde_json::from_slice(&body).map_err(|cause| RemoteError::Form { url: url.to_string(), cause })?;
    Ok(read.metadata)
}

/// Says whether the server just does not show it.
fn refused(error: &RemoteError) -> bool {
    matches!(error, RemoteError::Fetch(coffer_web::FetchError::Refused { status, .. }) if matches!(status.as_u16(), 403 | 404))
}

/// A path with those parameters that have a value.
pub(crate) fn target(path: &str, parameters: &[(&str, &str)]) -> String {
    let pairs = parameters.iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| format!("{key}={}", escape(value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// Escapes everything but what needs no escape anywhere. Source: RFC 3986, section 2.3.
pub(crate) fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(target("/1.0/images", &[("recursion", "1"), ("project", "")]), "/1.0/images?recursion=1");
        assert_eq!(target("/x", &[("secret", "")]), "/x");
        assert_eq!(escape("debian/12 ü"), "debian%2F12%20%C3%BC");
    }

    #[test]
    fn what_can_t_be_used_is_left_out() {
        let read = |text: &str| serde_json::from_str::<Entry>(text).unwrap().image();
        let hash = "a".repeat(64);
        assert!(read(&format!(r#"{{"fingerprint":"{hash}","architecture":"x86_64","properties":null,"aliases":null}}"#)).is_some());
        assert!(read(&format!(r#"{{"fingerprint":"{hash}","architecture":"vax"}}"#)).is_none());
        assert!(read(r#"{"fingerprint":"../../etc/passwd","architecture":"x86_64"}"#).is_none());
    }
}
