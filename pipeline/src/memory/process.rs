//! What the system tells about memory: of the machine, of the process and of its control groups.

use std::{fmt, fs, path::Path};

use serde::Serialize;

/// Where Linux tells it.
const ROOT: &str = "/";

/// Memory that can be taken, and what ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AvailableMemory {
    /// How much more may be taken, in bytes.
    pub bytes: u64,
    /// What sets the limit.
    pub bound: MemoryBound,
}

/// What limits memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryBound {
    /// What the machine has free.
    Machine,
    /// What a control group of the process has left, as in a container or a system service.
    ControlGroup,
    /// What the graphics card has.
    GraphicsCard,
    /// What the person allows.
    Limit,
}

impl fmt::Display for MemoryBound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Machine => "the machine leaves",
            Self::ControlGroup => "the control group leaves",
            Self::GraphicsCard => "the graphics card has",
            Self::Limit => "--memory-limit allows",
        })
    }
}

/// The machine's memory in bytes, where the system tells it.
pub fn total_bytes() -> Option<u64> {
    kibibytes(Path::new(ROOT), "proc/meminfo", "MemTotal:")
}

/// The most memory that this process has had in use at once, in bytes, where the system tells it.
pub fn peak_resident_bytes() -> Option<u64> {
    kibibytes(Path::new(ROOT), "proc/self/status", "VmHWM:")
}

/// The memory that this process has in use, in bytes, where the system tells it.
pub fn resident_bytes() -> Option<u64> {
    kibibytes(Path::new(ROOT), "proc/self/status", "VmRSS:")
}

/// How much more memory this process may take, where the system tells it: what the machine can
/// free without swapping, or what the tightest of the process's control groups has left.
pub fn available() -> Option<AvailableMemory> {
    available_below(Path::new(ROOT))
}

/// [`available`] of the system whose `/proc` and `/sys` are below `root`.
fn available_below(root: &Path) -> Option<AvailableMemory> {
    let machine = kibibytes(root, "proc/meminfo", "MemAvailable:")
        .map(|bytes| AvailableMemory { bytes, bound: MemoryBound::Machine });
    let group = group_headroom(root)
        .map(|bytes| AvailableMemory { bytes, bound: MemoryBound::ControlGroup });
    machine.into_iter().chain(group).min_by_key(|available| available.bytes)
}

/// What the files of a version of control groups are called.
struct GroupFiles {
    limits: &'static [&'static str],
    usage: &'static str,
    /// Lines of `memory.stat`: the file cache, which counts as used and is given up when memory
    /// runs short.
    cache: [&'static str; 2],
}

const VERSION_1: GroupFiles = GroupFiles {
    limits: &["memory.limit_in_bytes"],
    usage: "memory.usage_in_bytes",
    cache: ["total_inactive_file", "total_active_file"],
};

/// Above `memory.high` a group is slowed down until it hardly runs, so it is a limit, too.
const VERSION_2: GroupFiles = GroupFiles {
    limits: &["memory.max", "memory.high"],
    usage: "memory.current",
    cache: ["inactive_file", "active_file"],
};

/// The least that one of the process's control groups, or a group above, has left.
fn group_headroom(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut least: Option<u64> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (mounts, files): (&[&str], _) = if controllers.is_empty() {
            (&["sys/fs/cgroup", "sys/fs/cgroup/unified"], &VERSION_2)
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (&["sys/fs/cgroup/memory"], &VERSION_1)
        } else {
            continue;
        };
        for mount in mounts {
            let mount = root.join(mount);
            // In a container the group's path may be the host's, which is not visible; the mount
            // then is the group itself.
            let innermost = mount.join(group.trim_start_matches('/'));
            let headrooms = innermost
                .ancestors()
                .take_while(|folder| folder.starts_with(&mount))
                .filter_map(|folder| headroom(folder, files));
            least = headrooms.chain(least).min();
        }
    }
    least
}

/// What one group has left; `None` where it has no limit.
fn headroom(folder: &Path, files: &GroupFiles) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok()
    };
    let limit = files.limits.iter().filter_map(|name| number(name)).min()?;
    let used = number(files.usage)?;
    let statistics = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let cache = statistics
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(label, _)| files.cache.contains(label))
        .filter_map(|(_, bytes)| bytes.trim().parse::<u64>().ok())
        .fold(0, u64::saturating_add);
    Some(limit.saturating_sub(used.saturating_sub(cache)))
}

/// The value of a line such as `MemTotal:  1024 kB`, in bytes.
fn kibibytes(root: &Path, file: &str, label: &str) -> Option<u64> {
    let text = fs::read_to_string(root.join(file)).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A system with 8 GiB free, and files.
    fn system(groups: &str, files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().unwrap();
        let meminfo = "MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\n";
        let all = [("proc/meminfo", meminfo), ("proc/self/cgroup", groups)];
        for (path, content) in all.iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn found(groups: &str, files: &[(&str, &str)]) -> (u64, MemoryBound) {
        let available = available_below(system(groups, files).path()).unwrap();
        (available.bytes / MIB, available.bound)
    }

    #[test]
    fn without_limits_it_is_what_the_machine_has_free() {
        assert_eq!(found("", &[]), (8192, MemoryBound::Machine));
        let unlimited = [
            ("sys/fs/cgroup/a/memory.max", "max\n"),
            ("sys/fs/cgroup/a/memory.current", "1048576\n"),
        ];
        assert_eq!(found("0::/a\n", &unlimited), (8192, MemoryBound::Machine));
        let version_1 = [
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1048576\n"),
        ];
        assert_eq!(found("5:memory:/\n", &version_1), (8192, MemoryBound::Machine));
    }

    #[test]
    fn the_tightest_group_above_counts() {
        let files = [
            ("sys/fs/cgroup/a/b/memory.max", "4294967296\n"),
            ("sys/fs/cgroup/a/b/memory.current", "1073741824\n"),
            ("sys/fs/cgroup/a/memory.max", "3221225472\n"),
            ("sys/fs/cgroup/a/memory.current", "2147483648\n"),
            (
                "sys/fs/cgroup/a/memory.stat",
                "anon 5\ninactive_file 104857600\nactive_file 1048576\n",
            ),
        ];
        assert_eq!(found("0::/a/b\n", &files), (1024 + 101, MemoryBound::ControlGroup));
        let throttled = [
            ("sys/fs/cgroup/a/memory.max", "max\n"),
            ("sys/fs/cgroup/a/memory.high", "2097152\n"),
            ("sys/fs/cgroup/a/memory.current", "1048576\n"),
        ];
        assert_eq!(found("0::/a\n", &throttled), (1, MemoryBound::ControlGroup));
    }

    #[test]
    fn a_container_sees_its_group_at_the_mount() {
        let version_2 = [
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/memory.current", "73741824\n"),
        ];
        assert_eq!(found("0::/../host/path\n", &version_2).1, MemoryBound::ControlGroup);
        let version_1 = [
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "268435456\n"),
            ("sys/fs/cgroup/memory/memory.stat", "inactive_file 9\ntotal_inactive_file 1048576\n"),
        ];
        let groups = "7:cpu,cpuacct:/x\n6:memory:/docker/0123\n0::/\n";
        assert_eq!(found(groups, &version_1), (257, MemoryBound::ControlGroup));
    }

    #[test]
    fn a_group_that_is_full_leaves_nothing() {
        let files = [
            ("sys/fs/cgroup/memory.max", "1048576\n"),
            ("sys/fs/cgroup/memory.current", "2097152\n"),
        ];
        assert_eq!(found("0::/\n", &files), (0, MemoryBound::ControlGroup));
    }

    #[test]
    fn a_system_that_tells_nothing_is_no_error() {
        assert_eq!(available_below(Path::new("/nonexistent")), None);
    }
}
