//! The CPU that this process and those it has started have used, by program. It reads `/proc` and knows none of the programs.

use std::collections::BTreeMap;
use std::fs;

/// Seconds of CPU that this process and its descendants have used, by name.
pub(super) fn used() -> BTreeMap<String, f64> {
    let mut all: BTreeMap<u32, (u32, String, f64)> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else { continue };
        let fields: Vec<&str> = stat[close + 2..].split(' ').collect();
        let number = |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        // proc(5): state ppid ... utime stime cutime cstime; a hundred ticks a second.
        let ticks = number(11) + number(12) + number(13) + number(14);
        all.insert(pid, (number(1) as u32, stat[open + 1..close].to_owned(), ticks as f64 / 100.0));
    }
    let own = std::process::id();
    let is_ours = |mut pid: u32| {
        while let Some((parent, ..)) = all.get(&pid) {
            if pid == own {
                return true;
            }
            pid = *parent;
        }
        false
    };
    let mut sums = BTreeMap::new();
    for (pid, (_, name, seconds)) in &all {
        if is_ours(*pid) {
            let name = if *pid == own { "load" } else { name.as_str() };
            *sums.entry(name.to_owned()).or_insert(0.0) += seconds;
        }
    }
    sums
}
