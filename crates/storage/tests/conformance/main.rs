//! One set of rules, held by every driver on every kind of ground it can stand on.
//!
//! Runs in a mount namespace of its own. `conformance NAME…` runs only the cases or grounds whose names contain one of
//! the words; `conformance latency` prints how long the daily steps take instead, `conformance matrix` the manual's page.

// Without the usual harness the lints do not see that all of this is test code.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod between;
mod cases;
mod custom;
mod ground;
mod keys;
mod killed;
mod latency;
mod matrix;
mod pools;
mod roots;
mod sample;
mod streams;
mod succession;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};

use coffer_model::VolumeKind;
use coffer_storage::{Found, Pool, create_pool};
use ground::{Ground, Leaks};

const MARK: &str = "COFFER_STORAGE_TEST_NAMESPACE";

fn main() -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: storage drivers need root");
        return ExitCode::SUCCESS;
    }
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if std::env::var_os(MARK).is_none() {
        let this = std::env::current_exe().unwrap();
        let status = Command::new("unshare").args(["--mount", "--propagation", "private"]).arg(this).args(&words).env(MARK, "1").status();
        return if status.unwrap().success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if words.first().is_some_and(|word| word == "victim") {
        return killed::victim(&words[1..]);
    }
    if words.first().is_some_and(|word| word == "latency") {
        latency::print();
        return ExitCode::SUCCESS;
    }
    if words == ["matrix"] {
        print!("{}", matrix::page());
        return ExitCode::SUCCESS;
    }
    let mut outcomes = matrix::Outcomes::default();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    println!("running the conformance tests");
    let mut failed = Vec::new();
    let (mut passed, mut skipped) = (0, 0);
    let mut run = |name: String, test: &mut dyn FnMut()| {
        if !wanted(&name) {
            return;
        }
        let fine = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {}", if fine { "ok" } else { "FAILED" });
        outcomes.note(&name, fine);
        if fine {
            passed += 1;
        } else {
            failed.push(name);
        }
    };
    for make in ground::ALL {
        if !rules().any(|case| wanted(&format!("{}::{}", make.name, case.name))) {
            continue;
        }
        let leaks = Leaks::now();
        let ground = match (make.make)() {
            Ok(ground) => ground,
            Err(why) => {
                println!("test {} ... skipped: {why}", make.name);
                skipped += 1;
                continue;
            }
        };
        on_ground(make.name, &ground, &mut run);
        drop(ground);
        run(format!("{}::leaves_nothing", make.name), &mut || leaks.check());
    }
    for (name, case) in pools::ALL.iter().chain(between::ALL).chain(streams::ALL).chain(keys::ALL).chain(succession::ALL).chain(killed::ALL)
    {
        let leaks = Leaks::now();
        run((*name).to_owned(), &mut || {
            case();
            leaks.check();
        });
    }
    run("manual::the_matrix_is_fresh".to_owned(), &mut matrix::check_page);
    if words.is_empty() {
        outcomes.print();
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {} failed; {skipped} ignored", failed.len());
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}

fn on_ground(name: &str, ground: &Ground, run: &mut dyn FnMut(String, &mut dyn FnMut())) {
    let mut spec = ground.spec("pool");
    let pool = create_pool(&mut spec, &|warning| panic!("{warning}")).unwrap();
    for case in rules().filter(|case| matrix::applies(case.name, pool.driver())) {
        run(format!("{name}::{}", case.name), &mut || {
            (case.run)(pool.as_ref(), &spec);
            let left: Vec<_> = pool.list().unwrap().into_iter().filter(|found| !is_image(found)).collect();
            assert!(left.is_empty(), "the case left {left:?}");
            assert_eq!(pool.clear_temporaries().unwrap(), 0, "the case left temporaries");
        });
        sweep(pool.as_ref());
    }
    let mut deleted = false;
    run(format!("{name}::delete_pool"), &mut || {
        deleted = true;
        pool.delete().unwrap();
        assert!(!pool.path().exists());
        ground.check_untouched();
    });
    if !deleted {
        // Not asked for, but nothing must be left for the next ones.
        pool.delete().unwrap();
    }
}

/// Every rule that holds on every ground.
fn rules() -> impl Iterator<Item = &'static cases::Case> {
    cases::ALL.iter().chain(custom::ALL).chain(roots::ALL)
}

fn is_image(found: &Found) -> bool {
    matches!(found, Found::Volume(volume) if volume.kind() == VolumeKind::Image)
}

/// Removes what a case that failed has left, so that the next ones tell their own story.
fn sweep(pool: &dyn Pool) {
    for found in pool.list().unwrap().into_iter().rev() {
        match found {
            Found::Volume(volume) => drop(pool.delete_volume(&volume)),
            Found::Foreign(path) => drop(std::fs::remove_dir_all(pool.path().join(path))),
        }
    }
}
