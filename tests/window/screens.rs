//! How the main screens look, in both themes, pixel for pixel as software Vulkan draws them.
//!
//! `UPDATE_SNAPSHOTS=1` writes them anew; look at what changed. A machine without an adapter skips
//! them and says so, unless `EMBERBRUSH_REQUIRE_WGPU` is set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod studio;

use std::path::Path;

use egui::Key;
use emberbrush::window::{preferences::Preferences, theme::ThemeChoice, words::Language};
use emberbrush_tests::egui_kittest::SnapshotOptions;
use studio::{Screen, Studio, click, ctrl, generate, type_prompt, wait, window};

/// Whether screens can be drawn here.
fn can_draw() -> bool {
    let icds = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let has_driver = !cfg!(target_os = "linux")
        || icds.iter().any(|folder| {
            std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
        });
    if !has_driver && std::env::var_os("EMBERBRUSH_REQUIRE_WGPU").is_some() {
        panic!("EMBERBRUSH_REQUIRE_WGPU is set, but there is no graphics driver");
    }
    if !has_driver {
        eprintln!("skipped: this machine has no graphics driver");
    }
    has_driver
}

fn studio_in(theme: ThemeChoice) -> Studio {
    let studio = Studio::new();
    let journal = emberbrush::window::journal::Journal::open(studio.data()).unwrap();
    journal.write(
        "preferences.json",
        &Preferences {
            theme,
            pictures_folder: studio.pictures(),
            language: Language::English,
            ..Preferences::default()
        },
    );
    journal.flush();
    studio
}

fn look(screen: &mut Screen<'_>, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/window/snapshots");
    let options = SnapshotOptions::new().output_path(folder);
    screen.remove_cursor();
    screen.run_steps(4);
    screen.snapshot_options(name, &options);
}

fn look_around(theme: ThemeChoice, name: &str) {
    if !can_draw() {
        return;
    }
    let studio = studio_in(theme);
    let mut screen = studio.open();
    look(&mut screen, &format!("{name}-empty"));
    type_prompt(&mut screen, "a red apple on a blue background");
    // Seeds that stay, so that the same pictures are drawn.
    studio::window_mut(&mut screen).set_seed(7);
    for _ in 0..3 {
        generate(&mut screen);
    }
    look(&mut screen, &format!("{name}-prompt"));
    ctrl(&mut screen, Key::Num3);
    wait(&mut screen, |screen| window(screen).gallery().pictures().len() == 3);
    click(&mut screen, "7-a-red-apple-on-a-blue-background.png");
    std::thread::sleep(std::time::Duration::from_millis(300));
    look(&mut screen, &format!("{name}-gallery"));
    ctrl(&mut screen, Key::J);
    look(&mut screen, &format!("{name}-queue"));
    screen.key_press(Key::Escape);
    screen.step();
    ctrl(&mut screen, Key::P);
    look(&mut screen, &format!("{name}-palette"));
}

#[test]
fn dark() {
    look_around(ThemeChoice::Dark, "dark");
}

#[test]
fn light() {
    look_around(ThemeChoice::Light, "light");
}
