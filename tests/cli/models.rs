//! `models`: the library from the command line.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod program;

use std::path::Path;

use emberbrush_tests::{checkpoint, runs::furthest};
use program::{Run, Workshop, text};
use serde_json::Value;

fn lines(run: &Run) -> Vec<Value> {
    run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(workshop: &Workshop) -> Vec<String> {
    let run = workshop.run(&["models", "list", "--json"]).succeeded();
    lines(&run).iter().map(|line| line["name"].as_str().unwrap().to_owned()).collect()
}

const QUICK: [&str; 8] = ["--steps", "1", "--width", "64", "--height", "64", "--seed", "1"];

fn generate(workshop: &Workshop, model: &str, output: &str) -> Run {
    let arguments =
        [&["generate", "a cat", "--device", "cpu", "--model", model, "-o", output][..], &QUICK];
    workshop.run(&arguments.concat())
}

#[test]
fn a_model_is_added_used_by_name_and_removed() {
    let workshop = Workshop::new();
    let original = checkpoint("sd15-tiny");
    workshop.run(&["models", "add", text(&original), "--name", "tiny"]).succeeded();
    let copied = ["models", "add", text(&original), "--name", "copy", "--copy", "--json"];
    let added = lines(&workshop.run(&copied).succeeded());
    let copy = added.last().unwrap();
    assert_eq!((&copy["event"], &copy["name"]), (&"model".into(), &"copy".into()));
    assert!(Path::new(copy["path"].as_str().unwrap()).starts_with(workshop.data()));
    assert_eq!(names(&workshop), ["copy", "tiny"]);

    let listed = lines(&workshop.run(&["models", "list", "--json"]).succeeded());
    assert_eq!(listed[1]["family"], "Stable Diffusion 1.x");
    assert_eq!(listed[1]["source"]["kind"], "linked");
    assert!(listed[1]["bytes"].as_u64().unwrap() > 10_000);

    for (model, output) in [(text(&original), "a.png"), ("tiny", "b.png"), ("copy", "c.png")] {
        generate(&workshop, model, output).succeeded();
    }
    let pixels = |name: &str| image::open(workshop.path(name)).unwrap().into_rgb8();
    assert_eq!(pixels("a.png"), pixels("b.png"));
    assert_eq!(pixels("a.png"), pixels("c.png"));

    let asked = workshop.run(&["models", "remove", "tiny"]);
    asked.assert_refused(&["--yes"]);
    workshop.run(&["models", "remove", "tiny", "--yes"]).succeeded();
    assert!(original.join("unet").is_dir(), "a linked original stays");
    workshop.run(&["models", "remove", "copy", "--yes", "--permanently"]).succeeded();
    assert_eq!(names(&workshop), [""; 0]);
    generate(&workshop, "tiny", "d.png").assert_refused(&["tiny"]);
    workshop.run(&["models", "remove", "tiny", "--yes"]).assert_refused(&["no model named tiny"]);
}

#[test]
fn what_is_removed_is_in_the_bin() {
    let workshop = Workshop::new();
    let original = checkpoint("sd15-tiny");
    workshop.run(&["models", "add", text(&original), "--name", "tiny", "--copy"]).succeeded();
    let home = workshop.data().join("home");
    std::fs::create_dir(&home).unwrap();
    let mut remove = workshop.program(&["models", "remove", "tiny", "--yes"]);
    remove.env("XDG_DATA_HOME", &home).env("HOME", &home);
    Run::from(remove.output().unwrap()).succeeded();
    assert_eq!(names(&workshop), [""; 0]);
    if cfg!(target_os = "linux") {
        assert!(home.join("Trash/files/tiny/unet").is_dir());
    }
}

#[test]
fn verify_tells_hashes_and_what_is_not_a_number() {
    let workshop = Workshop::new();
    let original = checkpoint("sd15-tiny");
    workshop.run(&["models", "add", text(&original), "--name", "tiny", "--copy"]).succeeded();
    let sound = workshop.run(&["models", "verify", "tiny", "--json"]).succeeded();
    let files: Vec<Value> =
        lines(&sound).into_iter().filter(|line| line.get("sha256").is_some()).collect();
    assert_eq!(files.len(), 3);
    assert!(files.iter().all(|file| file["sound"] == true));

    // The last element of the file becomes NaN.
    let weights = workshop.data().join("models/tiny/unet/diffusion_pytorch_model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&weights, bytes).unwrap();
    let broken = workshop.run(&["models", "verify", "tiny"]);
    broken.assert_refused(&["1 of 3 files"]);
    assert!(broken.stdout().contains("1 NaN, 0 infinite"), "{}", broken.stdout());
    let path = workshop.data().join("models/tiny");
    workshop.run(&["models", "verify", text(&path)]).assert_refused(&["1 of 3 files"]);
}

#[test]
fn what_is_no_model_is_refused() {
    let workshop = Workshop::new();
    std::fs::write(workshop.path("notes.txt"), "no model").unwrap();
    std::fs::write(workshop.path("cut.safetensors"), [9; 20]).unwrap();
    std::fs::create_dir(workshop.path("empty")).unwrap();
    for (path, why) in [
        ("notes.txt", ".safetensors"),
        ("cut.safetensors", "header"),
        ("empty", "model_index.json"),
        ("absent", "no such file"),
    ] {
        workshop.run(&["models", "add", path]).assert_refused(&[path, why]);
        workshop.run(&["models", "add", path, "--copy"]).assert_refused(&[path, why]);
    }
    assert_eq!(names(&workshop), [""; 0]);
    let original = checkpoint("sd15-tiny");
    let name = ["models", "add", text(&original), "--name", "../out"];
    let refused = workshop.run(&name);
    assert_eq!(refused.code(), Some(2), "{}", refused.stderr());
}

#[test]
fn weights_in_half_precision_draw_nearly_the_same_and_a_round_trip_is_exact() {
    let workshop = Workshop::new();
    let original = checkpoint("sd15-tiny");
    let convert = |from: &str, dtype: &str, to: &str| {
        workshop.run(&["models", "convert", from, "--dtype", dtype, "-o", to])
    };
    convert(text(&original), "f16", "half").succeeded();
    convert("half", "f32", "full").succeeded();
    convert("full", "f16", "again").succeeded();
    let unet = "unet/diffusion_pytorch_model.safetensors";
    let bytes = |folder: &str| std::fs::read(workshop.path(folder).join(unet)).unwrap();
    assert!(bytes("half") == bytes("again"));
    assert!(bytes("half").len() * 10 < bytes("full").len() * 6);

    for (model, output) in [(text(&original), "a.png"), ("half", "b.png"), ("full", "c.png")] {
        generate(&workshop, model, output).succeeded();
    }
    let pixels = |name: &str| image::open(workshop.path(name)).unwrap().into_rgb8().into_raw();
    let (exact, half, full) = (pixels("a.png"), pixels("b.png"), pixels("c.png"));
    assert_eq!(half, full, "the same weights in another type");
    let furthest = furthest(&exact, &half);
    assert!(furthest <= 16, "{furthest}");

    convert("half", "f32", "full").assert_refused(&["full", "it exists"]);
    convert("absent", "f32", "new").assert_refused(&["absent"]);
    assert!(!workshop.path("new").exists());
}

#[cfg(feature = "download")]
mod download {
    //! `models pull` and `login`

    use std::{
        io::Write,
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use emberbrush_tests::hub_server::{HubServer, Mischief, in_repository};

    use super::*;

    const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

    fn hub() -> HubServer {
        let hub = HubServer::start();
        hub.publish_folder("someone/tiny", &checkpoint("sd15-tiny"));
        hub
    }

    fn pull(workshop: &Workshop, hub: &HubServer, arguments: &[&str]) -> Command {
        let mut command = workshop.program(&[&["models", "pull"], arguments].concat());
        command.env("HF_ENDPOINT", hub.address()).env_remove("HF_TOKEN");
        command.env("HF_HOME", workshop.data().join("home"));
        command
    }

    #[test]
    fn a_model_is_downloaded_and_used_by_its_repository() {
        let (workshop, hub) = (Workshop::new(), hub());
        let run = pull(&workshop, &hub, &["someone/tiny", "--json"]).output().unwrap();
        let told = lines(&Run::from(run).succeeded());
        let last = told.last().unwrap();
        assert_eq!((&last["event"], &last["name"]), (&"model".into(), &"tiny".into()));
        assert_eq!(last["source"]["repository"], "someone/tiny");
        let done = told.iter().rfind(|line| line["event"] == "progress").unwrap();
        assert_eq!(done["done"], done["total"]);
        generate(&workshop, "someone/tiny", "cat.png").succeeded();
        workshop.run(&["models", "verify", "tiny"]).succeeded();

        // What was published decides, and not only whether values are numbers.
        let weights = workshop.data().join("models/tiny").join(UNET);
        let mut bytes = std::fs::read(&weights).unwrap();
        let end = bytes.len();
        bytes[end - 4] ^= 1;
        std::fs::write(&weights, bytes).unwrap();
        let changed = workshop.run(&["models", "verify", "tiny"]);
        changed.assert_refused(&["1 of 3 files"]);
        assert!(changed.stdout().contains("not what was published"), "{}", changed.stdout());
    }

    #[test]
    fn refusals_are_told_and_nothing_is_there() {
        let (workshop, hub) = (Workshop::new(), hub());
        let weights = in_repository("someone/tiny", UNET);
        hub.mischief(&weights, Mischief::Spoil);
        let run: Run = pull(&workshop, &hub, &["someone/tiny"]).output().unwrap().into();
        run.assert_refused(&[UNET, "SHA-256"]);
        let run: Run = pull(&workshop, &hub, &["someone/else"]).output().unwrap().into();
        run.assert_refused(&["someone/else", "404"]);
        let run: Run = pull(&workshop, &hub, &["no-repository"]).output().unwrap().into();
        assert_eq!(run.code(), Some(2), "{}", run.stderr());
        assert_eq!(names(&workshop), [""; 0]);
    }

    /// Interrupts a program as Ctrl-C does.
    #[cfg(unix)]
    fn interrupt(id: u32) {
        let sent = Command::new("kill").args(["-INT", &id.to_string()]).status().unwrap();
        assert!(sent.success());
    }

    #[cfg(unix)]
    #[test]
    fn ctrl_c_ends_a_download_at_once_and_the_same_command_goes_on() {
        let (workshop, hub) = (Workshop::new(), hub());
        let weights = in_repository("someone/tiny", UNET);
        hub.mischief(&weights, Mischief::Drop(30_000));
        hub.mischief(&weights, Mischief::Refuse(429, vec![("Retry-After", "100".to_owned())]));
        let mut command = pull(&workshop, &hub, &["someone/tiny"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let started = Instant::now();
        let is_waiting = || {
            let asked = hub.take_asked();
            asked.iter().any(|asked| asked.start == 30_000)
        };
        while !is_waiting() {
            assert!(started.elapsed() < Duration::from_secs(60), "the download did not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        interrupt(child.id());
        let run: Run = child.wait_with_output().unwrap().into();
        assert_eq!(run.code(), Some(130), "{}", run.stderr());
        assert_eq!(names(&workshop), [""; 0]);

        let run: Run = pull(&workshop, &hub, &["someone/tiny"]).output().unwrap().into();
        run.succeeded();
        assert_eq!(names(&workshop), ["tiny"]);
        let again = hub.take_asked();
        let unet = again.iter().find(|asked| asked.target.ends_with(UNET)).unwrap();
        assert_eq!(unet.start, 30_000);
    }

    #[test]
    fn a_token_is_kept_for_the_person_alone_and_shown_to_the_hub() {
        let (workshop, hub) = (Workshop::new(), hub());
        let home = workshop.data().join("home");
        let mut login = workshop.program(&["models", "login", "--json"]);
        login.env("HF_HOME", &home).env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere");
        let mut child = login.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"hf_word\n").unwrap();
        let run: Run = child.wait_with_output().unwrap().into();
        assert!(!run.succeeded().stdout().contains("hf_word"));
        assert_eq!(std::fs::read_to_string(home.join("token")).unwrap(), "hf_word");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;

            let mode = std::fs::metadata(home.join("token")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let run: Run = pull(&workshop, &hub, &["someone/tiny"]).output().unwrap().into();
        run.succeeded();
        let asked = hub.take_asked();
        let shown = |asked: &str| asked == "Bearer hf_word";
        assert!(asked.iter().all(|asked| asked.authorization.as_deref().is_some_and(shown)));
    }
}
