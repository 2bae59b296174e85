//! Pictures of the window's screens. Each is compared with the one in `docs/screens`, which the pages of the
//! documentation show; `cargo xtask screenshots` makes them anew.
//!
//! They are drawn by a software renderer, so that they are the same everywhere. They are compared where
//! `EMBERBRUSH_REQUIRE_SCREENS` is set, since drawing all of them takes minutes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod studio;

use std::{
    panic::catch_unwind,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use egui::{Event, Key, Modifiers, Pos2, accesskit::Role};
use emberbrush::{
    canvas::geometry::Point,
    failure::{Argument, Explanation, Failure},
    window::{dialogs::Dialogs, preferences::Preferences, theme::ThemeChoice, words::Language},
};
use emberbrush_pipeline::{
    checkpoint::folder::Family,
    device::DeviceChoice,
    picture::{self, FileFormat, Picture},
};
use emberbrush_tests::{
    egui_kittest::{
        Harness, SnapshotOptions, SnapshotResults, kittest::Queryable, wgpu::WgpuTestRenderer,
    },
    fixtures,
};
use image::{DynamicImage, RgbImage, imageops};

use studio::{
    Screen, Studio, Trouble, click, ctrl, drop_file, generate, type_prompt, wait, window,
    window_mut,
};

/// What the pictures show, by the prompt that made them.
const PROMPTS: [&str; 12] = [
    "a red apple on a blue background",
    "a rocket on a black background",
    "a house on a cyan background",
    "a tree on a white background",
    "a car on a yellow background",
    "a pizza on a blue background",
    "a panda on a pink background",
    "a frog on an orange background",
    "a penguin on a red background",
    "a watermelon on a yellow background",
    "a castle on a green background",
    "a ghost on a black background",
];

/// The pictures of the sheet in the README, which the model in the box drew, in the order of [`PROMPTS`].
fn drawings() -> Vec<RgbImage> {
    let sheet = image::open(docs().join("sheets/readme.png")).unwrap().to_rgb8();
    let (column, row) = (sheet.width() / 6, sheet.height() / 2);
    // Between pictures lie four pixels, whatever their size.
    let side = column - 4;
    let tile = |place: u32| (place % 6 * column, place / 6 * row);
    let crop = |(x, y)| imageops::crop_imm(&sheet, x, y, side, side).to_image();
    (0..12).map(tile).map(crop).collect()
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Where the window is looked at.
struct Look {
    theme: ThemeChoice,
    language: Language,
    size: (f32, f32),
    scale: f32,
}

const DARK: Look = Look {
    theme: ThemeChoice::Dark,
    language: Language::English,
    size: (1280.0, 720.0),
    scale: 1.0,
};
const LIGHT: Look = Look { theme: ThemeChoice::Light, ..DARK };

fn prepare(look: &Look, change: impl FnOnce(&mut Preferences)) -> Studio {
    let studio = Studio::new();
    studio.prefer(|preferences| {
        preferences.theme = look.theme;
        preferences.language = look.language;
        preferences.device = DeviceChoice::Cpu;
        // Nothing blinks or slides.
        preferences.reduce_motion = true;
        change(preferences);
    });
    // Jobs are numbered from one.
    let mut drawings = drawings();
    drawings.rotate_right(1);
    *studio.control.drawings.lock().unwrap() = drawings;
    studio
}

fn open(studio: &Studio, look: &Look) -> Screen<'static> {
    let builder = Harness::builder().renderer(WgpuTestRenderer::new()).with_render_cursor(false);
    studio.open_with(builder, look.size.0, look.size.1, look.scale)
}

/// Makes the first of the pictures, with seeds that are always the same.
fn make(screen: &mut Screen<'_>, count: usize) {
    for (place, prompt) in PROMPTS.iter().enumerate().take(count) {
        let window = window_mut(screen);
        window.set_prompt(prompt);
        window.set_seed(40 + place as u64);
        generate(screen);
    }
    screen.key_press(Key::Escape);
    screen.run_steps(2);
}

/// Without the pointer and the focus of the keyboard, which are no part of a screen.
fn rest(screen: &mut Screen<'_>) {
    screen.remove_cursor();
    screen.ctx.memory_mut(|memory| {
        if let Some(focused) = memory.focused() {
            memory.surrender_focus(focused);
        }
    });
    screen.run_steps(8);
}

fn first_start(look: &Look) -> Screen<'static> {
    let studio = prepare(look, |_| {});
    let mut screen = open(&studio, look);
    window_mut(&mut screen).set_seed(40);
    rest(&mut screen);
    screen
}

fn forming(look: &Look) -> Screen<'static> {
    let studio = prepare(look, |_| {});
    let mut screen = open(&studio, look);
    make(&mut screen, 3);
    window_mut(&mut screen).set_prompt(PROMPTS[3]);
    window_mut(&mut screen).set_seed(43);
    studio.control.holds.store(true, Ordering::Relaxed);
    ctrl(&mut screen, Key::Enter);
    wait(&mut screen, |screen| {
        window(screen).results().running.as_ref().is_some_and(|running| running.step > 0)
    });
    rest(&mut screen);
    screen
}

fn done(look: &Look) -> Screen<'static> {
    let studio = prepare(look, |_| {});
    let mut screen = open(&studio, look);
    make(&mut screen, 9);
    rest(&mut screen);
    screen
}

fn prompt(look: &Look) -> Screen<'static> {
    let studio = prepare(look, |_| {});
    let folder = studio.path("wildcards");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["colours", "countries", "materials"] {
        std::fs::write(folder.join(format!("{name}.txt")), "one\n").unwrap();
    }
    let mut screen = open(&studio, look);
    make(&mut screen, 2);
    window_mut(&mut screen).set_prompt("");
    screen.run_steps(2);
    type_prompt(&mut screen, "고양이, (sleeping:1.2), a cat of __co");
    screen.remove_cursor();
    screen.run_steps(4);
    screen
}

fn too_large(look: &Look) -> Screen<'static> {
    let studio = prepare(look, |_| {});
    let mut screen = open(&studio, look);
    make(&mut screen, 1);
    window_mut(&mut screen).set_size(1024, 1024);
    rest(&mut screen);
    screen
}

fn failure(look: &Look) -> Screen<'static> {
    let studio = prepare(look, |_| {});
    let mut screen = open(&studio, look);
    make(&mut screen, 2);
    let explanation = Explanation::new("error-memory")
        .with("needed", Argument::Bytes(9_100_000_000))
        .with("budget", Argument::Bytes(6_200_000_000))
        .with("advice", Explanation::new("advice-memory-machine"));
    let failure = Failure::new(explanation, "not enough memory");
    *studio.control.next.lock().unwrap() = Some(Trouble::Fail(failure));
    generate(&mut screen);
    rest(&mut screen);
    screen
}

/// A picture on the canvas with a part of it marked. Its folders last as long as the studio.
fn marked(look: &Look) -> (Studio, Screen<'static>) {
    let studio = prepare(look, |_| {});
    let mut screen = open(&studio, look);
    window_mut(&mut screen).set_prompt("a yellow pear");
    window_mut(&mut screen).set_seed(40);
    ctrl(&mut screen, Key::Num2);
    let picture = Picture::new(DynamicImage::ImageRgb8(drawings().remove(0)));
    let path = studio.path("apple.png");
    std::fs::write(&path, picture::encode(&picture, FileFormat::Png, &[]).unwrap()).unwrap();
    drop_file(&mut screen, path);
    wait(&mut screen, |screen| window(screen).canvas().editor().is_some());
    screen.run_steps(4);
    let at = |screen: &Screen<'_>, x: f32, y: f32| -> Pos2 {
        window(screen).canvas().screen_position(Point::new(x, y)).unwrap()
    };
    for _ in 0..6 {
        screen.key_press(Key::OpenBracket);
        screen.run_steps(2);
    }
    let path = [
        (40.0, 62.0),
        (50.0, 52.0),
        (64.0, 48.0),
        (78.0, 54.0),
        (84.0, 70.0),
        (74.0, 84.0),
        (56.0, 84.0),
    ];
    let (first, last) = (at(&screen, 40.0, 62.0), at(&screen, 56.0, 84.0));
    screen.hover_at(first);
    screen.step();
    screen.drag_at(first);
    screen.step();
    for (x, y) in path {
        screen.hover_at(at(&screen, x, y));
        screen.step();
    }
    screen.drop_at(last);
    screen.run_steps(2);
    (studio, screen)
}

fn canvas(look: &Look) -> Screen<'static> {
    let (_studio, mut screen) = marked(look);
    let at = window(&screen).canvas().screen_position(Point::new(95.0, 40.0)).unwrap();
    rest(&mut screen);
    screen.hover_at(at);
    screen.run_steps(2);
    screen
}

fn variations(look: &Look) -> Screen<'static> {
    let (_studio, mut screen) = marked(look);
    ctrl(&mut screen, Key::Enter);
    wait(&mut screen, |screen| {
        let editor = window(screen).canvas().editor().unwrap();
        window(screen).queue().open_count() == 0
            && editor.candidate().is_some_and(|candidate| candidate.variations().len() == 3)
    });
    screen.key_press(Key::ArrowRight);
    rest(&mut screen);
    screen
}

fn gallery(look: &Look) -> Screen<'static> {
    let studio = prepare(look, |_| {});
    let mut screen = open(&studio, look);
    make(&mut screen, 6);
    ctrl(&mut screen, Key::Num3);
    wait(&mut screen, |screen| window(screen).gallery().pictures().len() == 6);
    let name = studio.files().into_iter().find(|name| name.contains("house")).unwrap();
    click(&mut screen, &name);
    click(&mut screen, "Give a star");
    wait_for_thumbnails(&mut screen);
    rest(&mut screen);
    screen
}

/// Small pictures are decoded beside the window.
fn wait_for_thumbnails(screen: &mut Screen<'_>) {
    wait(screen, |screen| window(screen).gallery().awaited_thumbnails() == 0);
    screen.run_steps(2);
}

fn compared(look: &Look) -> Screen<'static> {
    let studio = prepare(look, |_| {});
    let mut screen = open(&studio, look);
    make(&mut screen, 2);
    ctrl(&mut screen, Key::Num3);
    wait(&mut screen, |screen| window(screen).gallery().pictures().len() == 2);
    let files = studio.files();
    click(&mut screen, &files[0]);
    screen.get_by_label(&files[1]).click_modifiers(Modifiers::COMMAND);
    screen.run_steps(2);
    screen.get_by_label_contains("Compare two").click();
    screen.run_steps(2);
    wait_for_thumbnails(&mut screen);
    rest(&mut screen);
    screen
}

fn queue(look: &Look) -> Screen<'static> {
    let studio = prepare(look, |_| {});
    let mut screen = open(&studio, look);
    make(&mut screen, 2);
    ctrl(&mut screen, Key::J);
    click(&mut screen, "Pause");
    screen.key_press(Key::Escape);
    screen.run_steps(2);
    for prompt in &PROMPTS[2..6] {
        window_mut(&mut screen).set_prompt(prompt);
        ctrl(&mut screen, Key::Enter);
    }
    ctrl(&mut screen, Key::J);
    rest(&mut screen);
    screen
}

/// Folders that are no place of this machine.
fn somewhere(preferences: &mut Preferences) {
    preferences.pictures_folder = "Pictures/Emberbrush".into();
    preferences.wildcards_folder = "Pictures/Wildcards".into();
    preferences.lora_folder = "Models/LoRA".into();
    preferences.embeddings_folder = "Models/Embeddings".into();
}

fn table(look: &Look) -> Screen<'static> {
    let studio = prepare(look, somewhere);
    let mut screen = open(&studio, look);
    window_mut(&mut screen).set_prompt(PROMPTS[8]);
    window_mut(&mut screen).set_seed(48);
    screen.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::E);
    rest(&mut screen);
    screen
}

fn export(look: &Look) -> Screen<'static> {
    let studio = prepare(look, somewhere);
    let mut screen = open(&studio, look);
    window_mut(&mut screen).set_prompt(PROMPTS[8]);
    window_mut(&mut screen).set_seed(48);
    ctrl(&mut screen, Key::E);
    rest(&mut screen);
    screen
}

fn dropped(look: &Look) -> Screen<'static> {
    let studio = prepare(look, |_| {});
    let mut screen = open(&studio, look);
    make(&mut screen, 1);
    let text = "an owl, oil painting\nNegative prompt: blurry\nSteps: 28, Sampler: Euler a, CFG scale: 6, \
                Seed: 12345, Size: 192x128, Model: v1-5";
    let path = studio.path("from-elsewhere.png");
    let texts = [("parameters", text.to_owned())];
    emberbrush_pipeline::output::write_png(&studio::drawing(192, 128, 1), &texts, &path).unwrap();
    drop_file(&mut screen, path);
    rest(&mut screen);
    screen
}

fn models(look: &Look) -> Screen<'static> {
    let studio = prepare(look, |_| {});
    let mut screen = open(&studio, look);
    make(&mut screen, 10);
    ctrl(&mut screen, Key::M);
    screen.run_steps(2);
    wait_for_thumbnails(&mut screen);
    rest(&mut screen);
    screen
}

fn settings(look: &Look) -> Screen<'static> {
    let studio = prepare(look, somewhere);
    let mut screen = open(&studio, look);
    window_mut(&mut screen).set_seed(40);
    ctrl(&mut screen, Key::Comma);
    rest(&mut screen);
    screen
}

/// Scrolls what has a name into view.
fn scroll_to(screen: &mut Screen<'_>, name: &str) {
    screen.get_by_label_contains(name).scroll_to_me();
    screen.run_steps(12);
}

fn lora(look: &Look) -> Screen<'static> {
    let studio = prepare(look, |_| {});
    let folder = studio.path("loras");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, made_for) in [
        ("watercolour", "sd15-kohya"),
        ("ink drawing", "sd15-peft"),
        ("paper cut", "sd15-locon"),
        ("soft light", "sd15-loha"),
    ] {
        let stored = fixtures().join(format!("checkpoints/lora/{made_for}.safetensors"));
        std::fs::copy(stored, folder.join(format!("{name}.safetensors"))).unwrap();
    }
    let mut screen = open(&studio, look);
    make(&mut screen, 3);
    for name in ["watercolour", "ink drawing"] {
        scroll_to(&mut screen, "Add a LoRA");
        click(&mut screen, "Add a LoRA");
        wait(&mut screen, |screen| screen.query_by_label(name).is_some());
        // The menu grows with what was found.
        screen.run_steps(4);
        click(&mut screen, name);
    }
    click(&mut screen, "Use ink drawing");
    scroll_to(&mut screen, "Add a ControlNet");
    click(&mut screen, "Add a LoRA");
    wait(&mut screen, |screen| screen.query_by_label("paper cut").is_some());
    rest(&mut screen);
    screen
}

/// A ControlNet is added from a file of this name.
fn add_controlnet(screen: &mut Screen<'_>) {
    let dialogs = Dialogs::new(|_| Some("control_v11p_sd15_canny.safetensors".into()));
    window_mut(screen).set_dialogs(dialogs);
    scroll_to(screen, "Add a ControlNet");
    click(screen, "Add a ControlNet");
    screen.get_by_label_contains("Choose a ControlNet file").click();
    wait(screen, |screen| !window(screen).settings().control.0.is_empty());
}

fn control(look: &Look) -> Screen<'static> {
    let (_studio, mut screen) = marked(look);
    add_controlnet(&mut screen);
    scroll_to(&mut screen, "Guess mode");
    rest(&mut screen);
    screen
}

fn more(look: &Look) -> Screen<'static> {
    let studio = prepare(look, |_| {});
    *studio.control.family.lock().unwrap() = Some(Family::StableDiffusionXl);
    let mut screen = open(&studio, look);
    make(&mut screen, 2);
    scroll_to(&mut screen, "More");
    screen.get_by_label_contains("More").click();
    screen.run_steps(4);
    screen.get_by_role_and_label(Role::MultilineTextInput, "Second negative prompt").scroll_to_me();
    screen.run_steps(12);
    rest(&mut screen);
    screen
}

fn palette(look: &Look) -> Screen<'static> {
    let studio = prepare(look, |_| {});
    let mut screen = open(&studio, look);
    make(&mut screen, 4);
    ctrl(&mut screen, Key::P);
    screen.event(Event::Text("go".to_owned()));
    screen.remove_cursor();
    screen.run_steps(8);
    screen
}

/// A screen: its name, what is done to see it, and how it is looked at.
type Scene = (&'static str, fn(&Look) -> Screen<'static>, Look);

fn scenes() -> Vec<Scene> {
    let korean = Look { language: Language::Korean, ..LIGHT };
    vec![
        ("first-start", first_start, DARK),
        ("first-start-light", first_start, LIGHT),
        ("first-start-korean", first_start, korean),
        ("forming", forming, DARK),
        ("done", done, DARK),
        ("done-light", done, LIGHT),
        ("prompt", prompt, DARK),
        ("memory", too_large, DARK),
        ("failure", failure, DARK),
        ("canvas", canvas, DARK),
        ("canvas-light", canvas, LIGHT),
        ("variations", variations, DARK),
        ("gallery", gallery, DARK),
        ("gallery-light", gallery, LIGHT),
        ("compare", compared, DARK),
        ("queue", queue, DARK),
        ("table", table, DARK),
        ("export", export, LIGHT),
        ("dropped", dropped, DARK),
        ("models", models, DARK),
        ("lora", lora, DARK),
        ("control", control, LIGHT),
        ("more", more, DARK),
        ("settings", settings, LIGHT),
        ("palette", palette, DARK),
    ]
}

fn options() -> SnapshotOptions {
    SnapshotOptions::new().output_path(docs().join("screens"))
}

/// Whether screens can be drawn here.
fn can_draw() -> bool {
    if catch_unwind(WgpuTestRenderer::new).is_ok() {
        return true;
    }
    assert!(
        std::env::var_os("EMBERBRUSH_REQUIRE_SCREENS").is_none(),
        "no Vulkan driver draws screens"
    );
    eprintln!("skipped: no Vulkan driver draws screens here");
    false
}

#[test]
fn screens_are_as_the_documentation_shows_them() {
    if std::env::var_os("EMBERBRUSH_REQUIRE_SCREENS").is_none() || !can_draw() {
        eprintln!("skipped: EMBERBRUSH_REQUIRE_SCREENS is not set");
        return;
    }
    let only = std::env::var("EMBERBRUSH_SCREEN").ok();
    let mut results = SnapshotResults::new();
    for (name, scene, look) in scenes() {
        if only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            let mut screen = scene(&look);
            results.add(screen.try_snapshot_options(name, &options()));
            // What was compared is in the results; the harness keeps its own otherwise.
            let _ = screen.take_snapshot_results();
        }
    }
    results.unwrap();
}

#[test]
fn a_visible_change_is_noticed() {
    if !can_draw() {
        return;
    }
    let mut screen = first_start(&DARK);
    window_mut(&mut screen).set_seed(41);
    screen.run_steps(2);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(
            docs().join("screens/first-start.png"),
            folder.path().join("first-start.png"),
        )
        .unwrap();
        let options = SnapshotOptions::new().output_path(folder.path());
        let picture = screen.render().unwrap();
        let result = emberbrush_tests::egui_kittest::try_image_snapshot_options(
            &picture,
            "first-start",
            &options,
        );
        assert!(result.is_err(), "another seed is one figure, and is seen");
    }
}

#[test]
fn every_page_shows_screens_that_are_made_here() {
    let names: Vec<&str> = scenes().iter().map(|(name, ..)| *name).collect();
    let mut shown = Vec::new();
    for folder in [docs(), docs().join("window")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = std::fs::read_to_string(&path).unwrap();
                let pictures =
                    text.split("screens/").skip(1).filter_map(|rest| rest.split_once(".png"));
                for (name, _) in pictures {
                    assert!(names.contains(&name), "{}: no such screen: {name}", path.display());
                    shown.push(name.to_owned());
                }
            }
        }
    }
    for name in names {
        assert!(shown.contains(&name.to_owned()), "no page shows {name}");
        assert!(docs().join(format!("screens/{name}.png")).is_file(), "cargo xtask screenshots");
    }
}
