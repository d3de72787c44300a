//! The table.

use std::fmt::Write;
use std::process::Command;

use crate::inside;
use crate::lone;
use crate::samples::{Samples, Side};
use crate::scenes::SIDES;

/// What must hold between two figures of the same run.
enum Target {
    /// LXD's figure is at least this many times ours.
    Faster(f64),
    /// Our figure is at least this many times LXD's: for figures where more is better.
    More(f64),
}

/// Where a target holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// For busybox on btrfs, or where there is no such choice.
    Usual,
    /// In this scene.
    Scene(&'static str),
}

/// The targets, by the row's name or, before a `…`, its beginning.
const TARGETS: [(&str, Where, Target); 42] = [
    ("start", Where::Usual, Target::Faster(12.0)),
    ("launch", Where::Usual, Target::Faster(10.0)),
    ("exec true", Where::Usual, Target::Faster(5.0)),
    ("stop --force", Where::Usual, Target::Faster(25.0)),
    ("restart --force", Where::Usual, Target::Faster(20.0)),
    ("list of 1,000 products", Where::Usual, Target::Faster(5.0)),
    ("list of…", Where::Usual, Target::Faster(20.0)),
    ("GET recursion=2…", Where::Usual, Target::Faster(25.0)),
    ("daemon's exec…", Where::Usual, Target::Faster(15.0)),
    ("exec, 512 MiB…", Where::Usual, Target::More(10.0)),
    ("daemon RSS…", Where::Usual, Target::Faster(6.0)),
    ("monitor PSS…", Where::Usual, Target::Faster(12.0)),
    ("launch", Where::Scene("deb host"), Target::Faster(40.0)),
    ("copy", Where::Scene("deb host"), Target::Faster(50.0)),
    ("snapshot, running", Where::Scene("deb host"), Target::Faster(50.0)),
    ("restore", Where::Scene("deb host"), Target::Faster(10.0)),
    ("delete", Where::Scene("deb host"), Target::Faster(5.0)),
    ("launch", Where::Scene("deb btrfs"), Target::Faster(12.0)),
    ("copy", Where::Scene("deb btrfs"), Target::Faster(6.0)),
    ("snapshot, running", Where::Scene("deb btrfs"), Target::Faster(6.0)),
    ("restore", Where::Scene("deb btrfs"), Target::Faster(6.0)),
    ("image import, split", Where::Scene("deb"), Target::Faster(3.0)),
    ("image import, tar.xz", Where::Scene("deb"), Target::Faster(2.0)),
    ("image import, tar.zst", Where::Scene("deb"), Target::Faster(2.0)),
    ("image import, unified", Where::Scene("bb"), Target::Faster(2.0)),
    ("image unpack…", Where::Scene("deb dir"), Target::Faster(1.0)),
    ("image unpack…", Where::Scene("deb btrfs"), Target::Faster(1.0)),
    ("image unpack…", Where::Scene("deb host"), Target::Faster(1.0)),
    ("snapshot, running", Where::Usual, Target::Faster(5.0)),
    ("file push, 256 MiB…", Where::Scene("bb dir"), Target::More(3.0)),
    ("file pull, 256 MiB…", Where::Scene("bb dir"), Target::More(3.0)),
    ("file push -r…", Where::Scene("bb dir"), Target::Faster(15.0)),
    ("file pull -r…", Where::Scene("bb dir"), Target::Faster(15.0)),
    ("20 launches at once", Where::Usual, Target::Faster(8.0)),
    ("their deletion", Where::Usual, Target::Faster(10.0)),
    ("publish, gzip", Where::Scene("deb dir"), Target::Faster(1.8)),
    ("publish, none", Where::Scene("deb dir"), Target::Faster(1.8)),
    ("export, gzip", Where::Scene("deb dir"), Target::Faster(1.8)),
    ("export, none", Where::Scene("deb dir"), Target::Faster(1.8)),
    ("import, gzip", Where::Scene("deb dir"), Target::Faster(1.0)),
    ("copy", Where::Scene("bb dir"), Target::Faster(1.0)),
    ("restore", Where::Scene("bb dir"), Target::Faster(1.0)),
];

/// Writes everything as Markdown.
#[must_use]
pub fn write(samples: &Samples) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "# Results\n\n{}\n", surroundings());
    let _ = writeln!(
        text,
        "Medians of interleaved runs, milliseconds unless said; ratio = LXD's figure by ours (ours by LXD's where more is better).\n\n\
         On `host` the pool is a directory of the host's own file system: Coffer's driver is overlay, LXD's is dir.\n"
    );
    let _ = writeln!(text, "| what | where | Coffer | LXD | ratio | target | | rounds |\n|---|---|--:|--:|--:|--:|---|--:|");
    for (what, place) in samples.rows().iter().filter(|(_, place)| !place.starts_with(lone::PLACE)) {
        row(samples, what, place, &mut text);
    }
    beside_tools(samples, &mut text);
    absolute(samples, &mut text);
    if !samples.notes().is_empty() {
        let _ = writeln!(text, "\n## Notes\n");
        for note in samples.notes() {
            let _ = writeln!(text, "- {}", note.replace('\n', " "));
        }
    }
    text
}

fn row(samples: &Samples, what: &str, place: &str, text: &mut String) {
    let [ours, lxd] = SIDES.map(|side| samples.median(what, place, side));
    let named = |name: &str| name.strip_suffix('…').map_or(what == name, |start| what.starts_with(start));
    let of_row = || TARGETS.iter().filter(|(name, _, _)| named(name));
    let more = of_row().any(|(_, _, target)| matches!(target, Target::More(_)));
    let ratio = ours.zip(lxd).map(|(ours, lxd)| if more { ours / lxd } else { lxd / ours });
    let here = |of: Where| match of {
        Where::Usual => place.is_empty() || place == "bb btrfs",
        Where::Scene(scene) => place == scene,
    };
    let wanted = of_row().find(|(_, of, _)| here(*of)).map(|(_, _, target)| match target {
        Target::Faster(times) | Target::More(times) => *times,
    });
    let verdict = match (ratio, wanted) {
        (Some(ratio), Some(wanted)) if ratio >= wanted => "holds",
        (Some(_), Some(_)) => "**missed**",
        _ => "",
    };
    let rounds = SIDES.map(|side| samples.count(what, place, side)).into_iter().max().unwrap_or(0);
    let wanted = wanted.map_or(String::new(), |wanted| format!("{wanted}×"));
    let ratio = ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.1}×"));
    let _ = writeln!(text, "| {what} | {place} | {} | {} | {ratio} | {wanted} | {verdict} | {rounds} |", number(ours), number(lxd));
}

fn beside_tools(samples: &Samples, text: &mut String) {
    let _ = writeln!(
        text,
        "\n## Beside what starts containers without a daemon\n\nThe same busybox root; crun and lxc-start without a network, Coffer with one. \
         One after the other, while nothing else works.\n"
    );
    let _ = writeln!(
        text,
        "| what | pool | Coffer, client | Coffer, API | coffer-monitor by hand | crun | crun, user namespace | lxc tools | client not slower than crun | API not slower | by hand not slower |\n|---|---|--:|--:|--:|--:|--:|--:|---|---|---|"
    );
    for (what, step) in [("start", "API: start"), ("exec true", "API: exec true"), ("kill", "API: stop, force")] {
        for pool in lone::POOLS {
            let ours = samples.median(&format!("{what}, {pool}"), lone::PLACE, Side::Ours);
            let bare = samples.median(step, &format!("{} {pool}", lone::PLACE), Side::Ours);
            let [hand, crun, crun_user, lxc] =
                [Side::Runtime, Side::Crun, Side::CrunUser, Side::Lxc].map(|side| samples.median(what, lone::PLACE, side));
            let verdict = |figure: Option<f64>| match figure.zip(crun) {
                Some((figure, crun)) if figure <= crun => "holds",
                Some(_) => "**missed**",
                None => "",
            };
            let figures = [ours, bare, hand, crun, crun_user, lxc].map(number).join(" | ");
            let _ = writeln!(text, "| {what} | {pool} | {figures} | {} | {} | {} |", verdict(ours), verdict(bare), verdict(hand));
        }
    }
}

/// The target that compares two of our own figures.
fn absolute(samples: &Samples, text: &mut String) {
    let launch = samples.median("launch", "bb btrfs", Side::Ours);
    let shown = samples.median("launch to IPv4 shown", "bb btrfs", Side::Ours);
    if let Some((launch, shown)) = launch.zip(shown) {
        let verdict = if shown <= launch + 5.0 { "holds" } else { "**missed**" };
        let _ = writeln!(text, "\nLaunch to IPv4 shown is launch + {:.1} ms; the target is + 5 ms: {verdict}.", shown - launch);
    }
    for (row, place) in samples.rows().iter().filter(|(row, _)| inside::ROWS.contains(&row.as_str())) {
        if let Some(share) = samples.median(row, place, Side::Ours) {
            let verdict = if share >= 95.0 { "holds" } else { "**missed**" };
            let _ = writeln!(text, "\n{row}, {place}: {share:.0}; the target is 95: {verdict}.");
        }
    }
    if let Some(start) = samples.median("API: start", "bb btrfs", Side::Ours) {
        let _ =
            writeln!(text, "\nThe floor of a start in plain system calls is 3.3 ms; the API's start is {:.1} ms above it.", start - 3.3);
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") })
}

fn surroundings() -> String {
    let answer = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).trim().to_owned()
    };
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown processor").to_owned();
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown system").trim_matches('"').to_owned();
    format!(
        "{}; {} × {processor}; {system}, kernel {}; LXD {}, crun {}, lxc {}.",
        answer("date", &["-u", "+%Y-%m-%d"]),
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        answer("uname", &["-r"]),
        answer("/usr/bin/lxd", &["--version"]),
        answer("crun", &["--version"]).lines().next().unwrap_or_default().replace("crun version ", ""),
        answer("lxc-start", &["--version"]),
    )
}
