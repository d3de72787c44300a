//! The matrix of rules and drivers: what came of a run, and what the manual says.

use std::collections::BTreeMap;
use std::fmt::Write;

use coffer_storage::DriverKind;

use crate::{between, ground, keys, killed, pools, rules, streams};

/// Where the manual has it. `conformance matrix` prints it.
const PAGE: &str = include_str!("../../../../docs/manual/storage-matrix.md");

/// A rule, and for which drivers it means nothing.
type Exception = (&'static str, fn(DriverKind) -> bool);

/// Rules that mean nothing to some drivers.
const NOT_FOR: &[Exception] = &[
    ("nested_subvolumes_go_along", |driver| driver != DriverKind::Btrfs),
    // Its roots are mounted with mapped ids, wherever it can be made at all.
    ("owners_can_be_shifted", |driver| driver == DriverKind::Overlay),
    // It holds volumes of files alone, and no roots.
    ("a_new_volume_is_whole_and_private", |driver| driver == DriverKind::Cephfs),
    ("disks_in_files_stay_sparse", |driver| driver == DriverKind::Cephfs),
    ("changes_on_top_of_an_image_are_kept", |driver| driver == DriverKind::Cephfs),
    ("a_root_that_runs_can_be_copied", |driver| driver == DriverKind::Cephfs),
    ("many_snapshots_cost_no_content", |driver| driver == DriverKind::Cephfs),
    ("an_image_can_go_before_its_instances", |driver| driver == DriverKind::Cephfs),
    ("a_size_limits_what_a_root_changes", |driver| driver == DriverKind::Cephfs),
    // It copies all that a snapshot holds: nothing can hide.
    ("a_restore_finds_what_hides_its_change", |driver| driver == DriverKind::Cephfs),
];

/// Rules that take so long in the bed that nobody has waited for their end.
const NOT_RUN: &[(&str, DriverKind)] = &[
    // Ceph counts what is below each directory at every step, and this one has directories in directories in directories.
    ("deep_and_locked_trees_can_be_copied_and_deleted", DriverKind::Cephfs),
];

/// Says whether a rule means something to a driver.
pub fn applies(rule: &str, driver: DriverKind) -> bool {
    !NOT_FOR.iter().any(|(name, not)| *name == rule && not(driver))
}

/// The driver that a kind of ground is for, which its name begins with.
pub fn driver_of(ground: &str) -> Option<DriverKind> {
    ground.split('_').next()?.parse().ok()
}

/// What came of each rule with each driver.
#[derive(Default)]
pub struct Outcomes(BTreeMap<(String, DriverKind), bool>);

impl Outcomes {
    /// Notes how `ground::rule` ended.
    pub fn note(&mut self, name: &str, fine: bool) {
        let Some((ground, rule)) = name.split_once("::") else { return };
        let driver = if ground == "killed" { rule.parse().ok() } else { driver_of(ground) };
        // Those that the host does not have were passed over.
        let Some(driver) = driver.filter(|driver: &DriverKind| driver.available()) else { return };
        let rule = if ground == "killed" { "a_server_that_is_killed_leaves_whole_volumes" } else { rule };
        *self.0.entry((rule.to_owned(), driver)).or_insert(true) &= fine;
    }

    /// Prints a line for each rule.
    pub fn print(&self) {
        let mut rules: Vec<&str> = self.0.keys().map(|(rule, _)| rule.as_str()).collect();
        rules.dedup();
        let drivers = DriverKind::ALL.map(|driver| format!("{:>8}", driver.as_str())).concat();
        println!("{:66}{drivers}", "rule");
        for rule in rules {
            let cell = |driver| match self.0.get(&(rule.to_owned(), driver)) {
                Some(true) => "ok",
                Some(false) => "FAILED",
                None => "-",
            };
            let cells = DriverKind::ALL.map(|driver| format!("{:>8}", cell(driver))).concat();
            println!("{:66}{cells}", rule.replace('_', " "));
        }
    }
}

/// The manual's page.
pub fn page() -> String {
    let mut text = String::from(
        "# What every storage driver does\n\n\
         The rules of the conformance suite, which `cargo xtask test` runs on this host and `cargo xtask bed` in an emulated guest, for the drivers\n\
         that each has. This page is printed by `cargo test -p coffer-storage --test conformance -- matrix`, and the suite holds it against the rules.\n\n",
    );
    let head = DriverKind::ALL.map(|driver| format!(" {driver} |")).concat();
    let _ = writeln!(text, "| rule |{head}\n|---|{}", "---|".repeat(DriverKind::ALL.len()));
    let killed = ("a_server_that_is_killed_leaves_whole_volumes", killed::ALL.len());
    assert_eq!(killed.1, DriverKind::ALL.len(), "every driver is killed");
    for rule in rules().map(|case| case.name).chain([killed.0]) {
        let cell = |driver| match applies(rule, driver) {
            true if NOT_RUN.contains(&(rule, driver)) => " not run |",
            true => " yes |",
            false => " – |",
        };
        let _ = writeln!(text, "| {} |{}", rule.replace('_', " "), DriverKind::ALL.map(cell).concat());
    }
    let _ = writeln!(
        text,
        "\nEach driver stands on each ground that it can have: {}.\n\
         Every rule runs on the first ground of each driver, of `lvm` on both in a file, and of the drivers that the host has on all; in the guest the\n\
         rules in which the other grounds differ run on those.\n",
        ground::ALL.iter().map(|maker| maker.name.replace('_', " ")).collect::<Vec<_>>().join(", ")
    );
    let _ = writeln!(
        text,
        "Between every two drivers (`lvm` with a thin pool), and from Linux 6.6 on from and to `dir` on a tmpfs, volumes are copied with their snapshots\n\
         and the trees compared:\n\
         owners, permissions, times, ACLs, attributes, capabilities, hard links, holes, devices, sockets, chains of links, odd names.\n"
    );
    let _ = writeln!(text, "Beside these, for the drivers that it is about:\n");
    for (name, _) in pools::ALL.iter().chain(between::ALL).chain(streams::ALL).chain(keys::ALL) {
        let name = name.split("::").last().unwrap_or_default();
        let _ = writeln!(text, "- {}", name.replace('_', " "));
    }
    text
}

/// The rule that the manual's page is what this would print.
pub fn check_page() {
    assert!(page() == PAGE, "docs/manual/storage-matrix.md is old: print it anew with the word matrix");
}
