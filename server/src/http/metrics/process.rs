//! `process_*`: the resources of this process, under the names that Prometheus clients share.

use std::{
    fmt, fs,
    time::{SystemTime, UNIX_EPOCH},
};

use nix::sys::{
    resource::{Resource, UsageWho, getrlimit, getrusage},
    time::TimeVal,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        MetricType::{Counter, Gauge},
        counter::ConstCounter,
        gauge::ConstGauge,
    },
};

use super::encode::single;

/// The resources of this process. Without /proc some are not known.
#[derive(Debug)]
pub(super) struct Process {
    started: f64,
    cpu_seconds: Option<f64>,
    max_fds: Option<u64>,
    open_fds: Option<u64>,
    resident_memory: Option<u64>,
    virtual_memory: Option<u64>,
    threads: Option<u64>,
}

impl Process {
    /// Reads the resources; blocks.
    pub(super) fn read(started: SystemTime) -> Process {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let of_status = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            value.split_whitespace().next()?.parse::<u64>().ok()
        };
        let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
        let fds = fs::metadata("/proc/self/fd").map(|folder| match folder.len() {
            // Before Linux 6.2. One of the files is the folder that is read.
            0 => fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64 - 1),
            len => len,
        });
        Process {
            started: started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            cpu_seconds: usage.map(|of| seconds(of.user_time()) + seconds(of.system_time())),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
            open_fds: fds.ok(),
            resident_memory: of_status("VmRSS:").map(|kib| kib * 1024),
            virtual_memory: of_status("VmSize:").map(|kib| kib * 1024),
            threads: of_status("Threads:"),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let help = "Start time of the process since 1970 in seconds.";
        let started = encoder.encode_descriptor("start_time_seconds", help, None, Gauge)?;
        ConstGauge::new(self.started).encode(started)?;
        if let Some(seconds) = self.cpu_seconds {
            let help = "User and system CPU time in seconds.";
            let cpu = encoder.encode_descriptor("cpu_seconds", help, None, Counter)?;
            ConstCounter::new(seconds).encode(cpu)?;
        }
        for (name, help, value) in [
            ("max_fds", "Maximum number of open file descriptors", self.max_fds),
            ("open_fds", "Open file descriptors", self.open_fds),
            ("resident_memory_bytes", "Resident memory in bytes", self.resident_memory),
            ("virtual_memory_bytes", "Virtual memory in bytes", self.virtual_memory),
            ("threads", "Threads", self.threads),
        ] {
            if let Some(value) = value {
                single(encoder, (name, Gauge, help), value)?;
            }
        }
        Ok(())
    }
}
