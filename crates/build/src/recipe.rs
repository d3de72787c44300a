//! What an image is to be made of, in one form, whichever dialect said it.

use std::collections::BTreeMap;

use serde::Serialize;

/// What an image is to be made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// Its name: lower-case letters, digits and dashes.
    pub name: String,
    /// The second since 1970 at which the image says it was made; none leaves it to the base.
    pub epoch: Option<i64>,
    /// The file systems that are made, each of a base and steps. The last one becomes the image.
    pub stages: Vec<Stage>,
    /// What becomes of the last one.
    pub output: Output,
}

/// One file system on the way to the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Its name; empty if nothing calls it by one.
    pub name: String,
    /// What it begins with.
    pub base: Base,
    /// What is done then, in this order.
    pub steps: Vec<Step>,
}

/// What a file system begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// An image, `[REMOTE:]NAME`: of the daemon, of another one, of an image server or of a registry.
    Image(String),
    /// An archive or squashfs of a root file system, in the build context.
    Archive {
        /// Its path in the context.
        file: String,
        /// The SHA-256 that it must have.
        sha256: Option<String>,
    },
    /// Packages of a distribution.
    Bootstrap(Bootstrap),
    /// An earlier stage, counted from 0.
    Stage(usize),
    /// Nothing at all.
    Empty,
}

/// A root file system of a distribution's packages, as mmdebstrap makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bootstrap {
    /// The release's code name.
    pub suite: String,
    /// Where packages are fetched; empty is the distribution's own mirror.
    pub mirror: String,
    /// Which packages are there anyway: `minbase`, `apt`, `important` and so on.
    pub variant: String,
    /// Parts of the archive; none is `main`.
    pub components: Vec<String>,
    /// Packages that are there too.
    pub include: Vec<String>,
    /// Files that packages bring and that are left out, as patterns of paths.
    pub exclude: Vec<String>,
    /// Architecture in the distribution's word; empty is the host's.
    pub architecture: String,
    /// The keyring that signs what is fetched, on this host; empty is the distribution's own.
    pub keyring: String,
}

/// One thing that is done, and after which its result is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The line of the recipe that says so; a step that moved is still the same step.
    #[serde(skip)]
    pub line: usize,
    /// What it does, in a few words.
    #[serde(skip)]
    pub title: String,
    /// What it does.
    pub work: Work,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Runs a program in the instance.
    Run(Run),
    /// Puts files there.
    Put(Vec<Item>),
    /// Takes out what differs from one build to the next, or from one machine to another.
    Clean(Vec<Clean>),
    /// Says what the image says of itself.
    Describe(Description),
}

/// A program that is run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables, over those of the base.
    pub environment: BTreeMap<String, String>,
    /// Where it runs; empty is `/`.
    pub directory: String,
    /// Whom it runs as, `USER[:GROUP]`, by names or numbers; empty is root.
    pub user: String,
}

/// Something that is put into the file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Where it goes: an absolute path. One that ends with a slash is a directory that things go into.
    pub path: String,
    /// What it is.
    pub content: Content,
    /// Whose it is, `USER[:GROUP]`, by names or numbers; empty is root.
    pub owner: String,
    /// Its permissions; none is what its source has, or what is usual.
    pub mode: Option<u32>,
}

/// What is put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A file with this text.
    Text(String),
    /// Files and directories from elsewhere.
    Copy {
        /// Paths or patterns there.
        sources: Vec<String>,
        /// Where that is.
        from: Source,
    },
    /// A directory.
    Directory,
    /// A symbolic link to this.
    Link(String),
}

/// Where copies come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The build context.
    Context,
    /// What an earlier stage made, counted from 0.
    Stage(usize),
}

/// A rule of cleaning up, with a pattern of paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clean {
    /// Removes whatever fits, directories with all below them.
    Remove(String),
    /// Empties regular files that fit.
    Empty(String),
}

/// What an image says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Properties, over those of the base: `os`, `release`, `description` and so on.
    pub properties: BTreeMap<String, String>,
    /// Files that are written from templates in each instance, over those of the base.
    pub templates: Vec<Template>,
    /// The process that runs instead of an init.
    pub process: Process,
}

/// The process of an image's instances; what is empty is what the base says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables.
    pub environment: BTreeMap<String, String>,
    /// Working directory.
    pub directory: String,
    /// Whom it runs as, `USER[:GROUP]`.
    pub user: String,
    /// The signal that asks it to end.
    pub stop_signal: String,
}

/// A file that is written from a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Template {
    /// Where it goes in the instance.
    pub path: String,
    /// The template's name in the image.
    pub name: String,
    /// Its text.
    pub content: String,
    /// `create`, `copy`, `rename`, `start`.
    pub when: Vec<String>,
    /// Whether an existing file is left alone.
    pub create_only: bool,
    /// Values for it.
    pub properties: BTreeMap<String, String>,
}

/// What becomes of the last stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Names that the image gets.
    pub aliases: Vec<String>,
    /// Whether clients that are not trusted may have it.
    pub public: bool,
    /// The files that it is made of.
    pub shape: Shape,
    /// What archives are compressed with; empty is zstd.
    pub compression: String,
}

/// The files that an image is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// One archive.
    #[default]
    Unified,
    /// An archive with the metadata and one with the root file system.
    Split,
    /// An archive with the metadata, and the root file system as a squashfs.
    Squashfs,
}

impl Shape {
    /// The shapes, by their words.
    pub const WORDS: [(&'static str, Shape); 3] = [("unified", Shape::Unified), ("split", Shape::Split), ("squashfs", Shape::Squashfs)];

    /// Finds a shape by its word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, shape)| *shape)
    }

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unified => "unified",
            Self::Split => "split",
            Self::Squashfs => "squashfs",
        }
    }
}

impl Base {
    /// What it is, in a few words.
    #[must_use]
    pub fn title(&self, stages: &[Stage]) -> String {
        match self {
            Self::Image(name) => format!("image {name}"),
            Self::Archive { file, .. } => format!("archive {file}"),
            Self::Bootstrap(bootstrap) => format!("packages of {}", bootstrap.suite),
            Self::Stage(number) => match stages.get(*number).map(|stage| stage.name.as_str()) {
                Some(name) if !name.is_empty() => format!("stage {name}"),
                _ => format!("stage {number}"),
            },
            Self::Empty => "nothing".into(),
        }
    }
}
