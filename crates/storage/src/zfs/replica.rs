//! Streams of `zfs send` between this server's own pools, and into archives.
//!
//! Whatever is received is a dataset of its own, also if the stream is a change: then it is a clone of the state that it changes.
//! So it is, as everything else in a pool, made under a scratch name, mounted nowhere, and never on top of something that is there.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use uuid::Uuid;

use super::dataset;
use super::lineage;
use super::properties;
use super::report::{self, OUTSIDE, State};
use super::store::{COPY, READ_ONLY, ZfsStore, is_frozen};
use super::stream;
use crate::mounted::{Arrival, Departure, Fault, Name, Replication};
use crate::replica::StateId;

impl ZfsStore {
    /// The states in the pool, in the order in which they were made.
    fn all_states(&self) -> Result<Vec<State>, Fault> {
        Ok(report::states(&dataset::states(&self.root.0)?))
    }
}

impl Replication for ZfsStore {
    fn states(&self) -> Result<BTreeSet<StateId>, Fault> {
        Ok(self.all_states()?.iter().filter(|state| state.counts()).filter_map(|state| state.id).collect())
    }

    fn state(&self, name: &Name) -> Result<Option<StateId>, Fault> {
        let snapshot = self.origin_of(name)?;
        Ok(self.all_states()?.iter().find(|state| state.name == snapshot).and_then(|state| state.id))
    }

    fn depart(&self, name: &Name, known: &BTreeSet<StateId>, own: bool) -> Result<Departure, Fault> {
        let snapshot = self.origin_of(name)?;
        let mut departure = Departure { state: snapshot, base: None, size: 0, own: !is_frozen(name) };
        let look = |departure: &mut Departure| {
            let states = if known.is_empty() { Vec::new() } else { self.all_states()? };
            let base = report::before(&states, &departure.state).into_iter().filter(|state| own || state.counts());
            let mut base = base.filter_map(|state| state.id.filter(|id| known.contains(id)).map(|id| (id, state.name.clone())));
            departure.base = base.next();
            departure.size = dataset::stream_size(&departure.state, departure.base.as_ref().map(|(_, name)| name.as_str()))?;
            Ok(())
        };
        match look(&mut departure) {
            Ok(()) => Ok(departure),
            Err(fault) => {
                self.forget(&departure);
                Err(fault)
            }
        }
    }

    fn write(&self, departure: &Departure, to_pool: bool, into: File) -> Result<(), Fault> {
        dataset::send(&departure.state, departure.base.as_ref().map(|(_, name)| name.as_str()), to_pool, into)
    }

    fn settle(&self, names: &[(&Name, bool)]) -> Result<(), Fault> {
        // The last one first: what it is a change of is idle only then.
        for (name, frozen) in names.iter().rev() {
            let path = self.path(name);
            if *frozen {
                dataset::snapshot(&format!("{path}@{READ_ONLY}"))?;
            }
            let idle = |(state, clones): &(String, Vec<String>)| clones.is_empty() && state.contains(&format!("@{COPY}"));
            for (state, _) in dataset::lineage(&path)?.snapshots.into_iter().filter(idle) {
                dataset::destroy(&state)?;
            }
        }
        Ok(())
    }

    fn forget(&self, departure: &Departure) {
        if departure.own {
            // What is left of it goes with the temporaries.
            let _ = lineage::release(&self.root, &departure.state);
        }
    }

    fn receive(&self, name: &Name, arrival: &Arrival<'_>, stream: File) -> Result<(), Fault> {
        let mut properties = properties::block_size(arrival.config);
        let origin = match arrival.outside {
            None => self.known(arrival.base)?,
            Some(before) => {
                properties.push(format!("{OUTSIDE}=yes"));
                self.outside(before, &stream)?
            }
        };
        let path = self.path(name);
        let keeps = arrival.frozen && arrival.outside.is_none();
        let state = if keeps { READ_ONLY.to_owned() } else { format!("{COPY}{}", Uuid::new_v4()) };
        let snapshot = format!("{path}@{state}");
        dataset::receive(&snapshot, origin.as_deref(), &properties, stream)?;
        if !arrival.frozen && arrival.outside.is_none() {
            // Nothing was made from it yet, and the next copy keeps a state of its own.
            dataset::destroy(&snapshot).inspect_err(|_| {
                let _ = lineage::remove(&self.root, &path);
            })?;
        }
        Ok(())
    }
}

impl ZfsStore {
    /// What a state of this server's is called here.
    fn known(&self, state: Option<StateId>) -> Result<Option<String>, Fault> {
        let Some(id) = state else { return Ok(None) };
        let found = self.all_states()?.into_iter().find(|state| state.counts() && state.id == Some(id));
        found.map(|state| Some(state.name)).ok_or_else(|| Fault::Refused("what the stream changes is not in the pool any more".into()))
    }

    /// What a stream from outside says that it changes: it must be of the same archive, for states of anybody else are none of its business.
    fn outside(&self, before: &[&Name], stream: &File) -> Result<Option<String>, Fault> {
        let mut record = [0; stream::LENGTH];
        stream.read_exact_at(&mut record, 0)?;
        let Some(base) = stream::look(&record).map_err(|why| Fault::Refused(why.into()))?.base else { return Ok(None) };
        let theirs: Vec<String> = before.iter().map(|name| format!("{}@", self.path(name))).collect();
        let of_archive = |state: &State| state.id == Some(base) && theirs.iter().any(|prefix| state.name.starts_with(prefix.as_str()));
        let found = self.all_states()?.into_iter().find(of_archive);
        found.map(|state| Some(state.name)).ok_or_else(|| Fault::Refused("what the stream changes is not in the archive before it".into()))
    }
}
