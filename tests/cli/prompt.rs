//! `emberbrush prompt`, and what prompts and A1111's meaning change in pictures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod program;

use std::{io::Write, process::Stdio};

use emberbrush_tests::single_file::{ONE, StoredTensor, Tensors, write_safetensors};
use program::{Workshop, text};
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

/// The forms in the table of `docs/prompts.md`, and what they are read as in 16 steps.
#[test]
fn what_the_page_shows_is_understood_so() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/prompts.md");
    let page = std::fs::read_to_string(page).unwrap();
    let workshop = Workshop::new();
    let turns = |step: u32| json!((step, ["c", "a", "b"][step as usize % 3]));
    for (written, field, expected) in [
        ("(a)", "spans", json!([["a", 1.1]])),
        ("((a))", "spans", json!([["a", 1.21]])),
        ("(a:1.3)", "spans", json!([["a", 1.3]])),
        ("[a]", "spans", json!([["a", 0.909]])),
        (r"\(", "spans", json!([["(", 1.0]])),
        (r"\[", "spans", json!([["[", 1.0]])),
        (r"\\", "spans", json!([["\\", 1.0]])),
        ("[a:b:0.5]", "schedule", json!([[8, "a"], [16, "b"]])),
        ("[a:b:8]", "schedule", json!([[8, "a"], [16, "b"]])),
        ("[b:0.5]", "schedule", json!([[8, ""], [16, "b"]])),
        ("[a::0.5]", "schedule", json!([[8, "a"], [16, ""]])),
        ("[a|b|c]", "schedule", (1..=16).map(turns).collect()),
        ("[a:b:1]", "schedule", json!([[1, "a"], [16, "b"]])),
        ("[a:b:1.0]", "schedule", json!([[16, "a"]])),
        ("a BREAK b", "spans", json!([["a", 1.0], ["BREAK", -1.0], ["b", 1.0]])),
        ("a AND b :0.7", "weights", json!([1.0, 0.7])),
        ("<lora:name:0.8>", "loras", json!([{ "name": "name", "unet": 0.8, "text-encoder": 0.8 }])),
        (
            "<lora:name:te=0.5:unet=1>",
            "loras",
            json!([{ "name": "name", "unet": 1.0, "text-encoder": 0.5 }]),
        ),
        ("{a|b}", "tokens", json!(1)),
    ] {
        let shown = format!("`{}`", written.replace('|', r"\|"));
        assert!(page.contains(&shown), "{shown}");
        let mut reading = read(&workshop, written, "16");
        for span in reading["spans"].as_array_mut().unwrap() {
            span[1] = json!((span[1].as_f64().unwrap() * 1000.0).round() / 1000.0);
        }
        let parts = reading["parts"].as_array().into_iter().flatten();
        reading["weights"] = parts.map(|part| part["weight"].clone()).collect();
        assert_eq!(reading[field], expected, "{written}");
    }
}

#[test]
fn embeddings_are_told_by_the_names_that_the_prompt_uses() {
    let workshop = Workshop::new();
    let vectors = StoredTensor::of_f16(&[2, 768], [ONE; 2 * 768]);
    let file = workshop.path("words/my-style.safetensors");
    std::fs::create_dir(workshop.path("words")).unwrap();
    write_safetensors(&file, &Tensors::from([("emb_params".to_owned(), vectors)]));
    let reading = |prompt: &str, given: [&str; 2]| -> Value {
        let run = workshop.run(&["prompt", prompt, "--steps", "1", "--json", given[0], given[1]]);
        serde_json::from_str(run.succeeded().stdout().trim()).unwrap()
    };
    for given in [["--embedding", text(&file)], ["--embeddings", "words"]] {
        let used = reading("a (My-Style:1.2)", given);
        assert_eq!(used["embeddings"], json!(["my-style"]), "{given:?}");
        assert_eq!(used["tokens"], 3, "{given:?}");
        assert_eq!(reading("a cat", given)["embeddings"], json!([]), "{given:?}");
    }
    let unknown = workshop.run(&["prompt", "a", "--embedding", "nowhere"]);
    unknown.assert_refused(&["nowhere", "there is no such file", "--embeddings"]);
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
