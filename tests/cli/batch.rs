//! `batch` as a person runs it: interrupted, in parts, and with files that are wrong.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod program;

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use emberbrush_pipeline::metadata;
use emberbrush_tests::runs::furthest;
use program::{Workshop, text};
use serde_json::Value;

/// The size and steps that are quick on any machine.
const QUICK: [&str; 6] = ["--steps", "1", "--width", "64", "--height", "64"];

fn batch<'a>(jobs: &'a str, folder: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["batch", jobs, "-o", folder, "--device", "cpu"];
    arguments.extend(more);
    arguments
}

/// The lines of all manifests in a folder.
fn entries(folder: &Path) -> Vec<Value> {
    let mut lines = Vec::new();
    for file in std::fs::read_dir(folder).unwrap().flatten() {
        if file.path().extension().is_some_and(|extension| extension == "jsonl") {
            let text = std::fs::read_to_string(file.path()).unwrap();
            lines.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
        }
    }
    lines
}

/// File name to SHA-256, after every picture was read as a whole. Fails where a picture is
/// in the manifest twice, or files are there that should not be.
fn pictures(folder: &Path) -> BTreeMap<String, String> {
    let entries = entries(folder);
    let mut found = BTreeMap::new();
    for entry in &entries {
        let name = entry["file"].as_str().unwrap().to_owned();
        image::open(folder.join(&name)).expect("a whole picture");
        let hash = entry["sha256"].as_str().unwrap().to_owned();
        assert!(found.insert(name, hash).is_none(), "twice: {entry}");
    }
    for file in std::fs::read_dir(folder).unwrap().flatten() {
        let name = file.file_name().into_string().unwrap();
        let known = name.starts_with("manifest") || name == "batch.json";
        assert!(known || found.contains_key(&name), "{name} belongs to nothing");
    }
    found
}

/// Numbers without a pattern, the same in each run (xorshift, Marsaglia 2003).
struct Moments(u64);

impl Moments {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Whether a picture is being written: a hidden file is there, or a line without its picture.
fn is_writing(folder: &Path) -> bool {
    let Ok(files) = std::fs::read_dir(folder) else { return false };
    files.flatten().any(|file| {
        let name = file.file_name().into_string().unwrap();
        name.ends_with(".part") && !name.starts_with(".emberbrush-batch")
    })
}

fn kill(mut child: Child) {
    // SIGKILL on Unix: nothing can be tidied up.
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_batch_killed_at_any_moment_ends_as_if_it_had_not_been() {
    const KILLS: usize = 50;
    const KILLS_WHILE_WRITING: usize = 15;
    let workshop = Workshop::new();
    let jobs: String =
        (0..120).map(|number| format!("a {{red|blue}} apple, number {number}\n")).collect();
    std::fs::write(workshop.path("jobs.txt"), jobs).unwrap();
    workshop.run(&batch("jobs.txt", "whole", &QUICK)).succeeded();
    let expected = pictures(&workshop.path("whole"));
    assert_eq!(expected.len(), 120);

    let mut moments = Moments(0x9E37_79B9_7F4A_7C15);
    let (mut kills, mut while_writing, mut folders) = (0, 0, 0);
    while kills < KILLS || while_writing < KILLS_WHILE_WRITING {
        folders += 1;
        assert!(folders < 40, "{while_writing} of {kills} kills came while something was written");
        let name = format!("killed-{folders}");
        let folder = workshop.path(&name);
        loop {
            let mut command = workshop.program(&batch("jobs.txt", &name, &QUICK));
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let begin = Instant::now();
            // Half of the kills wait for a picture to be written, the others for a moment.
            let aimed = kills % 2 == 0;
            let moment = Duration::from_micros(moments.below(1_500_000));
            let finished = loop {
                if child.try_wait().unwrap().is_some() {
                    break true;
                }
                let elapsed = begin.elapsed();
                let enough = kills >= KILLS && while_writing >= KILLS_WHILE_WRITING;
                if !enough && elapsed >= moment && (!aimed || is_writing(&folder)) {
                    break false;
                }
                if enough || !aimed {
                    std::thread::sleep(Duration::from_millis(1));
                }
            };
            if finished {
                break;
            }
            kill(child);
            kills += 1;
            while_writing += usize::from(folder.is_dir() && is_writing(&folder));
        }
        assert_eq!(pictures(&folder), expected, "after {kills} kills");
    }
}

#[test]
fn three_processes_make_a_job_set_together() {
    let workshop = Workshop::new();
    std::fs::write(workshop.path("jobs.txt"), "a cat\na dog\n").unwrap();
    let with = |shard: &'static str, folder: &'static str| {
        let mut more = QUICK.to_vec();
        more.extend(["--count", "5", "--shard", shard]);
        workshop.program(&batch("jobs.txt", folder, &more)).stdout(Stdio::null()).spawn().unwrap()
    };
    assert!(with("1/1", "alone").wait().unwrap().success());
    let children: Vec<Child> =
        ["1/3", "2/3", "3/3"].into_iter().map(|shard| with(shard, "together")).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let alone = pictures(&workshop.path("alone"));
    assert_eq!(alone.len(), 10);
    assert_eq!(pictures(&workshop.path("together")), alone);
    // A run over everything finds that all of it is there.
    assert!(with("1/1", "together").wait().unwrap().success());
    assert_eq!(pictures(&workshop.path("together")), alone);
}

#[test]
fn a_failing_job_is_told_and_the_rest_goes_on() {
    let workshop = Workshop::new();
    let jobs = "{\"prompt\":\"a\"}\n{\"prompt\":\"b\",\"init\":\"absent.png\",\"strength\":1}\n{\"prompt\":\"c\"}\n";
    std::fs::write(workshop.path("jobs.jsonl"), jobs).unwrap();
    let run = workshop.run(&batch("jobs.jsonl", "out", &QUICK));
    run.assert_refused(&["Error in the job of line 2", "absent.png", "1 of 3 pictures"]);
    assert_eq!(pictures(&workshop.path("out")).len(), 2);
    // Once the picture is there, the same command makes what is left.
    let first = entries(&workshop.path("out"))[0]["file"].as_str().unwrap().to_owned();
    std::fs::copy(workshop.path("out").join(first), workshop.path("absent.png")).unwrap();
    workshop.run(&batch("jobs.jsonl", "out", &QUICK)).succeeded();
    assert_eq!(pictures(&workshop.path("out")).len(), 3);
}

#[test]
fn pictures_say_how_they_were_made() {
    let workshop = Workshop::new();
    let hostile = format!("a/b\\u0000 🐈 {}", "x".repeat(300));
    let jobs = format!("{{\"prompt\":\"{hostile}\",\"seed\":7}}\n");
    std::fs::write(workshop.path("jobs.jsonl"), jobs).unwrap();
    for format in ["png", "jpeg", "webp"] {
        let mut more = QUICK.to_vec();
        more.extend(["--output-format", format, "--csv", "--name", "../{prompt}|{seed}"]);
        workshop.run(&batch("jobs.jsonl", format, &more)).succeeded();
        let folder = workshop.path(format);
        let table = std::fs::read_to_string(folder.join("manifest.csv")).unwrap();
        assert_eq!(table.lines().count(), 2);
        std::fs::remove_file(folder.join("manifest.csv")).unwrap();
        let (file, _) = pictures(&folder).into_iter().next().unwrap();
        assert!(file.starts_with("a-b 🐈 xx") && file.len() < 143, "{file}");
        let settings = metadata::read(&folder.join(&file)).unwrap();
        assert_eq!(settings.fields["seed"], 7);
        assert!(settings.fields["prompt"].as_str().unwrap().contains("🐈"));
    }
}

#[test]
fn wrong_job_files_are_refused_before_anything_is_made() {
    let workshop = Workshop::new();
    for (name, content, parts) in [
        ("a.csv", "prompt,stepz\nx,1\n", &["line 2", "unknown field `stepz`"][..]),
        ("b.csv", "prompt,steps\nx,1\ny\n", &["b.csv, line 3", "2 columns and 1 value"]),
        ("c.csv", "prompt,steps\nx,many\n", &["line 2", "field `steps`"]),
        ("d.jsonl", "{\"prompt\":\"x\"}\n{\"width\":3}\n", &["line 2", "width"]),
        ("e.txt", "a __colour__ cat\n", &["line 1", "__colour__"]),
        ("f.txt", "\n", &["no job"]),
    ] {
        std::fs::write(workshop.path(name), content).unwrap();
        workshop.run(&batch(name, "out", &QUICK)).assert_refused(parts);
        assert!(!workshop.path("out").exists(), "{name}");
    }
    workshop.run(&batch("absent.txt", "out", &QUICK)).assert_refused(&["absent.txt"]);
}

/// How far two pictures are apart, in grey levels.
fn difference(a: &Path, b: &Path) -> u8 {
    let [a, b] = [a, b].map(|path| image::open(path).unwrap().to_rgb8());
    furthest(&a, &b)
}

#[test]
fn pictures_made_at_once_are_those_made_alone() {
    let workshop = Workshop::new();
    let jobs = [
        r#"{"prompt":"a red apple","seed":3,"count":2}"#,
        r#"{"prompt":"a pear","seed":9,"width":64}"#,
        r#"{"prompt":"a blue {cup|car}","cfg":2.5,"negative":"blur"}"#,
        r#"{"prompt":"a hat","init":"absent.png","strength":0.5}"#,
        r#"{"prompt":"a green hat","seed":4}"#,
        r#"{"prompt":"a tree","seed":9,"width":64}"#,
    ];
    std::fs::write(workshop.path("jobs.jsonl"), jobs.join("\n")).unwrap();
    let run = |folder: &str, size: &str| {
        let more = ["--steps", "2", "--sampler", "euler-a", "--batch-size", size, "--json"];
        let more = [&more[..], &["--width", "96", "--height", "96"]].concat();
        let run = workshop.run(&batch("jobs.jsonl", folder, &more));
        assert_eq!(run.code(), Some(1), "{}", run.stderr());
        let events = run.stdout();
        let events: Vec<Value> =
            events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        events.iter().filter(|event| event["event"] == "step").count()
    };
    assert_eq!(run("alone", "1"), 2 * 6);
    // Groups of 3, 1 and 2 pictures.
    assert_eq!(run("at-once", "3"), 2 * 3);
    let alone = pictures(&workshop.path("alone"));
    let at_once = pictures(&workshop.path("at-once"));
    assert_eq!(alone.len(), 6);
    assert!(alone.keys().eq(at_once.keys()));
    let file = |folder: &str, name: &str| workshop.path(folder).join(name);
    for name in alone.keys() {
        assert!(difference(&file("alone", name), &file("at-once", name)) <= 1, "{name}");
    }
    let batch_size = |folder: &str, name: &str| {
        let settings = metadata::read(&file(folder, name)).unwrap();
        settings.fields.get("batch-size").and_then(Value::as_u64)
    };
    let sizes =
        |folder: &str| alone.keys().map(|name| batch_size(folder, name)).collect::<Vec<_>>();
    assert_eq!(sizes("alone"), [None; 6]);
    assert_eq!(sizes("at-once"), [Some(3), Some(3), Some(2), Some(3), None, Some(2)]);

    // What was lost is made in the group that it was made in. A picture shows it that is not the
    // same alone, as most are.
    let differs = |name: &&String| difference(&file("alone", name), &file("at-once", name)) > 0;
    let lost = alone.keys().find(differs).or(alone.keys().next()).unwrap();
    let path = file("at-once", lost);
    let before = std::fs::read(&path).unwrap();
    let again = ["generate", "--from", text(&path), "-o", "again.png", "--device", "cpu"];
    let again = workshop.run(&again).succeeded();
    assert!(again.stderr().contains("made at once with"), "{}", again.stderr());
    assert!(difference(&workshop.path("again.png"), &path) <= 1);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(run("at-once", "3"), 2);
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let mut several = vec!["generate", "a pear", "--count", "3", "--seed", "5", "--device", "cpu"];
    several.extend(QUICK);
    let one = [&several[..], &["--batch-size", "1", "-o", "one/"]].concat();
    workshop.run(&one).succeeded();
    let three = [&several[..], &["--batch-size", "3", "-o", "three/"]].concat();
    workshop.run(&three).succeeded();
    for name in ["5-a-pear.png", "6-a-pear.png", "7-a-pear.png"] {
        assert!(difference(&file("one", name), &file("three", name)) <= 1, "{name}");
    }
}

#[test]
fn each_job_has_the_model_that_it_names() {
    let workshop = Workshop::new();
    let tiny = emberbrush_tests::checkpoint("sd15-tiny");
    let tiny_name = tiny.file_name().unwrap().to_str().unwrap();
    let jobs = format!(
        "prompt,model,steps\na,,1\nb,{0},1\nc,models/later,1\nd,emberbrush-default,1\n\
         e,{0}/../{1},1\n",
        text(&tiny),
        tiny_name,
    );
    std::fs::write(workshop.path("jobs.csv"), jobs).unwrap();
    let more = ["--width", "64", "--height", "64", "--name", "{index}-{model}", "--seed", "1"];
    let arguments = batch("jobs.csv", "out", &more);
    let loaded = |stdout: &str| {
        let events = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let loaded = events.filter(|event| event["event"] == "loaded");
        loaded.map(|event| event["model"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let run = workshop.run(&[&arguments[..], &["--json"]].concat());
    assert_eq!(run.code(), Some(1), "{}", run.stderr());
    let stdout = run.stdout();
    assert!(stdout.contains("models/later: there is no such file or folder"), "{stdout}");
    assert!(stdout.contains("1 of 5 pictures could not be made"), "{stdout}");
    assert_eq!(loaded(&stdout), ["emberbrush-default", tiny_name]);
    let folder = workshop.path("out");
    let names: Vec<String> = pictures(&folder).into_keys().collect();
    let default = "emberbrush-default";
    let expected = [
        format!("1-{default}.png"),
        format!("2-{tiny_name}.png"),
        format!("4-{default}.png"),
        format!("5-{tiny_name}.png"),
    ];
    assert_eq!(names, expected);
    for (name, model) in expected.iter().zip([default, tiny_name, default, tiny_name]) {
        let settings = metadata::read(&folder.join(name)).unwrap();
        assert_eq!(settings.fields["model"], model);
    }
    let models = entries(&folder).into_iter().map(|entry| entry["model"].clone());
    assert_eq!(models.collect::<Vec<_>>(), [default, default, tiny_name, tiny_name]);

    // Once the model is there, the same command makes what is left, with it alone.
    copy_folder(&tiny, &workshop.path("models/later"));
    let run = workshop.run(&[&arguments[..], &["--json"]].concat()).succeeded();
    assert_eq!(loaded(&run.stdout()), ["later"]);
    assert_eq!(pictures(&folder).len(), 5);
    assert!(folder.join("3-later.png").exists());
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(file.file_name());
        if file.path().is_dir() {
            copy_folder(&file.path(), &target);
        } else {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}

#[test]
fn a_job_file_that_changed_is_noticed() {
    let workshop = Workshop::new();
    let jobs = workshop.path("jobs.txt");
    std::fs::write(&jobs, "a __colour__ cat\n").unwrap();
    std::fs::create_dir(workshop.path("wildcards")).unwrap();
    std::fs::write(workshop.path("wildcards/colour.txt"), "red\n").unwrap();
    let arguments = batch(text(&jobs), "out", &QUICK);
    workshop.run(&arguments).succeeded();
    assert_eq!(entries(&workshop.path("out"))[0]["request"]["prompt"], "a red cat");
    std::fs::write(workshop.path("wildcards/colour.txt"), "blue\n").unwrap();
    workshop.run(&arguments).assert_refused(&["another job set"]);
    std::fs::write(workshop.path("wildcards/colour.txt"), "red\n").unwrap();
    std::fs::write(&jobs, "a __colour__ cat\na __colour__ dog\n").unwrap();
    workshop.run(&arguments).assert_refused(&["another job set"]);
    std::fs::write(&jobs, "a __colour__ cat\n").unwrap();
    let other_steps = [&arguments[..], &["--cfg", "2"]].concat();
    workshop.run(&other_steps).assert_refused(&["another job set"]);
    workshop.run(&arguments).succeeded();
    assert_eq!(pictures(&workshop.path("out")).len(), 1);
}

#[test]
fn a_picture_is_made_again_from_its_settings() {
    let workshop = Workshop::new();
    let mut first = vec!["generate", "a {red|blue} (apple:1.3)", "--device", "cpu", "--seed", "3"];
    first.extend(["--negative", "blur", "--sampler", "euler-a", "-o", "first.png"]);
    first.extend(QUICK);
    workshop.run(&first).succeeded();
    workshop
        .run(&["generate", "--from", "first.png", "--device", "cpu", "-o", "again.png"])
        .succeeded();
    let bytes = |name: &str| std::fs::read(workshop.path(name)).unwrap();
    assert_eq!(bytes("first.png"), bytes("again.png"));

    let other = ["generate", "--from", "first.png", "--seed", "4", "-o", "other.jpg"];
    workshop.run(&other).succeeded();
    let printed = workshop.run(&["settings", "other.jpg", "--json"]).succeeded().stdout();
    let settings: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(settings["seed"], 4);
    assert_eq!(settings["sampler"], "euler-a");
    assert_eq!(settings["negative"], "blur");
    assert_eq!(settings["model"], "emberbrush-default");
    workshop.run(&["settings", "absent.png"]).assert_refused(&["absent.png"]);
}

#[test]
fn literal_prompts_of_a_batch_are_read_as_diffusers_reads_them() {
    let workshop = Workshop::new();
    let prompt = "a {red|blue} (apple:1.3)";
    std::fs::write(workshop.path("jobs.txt"), format!("{prompt}\n")).unwrap();
    let literal = [&QUICK[..], &["--seed", "3", "--prompt-syntax", "literal"]].concat();
    workshop.run(&batch("jobs.txt", "out", &literal)).succeeded();
    let alone = [&["generate", prompt, "--device", "cpu", "-o", "alone.png"], &literal[..]];
    workshop.run(&alone.concat()).succeeded();
    let made =
        workshop.path("out").join(pictures(&workshop.path("out")).into_keys().next().unwrap());
    let pixels = |path: &Path| image::open(path).unwrap().to_rgb8();
    assert_eq!(pixels(&made), pixels(&workshop.path("alone.png")));
    let settings = metadata::read(&made).unwrap().fields;
    assert_eq!(
        (&settings["prompt"], &settings["prompt-syntax"]),
        (&prompt.into(), &"literal".into())
    );

    let weighted = [&QUICK[..], &["--seed", "3"]].concat();
    workshop.run(&batch("jobs.txt", "out", &weighted)).assert_refused(&["another job set"]);
    workshop.run(&batch("jobs.txt", "weighted", &weighted)).succeeded();
    let files = pictures(&workshop.path("weighted"));
    let other = workshop.path("weighted").join(files.keys().next().unwrap());
    assert_ne!(pixels(&other), pixels(&made));

    let grid = ["grid", prompt, "--x", "cfg=3", "-o", "grid", "--device", "cpu"];
    workshop.run(&[&grid[..], &literal[..]].concat()).succeeded();
    let cell = &entries(&workshop.path("grid"))[0];
    assert_eq!(cell["request"]["prompt"], prompt);
    assert_eq!(pixels(&workshop.path("grid").join(cell["file"].as_str().unwrap())), pixels(&made));
}

#[test]
fn a_grid_is_single_pictures_and_a_sheet() {
    let workshop = Workshop::new();
    let mut arguments = vec!["grid", "a cat", "--x", "cfg=1,3,5", "--y", "sampler=euler,ddim"];
    arguments.extend(["-o", "grid", "--device", "cpu", "--seed", "5"]);
    arguments.extend(QUICK);
    workshop.run(&arguments).succeeded();
    let folder = workshop.path("grid");
    let sheet = image::open(folder.join("sheet.png")).unwrap().to_rgb8();
    std::fs::remove_file(folder.join("sheet.png")).unwrap();
    assert_eq!(pictures(&folder).len(), 6);
    // The last cell is the picture of its settings, alone.
    let last = &entries(&folder)[5];
    assert_eq!(
        (&last["request"]["cfg"], &last["request"]["sampler"]),
        (&5.0.into(), &"ddim".into())
    );
    assert_eq!(last["seed"], 5);
    let picture = image::open(folder.join(last["file"].as_str().unwrap())).unwrap().to_rgb8();
    let (width, height) = sheet.dimensions();
    let corner = image::imageops::crop_imm(&sheet, width - 68, height - 68, 64, 64).to_image();
    assert_eq!(corner, picture);
    let wrong = ["grid", "a", "--x", "stepz=1,2", "-o", "wrong"];
    workshop.run(&wrong).assert_refused(&["unknown field `stepz`"]);
}
