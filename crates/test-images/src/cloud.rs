//! The image that a cloud would have: Debian with cloud-init and an ssh server, and templates that seed cloud-init.

use std::fs;
use std::path::Path;

use crate::cache::write_metadata;
use crate::debian::{PACKAGES, Release, install};
use crate::tool::{ImageError, at};

const RELEASE: Release = Release::Bookworm;

/// There are no locales to choose from in an image this small.
const CONFIG: &str = "locale: false\n";

const MORE: &str = "cloud-init,openssh-server,sudo";

/// The templates by name, as images of distributions have them: the newer key first, then the older one.
const TEMPLATES: [(&str, &str); 5] = [
    ("hostname.tpl", "{{ container.name }}\n"),
    (
        "cloud-init-meta.tpl",
        "#cloud-config\ninstance-id: {{ container.name }}\nlocal-hostname: {{ container.name }}\n{{ config_get(\"user.meta-data\", \"\") }}\n",
    ),
    ("cloud-init-user.tpl", "{{ config_get(\"cloud-init.user-data\", config_get(\"user.user-data\", properties.default)) }}\n"),
    ("cloud-init-vendor.tpl", "{{ config_get(\"cloud-init.vendor-data\", config_get(\"user.vendor-data\", properties.default)) }}\n"),
    (
        "cloud-init-network.tpl",
        "{% if config_get(\"cloud-init.network-config\", config_get(\"user.network-config\", \"\")) == \"\" %}version: 1\nconfig:\n  - type: physical\n    \
         name: {% if instance.type == \"virtual-machine\" %}enp5s0{% else %}eth0{% endif %}\n    subnets:\n      - type: dhcp\n        \
         control: auto{% else %}{{ config_get(\"cloud-init.network-config\", config_get(\"user.network-config\", \"\")) }}{% endif %}\n",
    ),
];

/// Where they go.
const RULES: &str = "\
templates:
  /etc/hostname:
    when: [create, copy]
    template: hostname.tpl
  /var/lib/cloud/seed/nocloud-net/meta-data:
    when: [create, copy]
    template: cloud-init-meta.tpl
  /var/lib/cloud/seed/nocloud-net/network-config:
    when: [create, copy]
    template: cloud-init-network.tpl
  /var/lib/cloud/seed/nocloud-net/user-data:
    when: [create, copy]
    template: cloud-init-user.tpl
    properties:
      default: |
        #cloud-config
        {}
  /var/lib/cloud/seed/nocloud-net/vendor-data:
    when: [create, copy]
    template: cloud-init-vendor.tpl
    properties:
      default: |
        #cloud-config
        {}
";

/// Everything that the image depends on, as text.
pub fn recipe() -> String {
    format!("1 {} {MORE} {CONFIG} {TEMPLATES:?} {RULES}", crate::debian::recipe(RELEASE))
}

/// Makes `work/image`.
pub fn make(work: &Path) -> Result<(), ImageError> {
    let image = work.join("image");
    install(&image, RELEASE, &format!("{PACKAGES},{MORE}"))?;
    // Each instance makes keys of its own, at its first boot.
    let keys = image.join("rootfs/etc/ssh");
    at("cleaning", &keys, without_keys(&keys))?;
    let config = image.join("rootfs/etc/cloud/cloud.cfg.d/99-test.cfg");
    at("writing", &config, fs::write(&config, CONFIG))?;
    let templates = image.join("templates");
    at("writing", &templates, write_templates(&templates))?;
    write_metadata(&image, "Debian", RELEASE.name(), RELEASE.version())?;
    let metadata = image.join("metadata.yaml");
    let text = at("reading", &metadata, fs::read_to_string(&metadata))?;
    at("writing", &metadata, fs::write(&metadata, text + RULES))
}

fn without_keys(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("ssh_host_") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write_templates(directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    TEMPLATES.iter().try_for_each(|(name, text)| fs::write(directory.join(name), text))
}
