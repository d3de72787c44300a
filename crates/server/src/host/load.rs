//! How busy the host is.
//!
//! Source: proc_loadavg(5).

use coffer_api::ResourcesLoad;

/// Reads how busy the host is.
pub fn read() -> ResourcesLoad {
    parse(&std::fs::read_to_string("/proc/loadavg").unwrap_or_default()).unwrap_or_default()
}

/// Reads `0.20 0.18 0.12 1/80 11206`: averages, runnable and all processes and threads, the newest process.
fn parse(text: &str) -> Option<ResourcesLoad> {
    let mut words = text.split(' ');
    let mut average = || words.next()?.parse().ok();
    let (one, five, ten) = (average()?, average()?, average()?);
    let (_, processes) = words.next()?.split_once('/')?;
    Some(ResourcesLoad { average_1_min: one, average_5_min: five, average_10_min: ten, processes: processes.parse().ok()? })
}

#[cfg(test)]
mod tests {
    #[test]
    fn averages() {
        let load = super::parse("0.20 0.18 0.12 1/80 11206\n").unwrap();
        assert_eq!((load.average_1_min, load.average_10_min, load.processes), (0.2, 0.12, 80));
        assert!(super::parse("").is_none());
    }
}
