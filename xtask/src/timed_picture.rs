//! Times one run of the program that makes a picture.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How often the process is asked what it has held.
const ASKED_EVERY: Duration = Duration::from_millis(20);

/// Runs a command of this program that was given `--json`, and measures in seconds how long it
/// takes from its start to its end (`picture_s`) and to the first step (`first_step_s`), and in
/// megabytes the most memory that it had in use at once (`peak_rss_mb`), where the system tells it.
pub(crate) fn timed_picture(command: &mut Command) -> Result<Value, String> {
    let started = Instant::now();
    let spawned = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let failed = |error: std::io::Error| format!("{command:?}: {error}");
    let mut child = spawned.map_err(failed)?;
    let events = child.stdout.take().map(BufReader::new);
    let status = format!("/proc/{}/status", child.id());
    let is_over = AtomicBool::new(false);
    let (first_step, ended, peak) = thread::scope(|scope| {
        let peak = scope.spawn(|| {
            let mut peak = None;
            while !is_over.load(Ordering::Relaxed) {
                // Of a process that is ending there is none.
                peak = peak_kibibytes(&status).or(peak);
                thread::sleep(ASKED_EVERY);
            }
            peak
        });
        let mut first_step = None;
        for line in events.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["event"] == "stage" && event["stage"] == "denoise" && first_step.is_none() {
                first_step = Some(started.elapsed().as_secs_f64());
            }
        }
        let ended = child.wait().map(|status| (status, started.elapsed().as_secs_f64()));
        is_over.store(true, Ordering::Relaxed);
        (first_step, ended, peak.join().ok().flatten())
    });
    let (status, seconds) = ended.map_err(failed)?;
    if !status.success() {
        return Err(format!("{command:?} failed"));
    }
    Ok(json!({
        "picture_s": seconds,
        "first_step_s": first_step,
        "peak_rss_mb": peak.map(|kibibytes| kibibytes * 1024.0 / 1e6),
    }))
}

fn peak_kibibytes(status: &str) -> Option<f64> {
    let text = fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_run_is_timed_to_its_first_step_and_to_its_end() {
        let events = r#"echo no JSON; sleep 0.1; echo '{"event":"stage","stage":"encode"}'
            sleep 0.1; echo '{"event":"stage","stage":"denoise"}'; sleep 1"#;
        let run = timed_picture(&mut shell(events)).unwrap();
        let seconds = |key: &str| run[key].as_f64().unwrap();
        // No more than what was slept is certain on a busy machine: that it is neither the stage before nor the end.
        assert!(seconds("first_step_s") >= 0.2, "{run}");
        assert!(seconds("picture_s") >= seconds("first_step_s") + 0.5, "{run}");
        if cfg!(target_os = "linux") {
            assert!((0.1..100.0).contains(&seconds("peak_rss_mb")), "{run}");
        }
    }

    #[test]
    fn a_run_that_fails_is_an_error() {
        assert!(timed_picture(&mut shell("exit 3")).unwrap_err().contains("exit 3"));
    }
}
