//! `emberbrush prompt`, and what prompts and A1111's meaning change in pictures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod program;

use std::{io::Write, process::Stdio};

use program::Workshop;
use serde_json::{Value, json};

fn read(workshop: &Workshop, text: &str, steps: &str) -> Value {
    let run = workshop.run(&["prompt", text, "--steps", steps, "--json"]);
    assert_eq!(run.code(), Some(0), "{run:?}");
    serde_json::from_str(run.stdout().trim()).unwrap()
}

#[test]
fn a_prompt_is_told_as_it_is_understood() {
    let workshop = Workshop::new();
    let reading = read(&workshop, "a [b:3] (c:1.5) <lora:ink:0.8> BREAK d", "10");
    assert_eq!(
        reading["schedule"],
        json!([[3, "a  (c:1.5)  BREAK d"], [10, "a b (c:1.5)  BREAK d"]])
    );
    assert_eq!(reading["spans"], json!([["a  ", 1.0], ["c", 1.5], ["BREAK", -1.0], ["d", 1.0]]));
    assert_eq!(reading["loras"], json!([{ "name": "ink", "unet": 0.8, "text-encoder": 0.8 }]));
    assert_eq!(reading["embeddings"], json!([]));
    assert_eq!(reading["chunks"], 2);
    assert_eq!(reading["tokens"], 4);
    assert!(reading.get("parts").is_none());

    let reading = read(&workshop, "a AND [b|c] :0.7", "2");
    assert_eq!(reading["parts"][1]["weight"], 0.7);
    assert_eq!(reading["parts"][1]["schedule"], json!([[1, " b"], [2, " c"]]));
    assert_eq!(reading["tokens"], 2);

    let chosen = read(&workshop, "{a|b} {c", "1");
    assert!(["a \\{c", "b \\{c"].contains(&chosen["schedule"][0][1].as_str().unwrap()));
    assert_eq!(read(&workshop, "", "1")["spans"], json!([["", 1.0]]));
}

#[test]
fn people_can_read_it_too() {
    let workshop = Workshop::new();
    let run = workshop.run(&["prompt", "a [b:3] (c:1.5) AND d\n:0.5 <lora:x>", "--steps", "10"]);
    assert_eq!(run.code(), Some(0), "{run:?}");
    let told = run.stdout();
    for part in ["guided by 0.5", "1.500  c", "to 3  a  (c:1.5)", "to 10  a b (c:1.5)", "LoRA x"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let run = workshop.run(&["prompt", "<lora:x:y>"]);
    assert_eq!(run.code(), Some(1));
    assert!(run.stderr().contains("`y` is no weight"), "{run:?}");
}

#[test]
fn hostile_prompts_from_standard_input_end() {
    let workshop = Workshop::new();
    for (unit, times) in [("[a:", 1_000_000), ("[a|\0", 50_000), ("\u{7f}\\", 100_000)] {
        let mut child = workshop
            .program(&["prompt", "-", "--steps", "3", "--json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let text = unit.repeat(times);
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let run = program::Run::from(child.wait_with_output().unwrap());
        // Longer than a mebibyte it is refused, and never with a panic.
        assert_eq!(run.code(), Some(i32::from(text.len() > 1024 * 1024)), "{unit}");
        assert!(!run.stderr().contains("panicked"), "{unit}");
    }
}

#[test]
fn what_a_prompt_says_changes_the_picture_and_is_written_into_it() {
    let workshop = Workshop::new();
    let make = |name: &str, more: &[&str]| {
        let mut arguments = vec!["generate", "a red apple", "--seed", "3", "--steps", "2"];
        arguments.extend(["--width", "64", "--height", "64", "-o", name]);
        arguments.extend(more);
        let run = workshop.run(&arguments);
        assert_eq!(run.code(), Some(0), "{run:?}");
        image::open(workshop.path(name)).unwrap().into_rgb8()
    };
    let plain = make("plain.png", &[]);
    let options: [&[&str]; 6] = [
        &[
            "--clip-skip",
            "2",
            "--guidance-rescale",
            "0.7",
            "--compat",
            "a1111",
            "--sampler",
            "heun",
        ],
        &["--variation-seed", "9", "--variation-strength", "0.5"],
        &["--skip-negative-after", "0.5"],
        &["--deep-cache", "2"],
        &["--token-merging", "0.5"],
        &["--reuse-cross-attention-after", "0"],
    ];
    for (index, option) in options.into_iter().enumerate() {
        let name = format!("{index}.png");
        let made = make(&name, option);
        assert_ne!(made, plain, "{option:?}");
        let again = format!("again-{index}.png");
        let path = workshop.path(&name);
        let run = workshop.run(&["generate", "--from", path.to_str().unwrap(), "-o", &again]);
        assert_eq!(run.code(), Some(0), "{run:?}");
        assert_eq!(image::open(workshop.path(&again)).unwrap().into_rgb8(), made, "{option:?}");
    }
    // Steps that a prompt names, and its parts.
    let half = make("half.png", &["--negative", "[blur:dark:1]"]);
    assert_ne!(half, plain);
    assert_ne!(half, make("whole.png", &["--negative", "[blur:dark:2]"]));

    let run = workshop.run(&["generate", "a", "--prompt-2", "b", "-o", "two.png"]);
    assert_eq!(run.code(), Some(1));
    assert!(run.stderr().contains("one text encoder"), "{run:?}");
    let run = workshop.run(&["generate", "a", "--clip-skip", "0", "-o", "none.png"]);
    assert!(run.stderr().contains("clip skip must be from 1"), "{run:?}");
    for (flag, value, reason) in [
        ("--skip-negative-after", "1.5", "from 0 to 1, but is 1.5"),
        ("--deep-cache", "0", "but 0 were asked for"),
        ("--token-merging", "0.8", "one remains, but is 0.8"),
        ("--reuse-cross-attention-after", "-1", "from 0 to 1, but is -1"),
    ] {
        let argument = format!("{flag}={value}");
        let run = workshop.run(&["generate", "a", &argument, "-o", "none.png"]);
        assert!(run.code() == Some(1) && run.stderr().contains(reason), "{run:?}");
    }
}
