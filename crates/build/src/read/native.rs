//! Our own recipes.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use super::packages::{self, Packages};
use super::{Reading, RecipeError, plain_name, script, usual, yaml};
use crate::recipe::{
    Base, Bootstrap, Content, Description, Item, Output, Process, Recipe, Run, Shape, Source, Stage, Step, Template, Work,
};

/// The largest file that becomes a script or a template, in bytes.
const LARGEST_TEXT: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: Option<String>,
    #[serde(default)]
    image: ImageSection,
    epoch: Option<Spanned<String>>,
    base: Spanned<BaseSection>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    packages: Option<Spanned<PackagesSection>>,
    #[serde(default)]
    files: Vec<Spanned<FileSection>>,
    #[serde(default)]
    actions: Vec<Spanned<ActionSection>>,
    #[serde(default)]
    templates: Vec<Spanned<TemplateSection>>,
    cleanup: Option<Spanned<CleanupSection>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageSection {
    #[serde(default, deserialize_with = "one_or_many")]
    alias: Vec<String>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
    #[serde(default)]
    public: bool,
    format: Option<Spanned<String>>,
    #[serde(default)]
    compression: String,
    #[serde(default)]
    entrypoint: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    directory: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    stop_signal: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BaseSection {
    image: Option<String>,
    archive: Option<String>,
    sha256: Option<String>,
    bootstrap: Option<BootstrapSection>,
    #[serde(default)]
    empty: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BootstrapSection {
    suite: String,
    #[serde(default)]
    mirror: String,
    #[serde(default)]
    variant: String,
    #[serde(default)]
    components: Vec<String>,
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    keyring: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PackagesSection {
    manager: String,
    #[serde(default = "yes")]
    update: bool,
    #[serde(default)]
    upgrade: bool,
    #[serde(default)]
    install: Vec<String>,
    #[serde(default)]
    remove: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSection {
    path: String,
    content: Option<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    source: Vec<String>,
    link: Option<String>,
    #[serde(default)]
    directory: bool,
    #[serde(default)]
    owner: String,
    mode: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionSection {
    name: Option<String>,
    run: Option<String>,
    script: Option<String>,
    command: Option<Vec<String>>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    directory: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateSection {
    path: Option<String>,
    usual: Option<String>,
    content: Option<String>,
    source: Option<String>,
    when: Option<Vec<String>>,
    #[serde(default)]
    create_only: bool,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CleanupSection {
    #[serde(default = "yes")]
    usual: bool,
    #[serde(default)]
    paths: Vec<String>,
}

fn yes() -> bool {
    true
}

/// Reads one text or a list of them.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Either::deserialize(from)? {
        Either::One(text) => vec![text],
        Either::Many(texts) => texts,
    })
}

/// Reads a recipe.
pub(super) fn read(text: &str, reading: &Reading<'_>) -> Result<Recipe, RecipeError> {
    if !reading.arguments.is_empty() {
        return Err(RecipeError::whole("--build-arg is for Dockerfiles: a recipe of this kind takes none"));
    }
    let document: Document = yaml::read(text)?;
    let name = plain_name(document.name.as_deref().unwrap_or(reading.name));
    let epoch = document.epoch.as_ref().map(|text| epoch(&text.value, line_of(text))).transpose()?;
    let base_line = line_of(&document.base);
    let base = base(&document.base.value, base_line)?;
    let mut steps = Vec::new();
    if matches!(base, Base::Bootstrap(_)) {
        steps.push(usual::forget_host(base_line));
    }
    if let Some(section) = &document.packages {
        let PackagesSection { manager, update, upgrade, install, remove } = &section.value;
        let packages = Packages {
            manager: manager.clone(),
            update: *update,
            upgrade: *upgrade,
            install: install.clone(),
            remove: remove.clone(),
            ..Packages::default()
        };
        steps.extend(packages::step(&packages, line_of(section), &document.environment)?);
    }
    if let Some(first) = document.files.first() {
        let items = document.files.iter().map(|file| item(&file.value, line_of(file))).collect::<Result<Vec<_>, _>>()?;
        let title = if items.len() == 1 { format!("put {}", items[0].path) } else { format!("put {} files", items.len()) };
        steps.push(Step { line: line_of(first), title, work: Work::Put(items) });
    }
    for section in &document.actions {
        steps.push(action(&section.value, line_of(section), reading, &document.environment)?);
    }
    let templates = document.templates.iter().map(|section| template(&section.value, line_of(section), reading));
    let templates = templates.collect::<Result<_, _>>()?;
    let cleanup = document.cleanup.as_ref().map(|section| (line_of(section), section.value.usual, section.value.paths.as_slice()));
    let (line, is_usual, paths) = cleanup.unwrap_or((0, true, &[]));
    steps.extend(usual::clean(line, is_usual, paths));
    let image = document.image;
    let process = Process {
        command: image.entrypoint,
        environment: image.environment,
        directory: image.directory,
        user: image.user,
        stop_signal: image.stop_signal,
    };
    let description = Description { properties: image.properties, templates, process };
    steps.push(Step { line: 0, title: "describe the image".into(), work: Work::Describe(description) });
    let shape = image.format.as_ref().map(|word| shape(&word.value, line_of(word))).transpose()?.unwrap_or_default();
    let output = Output { aliases: image.alias, public: image.public, shape, compression: image.compression };
    Ok(Recipe { name, epoch, stages: vec![Stage { name: String::new(), base, steps }], output })
}

fn line_of<T>(spanned: &Spanned<T>) -> usize {
    usize::try_from(spanned.referenced.line()).unwrap_or(0)
}

fn base(section: &BaseSection, line: usize) -> Result<Base, RecipeError> {
    let said = [section.image.is_some(), section.archive.is_some(), section.bootstrap.is_some(), section.empty];
    if said.iter().filter(|said| **said).count() != 1 {
        return Err(RecipeError::at(line, "the base is one of: image, archive, bootstrap, empty: true"));
    }
    if section.sha256.is_some() && section.archive.is_none() {
        return Err(RecipeError::at(line, "sha256 belongs to an archive"));
    }
    if let Some(image) = &section.image {
        return Ok(Base::Image(image.clone()));
    }
    if let Some(file) = &section.archive {
        return Ok(Base::Archive { file: file.clone(), sha256: section.sha256.clone() });
    }
    let Some(bootstrap) = &section.bootstrap else { return Ok(Base::Empty) };
    Ok(Base::Bootstrap(Bootstrap {
        suite: bootstrap.suite.clone(),
        mirror: bootstrap.mirror.clone(),
        variant: if bootstrap.variant.is_empty() { "minbase".into() } else { bootstrap.variant.clone() },
        components: bootstrap.components.clone(),
        include: bootstrap.include.clone(),
        exclude: bootstrap.exclude.clone(),
        architecture: bootstrap.architecture.clone(),
        keyring: bootstrap.keyring.clone(),
    }))
}

/// A time, in seconds since 1970 or as a date and time.
fn epoch(text: &str, line: usize) -> Result<i64, RecipeError> {
    let time = |text: &str| text.parse::<jiff::Timestamp>().ok().map(|time| time.as_second());
    let date = |text: &str| time(text).or_else(|| time(&format!("{text}T00:00:00Z")));
    let seconds = text.parse::<i64>().ok().or_else(|| date(text)).filter(|seconds| *seconds > 0);
    seconds.ok_or_else(|| RecipeError::at(line, format!("'{text}' is no epoch: seconds since 1970, or a date such as 2025-01-31")))
}

fn shape(word: &str, line: usize) -> Result<Shape, RecipeError> {
    let known: Vec<&str> = Shape::WORDS.iter().map(|(word, _)| *word).collect();
    Shape::named(word)
        .ok_or_else(|| RecipeError::at(line, format!("the format '{word}' is not supported; these are: {}", known.join(", "))))
}

/// A mode in octal digits.
pub(super) fn mode(text: &str, line: usize) -> Result<u32, RecipeError> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777 && !digits.starts_with('+'));
    mode.ok_or_else(|| RecipeError::at(line, format!("'{text}' is no mode: use octal digits, such as 0644")))
}

/// A path in the file system, which must be whole.
pub(super) fn target(path: &str, line: usize) -> Result<String, RecipeError> {
    let whole = path.starts_with('/') && !path.contains('\0') && !path.split('/').any(|part| part == "..");
    if whole { Ok(path.to_owned()) } else { Err(RecipeError::at(line, format!("'{path}' is no absolute path without '..'"))) }
}

fn item(section: &FileSection, line: usize) -> Result<Item, RecipeError> {
    let said = [section.content.is_some(), !section.source.is_empty(), section.link.is_some(), section.directory];
    if said.iter().filter(|said| **said).count() != 1 {
        return Err(RecipeError::at(line, format!("{} is one of: content, source, link, directory: true", section.path)));
    }
    let content = match (&section.content, &section.link) {
        (Some(text), _) => Content::Text(text.clone()),
        (None, Some(link)) => Content::Link(link.clone()),
        (None, None) if section.directory => Content::Directory,
        (None, None) => Content::Copy { sources: section.source.clone(), from: Source::Context },
    };
    let mode = section.mode.as_ref().map(|text| mode(&text.value, line_of(text))).transpose()?;
    Ok(Item { path: target(&section.path, line)?, content, owner: section.owner.clone(), mode })
}

fn action(
    section: &ActionSection,
    line: usize,
    reading: &Reading<'_>,
    environment: &BTreeMap<String, String>,
) -> Result<Step, RecipeError> {
    let (command, title) = match (&section.run, &section.script, &section.command) {
        (Some(text), None, None) => (script::command(text, line)?, script::title(text)),
        (None, Some(file), None) => {
            let text = reading.context.read_text(file, LARGEST_TEXT).map_err(|cause| RecipeError::File { line, cause })?;
            (script::command(&text, line)?, format!("run {file}"))
        }
        (None, None, Some(words)) if !words.is_empty() => (words.clone(), script::title(&words.join(" "))),
        _ => return Err(RecipeError::at(line, "an action is one of: run, script, command")),
    };
    let mut environment = environment.clone();
    environment.extend(section.environment.clone());
    let run = Run { command, environment, directory: section.directory.clone(), user: section.user.clone() };
    Ok(Step { line, title: section.name.clone().unwrap_or(title), work: Work::Run(run) })
}

fn template(section: &TemplateSection, line: usize, reading: &Reading<'_>) -> Result<Template, RecipeError> {
    let TemplateSection { path, usual, content, source, when, create_only, properties } = section;
    let mut template = match (usual, path, content, source) {
        (Some(word), None, None, None) => usual_template(word, line)?,
        (None, Some(path), Some(text), None) => own_template(path, text.clone(), line)?,
        (None, Some(path), None, Some(file)) => {
            let text = reading.context.read_text(file, LARGEST_TEXT).map_err(|cause| RecipeError::File { line, cause })?;
            own_template(path, text, line)?
        }
        _ => return Err(RecipeError::at(line, "a template is usual: NAME, or a path with one of: content, source")),
    };
    if let Some(when) = when {
        if let Some(word) = when.iter().find(|word| !["create", "copy", "rename", "start"].contains(&word.as_str())) {
            return Err(RecipeError::at(line, format!("a template can't be written at '{word}'; use create, copy, rename or start")));
        }
        template.when.clone_from(when);
    }
    template.create_only |= create_only;
    template.properties.extend(properties.clone());
    Ok(template)
}

fn usual_template(word: &str, line: usize) -> Result<Template, RecipeError> {
    let found = match word {
        "hostname" => Some(usual::hostname()),
        "hosts" => Some(usual::hosts()),
        word => usual::cloud_init(word),
    };
    let known = ["hostname", "hosts"].into_iter().chain(usual::CLOUD_INIT).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| RecipeError::at(line, format!("no template is usual by the name of '{word}'; these are: {known}")))
}

fn own_template(path: &str, content: String, line: usize) -> Result<Template, RecipeError> {
    let path = target(path, line)?;
    let name = format!("{}.tpl", path.trim_matches('/').replace('/', "-"));
    let when = ["create", "copy"].map(str::to_owned).to_vec();
    Ok(Template { path, name, content, when, ..Template::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;

    fn reading<T>(text: &str, show: impl Fn(Recipe) -> T) -> Result<T, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("setup.sh"), "#!/bin/bash -e\necho setup\n").unwrap();
        let context = Context::open(dir.path()).unwrap();
        let reading = Reading { name: "my recipe", context: &context, arguments: BTreeMap::new(), architecture: "x86_64" };
        read(text, &reading).map(show).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(text: &str, expect: &str) {
        let got = reading(text, |_| ()).unwrap_err();
        assert!(got.contains(expect), "{got}");
    }

    #[test]
    fn a_whole_recipe() {
        let text = "\
name: Web Server
epoch: 2025-01-31
image:
  alias: web
  properties: {os: Debian, release: 12}
  format: split
base:
  bootstrap:
    suite: bookworm
    include: [nginx-light]
environment: {LANG: C.UTF-8}
packages:
  manager: apt
  install: [curl]
files:
  - path: /etc/motd
    content: hello
    mode: 0600
  - {path: /srv/, source: site, owner: www-data}
templates:
  - usual: hostname
actions:
  - run: |
      systemctl enable nginx
  - script: setup.sh
    user: www-data
cleanup:
  paths: [/var/cache/nginx]
";
        let titles = reading(text, |recipe| {
            assert_eq!((recipe.name.as_str(), recipe.epoch, recipe.output.shape), ("web-server", Some(1_738_281_600), Shape::Split));
            assert_eq!(recipe.output.aliases, ["web"]);
            recipe.stages[0].steps.iter().map(|step| format!("{} {}", step.line, step.title)).collect::<Vec<_>>()
        });
        let expect = [
            "8 take out what came from this host",
            "13 apt: install 1 package",
            "16 put 2 files",
            "23 systemctl enable nginx",
            "25 run setup.sh",
            "28 clean up",
            "0 describe the image",
        ];
        assert_eq!(titles.unwrap(), expect);
    }

    #[test]
    fn refusals_name_the_line_and_the_thing() {
        refused("base: {image: x}\nvolumes: [a]\n", "line 2: unknown field `volumes`");
        refused("base: {}\n", "line 1: the base is one of");
        refused("base: {image: x, empty: true}\n", "line 1: the base is one of");
        refused("name: x\n", "missing field `base`");
        refused("base: {image: x}\nfiles:\n  - path: etc/x\n    content: y\n", "line 3: 'etc/x' is no absolute path");
        refused("base: {image: x}\nfiles:\n  - path: /x\n    content: y\n    mode: rw\n", "line 5: 'rw' is no mode");
        refused("base: {image: x}\nactions:\n  - name: nothing\n", "line 3: an action is one of");
        refused("base: {image: x}\nactions:\n  - script: none.sh\n", "line 3");
        refused("base: {image: x}\nimage: {format: qcow2}\n", "line 2: the format 'qcow2' is not supported");
        refused("base: {image: x}\nepoch: soon\n", "line 2: 'soon' is no epoch");
        refused("base: {image: x}\ntemplates: [{usual: motd}]\n", "no template is usual by the name of 'motd'");
        refused("base: {image: x\n", "line");
    }
}
