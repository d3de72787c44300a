//! The table.

use std::fmt::Write;
use std::process::Command;

use crate::samples::{Samples, Side};
use crate::scenes::SIDES;

/// What must hold between two figures of the same run.
enum Target {
    /// LXD's figure is at least this many times ours.
    Faster(f64),
    /// Our figure is at least this many times LXD's: for figures where more is better.
    More(f64),
}

/// The targets, by the row's name or, before a `…`, its beginning; they hold for busybox on btrfs, or where there is no such choice.
const TARGETS: [(&str, Target); 11] = [
    ("start", Target::Faster(12.0)),
    ("launch", Target::Faster(10.0)),
    ("exec true", Target::Faster(5.0)),
    ("stop --force", Target::Faster(25.0)),
    ("restart --force", Target::Faster(20.0)),
    ("list of…", Target::Faster(20.0)),
    ("GET recursion=2…", Target::Faster(25.0)),
    ("daemon's exec…", Target::Faster(15.0)),
    ("exec, 512 MiB…", Target::More(10.0)),
    ("daemon RSS…", Target::Faster(6.0)),
    ("monitor PSS…", Target::Faster(12.0)),
];

/// Writes everything as Markdown.
#[must_use]
pub fn write(samples: &Samples) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "# Results\n\n{}\n", surroundings());
    let _ = writeln!(
        text,
        "Medians of interleaved runs, milliseconds unless said; ratio = LXD's figure by ours (ours by LXD's where more is better).\n"
    );
    let _ = writeln!(text, "| what | where | Coffer | LXD | ratio | target | | rounds |\n|---|---|--:|--:|--:|--:|---|--:|");
    for (what, place) in samples.rows().iter().filter(|(_, place)| place != "no network") {
        row(samples, what, place, &mut text);
    }
    lone(samples, &mut text);
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
    let target = TARGETS
        .iter()
        .find(|(name, _)| name.strip_suffix('…').map_or(what == *name, |start| what.starts_with(start)))
        .map(|(_, target)| target);
    let more = matches!(target, Some(Target::More(_)));
    let ratio = ours.zip(lxd).map(|(ours, lxd)| if more { ours / lxd } else { lxd / ours });
    let wanted = match target {
        Some(Target::Faster(times) | Target::More(times)) if place.is_empty() || place == "bb btrfs" => Some(*times),
        _ => None,
    };
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

fn lone(samples: &Samples, text: &mut String) {
    let _ = writeln!(
        text,
        "\n## Beside what starts containers without a daemon\n\nThe same busybox root; crun and lxc-start without a network, Coffer with one.\n"
    );
    let _ = writeln!(text, "| what | Coffer, client | Coffer, API | crun | lxc tools | not slower than crun |\n|---|--:|--:|--:|--:|---|");
    for (what, client, api) in
        [("start", "start", "API: start"), ("exec true", "exec true", "API: exec true"), ("kill", "stop --force", "API: stop, force")]
    {
        let ours = samples.median(client, "bb btrfs", Side::Ours);
        let bare = samples.median(api, "bb btrfs", Side::Ours);
        let crun = samples.median(what, "no network", Side::Crun);
        let lxc = samples.median(what, "no network", Side::Lxc);
        let verdict = match ours.zip(crun) {
            Some((ours, crun)) if ours <= crun => "holds",
            Some(_) => "**missed**",
            None => "",
        };
        let _ = writeln!(text, "| {what} | {} | {} | {} | {} | {verdict} |", number(ours), number(bare), number(crun), number(lxc));
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
