//! `image info`.

use std::fmt::Write;

use coffer_api::{Image, Timestamp};

use crate::render::{clean, mebibytes, minute};

/// Writes an image for people.
pub(super) fn text(image: &Image) -> String {
    let when = |time: Timestamp, otherwise: &str| if time.is_set() { minute(time) } else { otherwise.to_owned() };
    let word = |value: bool| if value { "yes" } else { "no" };
    let kind = if image.kind.is_empty() { "container" } else { &image.kind };
    let mut out = String::new();
    let _ = writeln!(out, "Fingerprint: {}\nSize: {}", clean(&image.fingerprint), mebibytes(image.size));
    let _ = writeln!(out, "Architecture: {}\nType: {}\nPublic: {}", clean(&image.architecture), clean(kind), word(image.public));
    out.push_str("Timestamps:\n");
    if image.created_at.is_set() {
        let _ = writeln!(out, "    Created: {}", minute(image.created_at));
    }
    let _ = writeln!(out, "    Uploaded: {}", minute(image.uploaded_at));
    let _ = writeln!(out, "    Expires: {}", when(image.expires_at, "never"));
    let _ = writeln!(out, "    Last used: {}", when(image.last_used_at, "never"));
    out.push_str("Properties:\n");
    for (key, value) in &image.properties {
        let _ = writeln!(out, "    {}: {}", clean(key), clean(value));
    }
    out.push_str("Aliases:\n");
    for alias in &image.aliases {
        let _ = writeln!(out, "    - {}", clean(&alias.name));
    }
    let update = if image.auto_update { "enabled" } else { "disabled" };
    let _ = writeln!(out, "Cached: {}\nAuto update: {update}", word(image.cached));
    if let Some(source) = &image.update_source {
        let (server, protocol, alias) = (clean(&source.server), clean(&source.protocol), clean(&source.alias));
        let _ = writeln!(out, "Source:\n    Server: {server}\n    Protocol: {protocol}\n    Alias: {alias}");
    }
    if let Some(origin) = &image.origin {
        let from = if origin.server.is_empty() { "a client's upload" } else { &origin.server };
        let _ = writeln!(out, "Origin:\n    From: {}", clean(from));
        let _ = writeln!(out, "    Asked by: {}\n    Arrived: {}", clean(&origin.asked_by), minute(origin.fetched_at));
    }
    if image.profiles.is_empty() {
        out.push_str("Profiles: []\n");
    } else {
        out.push_str("Profiles:\n");
        for profile in &image.profiles {
            let _ = writeln!(out, "    - {}", clean(profile));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn an_image() {
        let image: Image = serde_json::from_str(
            r#"{"fingerprint":"2988","size":71094556,"architecture":"x86_64","type":"container","expires_at":"1970-01-01T00:00:00Z",
            "properties":{"os":"Debian"},"aliases":[{"name":"deb"}],"profiles":["default"]}"#,
        )
        .unwrap();
        expect![[r"
            Fingerprint: 2988
            Size: 67.80MB
            Architecture: x86_64
            Type: container
            Public: no
            Timestamps:
                Uploaded: 
                Expires: never
                Last used: never
            Properties:
                os: Debian
            Aliases:
                - deb
            Cached: no
            Auto update: disabled
            Profiles:
                - default
        "]]
        .assert_eq(&text(&image));
    }
}
