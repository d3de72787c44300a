//! Work on many things by several threads.

use std::thread;

/// Does work on many things, in as many shares as there are processors and each of at least `least`; the results come in the
/// order of the things. A single share is done by the caller's own thread.
///
/// # Panics
/// The work does.
pub fn spread<T, R>(mut things: Vec<T>, least: usize, work: impl Fn(Vec<T>) -> Vec<R> + Sync) -> Vec<R>
where
    T: Send,
    R: Send,
{
    let most = thread::available_parallelism().map_or(1, usize::from);
    let shares = most.min(things.len() / least.max(1)).max(1);
    let size = things.len().div_ceil(shares).max(1);
    let mut others = Vec::new();
    while things.len() > size {
        others.push(things.split_off((things.len() - 1) / size * size));
    }
    thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> = others.into_iter().rev().map(|share| scope.spawn(move || work(share))).collect();
        let mut results = work(things);
        for other in others {
            results.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_shares() {
        for count in 0..40_usize {
            for least in [0, 1, 7, 100] {
                let doubled = spread((0..count).collect(), least, |share| share.into_iter().map(|number| number * 2).collect());
                assert_eq!(doubled, (0..count).map(|number| number * 2).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_panic_is_the_callers() {
        let work = |share: Vec<usize>| if share.contains(&63) { panic!("on purpose") } else { share };
        assert!(std::panic::catch_unwind(|| spread((0..64).collect(), 1, work)).is_err());
    }
}
