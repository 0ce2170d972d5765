//! The machine, and what the system counts about it and its processes (proc(5)).

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

/// Clock ticks a second in /proc: 100 on every Linux, whatever the kernel's own tick.
const TICKS: u64 = 100;

/// What the figures depend on.
pub(super) fn describe() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    json!({
        "cpu": field(&read("/proc/cpuinfo"), "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_before": read("/proc/loadavg").split(' ').next().and_then(|load| load.parse::<f64>().ok()),
    })
}

/// The value of a line `name: value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

/// CPU time that a process has used, user and system, all its threads.
pub(super) fn cpu_of(process: u32) -> anyhow::Result<Duration> {
    ticks(&stat(&process.to_string())?, &[14, 15])
}

/// CPU time of all processes that this one has started and that have ended.
pub(super) fn cpu_of_children() -> anyhow::Result<Duration> {
    ticks(&stat("self")?, &[16, 17])
}

fn stat(process: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(format!("/proc/{process}/stat")).context("a process that is measured is gone")
}

/// The sum of the fields of a /proc/PID/stat, numbered as in proc(5).
fn ticks(stat: &str, fields: &[usize]) -> anyhow::Result<Duration> {
    // The second field is the name in brackets, which may hold anything.
    let after_name = stat.rsplit_once(") ").context("/proc/PID/stat has no name")?.1;
    let field =
        |number: &usize| after_name.split(' ').nth(number - 3).and_then(|text| text.parse::<u64>().ok());
    let sum = fields.iter().map(field).sum::<Option<u64>>().context("/proc/PID/stat is too short")?;
    Ok(Duration::from_millis(sum * 1_000 / TICKS))
}

/// CPU time that this process has used.
pub(super) fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
}

/// Memory of a process that is in RAM (`VmRSS`), in bytes.
pub(super) fn resident(process: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let text = field(&status, "VmRSS").context("/proc/PID/status has no VmRSS")?;
    let kilobytes: u64 = text.trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1_024)
}

/// Time that the machine's CPUs have been busy since it started, whoever with.
pub(super) fn busy() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let counts: Vec<u64> = line.split_whitespace().skip(1).filter_map(|count| count.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, …: all but the two that are idleness.
    let busy: u64 =
        counts.iter().take(7).enumerate().filter(|(at, _)| ![3, 4].contains(at)).map(|(_, n)| n).sum();
    Ok(Duration::from_millis(busy * 1_000 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_a_name_with_spaces_and_brackets() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 7 3 20 0";
        assert_eq!(ticks(stat, &[14, 15]).unwrap(), Duration::from_secs(2));
        assert_eq!(ticks(stat, &[16, 17]).unwrap(), Duration::from_millis(100));
        assert!(ticks("42 (a) S 1", &[14]).is_err());
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        let before = own_cpu();
        while own_cpu() == before {}
        assert!(own_cpu() > before);
        assert!(resident(std::process::id()).unwrap() > 100_000);
        assert!(busy().unwrap() > Duration::ZERO);
    }
}
