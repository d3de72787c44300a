//! Dockerfiles: the instructions that images of registries are made with.

use std::collections::BTreeMap;

use super::native::target;
use super::words::{Instruction, instructions, list, words};
use super::{Reading, RecipeError, plain_name};
use crate::recipe::{Base, Content, Description, Item, Output, Process, Recipe, Run, Source, Stage, Step, Work};

/// Instructions that are known and that nothing here can do.
const UNSUPPORTED: [&str; 3] = ["HEALTHCHECK", "ONBUILD", "MAINTAINER"];

/// Endings of archives, which ADD unpacks elsewhere.
const ARCHIVES: [&str; 8] = [".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.zst"];

/// Reads a Dockerfile.
pub(super) fn read(text: &str, reading: &Reading<'_>) -> Result<Recipe, RecipeError> {
    let mut reader = Reader { reading, global: BTreeMap::new(), stages: Vec::new(), used: Vec::new() };
    for instruction in instructions(text)? {
        reader.take(&instruction)?;
    }
    if let Some(name) = reading.arguments.keys().find(|name| !reader.used.contains(name)) {
        return Err(RecipeError::whole(format!("no ARG declares {name}")));
    }
    if reader.stages.is_empty() {
        return Err(RecipeError::whole("the file has no FROM"));
    }
    let stages: Vec<Stage> = reader.stages.into_iter().map(Building::finish).collect();
    Ok(Recipe { name: plain_name(reading.name), epoch: None, stages, output: Output::default() })
}

struct Reader<'a> {
    reading: &'a Reading<'a>,
    /// Arguments from before the first FROM.
    global: BTreeMap<String, String>,
    stages: Vec<Building>,
    /// Arguments of the command line that were declared.
    used: Vec<String>,
}

/// A stage that is being read.
struct Building {
    name: String,
    base: Base,
    steps: Vec<Step>,
    arguments: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    directory: String,
    user: String,
    shell: Vec<String>,
    entrypoint: Option<Vec<String>>,
    command: Option<Vec<String>>,
    stop_signal: String,
    properties: BTreeMap<String, String>,
}

impl Reader<'_> {
    fn take(&mut self, instruction: &Instruction) -> Result<(), RecipeError> {
        let Instruction { line, name, rest } = instruction;
        let line = *line;
        if rest.contains("<<") && matches!(name.as_str(), "RUN" | "COPY" | "ADD") && is_heredoc(rest) {
            return Err(RecipeError::at(line, format!("{name} with a here-document (<<) is not supported")));
        }
        match name.as_str() {
            "FROM" => return self.from(rest, line),
            "ARG" => return self.argument(rest, line),
            name if UNSUPPORTED.contains(&name) => return Err(RecipeError::at(line, format!("{name} is not supported"))),
            _ => {}
        }
        let names: Vec<String> = self.stages.iter().map(|stage| stage.name.clone()).collect();
        let Some(stage) = self.stages.last_mut() else {
            return Err(RecipeError::at(line, format!("{name} stands before the first FROM")));
        };
        match name.as_str() {
            "RUN" => stage.run(rest, line),
            "COPY" | "ADD" => stage.copy(name, rest, &names, line),
            "ENV" => stage.env(rest, line),
            "LABEL" => {
                let pairs = pairs(&stage.words(rest, line)?, "LABEL", line)?;
                stage.properties.extend(pairs);
                Ok(())
            }
            "WORKDIR" => stage.workdir(rest, line),
            "USER" => {
                stage.user = stage.one(rest, "USER", line)?;
                Ok(())
            }
            "ENTRYPOINT" => {
                stage.entrypoint = Some(stage.command(rest));
                // As elsewhere: a new program does not get the old one's arguments.
                stage.command = None;
                Ok(())
            }
            "CMD" => {
                stage.command = Some(stage.command(rest));
                Ok(())
            }
            "SHELL" => {
                stage.shell =
                    list(rest).filter(|words| !words.is_empty()).ok_or_else(|| RecipeError::at(line, "SHELL takes a list in JSON"))?;
                Ok(())
            }
            "STOPSIGNAL" => {
                stage.stop_signal = stage.one(rest, "STOPSIGNAL", line)?;
                Ok(())
            }
            "EXPOSE" => {
                let ports = stage.words(rest, line)?;
                stage.add_property("oci.exposed_ports", &ports);
                Ok(())
            }
            "VOLUME" => stage.volume(rest, line),
            other => Err(RecipeError::at(line, format!("{other} is no instruction that is known"))),
        }
    }

    fn from(&mut self, rest: &str, line: usize) -> Result<(), RecipeError> {
        let words = words(rest, &self.global, line)?;
        let (base, name) = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [flag, ..] if flag.starts_with("--") => return Err(RecipeError::at(line, format!("FROM {flag} is not supported"))),
            [base] => ((*base).to_owned(), String::new()),
            [base, word, name] if word.eq_ignore_ascii_case("as") => ((*base).to_owned(), (*name).to_owned()),
            _ => return Err(RecipeError::at(line, "FROM takes an image, and perhaps AS and a name")),
        };
        let base = match self.stages.iter().position(|stage| stage.name == base) {
            Some(number) => Base::Stage(number),
            None if base == "scratch" => Base::Empty,
            None => Base::Image(base),
        };
        let from = match &base {
            Base::Stage(number) => self.stages.get(*number),
            _ => None,
        };
        let stage = match from {
            Some(from) => Building { name, base, steps: Vec::new(), arguments: BTreeMap::new(), ..from.clone_state() },
            None => Building::new(name, base),
        };
        self.stages.push(stage);
        Ok(())
    }

    fn argument(&mut self, rest: &str, line: usize) -> Result<(), RecipeError> {
        let known = self.stages.last().map_or_else(|| self.global.clone(), Building::variables);
        for word in words(rest, &known, line)? {
            let (name, default) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.clone(), None),
            };
            self.used.push(name.clone());
            let given = self.reading.arguments.get(&name).cloned();
            let value = given.or(default).or_else(|| self.global.get(&name).cloned()).or_else(|| self.automatic(&name));
            let into = self.stages.last_mut().map_or(&mut self.global, |stage| &mut stage.arguments);
            into.insert(name, value.unwrap_or_default());
        }
        Ok(())
    }

    /// Arguments that need no value.
    fn automatic(&self, name: &str) -> Option<String> {
        let architecture = match self.reading.architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        match name {
            "TARGETARCH" => Some(architecture.to_owned()),
            "TARGETOS" => Some("linux".into()),
            "TARGETPLATFORM" => Some(format!("linux/{architecture}")),
            _ => None,
        }
    }
}

impl Building {
    fn new(name: String, base: Base) -> Self {
        Self {
            name,
            base,
            steps: Vec::new(),
            arguments: BTreeMap::new(),
            environment: BTreeMap::new(),
            directory: String::new(),
            user: String::new(),
            shell: ["/bin/sh", "-c"].map(str::to_owned).to_vec(),
            entrypoint: None,
            command: None,
            stop_signal: String::new(),
            properties: BTreeMap::new(),
        }
    }

    /// What a stage that begins with this one begins with.
    fn clone_state(&self) -> Self {
        Self {
            environment: self.environment.clone(),
            directory: self.directory.clone(),
            user: self.user.clone(),
            shell: self.shell.clone(),
            entrypoint: self.entrypoint.clone(),
            command: self.command.clone(),
            stop_signal: self.stop_signal.clone(),
            properties: self.properties.clone(),
            ..Self::new(String::new(), Base::Empty)
        }
    }

    /// Variables that instructions may use: the environment wins over arguments.
    fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = self.arguments.clone();
        variables.extend(self.environment.clone());
        variables
    }

    fn words(&self, rest: &str, line: usize) -> Result<Vec<String>, RecipeError> {
        words(rest, &self.variables(), line)
    }

    fn one(&self, rest: &str, name: &str, line: usize) -> Result<String, RecipeError> {
        match self.words(rest, line)?.as_slice() {
            [word] if !word.is_empty() => Ok(word.clone()),
            _ => Err(RecipeError::at(line, format!("{name} takes one word"))),
        }
    }

    fn step(&mut self, line: usize, title: &str, work: Work) {
        let short: String = title.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(70).collect();
        self.steps.push(Step { line, title: short, work });
    }

    fn run(&mut self, rest: &str, line: usize) -> Result<(), RecipeError> {
        if let Some(flag) = rest.split_whitespace().next().filter(|word| word.starts_with("--")) {
            let flag = flag.split('=').next().unwrap_or(flag);
            return Err(RecipeError::at(line, format!("RUN {flag} is not supported")));
        }
        if rest.is_empty() {
            return Err(RecipeError::at(line, "RUN takes a command"));
        }
        let command = self.command(rest);
        let run = Run { command, environment: self.variables(), directory: self.directory.clone(), user: self.user.clone() };
        self.step(line, &format!("RUN {rest}"), Work::Run(run));
        Ok(())
    }

    /// A command as a list, or a text for the shell.
    fn command(&self, rest: &str) -> Vec<String> {
        list(rest).unwrap_or_else(|| self.shell.iter().cloned().chain([rest.to_owned()]).collect())
    }

    fn copy(&mut self, name: &str, rest: &str, stages: &[String], line: usize) -> Result<(), RecipeError> {
        let mut words = match list(rest) {
            Some(words) => words,
            None => self.words(rest, line)?,
        };
        let (mut from, mut owner, mut mode) = (Source::Context, String::new(), None);
        while let Some(flag) = words.first().and_then(|word| word.strip_prefix("--")).map(str::to_owned) {
            words.remove(0);
            match flag.split_once('=') {
                Some(("chown", value)) => value.clone_into(&mut owner),
                Some(("chmod", value)) => mode = Some(super::native::mode(value, line)?),
                Some(("from", value)) if name == "COPY" => {
                    let earlier = &stages[..stages.len() - 1];
                    let number =
                        earlier.iter().position(|stage| stage == value).or_else(|| value.parse().ok().filter(|n| *n < earlier.len()));
                    let missing = || RecipeError::at(line, format!("COPY --from={value}: no stage before this one is called that"));
                    from = Source::Stage(number.ok_or_else(missing)?);
                }
                _ => {
                    return Err(RecipeError::at(line, format!("{name} --{} is not supported", flag.split('=').next().unwrap_or_default())));
                }
            }
        }
        let Some((place, sources)) = words.split_last().filter(|(_, sources)| !sources.is_empty()) else {
            return Err(RecipeError::at(line, format!("{name} takes sources and a place")));
        };
        if name == "ADD" {
            if let Some(url) = sources.iter().find(|source| source.contains("://") || source.starts_with("git@")) {
                return Err(RecipeError::at(line, format!("ADD of {url} is not supported: a build fetches nothing by itself")));
            }
            if let Some(file) = sources.iter().find(|source| ARCHIVES.iter().any(|ending| source.ends_with(ending))) {
                return Err(RecipeError::at(line, format!("ADD of the archive {file} is not supported: use COPY, and RUN tar")));
            }
        }
        let mut path = self.absolute(place);
        // Several files, or a name that stands for several, go into a directory.
        if (sources.len() > 1 || sources.iter().any(|source| source.contains(['*', '?'])) || place == ".") && !path.ends_with('/') {
            path.push('/');
        }
        let content = Content::Copy { sources: sources.to_vec(), from };
        let item = Item { path: target(&path, line)?, content, owner, mode };
        self.step(line, &format!("{name} {rest}"), Work::Put(vec![item]));
        Ok(())
    }

    fn env(&mut self, rest: &str, line: usize) -> Result<(), RecipeError> {
        let words = self.words(rest, line)?;
        let first = rest.split_whitespace().next().unwrap_or_default();
        if first.contains('=') {
            self.environment.extend(pairs(&words, "ENV", line)?);
        } else {
            // The older form: a name, and the rest of the line.
            let (name, value) = words.split_first().ok_or_else(|| RecipeError::at(line, "ENV takes NAME=VALUE"))?;
            self.environment.insert(name.clone(), value.join(" "));
        }
        Ok(())
    }

    fn workdir(&mut self, rest: &str, line: usize) -> Result<(), RecipeError> {
        let path = target(&self.absolute(&self.one(rest, "WORKDIR", line)?), line)?;
        self.directory.clone_from(&path);
        self.make_directory(path, line, &format!("WORKDIR {rest}"));
        Ok(())
    }

    fn volume(&mut self, rest: &str, line: usize) -> Result<(), RecipeError> {
        let paths = match list(rest) {
            Some(paths) => paths,
            None => self.words(rest, line)?,
        };
        for path in &paths {
            let path = target(path, line)?;
            self.make_directory(path, line, &format!("VOLUME {rest}"));
        }
        self.add_property("oci.volumes", &paths);
        Ok(())
    }

    fn make_directory(&mut self, path: String, line: usize, title: &str) {
        let item = Item { path, content: Content::Directory, owner: String::new(), mode: None };
        self.step(line, title, Work::Put(vec![item]));
    }

    fn add_property(&mut self, key: &str, values: &[String]) {
        let all = self.properties.entry(key.to_owned()).or_default();
        for value in values {
            if !all.is_empty() {
                all.push(' ');
            }
            all.push_str(value);
        }
    }

    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        let path = path.trim_start_matches("./");
        let path = if path == "." { "" } else { path };
        format!("{}/{path}", self.directory.trim_end_matches('/'))
    }

    fn finish(mut self) -> Stage {
        let command = match (self.entrypoint.take(), self.command.take()) {
            (Some(mut entrypoint), command) => {
                entrypoint.extend(command.unwrap_or_default());
                entrypoint
            }
            (None, command) => command.unwrap_or_default(),
        };
        let process = Process {
            command,
            environment: std::mem::take(&mut self.environment),
            directory: std::mem::take(&mut self.directory),
            user: std::mem::take(&mut self.user),
            stop_signal: std::mem::take(&mut self.stop_signal),
        };
        let description = Description { properties: std::mem::take(&mut self.properties), templates: Vec::new(), process };
        self.step(0, "describe the image", Work::Describe(description));
        Stage { name: self.name, base: self.base, steps: self.steps }
    }
}

/// Whether `<<` begins a here-document: a word, perhaps in quotes, follows it at once.
fn is_heredoc(rest: &str) -> bool {
    rest.match_indices("<<").any(|(at, _)| {
        let after = rest[at + 2..].trim_start_matches('-');
        let before = rest[..at].chars().last().is_none_or(|c| c.is_whitespace() || c.is_ascii_digit());
        before && !rest[at..].starts_with("<<<") && after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '"' || c == '\'')
    })
}

fn pairs(words: &[String], name: &str, line: usize) -> Result<BTreeMap<String, String>, RecipeError> {
    let pair =
        |word: &String| word.split_once('=').filter(|(key, _)| !key.is_empty()).map(|(key, value)| (key.to_owned(), value.to_owned()));
    words.iter().map(|word| pair(word).ok_or_else(|| RecipeError::at(line, format!("{name} takes NAME=VALUE, not '{word}'")))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;

    fn reading(text: &str, arguments: &[(&str, &str)]) -> Result<Recipe, String> {
        let dir = tempfile::tempdir().unwrap();
        let context = Context::open(dir.path()).unwrap();
        let arguments = arguments.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let reading = Reading { name: "web", context: &context, arguments, architecture: "x86_64" };
        read(text, &reading).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(text: &str, expect: &str) {
        assert_eq!(reading(text, &[]).unwrap_err(), expect);
    }

    #[test]
    fn a_file_with_two_stages() {
        let text = "\
ARG release=3.19
FROM docker:alpine:${release} AS build
WORKDIR /src
COPY . .
RUN --flagless=no
";
        refused(text, "line 5: RUN --flagless is not supported");
        let text = "\
ARG release=3.19
FROM docker:alpine:${release} AS build
WORKDIR /src
COPY . .
ENV CC=cc MODE=\"a b\"
RUN make \\
    all
FROM small
ARG release
LABEL os=Alpine release=$release
COPY --from=build --chown=33 /src/out /srv/
USER nobody
ENTRYPOINT [\"/srv/out\"]
CMD [\"--serve\"]
EXPOSE 80 443/tcp
STOPSIGNAL SIGQUIT
VOLUME /data
";
        let recipe = reading(text, &[("release", "3.20")]).unwrap();
        assert_eq!(recipe.stages[0].base, Base::Image("docker:alpine:3.20".into()));
        assert_eq!(recipe.stages[1].base, Base::Image("small".into()));
        let Work::Run(run) = &recipe.stages[0].steps[2].work else { panic!("{:?}", recipe.stages[0].steps[2]) };
        assert_eq!((run.command[2].as_str(), run.directory.as_str(), run.environment["MODE"].as_str()), ("make     all", "/src", "a b"));
        let Work::Put(items) = &recipe.stages[0].steps[1].work else { panic!() };
        assert_eq!(items[0].path, "/src/");
        let Work::Put(items) = &recipe.stages[1].steps[0].work else { panic!() };
        assert_eq!(items[0].content, Content::Copy { sources: vec!["/src/out".into()], from: Source::Stage(0) });
        let Work::Describe(description) = &recipe.stages[1].steps.last().unwrap().work else { panic!() };
        assert_eq!(description.process.command, ["/srv/out", "--serve"]);
        assert_eq!((description.process.user.as_str(), description.process.stop_signal.as_str()), ("nobody", "SIGQUIT"));
        assert_eq!(description.properties["release"], "3.20");
        assert_eq!(description.properties["oci.exposed_ports"], "80 443/tcp");
    }

    #[test]
    fn refusals_name_the_line_and_the_instruction() {
        refused("RUN x\n", "line 1: RUN stands before the first FROM");
        refused("FROM x\nHEALTHCHECK CMD x\n", "line 2: HEALTHCHECK is not supported");
        refused("FROM x\n\nRUN --mount=type=cache,target=/x y\n", "line 3: RUN --mount is not supported");
        refused("FROM x\nRUN <<EOF\nx\nEOF\n", "line 2: RUN with a here-document (<<) is not supported");
        refused("FROM x\nADD https://e.x/y /\n", "line 2: ADD of https://e.x/y is not supported: a build fetches nothing by itself");
        refused("FROM x\nADD a.tar.gz /\n", "line 2: ADD of the archive a.tar.gz is not supported: use COPY, and RUN tar");
        refused("FROM x\nCOPY --from=none a /b\n", "line 2: COPY --from=none: no stage before this one is called that");
        refused("FROM x\nCOPY --link a /b\n", "line 2: COPY --link is not supported");
        refused("FROM --platform=linux/arm64 x\n", "line 1: FROM --platform=linux/arm64 is not supported");
        refused("FROM x\nFETCH y\n", "line 2: FETCH is no instruction that is known");
        refused("# nothing\n", "the file has no FROM");
        assert_eq!(reading("FROM x\n", &[("v", "1")]).unwrap_err(), "no ARG declares v");
    }

    #[test]
    fn a_shift_is_no_here_document() {
        assert!(reading("FROM x\nRUN echo $((1 << 2)) 1<<2\n", &[]).is_ok());
        assert!(reading("FROM x\nRUN grep x <<< word\n", &[]).is_ok());
    }
}
