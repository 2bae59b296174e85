//! What the system tells about memory.

/// The machine's memory in bytes, where the system tells it.
pub fn total_bytes() -> Option<u64> {
    kibibytes("/proc/meminfo", "MemTotal:")
}

/// The most memory that this process has had in use at once, in bytes, where the system tells it.
pub fn peak_resident_bytes() -> Option<u64> {
    kibibytes("/proc/self/status", "VmHWM:")
}

/// The value of a line such as `MemTotal:  1024 kB`, in bytes.
fn kibibytes(file: &str, label: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
