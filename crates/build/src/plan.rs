//! The plan: each step with the hash of all that it is made of, from which follows what need not be done again.
//!
//! ```text
//!   base's fingerprint ──▶ key 0 ──step 1──▶ key 1 ──step 2──▶ key 2 …
//! ```
//!
//! A key is the hash of the key before, of the step, and of the content of each file that the step copies. What two builds have in
//! common at their start they share; from the first difference on everything is done again.

use crate::context::{Context, ContextError, Found};
use crate::digest::Digest;
use crate::recipe::{Base, Content, Recipe, Source, Work};

/// What makes keys of this kind different from those of another.
const GENERATION: &[u8] = b"coffer build 1";

/// A recipe whose files have been looked at.
#[derive(Debug)]
pub struct Plan {
    /// The recipe.
    pub recipe: Recipe,
    /// Its stages, in the recipe's order.
    pub stages: Vec<PlannedStage>,
}

/// What is known of a stage before anything is done.
#[derive(Debug)]
pub struct PlannedStage {
    /// What its base is made of, if that can be known before: of an archive its content, of packages how they are chosen.
    pub base: Option<Digest>,
    /// What each step is made of.
    pub steps: Vec<PlannedStep>,
}

/// What is known of a step before anything is done.
#[derive(Debug)]
pub struct PlannedStep {
    /// The hash of all that is known of it.
    pub digest: Digest,
    /// What each of its items copies from the context, in the order of its items; nothing for other items.
    pub copies: Vec<Vec<Found>>,
    /// The stages that it copies from.
    pub needs: Vec<usize>,
}

/// Why a recipe can't be planned.
#[derive(Debug, thiserror::Error)]
#[error("line {line}")]
pub struct PlanError {
    /// The line that says so.
    pub line: usize,
    /// Why.
    #[source]
    pub cause: ContextError,
}

impl Plan {
    /// Looks at all files that a recipe copies.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn new(recipe: Recipe, context: &Context) -> Result<Self, PlanError> {
        let mut stages = Vec::new();
        for stage in &recipe.stages {
            let base = match &stage.base {
                Base::Archive { file, .. } => Some(archive(file, context).map_err(|cause| PlanError { line: 0, cause })?),
                Base::Bootstrap(bootstrap) => Some(Digest::of(&[GENERATION, b"bootstrap", &written(bootstrap), &written(&recipe.epoch)])),
                Base::Empty => Some(Digest::of(&[GENERATION, b"empty"])),
                Base::Image(_) | Base::Stage(_) => None,
            };
            let steps = stage.steps.iter().map(|step| planned(&step.work, context).map_err(|cause| PlanError { line: step.line, cause }));
            stages.push(PlannedStage { base, steps: steps.collect::<Result<_, _>>()? });
        }
        Ok(Self { recipe, stages })
    }

    /// The keys of a stage whose base has this fingerprint: of the base, then one after each step. `done` are the last keys of the
    /// stages before.
    #[must_use]
    pub fn keys(&self, stage: usize, base: &str, done: &[Digest]) -> Vec<Digest> {
        let mut keys = vec![Digest::of(&[GENERATION, b"base", base.as_bytes(), &written(&self.recipe.epoch)])];
        for step in &self.stages[stage].steps {
            let last = keys.last().map(Digest::as_str).unwrap_or_default().to_owned();
            let mut parts = vec![GENERATION, b"step".as_slice(), last.as_bytes(), step.digest.as_str().as_bytes()];
            parts.extend(step.needs.iter().filter_map(|need| done.get(*need)).map(|key| key.as_str().as_bytes()));
            keys.push(Digest::of(&parts));
        }
        keys
    }

    /// How many steps there are in all, bases among them.
    #[must_use]
    pub fn count(&self) -> usize {
        self.stages.iter().map(|stage| stage.steps.len() + 1).sum()
    }
}

fn archive(file: &str, context: &Context) -> Result<Digest, ContextError> {
    let mut opened = context.open_file(file)?;
    Digest::of_content(&mut [&mut opened]).map_err(|cause| ContextError::File { path: file.to_owned(), cause })
}

fn planned(work: &Work, context: &Context) -> Result<PlannedStep, ContextError> {
    let (mut copies, mut needs, mut digests) = (Vec::new(), Vec::new(), Vec::new());
    if let Work::Put(items) = work {
        for item in items {
            let mut found = Vec::new();
            match &item.content {
                Content::Copy { sources, from: Source::Context } => {
                    found = context.gather(sources, item.path.ends_with('/') || sources.len() > 1)?;
                    digests.push(context.digest(&found)?.to_string());
                }
                Content::Copy { from: Source::Stage(number), .. } => needs.push(*number),
                Content::Text(_) | Content::Directory | Content::Link(_) => {}
            }
            copies.push(found);
        }
    }
    let digest = Digest::of(&[&written(work), digests.join("\n").as_bytes()]);
    Ok(PlannedStep { digest, copies, needs })
}

/// A value as one text that is the same for the same value.
fn written<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("recipes hold nothing that JSON can't")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Item, Output, Run, Stage, Step};

    fn run(command: &str, line: usize) -> Step {
        let work = Work::Run(Run { command: vec![command.into()], ..Run::default() });
        Step { line, title: format!("run {command}"), work }
    }

    fn copy(source: &str) -> Step {
        let content = Content::Copy { sources: vec![source.into()], from: Source::Context };
        let item = Item { path: "/srv".into(), content, owner: String::new(), mode: None };
        Step { line: 1, title: "copy".into(), work: Work::Put(vec![item]) }
    }

    fn keys(context: &Context, steps: Vec<Step>, base: &str) -> Vec<Digest> {
        let stages = vec![Stage { name: String::new(), base: Base::Image("x".into()), steps }];
        let recipe = Recipe { name: "x".into(), epoch: None, stages, output: Output::default() };
        Plan::new(recipe, context).unwrap().keys(0, base, &[])
    }

    /// How many keys two lists have in common at their start.
    fn common(one: &[Digest], other: &[Digest]) -> usize {
        one.iter().zip(other).take_while(|(one, other)| one == other).count()
    }

    #[test]
    fn a_change_counts_from_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "1").unwrap();
        let context = Context::open(dir.path()).unwrap();
        let steps = || vec![run("a", 1), copy("f"), run("b", 3)];
        let first = keys(&context, steps(), "base");
        assert_eq!(first.len(), 4);
        assert_eq!(common(&first, &keys(&context, steps(), "base")), 4);
        assert_eq!(common(&first, &keys(&context, steps(), "other base")), 0);
        assert_eq!(common(&first, &keys(&context, vec![run("a", 9), copy("f"), run("c", 3)], "base")), 3);
        std::fs::write(dir.path().join("f"), "2").unwrap();
        let changed = keys(&context, steps(), "base");
        assert_eq!(common(&first, &changed), 2);
        assert_ne!(first[3], changed[3], "what follows a change is done again");
    }

    #[test]
    fn a_missing_file_names_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let context = Context::open(dir.path()).unwrap();
        let stages = vec![Stage { name: String::new(), base: Base::Empty, steps: vec![copy("none")] }];
        let recipe = Recipe { name: "x".into(), epoch: None, stages, output: Output::default() };
        let error = coffer_base::chain(&Plan::new(recipe, &context).unwrap_err());
        assert!(error.starts_with("line 1: the build context") && error.ends_with("called none"), "{error}");
    }
}
