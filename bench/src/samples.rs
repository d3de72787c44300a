//! What was measured.

use std::collections::BTreeMap;
use std::time::Duration;

/// Which side a figure belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Coffer.
    Ours,
    /// Coffer's runtime by hand, without the daemon: `coffer-monitor`.
    Runtime,
    /// LXD.
    Lxd,
    /// crun, by hand: its own default.
    Crun,
    /// crun, by hand: its default with a user namespace, as a container of ours has.
    CrunUser,
    /// The tools of liblxc, by hand.
    Lxc,
}

/// Every figure of a run, by what was measured, in which surroundings, on which side.
#[derive(Debug, Default)]
pub struct Samples {
    figures: BTreeMap<(String, String, Side), Vec<f64>>,
    order: Vec<(String, String)>,
    notes: Vec<String>,
}

impl Samples {
    /// Adds a time, kept in milliseconds.
    pub fn time(&mut self, what: &str, place: &str, side: Side, took: Duration) {
        self.figure(what, place, side, took.as_secs_f64() * 1e3);
    }

    /// Adds a figure in a unit that `what` names.
    pub fn figure(&mut self, what: &str, place: &str, side: Side, value: f64) {
        let row = (what.to_owned(), place.to_owned());
        if !self.order.contains(&row) {
            self.order.push(row);
        }
        self.figures.entry((what.to_owned(), place.to_owned(), side)).or_default().push(value);
    }

    /// Remembers something that the reader of the table must know.
    pub fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            eprintln!("note: {text}");
            self.notes.push(text);
        }
    }

    /// The middle of a side's figures.
    #[must_use]
    pub fn median(&self, what: &str, place: &str, side: Side) -> Option<f64> {
        let mut values = self.figures.get(&(what.to_owned(), place.to_owned(), side))?.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// How many figures a side has.
    #[must_use]
    pub fn count(&self, what: &str, place: &str, side: Side) -> usize {
        self.figures.get(&(what.to_owned(), place.to_owned(), side)).map_or(0, Vec::len)
    }

    /// What was measured, in the order it was.
    #[must_use]
    pub fn rows(&self) -> &[(String, String)] {
        &self.order
    }

    /// What the reader must know.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}
