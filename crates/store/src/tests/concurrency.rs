//! Many threads at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// The engine's own refusals pass through a transaction as they are.
#[derive(Debug)]
enum Refusal {
    TooMany,
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[test]
fn a_limit_is_never_exceeded() {
    const LIMIT: u64 = 10;
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    let start = Barrier::new(8);
    let create = |thread: usize, round: usize| {
        store.try_write(|tx| {
            if instance::count(tx, Some(&default_project()))? >= LIMIT {
                return Err(Refusal::TooMany);
            }
            Ok(instance::insert(tx, &checked(tx, some_instance(&format!("i{thread}-{round}")))?)?)
        })
    };
    let made: Vec<i64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let (start, create) = (&start, &create);
                scope.spawn(move || {
                    start.wait();
                    let tries: Vec<_> = (0..20).map(|round| create(thread, round)).collect();
                    tries.into_iter().filter_map(|result| match result {
                        Ok(id) => Some(id),
                        Err(Refusal::TooMany) => None,
                        Err(Refusal::Store(error)) => panic!("{error}"),
                    })
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap().collect::<Vec<_>>()).collect()
    });
    assert_eq!(made.len() as u64, LIMIT);
    let mut ids = made.clone();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), made.len(), "ids are unique");
    assert_eq!(store.read(|conn| instance::count(conn, None)).unwrap(), LIMIT);
}

#[test]
fn readers_see_whole_states_while_others_write() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    for named in ["a", "b"] {
        add(&store, some_instance(named)).unwrap();
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // Two queries of one read see the same state, and both instances always have the same value.
                    let (first, second) = store.read(|conn| Ok((instance::list(conn, None)?, instance::list(conn, None)?))).unwrap();
                    assert_eq!(first, second);
                    assert_eq!(first[0].config.get("volatile.round"), first[1].config.get("volatile.round"));
                }
            });
        }
        for round in 0..200 {
            store
                .write(|tx| {
                    for named in ["a", "b"] {
                        instance::set_volatile(tx, &default_project(), &name(named), &[("volatile.round", Some(round.to_string()))])?;
                    }
                    Ok(())
                })
                .unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn an_error_or_a_panic_takes_everything_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    let refused: Result<(), Refusal> = store.try_write(|tx| {
        instance::insert(tx, &checked(tx, some_instance("web"))?)?;
        Err(Refusal::TooMany)
    });
    assert!(matches!(refused, Err(Refusal::TooMany)));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.write(|tx| {
            instance::insert(tx, &checked(tx, some_instance("web"))?)?;
            panic!("in the middle of a transaction");
            #[allow(unreachable_code)]
            Ok(())
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(store.read(|conn| instance::count(conn, None)).unwrap(), 0);
    add(&store, some_instance("web")).unwrap();
}

#[test]
fn a_reader_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    let result = store.read(|conn| Ok(conn.raw.execute("DELETE FROM pools", [])));
    assert!(result.unwrap().unwrap_err().to_string().contains("readonly"));
}
