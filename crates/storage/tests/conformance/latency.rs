//! How long the daily steps take: medians over many rounds, in microseconds.

use std::time::{Duration, Instant};

use coffer_base::Progress;
use coffer_storage::{Volume, create_from_image, create_pool};

use crate::cases::{fingerprint, held};
use crate::ground;
use crate::sample;

const ROUNDS: usize = 50;

/// Prints a line for each kind of ground and step.
pub fn print() {
    for make in ground::ALL {
        let Ok(ground) = (make.make)() else { continue };
        let pool = create_pool(&mut ground.spec("pool"), &|_| ()).unwrap();
        let (base, copy, image) = (held(pool.as_ref(), "base"), held(pool.as_ref(), "copy"), fingerprint('c'));
        create_from_image(pool.as_ref(), &base, &image, &mut sample::fill).unwrap();
        let snapshots = pool.snapshots().unwrap();
        let name = "s0".parse().unwrap();
        let mut steps: Vec<(&str, Vec<Duration>)> = Vec::new();
        for _ in 0..ROUNDS {
            let mut step = |label: &'static str, run: &mut dyn FnMut()| {
                let start = Instant::now();
                run();
                let taken = start.elapsed();
                match steps.iter_mut().find(|(known, _)| *known == label) {
                    Some((_, times)) => times.push(taken),
                    None => steps.push((label, vec![taken])),
                }
            };
            let clone = held(pool.as_ref(), "clone");
            step("from image", &mut || create_from_image(pool.as_ref(), &clone, &image, &mut sample::fill).unwrap());
            step("mount", &mut || drop(pool.mount(&clone).unwrap()));
            step("usage", &mut || assert!(pool.usage(&clone).is_ok()));
            step("snapshot", &mut || snapshots.snapshot(&clone, &name).unwrap());
            step("restore", &mut || snapshots.restore(&clone, &name).unwrap());
            step("copy", &mut || pool.copy(&base, &copy, &[], &Progress::default()).unwrap());
            step("delete snapshot", &mut || pool.delete_volume(&clone.snapshot(&name)).unwrap());
            step("delete", &mut || pool.delete_volume(&clone).unwrap());
            step("delete copy", &mut || pool.delete_volume(&copy).unwrap());
        }
        for (label, mut times) in steps {
            times.sort();
            println!("{:24} {label:16} {:8} µs (least {})", make.name, times[ROUNDS / 2].as_micros(), times[0].as_micros());
        }
        pool.delete_volume(&base).unwrap();
        if pool.images().is_some() {
            pool.delete_volume(&Volume::image(&image)).unwrap();
        }
        pool.delete().unwrap();
    }
}
