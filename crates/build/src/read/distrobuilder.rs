//! The common parts of distrobuilder's recipes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::native::{mode, target};
use super::packages::{self, Packages};
use super::{Reading, RecipeError, plain_name, script, usual, yaml};
use crate::recipe::{
    Base, Bootstrap, Clean, Content, Description, Item, Output, Process, Recipe, Run, Source, Stage, Step, Template, Work,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    image: ImageSection,
    source: Spanned<SourceSection>,
    /// What goes into images of other programs; nothing of ours.
    #[serde(default, rename = "targets")]
    _targets: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    files: Vec<Spanned<FileSection>>,
    packages: Option<Spanned<PackagesSection>>,
    #[serde(default)]
    actions: Vec<Spanned<ActionSection>>,
    mappings: Option<Mappings>,
    environment: Option<Environment>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageSection {
    #[serde(default)]
    name: String,
    distribution: String,
    #[serde(default)]
    release: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    serial: String,
    /// How long an image may be used; each of ours is used as long as it is kept.
    #[serde(default, rename = "expiry")]
    _expiry: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceSection {
    downloader: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    suite: String,
    #[serde(default)]
    variant: String,
    #[serde(default)]
    components: Vec<String>,
    #[serde(default)]
    early_packages: Vec<String>,
    /// Keys to fetch; here those of the distribution's keyring count.
    #[serde(default, rename = "keys")]
    _keys: Vec<String>,
    #[serde(default, rename = "keyserver")]
    _keyserver: String,
    /// The script that debootstrap would use for this release.
    #[serde(default, rename = "same_as")]
    _same_as: String,
}

/// For which images something is meant.
#[derive(Default, Deserialize)]
struct Filter {
    #[serde(default)]
    releases: Vec<String>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    variants: Vec<String>,
    #[serde(default)]
    types: Vec<String>,
}

#[derive(Deserialize)]
struct FileSection {
    generator: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    content: String,
    #[serde(default)]
    name: String,
    mode: Option<Spanned<String>>,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    gid: String,
    #[serde(default)]
    pongo: bool,
    #[serde(default)]
    template: TemplateSection,
    #[serde(flatten)]
    filter: Filter,
    /// What nobody here knows.
    #[serde(flatten)]
    rest: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateSection {
    #[serde(default)]
    properties: BTreeMap<String, String>,
    #[serde(default)]
    when: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PackagesSection {
    manager: Option<String>,
    #[serde(default)]
    custom_manager: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    update: bool,
    #[serde(default, rename = "cleanup")]
    _cleanup: bool,
    #[serde(default)]
    sets: Vec<Spanned<SetSection>>,
    #[serde(default)]
    repositories: Vec<Spanned<RepositorySection>>,
}

#[derive(Deserialize)]
struct SetSection {
    packages: Vec<String>,
    action: String,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    early: bool,
    #[serde(flatten)]
    filter: Filter,
    /// What nobody here knows.
    #[serde(flatten)]
    rest: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct RepositorySection {
    name: String,
    url: String,
    #[serde(default)]
    key: String,
    #[serde(flatten)]
    filter: Filter,
    /// What nobody here knows.
    #[serde(flatten)]
    rest: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct ActionSection {
    trigger: String,
    action: String,
    #[serde(default)]
    pongo: bool,
    #[serde(flatten)]
    filter: Filter,
    /// What nobody here knows.
    #[serde(flatten)]
    rest: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mappings {
    #[serde(default)]
    architectures: BTreeMap<String, String>,
    #[serde(default)]
    architecture_map: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Environment {
    #[serde(default)]
    clear_defaults: bool,
    #[serde(default)]
    variables: Vec<Variable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    key: String,
    value: String,
}

/// The image's own words, which filters and texts are held against.
struct About {
    /// `image.NAME`, by name.
    fields: BTreeMap<&'static str, String>,
    environment: BTreeMap<String, String>,
}

/// Reads a recipe.
pub(super) fn read(text: &str, reading: &Reading<'_>) -> Result<Recipe, RecipeError> {
    if !reading.arguments.is_empty() {
        return Err(RecipeError::whole("--build-arg is for Dockerfiles: a recipe of this kind takes none"));
    }
    let document: Document = yaml::read(text)?;
    document.refuse_unknown()?;
    let about = about(&document, reading)?;
    let source_line = line_of(&document.source);
    let (base, mut steps) = base(&document.source.value, source_line, &about)?;
    about.actions(&document.actions, "post-unpack", &mut steps)?;
    if let Some(packages) = &document.packages {
        packages_steps(packages, &document.actions, &about, &mut steps)?;
    }
    about.actions(&document.actions, "post-packages", &mut steps)?;
    let mut templates = Vec::new();
    let mut items = Vec::new();
    let mut removed = Vec::new();
    for file in &document.files {
        if about.meant(&file.value.filter) {
            generate(&file.value, line_of(file), &about, &mut items, &mut templates, &mut removed)?;
        }
    }
    let line = document.files.first().map_or(0, line_of);
    if !removed.is_empty() {
        steps.push(Step { line, title: "remove files".into(), work: Work::Clean(removed) });
    }
    if !items.is_empty() {
        steps.push(Step { line, title: format!("put {} files", items.len()), work: Work::Put(items) });
    }
    about.actions(&document.actions, "post-files", &mut steps)?;
    if let Some(action) = document.actions.iter().find(|action| !TRIGGERS.contains(&action.value.trigger.as_str())) {
        let known = TRIGGERS.join(", ");
        let reason = format!("the trigger '{}' is not supported; these are: {known}", action.value.trigger);
        return Err(RecipeError::at(line_of(action), reason));
    }
    steps.extend(usual::clean(0, true, &[]));
    let properties = about.properties(&document.image);
    let description = Description { properties, templates, process: Process::default() };
    steps.push(Step { line: 0, title: "describe the image".into(), work: Work::Describe(description) });
    let name = if document.image.name.is_empty() { reading.name } else { &document.image.name };
    let stages = vec![Stage { name: String::new(), base, steps }];
    Ok(Recipe { name: plain_name(&about.filled(name, source_line)?), epoch: None, stages, output: Output::default() })
}

impl Document {
    /// Refuses keys where filters may stand too.
    fn refuse_unknown(&self) -> Result<(), RecipeError> {
        let packages = self.packages.as_ref().map(|packages| &packages.value);
        let files = self.files.iter().map(|file| (line_of(file), &file.value.rest));
        let actions = self.actions.iter().map(|action| (line_of(action), &action.value.rest));
        let sets = packages.iter().flat_map(|packages| packages.sets.iter().map(|set| (line_of(set), &set.value.rest)));
        let repositories = packages
            .iter()
            .flat_map(|packages| packages.repositories.iter().map(|repository| (line_of(repository), &repository.value.rest)));
        let unknown = files.chain(actions).chain(sets).chain(repositories).find_map(|(line, rest)| Some((line, rest.keys().next()?)));
        unknown.map_or(Ok(()), |(line, key)| Err(RecipeError::at(line, format!("{key} is not supported here"))))
    }
}

/// When actions run.
const TRIGGERS: [&str; 4] = ["post-unpack", "post-update", "post-packages", "post-files"];

fn line_of<T>(spanned: &Spanned<T>) -> usize {
    usize::try_from(spanned.referenced.line()).unwrap_or(0)
}

fn about(document: &Document, reading: &Reading<'_>) -> Result<About, RecipeError> {
    let image = &document.image;
    let architecture = if image.architecture.is_empty() { reading.architecture } else { &image.architecture };
    let mapped = match &document.mappings {
        None => distribution_word(architecture, ""),
        Some(mappings) => match mappings.architectures.get(architecture) {
            Some(word) => word.clone(),
            None => distribution_word(architecture, &mappings.architecture_map),
        },
    };
    let fields = BTreeMap::from([
        ("name", image.name.clone()),
        ("distribution", image.distribution.clone()),
        ("release", image.release.clone()),
        ("architecture", architecture.to_owned()),
        ("architecture_mapped", mapped),
        ("variant", if image.variant.is_empty() { "default".into() } else { image.variant.clone() }),
        ("description", image.description.clone()),
        ("serial", image.serial.clone()),
    ]);
    let mut environment = BTreeMap::new();
    if let Some(section) = &document.environment {
        if section.clear_defaults {
            return Err(RecipeError::whole("environment: clear_defaults is not supported"));
        }
        environment.extend(section.variables.iter().map(|variable| (variable.key.clone(), variable.value.clone())));
    }
    Ok(About { fields, environment })
}

/// An architecture in the word of a family of distributions.
fn distribution_word(architecture: &str, map: &str) -> String {
    match (architecture, map) {
        ("x86_64", "debian" | "") => "amd64",
        ("aarch64", "debian" | "") => "arm64",
        ("i686", "debian" | "") => "i386",
        (other, _) => other,
    }
    .to_owned()
}

fn base(source: &SourceSection, line: usize, about: &About) -> Result<(Base, Vec<Step>), RecipeError> {
    match source.downloader.as_str() {
        "debootstrap" | "mmdebstrap" => {
            let suite = if source.suite.is_empty() { &about.fields["release"] } else { &source.suite };
            let bootstrap = Bootstrap {
                suite: about.filled(suite, line)?,
                mirror: about.filled(&source.url, line)?,
                variant: if source.variant.is_empty() { "important".into() } else { source.variant.clone() },
                components: source.components.clone(),
                include: source.early_packages.clone(),
                architecture: about.fields["architecture_mapped"].clone(),
                ..Bootstrap::default()
            };
            Ok((Base::Bootstrap(bootstrap), vec![usual::forget_host(line)]))
        }
        "rootfs-http" => match about.filled(&source.url, line)?.strip_prefix("file://") {
            Some(path) => Ok((Base::Archive { file: path.trim_start_matches('/').to_owned(), sha256: None }, Vec::new())),
            None => Err(RecipeError::at(
                line,
                "rootfs-http takes a file:// URL, which is looked up in the build context: a build fetches nothing by itself",
            )),
        },
        other => Err(RecipeError::at(line, format!("the downloader '{other}' is not supported; these are: debootstrap, rootfs-http"))),
    }
}

fn packages_steps(
    packages: &Spanned<PackagesSection>,
    actions: &[Spanned<ActionSection>],
    about: &About,
    steps: &mut Vec<Step>,
) -> Result<(), RecipeError> {
    let (section, line) = (&packages.value, line_of(packages));
    if section.custom_manager.is_some() {
        return Err(RecipeError::at(line, "packages: custom_manager is not supported"));
    }
    let manager = section.manager.clone().ok_or_else(|| RecipeError::at(line, "packages have no manager"))?;
    let mut items = Vec::new();
    for repository in section.repositories.iter().filter(|repository| about.meant(&repository.value.filter)) {
        items.extend(repository_items(&repository.value, line_of(repository), &manager, about)?);
    }
    if !items.is_empty() {
        steps.push(Step { line, title: format!("put {} files", items.len()), work: Work::Put(items) });
    }
    let sets: Vec<_> = section.sets.iter().filter(|set| about.meant(&set.value.filter)).collect();
    let one = Packages { manager: manager.clone(), ..Packages::default() };
    let mut step = |packages: Packages, line| -> Result<(), RecipeError> {
        steps.extend(packages::step(&packages, line, &about.environment)?);
        Ok(())
    };
    if section.update || !sets.is_empty() {
        step(Packages { update: true, upgrade: section.update, ..one.clone() }, line)?;
    }
    about.actions(actions, "post-update", steps)?;
    for set in sets {
        let (line, set) = (line_of(set), &set.value);
        if set.early {
            return Err(RecipeError::at(line, "packages that are early are not supported: list them as early_packages of the source"));
        }
        let packages = Packages { flags: set.flags.clone(), ..one.clone() };
        let packages = match set.action.as_str() {
            "install" => Packages { install: set.packages.clone(), ..packages },
            "remove" => Packages { remove: set.packages.clone(), ..packages },
            other => return Err(RecipeError::at(line, format!("the action '{other}' is not supported; these are: install, remove"))),
        };
        steps.extend(packages::step(&packages, line, &about.environment)?);
    }
    Ok(())
}

/// The files that make a repository known.
fn repository_items(repository: &RepositorySection, line: usize, manager: &str, about: &About) -> Result<Vec<Item>, RecipeError> {
    if manager != "apt" {
        return Err(RecipeError::at(line, format!("repositories of {manager} are not supported; put their files with the generator dump")));
    }
    let path = match repository.name.as_str() {
        "sources.list" => "/etc/apt/sources.list".to_owned(),
        name => format!("/etc/apt/sources.list.d/{}.list", plain_name(name)),
    };
    let text = |path: String, text: String| Item { path, content: Content::Text(text), owner: String::new(), mode: None };
    let url = about.filled(&repository.url, line)?;
    let mut items = vec![text(path, format!("{}\n", url.trim_end()))];
    if repository.key.contains("BEGIN PGP") {
        items.push(text(format!("/etc/apt/trusted.gpg.d/{}.asc", plain_name(&repository.name)), repository.key.clone()));
    } else if !repository.key.is_empty() {
        return Err(RecipeError::at(line, "a repository's key by its number is not supported: give the key itself"));
    }
    Ok(items)
}

fn generate(
    file: &FileSection,
    line: usize,
    about: &About,
    items: &mut Vec<Item>,
    templates: &mut Vec<Template>,
    removed: &mut Vec<Clean>,
) -> Result<(), RecipeError> {
    let mode = file.mode.as_ref().map(|text| mode(&text.value, line_of(text))).transpose()?;
    let owner = if file.uid.is_empty() && file.gid.is_empty() {
        String::new()
    } else {
        let id = |text: &str| if text.is_empty() { "0".to_owned() } else { text.to_owned() };
        format!("{}:{}", id(&file.uid), id(&file.gid))
    };
    let item = |content| -> Result<Item, RecipeError> { Ok(Item { path: target(&file.path, line)?, content, owner: owner.clone(), mode }) };
    let told = |template: Template| Template {
        when: if file.template.when.is_empty() { template.when } else { file.template.when.clone() },
        properties: template.properties.into_iter().chain(file.template.properties.clone()).collect(),
        ..template
    };
    match file.generator.as_str() {
        "hostname" => templates.push(told(usual::hostname())),
        "hosts" => templates.push(told(usual::hosts())),
        "cloud-init" => {
            let names = if file.name.is_empty() { usual::CLOUD_INIT.to_vec() } else { vec![file.name.as_str()] };
            for name in names {
                let template = usual::cloud_init(name);
                let unknown =
                    || RecipeError::at(line, format!("cloud-init reads no '{name}'; these are: {}", usual::CLOUD_INIT.join(", ")));
                templates.push(told(template.ok_or_else(unknown)?));
            }
        }
        "dump" => {
            let text = if file.pongo { about.filled(&file.content, line)? } else { file.content.clone() };
            items.push(item(Content::Text(text))?);
        }
        "copy" => items.push(item(Content::Copy { sources: vec![file.source.clone()], from: Source::Context })?),
        "template" => {
            let name =
                if file.name.is_empty() { format!("{}.tpl", file.path.trim_matches('/').replace('/', "-")) } else { file.name.clone() };
            let when = ["create", "copy"].map(str::to_owned).to_vec();
            let path = target(&file.path, line)?;
            templates.push(told(Template { path, name, content: file.content.clone(), when, ..Template::default() }));
        }
        "remove" => removed.push(Clean::Remove(target(&file.path, line)?)),
        // For virtual machines, and for LXC's own configuration.
        "lxd-agent" | "incus-agent" | "fstab" => {}
        other => {
            let reason =
                format!("the generator '{other}' is not supported; these are: hostname, hosts, cloud-init, dump, copy, template, remove");
            return Err(RecipeError::at(line, reason));
        }
    }
    Ok(())
}

impl About {
    /// Whether something with such a filter is meant for this image.
    fn meant(&self, filter: &Filter) -> bool {
        let fits = |wanted: &[String], field: &str| wanted.is_empty() || wanted.contains(&self.fields[field]);
        let of_architecture = fits(&filter.architectures, "architecture") || fits(&filter.architectures, "architecture_mapped");
        let of_container = filter.types.is_empty() || filter.types.iter().any(|kind| kind == "container");
        fits(&filter.releases, "release") && fits(&filter.variants, "variant") && of_architecture && of_container
    }

    fn actions(&self, actions: &[Spanned<ActionSection>], trigger: &str, steps: &mut Vec<Step>) -> Result<(), RecipeError> {
        for action in actions.iter().filter(|action| action.value.trigger == trigger && self.meant(&action.value.filter)) {
            let line = line_of(action);
            let text = if action.value.pongo { self.filled(&action.value.action, line)? } else { action.value.action.clone() };
            let run = Run { command: script::command(&text, line)?, environment: self.environment.clone(), ..Run::default() };
            steps.push(Step { line, title: format!("{trigger}: {}", script::title(&text)), work: Work::Run(run) });
        }
        Ok(())
    }

    /// A text with the image's own words put in; nothing else of templates is understood.
    fn filled(&self, text: &str, line: usize) -> Result<String, RecipeError> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{']) {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            if rest.starts_with("{%") {
                return Err(RecipeError::at(line, "conditions ({% … %}) in a recipe's texts are not supported"));
            }
            let Some(inside) = rest.strip_prefix("{{") else {
                filled.push('{');
                rest = &rest[1..];
                continue;
            };
            let end = inside.find("}}").ok_or_else(|| RecipeError::at(line, "a {{ has no end"))?;
            let word = inside[..end].trim();
            let value = word.strip_prefix("image.").and_then(|name| self.fields.get(name));
            filled.push_str(value.ok_or_else(|| RecipeError::at(line, format!("{{{{ {word} }}}} is not supported")))?);
            rest = &inside[end + 2..];
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn properties(&self, image: &ImageSection) -> BTreeMap<String, String> {
        let mut properties = BTreeMap::from([("os".to_owned(), image.distribution.clone())]);
        for name in ["release", "architecture", "variant", "serial", "name", "description"] {
            let value = &self.fields[name];
            if !value.is_empty() {
                properties.insert(name.to_owned(), self.filled(value, 0).unwrap_or_else(|_| value.clone()));
            }
        }
        properties
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;

    fn reading(text: &str) -> Result<Recipe, String> {
        let dir = tempfile::tempdir().unwrap();
        let context = Context::open(dir.path()).unwrap();
        let reading = Reading { name: "debian", context: &context, arguments: BTreeMap::new(), architecture: "x86_64" };
        read(text, &reading).map_err(|error| error.to_string())
    }

    const HEAD: &str = "image:\n  distribution: debian\n  release: bookworm\n";
    const SOURCE: &str = "source:\n  downloader: debootstrap\n  url: http://deb.debian.org/debian\n";

    #[track_caller]
    fn refused(rest: &str, expect: &str) {
        let got = reading(&format!("{HEAD}{SOURCE}{rest}")).unwrap_err();
        assert!(got.contains(expect), "{got}");
    }

    #[test]
    fn the_common_parts() {
        let text = format!(
            "{HEAD}{SOURCE}{}",
            r#"targets:
  lxc:
    create_message: hello
files:
- generator: hostname
  path: /etc/hostname
- generator: dump
  path: /etc/release-name
  content: "{{ image.release }} on {{ image.architecture_mapped }}\n"
  pongo: true
  mode: 0600
- generator: dump
  path: /etc/other
  content: x
  releases: [trixie]
- generator: cloud-init
  variants: [cloud]
- generator: remove
  path: /etc/motd
packages:
  manager: apt
  update: true
  cleanup: true
  sets:
  - packages: [systemd, dbus]
    action: install
  - packages: [linux-image-amd64]
    action: install
    types: [vm]
  repositories:
  - name: sources.list
    url: |-
      deb http://deb.debian.org/debian {{ image.release }} main
actions:
- trigger: post-files
  action: |-
    #!/bin/sh
    set -eux
    locale-gen
mappings:
  architecture_map: debian
environment:
  variables:
  - key: LANG
    value: C.UTF-8
"#
        );
        let recipe = reading(&text).unwrap();
        let Base::Bootstrap(bootstrap) = &recipe.stages[0].base else { panic!("{:?}", recipe.stages[0].base) };
        assert_eq!((bootstrap.suite.as_str(), bootstrap.architecture.as_str()), ("bookworm", "amd64"));
        let titles: Vec<&str> = recipe.stages[0].steps.iter().map(|step| step.title.as_str()).collect();
        let expect = [
            "take out what came from this host",
            "put 1 files",
            "apt: upgrade all packages",
            "apt: install 2 packages",
            "remove files",
            "put 1 files",
            "post-files: locale-gen",
            "clean up",
            "describe the image",
        ];
        assert_eq!(titles, expect);
        let Work::Put(items) = &recipe.stages[0].steps[5].work else { panic!() };
        assert_eq!((&items[0].content, items[0].mode), (&Content::Text("bookworm on amd64\n".into()), Some(0o600)));
        let Work::Describe(description) = &recipe.stages[0].steps[8].work else { panic!() };
        assert_eq!(description.templates.len(), 1);
        assert_eq!(description.properties["os"], "debian");
    }

    #[test]
    fn refusals_name_the_line_and_the_thing() {
        refused("files:\n- generator: upstart-tty\n  path: /x\n", "line 8: the generator 'upstart-tty' is not supported");
        refused("actions:\n- trigger: post-boot\n  action: x\n", "line 8: the trigger 'post-boot' is not supported");
        refused("packages:\n  manager: apt\n  custom_manager: {}\n", "custom_manager is not supported");
        refused("actions:\n- trigger: post-files\n  action: '{{ x }}'\n  pongo: true\n", "line 8: {{ x }} is not supported");
        refused("actions:\n- trigger: post-files\n  action: '{% if x %}'\n  pongo: true\n", "line 8: conditions");
        refused("files:\n- generator: dump\n  path: /x\n  templated: true\n", "line 8: templated is not supported here");
        refused("simplestream: {}\n", "line 7: unknown field `simplestream`");
        let got = reading(&format!("{HEAD}source:\n  downloader: gentoo-http\n")).unwrap_err();
        assert!(got.contains("the downloader 'gentoo-http' is not supported"), "{got}");
    }
}
