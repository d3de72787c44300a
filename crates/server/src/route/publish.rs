//! `POST /1.0/images` with an instance or a snapshot as the source.

use coffer_api::{ImageReproducible, ImagesPost};
use coffer_engine::{PublishImage, Reproducible};
use coffer_model::{AliasName, Config, ProfileName, ProjectName};

use super::backups::compressor;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::Peer;
use crate::refusal::Refusal;

/// Says whether a request wants an image of an instance.
#[must_use]
pub fn is_wanted(body: &ImagesPost) -> bool {
    body.source.as_ref().is_some_and(|source| matches!(source.kind.as_str(), "instance" | "container" | "snapshot"))
}

/// Makes the image.
///
/// # Errors
/// What the use case refuses.
pub async fn create(app: App, peer: Peer, project: ProjectName, body: &ImagesPost) -> Answer {
    let wanted = wanted(body)?;
    let view = app.run(move |engine| engine.publish_image(&peer.caller, &project, wanted)).await?;
    envelope::accepted(&view)
}

fn wanted(body: &ImagesPost) -> Result<PublishImage, Refusal> {
    let source = body.source.as_ref().ok_or_else(|| Refusal::bad_request("the request has no source"))?;
    let (instance, snapshot) = match (source.kind.as_str(), source.name.split_once('/')) {
        ("snapshot", Some((instance, snapshot))) => (instance, Some(snapshot.parse()?)),
        ("snapshot", None) => return Err(Refusal::bad_request("the source's name must be INSTANCE/SNAPSHOT")),
        (_, Some(_)) => return Err(Refusal::bad_request("the source's name has a slash: to publish a snapshot, say type snapshot")),
        (_, None) => (source.name.as_str(), None),
    };
    if !source.project.is_empty() {
        return Err(Refusal::unsupported("images made of another project's instances"));
    }
    let alias = |alias: &coffer_api::ImageAlias| Ok((alias.name.parse::<AliasName>()?, alias.description.clone()));
    let profiles = body.profiles.iter().flatten().map(|name| Ok(name.parse::<ProfileName>()?));
    Ok(PublishImage {
        instance: instance.parse()?,
        snapshot,
        compressor: compressor(&body.compression_algorithm)?,
        properties: Config(body.properties.clone()),
        public: body.public,
        expires_at: body.expires_at.get(),
        filename: body.filename.clone(),
        profiles: profiles.collect::<Result<_, Refusal>>()?,
        aliases: body.aliases.iter().map(alias).collect::<Result<_, Refusal>>()?,
        reproducible: source.reproducible.as_ref().map(reproducible).transpose()?,
    })
}

/// The latest time that is taken: the last second of the year 9999, up to which times can be written down.
const LATEST: i64 = 253_402_300_799;

fn reproducible(wanted: &ImageReproducible) -> Result<Reproducible, Refusal> {
    if !(1..=LATEST).contains(&wanted.epoch) {
        return Err(Refusal::bad_request(format!("the epoch of a reproducible image is in seconds since 1970, from 1 to {LATEST}")));
    }
    Ok(Reproducible { epoch: wanted.epoch, split: wanted.split })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expect: &str) {
        let body: ImagesPost = crate::extract::parse(body.as_bytes()).unwrap();
        assert!(is_wanted(&body));
        let got = match wanted(&body) {
            Ok(wanted) => {
                let snapshot = wanted.snapshot.map(|name| name.to_string());
                format!("{} {snapshot:?} {:?} {}", wanted.instance, wanted.properties.0, wanted.aliases.len())
            }
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn what_clients_send() {
        check(
            r#"{"auto_update":false,"properties":{"a":"b"},"public":false,"expires_at":"0001-01-01T00:00:00Z","profiles":null,"filename":"","source":{"alias":"","certificate":"","protocol":"","server":"","image_type":"","mode":"","type":"instance","url":"","name":"c1","fingerprint":"","secret":"","project":""},"compression_algorithm":"","aliases":null}"#,
            r#"c1 None {"a": "b"} 0"#,
        );
        check(r#"{"source":{"type":"snapshot","name":"c1/snap0"},"aliases":[{"name":"x"}]}"#, r#"c1 Some("snap0") {} 1"#);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        check(
            r#"{"source":{"type":"instance","name":"c1","reproducible":{"epoch":0}}}"#,
            "the epoch of a reproducible image is in seconds since 1970, from 1 to 253402300799",
        );
        check(r#"{"source":{"type":"snapshot","name":"c1"}}"#, "the source's name must be INSTANCE/SNAPSHOT");
        check(
            r#"{"source":{"type":"container","name":"c1/s"}}"#,
            "the source's name has a slash: to publish a snapshot, say type snapshot",
        );
        check(
            r#"{"source":{"type":"instance","name":"c1"},"compression_algorithm":"sh -c x"}"#,
            "compression \"sh -c x\" is not supported: use none, gzip, bzip2, lzma, xz or zstd, perhaps with a level as in \"zstd -19\"",
        );
    }
}
