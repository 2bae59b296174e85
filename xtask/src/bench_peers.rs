//! Times Emberbrush and other programs in turn, on one full-size checkpoint.
//!
//! Each run is a process of its own that prints one JSON object. Runs are appended to a file of JSON
//! lines, so that rounds may be made at several times; the table is made from all of that file.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::timed_picture::timed_picture;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Options {
    folder: PathBuf,
    results: PathBuf,
    python: String,
    program: PathBuf,
    rounds: u32,
    /// How often a stage is measured in each turn, after once to warm up.
    runs: u32,
    sides: Vec<u32>,
    parts: Vec<Part>,
}

/// What is measured in one turn.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    /// Pixels, where not all sides are measured.
    side: Option<u32>,
}

pub(crate) const USAGE: &str = "\
cargo xtask bench-peers FOLDER [OPTIONS]  times Emberbrush and its peers on a checkpoint in FOLDER,
                                          which is made where it is not there (2.1 GB)
    --program FILE    the program [default: target/release/emberbrush]
    --python FILE     a Python with tests/fixtures/requirements.txt [default: python3]
    --rounds N        how often each takes its turn [default: 5; 0 shows what was measured before]
    --runs N          how often a stage is measured in a turn, after once to warm up [default: 2]
    --side N          pixels; may be given again [default: 256 and 512]
    --part NAME[@N]   stages-f32, stages-bf16, picture-f32, picture-bf16, cpp or cpp-picture, at one
                      side alone with @N; may be given again [default: all but the last two]
    --results FILE    JSON lines that runs are appended to [default: FOLDER/peers.jsonl]";

/// The parts of a comparison, in the order of their rounds.
const PARTS: [&str; 6] =
    ["stages-f32", "stages-bf16", "picture-f32", "picture-bf16", "cpp", "cpp-picture"];

/// The columns of the table: a name in the runs, and one for people.
const COLUMNS: [(&str, &str); 8] = [
    ("load_s", "load"),
    ("first_step_s", "start to first step"),
    ("text_s", "text encoding"),
    ("unet_step_s", "UNet step"),
    ("vae_decode_s", "VAE decoding"),
    ("picture_s", "picture of 20 steps"),
    ("peak_rss_mb", "peak memory of stages, MB"),
    ("picture_peak_mb", "of a picture, MB"),
];

impl Options {
    /// Reads the words after `bench-peers`; `Err` says which was not understood.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut words = words;
        let folder = PathBuf::from(words.next().ok_or("a folder is needed")?);
        let mut options = Self {
            results: folder.join("peers.jsonl"),
            folder,
            python: "python3".to_owned(),
            program: PathBuf::from("target/release/emberbrush"),
            rounds: 5,
            runs: 2,
            sides: Vec::new(),
            parts: Vec::new(),
        };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            let number = || value.parse().map_err(|_| format!("{word} {value}: no number"));
            match word.as_str() {
                "--program" => options.program = PathBuf::from(value),
                "--python" => options.python = value,
                "--results" => options.results = PathBuf::from(value),
                "--rounds" => options.rounds = number()?,
                "--runs" => options.runs = number()?,
                "--side" => options.sides.push(number()?),
                "--part" => options.parts.push(Part::parse(&value)?),
                _ => return Err(format!("no such option: {word}")),
            }
        }
        if options.sides.is_empty() {
            options.sides = vec![256, 512];
        }
        if options.parts.is_empty() {
            options.parts = PARTS[..4].iter().copied().map(Part::at_all_sides).collect();
        }
        Ok(options)
    }
}

impl Part {
    fn at_all_sides(name: &str) -> Self {
        Self { name: name.to_owned(), side: None }
    }

    /// Reads `NAME` or `NAME@SIDE`.
    fn parse(word: &str) -> Result<Self, String> {
        let (name, side) = match word.split_once('@') {
            Some((name, side)) => {
                (name, Some(side.parse().map_err(|_| format!("--part {word}: no number"))?))
            }
            None => (word, None),
        };
        if !PARTS.contains(&name) {
            return Err(format!("no such part: {name}"));
        }
        Ok(Self { side, ..Self::at_all_sides(name) })
    }

    fn sides(&self, all: &[u32]) -> Vec<u32> {
        self.side.map_or_else(|| all.to_vec(), |side| vec![side])
    }
}

/// Makes all rounds and prints the table.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/full-size/full_size.py");
    let python = |words: &[&str]| {
        let mut command = Command::new(&options.python);
        command.arg(&script).args(words);
        command
    };
    let folder = options.folder.display().to_string();
    if !options.folder.join("checkpoint/unet").is_dir() {
        fs::create_dir_all(&options.folder).map_err(|error| format!("{folder}: {error}"))?;
        finished(&mut python(&["make", &folder]))?;
    }
    let needs_single = options.parts.iter().any(|part| part.name.starts_with("cpp"));
    if needs_single && options.rounds > 0 && !options.folder.join("single.safetensors").is_file() {
        finished(&mut python(&["single", &folder]))?;
    }
    let runs = options.runs.to_string();
    for round in 1..=options.rounds {
        for part in &options.parts {
            for side in part.sides(&options.sides) {
                let side_word = side.to_string();
                let (kind, dtype) = part.name.split_once('-').unwrap_or((&part.name, "f32"));
                let peer = |command: &str, options: &[&str]| {
                    let words = [&[command, &folder, &side_word], options].concat();
                    object(&mut python(&words))
                };
                let measured = match kind {
                    "stages" => vec![
                        ("emberbrush", ours(options, side, dtype)?),
                        ("diffusers", peer("time", &[dtype, &runs])?),
                    ],
                    "picture" => vec![
                        ("emberbrush", our_picture(options, side, dtype)?),
                        ("diffusers", peer("picture", &[dtype])?),
                    ],
                    _ if dtype == "picture" => {
                        vec![("stable-diffusion.cpp", peer("cpp", &["20"])?)]
                    }
                    _ => vec![("stable-diffusion.cpp", peer("cpp", &["3"])?)],
                };
                for (program, mut run) in measured {
                    run["program"] = json!(program);
                    run["round"] = json!(round);
                    // Stages of another number of runs hold other memory than a picture.
                    if let Some(run) = run.as_object_mut().filter(|_| kind == "picture")
                        && let Some(peak) = run.remove("peak_rss_mb")
                    {
                        run.insert("picture_peak_mb".to_owned(), peak);
                    }
                    append(&options.results, &run)?;
                }
            }
        }
    }
    print!("{}", table(&options.results)?);
    Ok(())
}

/// The stages of this program.
fn ours(options: &Options, side: u32, dtype: &str) -> Result<Value, String> {
    let runs = options.runs.to_string();
    let mut run = object(&mut program(options, "bench", side, dtype, &["--steps", &runs]))?;
    run["size"] = json!(side);
    run["dtype"] = json!(dtype);
    Ok(run)
}

/// A whole picture, from the start of the program to its end.
fn our_picture(options: &Options, side: u32, dtype: &str) -> Result<Value, String> {
    let picture = options.folder.join("picture.png").display().to_string();
    let words = ["a photo of a cat", "--steps", "20", "--output", &picture];
    let mut command = program(options, "generate", side, dtype, &words);
    eprintln!("{command:?}");
    let mut run = timed_picture(&mut command)?;
    run["size"] = json!(side);
    run["dtype"] = json!(dtype);
    Ok(run)
}

fn program(options: &Options, command: &str, side: u32, dtype: &str, words: &[&str]) -> Command {
    let side = side.to_string();
    let mut program = Command::new(&options.program);
    program
        .args([command, "--json", "--device", "cpu", "--dtype", dtype, "--model"])
        .arg(options.folder.join("checkpoint"))
        .args(["--width", &side, "--height", &side])
        .args(words);
    program
}

/// Runs a program to its end.
fn finished(command: &mut Command) -> Result<String, String> {
    eprintln!("{command:?}");
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{command:?} failed"))
    }
}

/// Runs a program whose last line is a JSON object.
fn object(command: &mut Command) -> Result<Value, String> {
    let output = finished(command)?;
    let last = output.lines().rev().find(|line| line.starts_with('{')).unwrap_or_default();
    serde_json::from_str(last).map_err(|error| format!("{command:?}: {error}: {last}"))
}

fn append(path: &Path, run: &Value) -> Result<(), String> {
    let broken = |error| format!("{}: {error}", path.display());
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(broken)?;
    writeln!(file, "{run}").map_err(broken)
}

/// Medians of all runs, and how many times this program's they are.
fn table(results: &Path) -> Result<String, String> {
    let text =
        fs::read_to_string(results).map_err(|error| format!("{}: {error}", results.display()))?;
    let mut runs: BTreeMap<(u64, String, String), Vec<Value>> = BTreeMap::new();
    for line in text.lines() {
        let run: Value = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
        let word = |key: &str| run[key].as_str().unwrap_or_default().to_owned();
        let dtype = match word("dtype").as_str() {
            "float32" => "f32".to_owned(),
            "bfloat16" => "bf16".to_owned(),
            other => other.to_owned(),
        };
        let key = (run["size"].as_u64().unwrap_or(0), dtype, word("program"));
        runs.entry(key).or_default().push(run);
    }
    let mut table = String::new();
    let titles: Vec<&str> = COLUMNS.iter().map(|(_, title)| *title).collect();
    let _ = writeln!(table, "| | {} |", titles.join(" | "));
    let _ = writeln!(table, "|{}", " --- |".repeat(COLUMNS.len() + 1));
    for ((side, dtype, program), found) in &runs {
        // What others compute in 16 bits of another kind is compared with f32.
        let own = if dtype == "f16" { "f32" } else { dtype.as_str() };
        let ours = runs.get(&(*side, own.to_owned(), "emberbrush".to_owned()));
        let cells: Vec<String> = COLUMNS
            .iter()
            .map(|(column, _)| {
                let Some(median) = median(found, column) else { return "–".to_owned() };
                let shown = if column.ends_with("_mb") {
                    format!("{median:.0}")
                } else {
                    format!("{median:.2}")
                };
                match ours.and_then(|ours| self::median(ours, column)) {
                    Some(own) if program != "emberbrush" => {
                        format!("{shown} ({:.2}×)", median / own)
                    }
                    _ => shown,
                }
            })
            .collect();
        let _ = writeln!(table, "| {program}, {dtype}, {side}² | {} |", cells.join(" | "));
    }
    Ok(table)
}

fn median(runs: &[Value], column: &str) -> Option<f64> {
    let mut values: Vec<f64> = runs.iter().filter_map(|run| run[column].as_f64()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { (upper + values[middle - 1]) / 2.0 })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_medians_and_ratios() {
        let path = std::env::temp_dir().join(format!("peers-{}.jsonl", std::process::id()));
        for (program, dtype, seconds) in [
            ("emberbrush", "f32", 1.0),
            ("emberbrush", "f32", 3.0),
            ("emberbrush", "f32", 2.0),
            ("diffusers", "float32", 5.0),
        ] {
            let run = json!({
                "program": program, "dtype": dtype, "size": 256, "unet_step_s": seconds,
            });
            append(&path, &run).unwrap();
        }
        let table = table(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(
            table.contains("| emberbrush, f32, 256² | – | – | – | 2.00 | – | – | – | – |"),
            "{table}"
        );
        assert!(table.contains("| diffusers, f32, 256² | – | – | – | 5.00 (2.50×) |"), "{table}");
    }

    #[test]
    fn options_that_are_not_understood_are_named() {
        let parse = |words: &str| Options::parse(words.split(' ').map(str::to_owned));
        assert_eq!(parse("here --rounds 2").unwrap().rounds, 2);
        let parts = |words: &str| parse(words).unwrap().parts;
        assert_eq!(parts("here --part cpp"), [Part::at_all_sides("cpp")]);
        let at_256 = parts("here --part picture-f32@256");
        assert_eq!(at_256[0].name, "picture-f32");
        assert_eq!(at_256[0].sides(&[512, 1024]), [256]);
        assert_eq!(parts("here")[0].sides(&[512, 1024]), [512, 1024]);
        assert!(parse("here --part cpp@large").unwrap_err().contains("cpp@large"));
        assert!(parse("here --rounds two").unwrap_err().contains("two"));
        assert!(parse("here --rouds 2").unwrap_err().contains("--rouds"));
        assert!(parse("here --part all").unwrap_err().contains("all"));
    }
}
