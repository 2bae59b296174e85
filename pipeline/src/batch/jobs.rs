//! Job files: `.txt` with a prompt a line, `.csv` with a header, `.jsonl` with an object a line.

use std::{collections::HashSet, path::Path};

use serde_json::{Map, Value};
use thiserror::Error;

use super::{
    csv,
    plan::{MODEL, VAE},
};

/// Fields whose values are text even where they look like numbers.
const TEXTS: [&str; 6] = ["prompt", "negative", "init", "mask", MODEL, VAE];

/// The most parts of a prompt matrix, which gives 2 to the power of their number prompts.
const MAX_MATRIX: usize = 12;

/// One line of a job file.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The line, from 1.
    pub line: usize,
    /// The request's fields that it states, by the names of the flags.
    pub fields: Map<String, Value>,
}

/// Why a job file could not be read.
#[derive(Debug, Error)]
pub enum JobError {
    /// The file could not be read.
    #[error("{path}: cannot be read: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The name does not say what the file is.
    #[error("{path}: job files end in .txt (a prompt a line), .csv or .jsonl")]
    Kind {
        /// The file.
        path: String,
    },
    /// A line is wrong.
    #[error("{path}, line {line}: {reason}")]
    Line {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The file holds no job.
    #[error("{path}: there is no job in the file")]
    Empty {
        /// The file.
        path: String,
    },
}

/// Reads a job file. In `.txt`, empty lines and lines that begin with `#` are no jobs.
pub fn read(path: &Path) -> Result<Vec<Job>, JobError> {
    let shown = || path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| JobError::Io { path: shown(), source })?;
    let fail = |line: usize, reason: String| JobError::Line { path: shown(), line, reason };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text.trim_start_matches('\u{FEFF}'),
        Err(error) => {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            return Err(fail(line, "the text is not UTF-8".to_owned()));
        }
    };
    let kind = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
    let jobs = match kind.as_deref() {
        Some("txt") => Ok(from_lines(text)),
        Some("csv") => from_csv(text),
        Some("jsonl") => from_json_lines(text),
        _ => return Err(JobError::Kind { path: shown() }),
    };
    let jobs = jobs.map_err(|(line, reason)| fail(line, reason))?;
    if jobs.is_empty() { Err(JobError::Empty { path: shown() }) } else { Ok(jobs) }
}

type Result<T, E = (usize, String)> = std::result::Result<T, E>;

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
}

fn from_lines(text: &str) -> Vec<Job> {
    lines(text)
        .filter(|(_, line)| !line.starts_with('#'))
        .map(|(line, prompt)| Job {
            line,
            fields: Map::from_iter([("prompt".to_owned(), prompt.into())]),
        })
        .collect()
}

fn from_json_lines(text: &str) -> Result<Vec<Job>> {
    lines(text)
        .map(|(line, text)| match serde_json::from_str(text) {
            Ok(fields) => Ok(Job { line, fields }),
            Err(error) => Err((line, format!("not a JSON object: {error}"))),
        })
        .collect()
}

fn from_csv(text: &str) -> Result<Vec<Job>> {
    let mut records = csv::records(text).map_err(|(line, reason)| (line, reason.to_owned()))?;
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let (header_line, header) = records.remove(0);
    let header: Vec<&str> = header.iter().map(|name| name.trim()).collect();
    let mut seen = HashSet::new();
    for (column, name) in header.iter().enumerate() {
        if name.is_empty() {
            return Err((header_line, format!("column {} has no name", column + 1)));
        }
        if !seen.insert(name) {
            return Err((header_line, format!("two columns are named `{name}`")));
        }
    }
    let jobs = records.into_iter().map(|(line, cells)| {
        if cells.len() != header.len() {
            return Err((
                line,
                format!("there are {} columns and {} values", header.len(), cells.len()),
            ));
        }
        let filled = header.iter().zip(cells).filter(|(_, cell)| !cell.trim().is_empty());
        let fields = filled.map(|(name, cell)| ((*name).to_owned(), value(name, &cell))).collect();
        Ok(Job { line, fields })
    });
    jobs.collect()
}

/// A cell as a number, a truth value or an object where it reads as one, and else as text.
pub(super) fn value(field: &str, cell: &str) -> Value {
    if TEXTS.contains(&field) {
        return cell.into();
    }
    serde_json::from_str(cell.trim()).unwrap_or_else(|_| cell.trim().into())
}

/// A prompt matrix: of `base|a|b` the prompts `base`, `base, a`, `base, b` and `base, a, b`, as
/// AUTOMATIC1111's script of that name makes them. Bars inside braces and after `\` stay.
pub fn matrix(jobs: Vec<Job>, path: &Path) -> Result<Vec<Job>, JobError> {
    let mut all = Vec::new();
    for job in jobs {
        let prompt = job.fields.get("prompt").and_then(Value::as_str).unwrap_or_default();
        let parts = bars(prompt);
        if parts.len() > MAX_MATRIX + 1 {
            return Err(JobError::Line {
                path: path.display().to_string(),
                line: job.line,
                reason: format!(
                    "a prompt matrix has {MAX_MATRIX} parts at most beside the first, but here \
                     are {}",
                    parts.len() - 1
                ),
            });
        }
        for chosen in 0..1_usize << (parts.len() - 1) {
            let kept = parts.iter().enumerate().filter(|(index, part)| {
                !part.is_empty() && (*index == 0 || chosen >> (index - 1) & 1 == 1)
            });
            let prompt = kept.map(|(_, part)| *part).collect::<Vec<_>>().join(", ");
            let mut fields = job.fields.clone();
            fields.insert("prompt".to_owned(), prompt.into());
            all.push(Job { line: job.line, fields });
        }
    }
    Ok(all)
}

/// The parts of a prompt between bars, at least one.
fn bars(prompt: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut depth, mut escaped) = (Vec::new(), 0, 0_usize, false);
    for (place, byte) in prompt.bytes().enumerate() {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => {
                parts.push(prompt[begin..place].trim());
                begin = place + 1;
            }
            _ => {}
        }
    }
    parts.push(prompt[begin..].trim());
    parts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read_as(name: &str, content: &[u8]) -> Result<Vec<Job>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let remove = format!("{}/", folder.path().display());
        read(&path).map_err(|error| error.to_string().replace(&remove, ""))
    }

    #[test]
    fn every_kind_is_read() {
        let jobs = read_as("a.txt", "\u{FEFF}a cat\n\n# no job\r\n  a dog \n".as_bytes()).unwrap();
        let found: Vec<_> = jobs.iter().map(|job| (job.line, &job.fields["prompt"])).collect();
        assert_eq!(found, [(1, &json!("a cat")), (4, &json!("a dog"))]);

        let jobs = read_as("a.csv", b"prompt,steps,sampler\n\"a, b\",5,ddim\n42,,\n").unwrap();
        assert_eq!(
            Value::from(jobs[0].fields.clone()),
            json!({ "prompt": "a, b", "steps": 5, "sampler": "ddim" })
        );
        assert_eq!(Value::from(jobs[1].fields.clone()), json!({ "prompt": "42" }));
        assert_eq!(jobs[1].line, 3);

        let jobs = read_as("a.jsonl", b"\n{\"prompt\":\"x\",\"seed\":7}").unwrap();
        assert_eq!((jobs[0].line, &jobs[0].fields["seed"]), (2, &json!(7)));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (name, content, message) in [
            ("a.csv", "prompt,steps\na,1\nb\n", "a.csv, line 3: there are 2 columns and 1 values"),
            ("a.csv", "a,a\n", "a.csv, line 1: two columns are named `a`"),
            ("a.csv", "a,\n", "a.csv, line 1: column 2 has no name"),
            ("a.csv", "a\n\"b", "a.csv, line 2: a quotation mark is never closed"),
            ("a.jsonl", "{}\n[1]", "a.jsonl, line 2: not a JSON object"),
            ("a.jsonl", "{}\n{", "a.jsonl, line 2: not a JSON object"),
            ("a.txt", "# nothing", "a.txt: there is no job in the file"),
            ("a.doc", "x", "a.doc: job files end in"),
        ] {
            let error = read_as(name, content.as_bytes()).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
        let error = read_as("a.txt", b"a\n\xFF").unwrap_err();
        assert_eq!(error, "a.txt, line 2: the text is not UTF-8");
    }

    #[test]
    fn a_matrix_has_every_combination() {
        let jobs = from_lines(r"a {b|c}|oil \| ink|8k");
        let prompts: Vec<_> = matrix(jobs, Path::new("a.txt"))
            .unwrap()
            .into_iter()
            .map(|job| job.fields["prompt"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            prompts,
            ["a {b|c}", r"a {b|c}, oil \| ink", "a {b|c}, 8k", r"a {b|c}, oil \| ink, 8k"]
        );
        let error = matrix(from_lines(&"a|".repeat(20)), Path::new("a.txt")).unwrap_err();
        assert!(error.to_string().starts_with("a.txt, line 1: a prompt matrix"), "{error}");
    }
    proptest! {
        #[test]
        fn every_file_is_read_or_told_with_a_line_of_it(
            kind in prop::sample::select(vec!["a.txt", "a.csv", "a.jsonl"]),
            content in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                "(\\{\"[a-z]{0,3}\":[0-9tfn\"{}]{0,4}\\}|prompt|,|\"|\n|\r|#| ){0,20}"
                    .prop_map(String::into_bytes),
            ],
        ) {
            let lines = 1 + content.iter().filter(|&&byte| byte == b'\n').count();
            match read_as(kind, &content) {
                Ok(jobs) => {
                    prop_assert!(!jobs.is_empty());
                    prop_assert!(jobs.iter().all(|job| (1..=lines).contains(&job.line)));
                    let count = jobs.len();
                    let all = matrix(jobs, Path::new(kind)).unwrap();
                    prop_assert!(all.len() >= count);
                }
                Err(error) => {
                    let line = error.strip_prefix(&format!("{kind}, line "));
                    let line = line.and_then(|rest| rest.split_once(": ")?.0.parse().ok());
                    let told = line.is_some_and(|line: usize| (1..=lines).contains(&line));
                    let empty = format!("{kind}: there is no job in the file");
                    prop_assert!(told || error == empty, "{}", error);
                }
            }
        }
    }
}
