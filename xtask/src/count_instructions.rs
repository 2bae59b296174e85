//! Counts the instructions that the CPU's kernels execute, and compares them with those of before.
//!
//! Times differ by a third from run to run on shared machines; instructions hardly do. valgrind
//! knows no AVX-512, so what is counted are the kernels of AVX2.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// By how much a kernel may grow.
const TOLERANCE: f64 = 0.03;

/// Instructions by the name of a kernel.
type Counts = BTreeMap<String, u64>;

/// Fails where a kernel executes more than before.
pub(crate) fn compare() -> Result<(), String> {
    let Some(counts) = count()? else {
        println!("skipped: this processor has no AVX2, whose kernels are counted");
        return Ok(());
    };
    let path = committed();
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let before =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let differences = differences(&before, &counts);
    for difference in &differences {
        println!("{}", difference.text);
    }
    if differences.iter().any(|difference| difference.is_failure) {
        return Err(
            "a kernel grew. Where that cannot be helped, say why in the commit and accept it \
                    with `cargo xtask count-instructions --accept`"
                .to_owned(),
        );
    }
    println!("{} kernels execute what they did, to {} %", counts.len(), TOLERANCE * 100.0);
    Ok(())
}

/// Writes the present counts for later comparisons.
pub(crate) fn accept() -> Result<(), String> {
    let counts = count()?.ok_or("this processor has no AVX2, whose kernels are counted")?;
    let path = committed();
    let text = serde_json::to_string_pretty(&counts).map_err(|error| error.to_string())?;
    fs::write(&path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../layers/examples/run_kernel/instructions.json")
}

struct Difference {
    text: String,
    is_failure: bool,
}

fn differences(before: &Counts, now: &Counts) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut tell = |is_failure, text| differences.push(Difference { text, is_failure });
    for (kernel, &count) in now {
        let Some(&old) = before.get(kernel) else {
            tell(true, format!("{kernel}: {count} instructions, and nothing to compare them with"));
            continue;
        };
        let change = count as f64 / old as f64 - 1.0;
        let change_text = format!("{kernel}: {count} instructions, {old} before");
        if change > TOLERANCE {
            tell(true, format!("{change_text}: {:.1} % more", change * 100.0));
        } else if change < -TOLERANCE {
            let less = format!("{:.1} % less", -change * 100.0);
            tell(false, format!("{change_text}: {less}; --accept keeps it so"));
        }
    }
    for kernel in before.keys().filter(|kernel| !now.contains_key(*kernel)) {
        tell(true, format!("{kernel}: not counted any more"));
    }
    differences
}

/// Counts each kernel in a process of its own; `None` where the processor lacks what is counted.
fn count() -> Result<Option<Counts>, String> {
    if !cfg!(target_arch = "x86_64") || !has_avx2() {
        return Ok(None);
    }
    let program = build()?;
    let listed = output(Command::new(&program).arg("list"))?;
    let report = std::env::temp_dir().join(format!("kernel-{}.callgrind", std::process::id()));
    let mut counts = Counts::new();
    for kernel in listed.lines() {
        // What prepares the kernel is outside of this function, and not counted.
        output(
            Command::new("valgrind")
                .args(["--tool=callgrind", "--quiet", "--toggle-collect=*counted_once*"])
                .arg(format!("--callgrind-out-file={}", report.display()))
                .arg(&program)
                .arg(kernel),
        )?;
        let text = fs::read_to_string(&report)
            .map_err(|error| format!("{}: {error}", report.display()))?;
        let count = total(&text).filter(|&count| count > 0);
        counts.insert(kernel.to_owned(), count.ok_or_else(|| format!("{kernel}: not counted"))?);
    }
    let _ = fs::remove_file(&report);
    Ok(Some(counts))
}

/// The number of instructions in a report of callgrind.
fn total(report: &str) -> Option<u64> {
    report.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

fn has_avx2() -> bool {
    let Ok(text) = fs::read_to_string("/proc/cpuinfo") else { return false };
    let flags: Vec<&str> = text
        .lines()
        .find(|line| line.starts_with("flags"))
        .map(|line| line.split_whitespace().collect())
        .unwrap_or_default();
    ["avx2", "fma", "f16c"].iter().all(|flag| flags.contains(flag))
}

/// Builds the example that runs one kernel, with the features of the tests, so that nothing but it
/// is compiled after them.
fn build() -> Result<PathBuf, String> {
    let messages = output(
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--locked", "--workspace", "--no-default-features"])
            .args(["--features", "cpu,gui,download", "--example", "run_kernel"])
            .args(["--message-format", "json-render-diagnostics"]),
    )?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "run_kernel")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| "cargo names no executable of the example run_kernel".to_owned())
}

/// What a program that succeeds prints.
fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stderr(std::process::Stdio::inherit()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{command:?} failed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> Counts {
        counts.iter().map(|&(kernel, count)| (kernel.to_owned(), count)).collect()
    }

    fn told(before: &[(&str, u64)], now: &[(&str, u64)]) -> Vec<(bool, String)> {
        differences(&counts(before), &counts(now))
            .into_iter()
            .map(|difference| (difference.is_failure, difference.text))
            .collect()
    }

    #[test]
    fn a_kernel_that_grew_or_is_new_or_gone_fails() {
        assert!(told(&[("silu", 1000)], &[("silu", 1029)]).is_empty());
        let grew = told(&[("silu", 1000)], &[("silu", 1031)]);
        assert!(grew[0].0 && grew[0].1.contains("silu: 1031") && grew[0].1.contains("3.1 % more"));
        let fewer = told(&[("silu", 1000)], &[("silu", 900)]);
        assert!(!fewer[0].0 && fewer[0].1.contains("10.0 % less"));
        let others = told(&[("silu", 1000)], &[("gelu", 1000)]);
        assert!(others.len() == 2 && others.iter().all(|(is_failure, _)| *is_failure));
    }

    #[test]
    fn the_total_of_a_report_is_found() {
        assert_eq!(total("version: 1\nevents: Ir\nsummary: 42\n\ntotals: 41\n"), Some(41));
        assert_eq!(total("version: 1\n"), None);
    }
}
