//! The order of a build: each stage from its deepest result that is there, step by step, then the image.

use std::time::Instant;

use coffer_api::InstanceSource;
use coffer_client::Client;

use super::cache::{self, Cache, Place, given_key};
use super::files::Stages;
use super::owner::Owner;
use super::work::{Work, snapshot_name};
use super::{Options, Report, clean, describe, files, run};
use crate::context::Context;
use crate::digest::Digest;
use crate::error::BuildError;
use crate::plan::Plan;
use crate::recipe::{Base, Work as Doing};

/// Carries a plan out.
pub struct Builder<'a> {
    /// The server.
    pub client: &'a Client,
    /// The plan.
    pub plan: &'a Plan,
    /// Where files are copied from.
    pub context: &'a Context,
    /// How it is carried out.
    pub options: &'a Options,
    /// Who hears of it.
    pub report: &'a dyn Report,
    /// Whose build it is.
    pub owner: Owner,
    /// The instance that is being worked in, so that it can be cleared away when the build is stopped.
    pub working: std::sync::Mutex<Option<String>>,
}

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The image's fingerprint.
    pub fingerprint: String,
    /// Whether that is already the squashfs' which the recipe wants: an earlier build packed it of the same result.
    pub packed: bool,
    /// The last result: what the image is made of.
    pub(super) last: Stage,
    /// Steps that an earlier build had done.
    pub cached: usize,
    /// Steps that were done.
    pub ran: usize,
    /// How long it took.
    pub took: std::time::Duration,
}

/// A stage that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    /// The key of its last result.
    pub(super) key: Digest,
    /// Where that is.
    pub(super) place: Place,
}

/// What is counted on the way.
#[derive(Default)]
struct Counted {
    number: usize,
    cached: usize,
    ran: usize,
}

impl<'a> Builder<'a> {
    /// Builds the image. What killed builds left is removed before; what this one leaves if it fails are results of good steps.
    ///
    /// # Errors
    /// See [`BuildError`]; a failure of a step names it.
    pub async fn build(&self) -> Result<Built, BuildError> {
        let begun = Instant::now();
        let left = cache::sweep(self.client, false).await?;
        if left > 0 {
            self.report.warn(&format!("removed what {left} killed build(s) left"));
        }
        let cache = Cache::read(self.client).await?;
        let mut done: Vec<Option<Stage>> = Vec::new();
        let mut counted = Counted::default();
        let needed = self.needed();
        for (stage, needed) in needed.iter().enumerate() {
            let made = if *needed { Some(self.stage(stage, &done, &cache, &mut counted).await?) } else { None };
            done.push(made);
        }
        let last = done.pop().flatten().ok_or(BuildError::Lacking { what: "a last stage" })?;
        let (fingerprint, packed, there) = match self.packed(&last, &cache).await {
            Some(fingerprint) => (fingerprint, true, true),
            None => {
                let (fingerprint, there) = self.publish(&last, &cache).await?;
                (fingerprint, false, there)
            }
        };
        if !there {
            let used: Vec<String> = done.iter().flatten().chain([&last]).map(|stage| stage.place.instance.clone()).collect();
            for stage in 0..needed.len() {
                cache.trim(self.client, &self.stage_name(stage), &used).await?;
            }
        }
        Ok(Built { fingerprint, packed, last, cached: counted.cached, ran: counted.ran, took: begun.elapsed() })
    }

    /// Clears away what the build was working in when it was stopped.
    ///
    /// # Errors
    /// What the server says.
    pub async fn stopped(&self) -> Result<(), BuildError> {
        let name = self.working.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        match name {
            Some(name) => Work { client: self.client, name, facts: Default::default() }.abandon().await,
            // One that was just being made says whose it is, and is found by that.
            None => Ok(()),
        }
    }

    /// The name of a stage, for instances that it is made in.
    pub(super) fn stage_name(&self, stage: usize) -> String {
        let recipe = &self.plan.recipe;
        if recipe.stages.len() == 1 { recipe.name.clone() } else { format!("{}-{stage}", recipe.name) }
    }

    /// Writes something down at an instance that holds results.
    pub(super) async fn note(&self, instance: &str, key: &str, value: &str) -> Result<(), BuildError> {
        let work = Work { client: self.client, name: instance.to_owned(), facts: Default::default() };
        work.configure(|config| {
            config.insert(key.to_owned(), value.to_owned());
        })
        .await
    }

    /// Which stages the last one is made of.
    fn needed(&self) -> Vec<bool> {
        let stages = &self.plan.recipe.stages;
        let mut needed = vec![false; stages.len()];
        if let Some(last) = needed.last_mut() {
            *last = true;
        }
        for stage in (0..stages.len()).rev().collect::<Vec<_>>() {
            if needed[stage] {
                if let Base::Stage(other) = stages[stage].base {
                    needed[other] = true;
                }
                self.plan.stages[stage].steps.iter().flat_map(|step| &step.needs).for_each(|other| needed[*other] = true);
            }
        }
        needed
    }

    async fn stage(&self, stage: usize, done: &[Option<Stage>], cache: &Cache, counted: &mut Counted) -> Result<Stage, BuildError> {
        let recipe = &self.plan.recipe;
        let last_keys: Vec<Digest> =
            done.iter().map(|done| done.as_ref().map_or_else(|| Digest::of(&[]), |done| done.key.clone())).collect();
        let count = self.count();
        let title = format!("from {}", recipe.stages[stage].base.title(&recipe.stages));
        counted.number += 1;
        let first = counted.number;
        let known = self.known(stage, done, cache);
        let mut keys = known.as_ref().map(|base| self.plan.keys(stage, base, &last_keys));
        let mut found = keys.as_ref().filter(|_| !self.options.no_cache).and_then(|keys| cache.deepest(keys));
        let mut work = None;
        if found.is_none() {
            self.report.begins(first, count, &title);
            let (made, own) = self.make(stage, done, known.as_deref(), &last_keys, cache).await.map_err(|cause| {
                let (title, cause) = (title.clone(), Box::new(cause));
                BuildError::Step { number: first, count, line: 0, title, cause }
            })?;
            let (own_keys, deeper) = own;
            found = deeper;
            match found {
                // Only now is it known what the base is, and that everything was done with it before.
                Some(_) => made.remove().await?,
                None => {
                    self.report.done();
                    work = Some(made);
                }
            }
            self.work_in(work.as_ref());
            keys = Some(own_keys);
        }
        let keys = keys.ok_or(BuildError::Lacking { what: "what the base is" })?;
        let at = found.as_ref().map_or(0, |(at, _)| *at);
        counted.number += recipe.stages[stage].steps.len();
        if found.is_some() {
            self.report.cached(first, count, &title);
        }
        counted.cached += if found.is_some() { at + 1 } else { 0 };
        counted.ran += keys.len() - if found.is_some() { at + 1 } else { 0 };
        for step in 0..at {
            self.report.cached(first + step + 1, count, &recipe.stages[stage].steps[step].title);
        }
        let last = keys[keys.len() - 1].clone();
        if let Some((at, place)) = found {
            if at + 1 == keys.len() {
                return Ok(Stage { key: last, place });
            }
            let source = InstanceSource { kind: "copy".into(), source: place.path(), ..Default::default() };
            work = Some(Work::create(self.client, self.options, &self.stage_name(stage), &self.owner, source).await?);
            self.work_in(work.as_ref());
        }
        let work = work.ok_or(BuildError::Lacking { what: "an instance to work in" })?;
        if let Err(error) = self.steps(stage, &work, &keys, at, first, done).await {
            let abandoned = work.abandon().await;
            self.work_in(None);
            if let Err(left) = abandoned {
                self.report.warn(&format!("instance {} could not be cleared away: {left}; --prune does it", work.name));
            }
            return Err(error);
        }
        work.keep().await?;
        self.work_in(None);
        Ok(Stage { place: Place { instance: work.name.clone(), snapshot: snapshot_name(&last) }, key: last })
    }

    /// How many steps the stages have that are needed.
    fn count(&self) -> usize {
        let needed = self.needed();
        self.plan.stages.iter().zip(needed).filter(|(_, needed)| *needed).map(|(stage, _)| stage.steps.len() + 1).sum()
    }

    fn work_in(&self, work: Option<&Work<'_>>) {
        *self.working.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = work.map(|work| work.name.clone());
    }

    /// What a stage's base is known by, if that is known before it is there.
    fn known(&self, stage: usize, done: &[Option<Stage>], cache: &Cache) -> Option<String> {
        let planned = self.plan.stages[stage].base.as_ref();
        match &self.plan.recipe.stages[stage].base {
            Base::Image(name) => self.options.images.get(name)?.fingerprint.clone(),
            Base::Archive { .. } => planned.map(Digest::to_string),
            Base::Bootstrap(_) | Base::Empty if self.options.pull || self.options.no_cache => None,
            Base::Bootstrap(_) | Base::Empty => cache.given(planned?),
            Base::Stage(other) => done[*other].as_ref().map(|done| done.key.to_string()),
        }
    }

    /// Makes the instance of a stage with nothing but its base, and keeps that as a result.
    async fn make(
        &self,
        stage: usize,
        done: &[Option<Stage>],
        known: Option<&str>,
        last_keys: &[Digest],
        cache: &Cache,
    ) -> Result<(Work<'a>, (Vec<Digest>, Option<(usize, Place)>)), BuildError> {
        let base = &self.plan.recipe.stages[stage].base;
        let (mut work, content) = match base {
            Base::Stage(other) => {
                let from = done[*other].as_ref().ok_or(BuildError::Lacking { what: "what an earlier stage holds" })?;
                let source = InstanceSource { kind: "copy".into(), source: from.place.path(), ..Default::default() };
                let work = Work::create(self.client, self.options, &self.stage_name(stage), &self.owner, source).await?;
                (work, from.key.to_string())
            }
            Base::Image(_) | Base::Archive { .. } | Base::Bootstrap(_) | Base::Empty => self.begin(stage).await?,
        };
        self.work_in(Some(&work));
        let made = self.make_base(stage, &mut work, &content, known, last_keys, cache).await;
        match made {
            Ok(keys) => Ok((work, keys)),
            Err(error) => {
                // The reason is what counts; what stays is found by the next build.
                let _ = work.abandon().await;
                self.work_in(None);
                Err(error)
            }
        }
    }

    async fn make_base(
        &self,
        stage: usize,
        work: &mut Work<'a>,
        content: &str,
        known: Option<&str>,
        last_keys: &[Digest],
        cache: &Cache,
    ) -> Result<(Vec<Digest>, Option<(usize, Place)>), BuildError> {
        let keys = self.plan.keys(stage, content, last_keys);
        if known.is_none()
            && !self.options.no_cache
            && let Some(found) = cache.deepest(&keys)
        {
            return Ok((keys, Some(found)));
        }
        work.settle(self.plan.recipe.epoch).await?;
        if let Some(request) = &self.plan.stages[stage].base {
            let key = given_key(request);
            work.configure(|config| {
                config.insert(key, content.to_owned());
            })
            .await?;
        }
        work.keep_result(&keys[0]).await?;
        Ok((keys, None))
    }

    async fn steps(
        &self,
        stage: usize,
        work: &Work<'_>,
        keys: &[Digest],
        from: usize,
        first: usize,
        done: &[Option<Stage>],
    ) -> Result<(), BuildError> {
        let count = self.count();
        let steps = &self.plan.recipe.stages[stage].steps;
        for (at, step) in steps.iter().enumerate().skip(from) {
            let number = first + at + 1;
            self.report.begins(number, count, &step.title);
            let did = self.step(stage, at, work, done).await;
            did.map_err(|cause| BuildError::Step { number, count, line: step.line, title: step.title.clone(), cause: Box::new(cause) })?;
            work.keep_result(&keys[at + 1]).await?;
            self.report.done();
        }
        Ok(())
    }

    async fn step(&self, stage: usize, at: usize, work: &Work<'_>, done: &[Option<Stage>]) -> Result<(), BuildError> {
        let planned = &self.plan.stages[stage].steps[at];
        match &self.plan.recipe.stages[stage].steps[at].work {
            Doing::Run(program) => {
                work.start().await?;
                run::run(work, program, self.report).await
            }
            Doing::Put(items) => {
                let mut stages = Stages::new();
                let mut copies = Vec::new();
                for need in &planned.needs {
                    let from = done[*need].as_ref().ok_or(BuildError::Lacking { what: "what an earlier stage holds" })?;
                    let source = InstanceSource { kind: "copy".into(), source: from.place.path(), ..Default::default() };
                    let copy = Work::create(self.client, self.options, &self.stage_name(*need), &self.owner, source).await?;
                    stages.push((*need, self.client.sftp(&copy.name).await?));
                    copies.push(copy);
                }
                let mut sftp = self.client.sftp(&work.name).await?;
                let put = files::put(&mut sftp, items, &planned.copies, self.context, &mut stages);
                drop(stages);
                for copy in copies {
                    copy.remove().await?;
                }
                put
            }
            Doing::Clean(rules) => clean::clean(&mut self.client.sftp(&work.name).await?, rules),
            Doing::Describe(description) => describe::describe(work, description).await,
        }
    }
}
