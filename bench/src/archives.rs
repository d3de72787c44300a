//! An instance made an image, an archive, and an instance again.

use crate::Plan;
use crate::contender::Contender;
use crate::samples::Samples;
use crate::scenes::in_turn;

/// Publishes, exports and imports the Debian image's instance on both pools, with the same compression on both sides.
pub fn measure(plan: &Plan, contenders: &[Contender], samples: &mut Samples) {
    for pool in ["dir", "btrfs"] {
        let place = format!("deb {pool}");
        for contender in contenders {
            if let Err(why) = contender.cli(&["init", "deb", "whole", "--storage", pool]) {
                samples.note(format!("{:?}: {why}", contender.side));
            }
        }
        for round in 0..plan.rounds.div_ceil(4) {
            for contender in in_turn(contenders, round) {
                let file = contender.daemon.scratch().join("whole.tar.gz").display().to_string();
                let steps: [(&str, &[&str]); 5] = [
                    ("publish, gzip", &["publish", "whole", "--alias", "again", "--compression", "gzip"]),
                    ("publish, none", &["publish", "whole", "--alias", "plain", "--compression", "none"]),
                    ("export, gzip", &["export", "whole", &file, "--compression", "gzip"]),
                    ("export, none", &["export", "whole", &format!("{file}.tar"), "--compression", "none"]),
                    ("import, gzip", &["import", &file, "back", "--storage", pool]),
                ];
                for (what, words) in steps {
                    match contender.cli(words) {
                        Ok(took) => samples.time(what, &place, contender.side, took),
                        Err(why) => samples.note(format!("{:?} cannot do {what}: {why}", contender.side)),
                    }
                }
                for words in [&["delete", "back"][..], &["image", "delete", "again", "plain"]] {
                    if let Err(why) = contender.cli(words) {
                        samples.note(format!("{:?}: {why}", contender.side));
                    }
                }
                for name in [&file, &format!("{file}.tar")] {
                    if let Err(error) = std::fs::remove_file(name) {
                        samples.note(format!("{:?}: removing {name}: {error}", contender.side));
                    }
                }
            }
        }
        for contender in contenders {
            if let Err(why) = contender.cli(&["delete", "whole"]) {
                samples.note(format!("{:?}: {why}", contender.side));
            }
        }
    }
}
