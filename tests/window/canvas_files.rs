//! Files of the canvas: opened and exported by dialog, and pictures that are pasted.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use eframe::egui::{Color32, ColorImage, Event, Key, Modifiers};
use emberbrush::window::dialogs::{Dialogs, Question};
use emberbrush_pipeline::picture::{self, FileFormat, Picture};
use image::DynamicImage;

use crate::canvas_desk::{Desk, RED, original, picture as a_picture};

impl Desk {
    /// Answers dialogs with a path; what they asked.
    fn answer(&mut self, path: PathBuf) -> Arc<Mutex<Vec<Question>>> {
        let asked: Arc<Mutex<Vec<Question>>> = Arc::default();
        let sink = Arc::clone(&asked);
        let dialogs = Dialogs::new(move |question| {
            sink.lock().unwrap().push(question.clone());
            Some(path.clone())
        });
        self.harness.state_mut().as_mut().unwrap().set_dialogs(dialogs);
        asked
    }
}

#[test]
fn a_picture_is_opened_by_dialog() {
    let mut desk = Desk::new();
    let path = desk.path("boat.png");
    let picture = Picture::new(DynamicImage::ImageRgb8(a_picture()));
    std::fs::write(&path, picture::encode(&picture, FileFormat::Png, &[]).unwrap()).unwrap();
    let asked = desk.answer(path);
    desk.press_with(Modifiers::COMMAND, Key::O);
    desk.wait("the picture is open", |window| window.canvas().editor().is_some());
    assert_eq!(desk.document().name, "boat");
    assert_eq!(desk.seen(7, 9), original(7, 9));
    let asked = asked.lock().unwrap();
    let Question::Open { title, extensions } = &asked[0] else { panic!("{asked:?}") };
    assert_eq!(title, "Open a picture on the canvas");
    assert!(extensions.contains(&"png".to_owned()));
}

#[test]
fn what_is_seen_is_exported_by_dialog_and_a_file_is_never_replaced() {
    let mut desk = Desk::new();
    desk.open_picture();
    desk.press(Key::R);
    desk.drag((10.0, 10.0), (40.0, 40.0));
    desk.fill();
    desk.press(Key::Enter);
    let path = desk.path("exported");
    let asked = desk.answer(path.clone());
    for exported in ["exported.png", "exported-1.png"] {
        desk.click("Export as PNG");
        let file = desk.path(exported);
        desk.wait("the file is there", |_| file.exists());
        let read = picture::read(&file).unwrap().pixels.to_rgb8();
        assert_eq!(read.get_pixel(20, 20).0, RED);
        assert_eq!(read.get_pixel(60, 50).0, original(60, 50));
    }
    let asked = asked.lock().unwrap();
    let Question::Save { name, .. } = &asked[0] else { panic!("{asked:?}") };
    assert_eq!(name, "cat.png");
}

#[test]
fn documents_and_masks_are_saved_and_opened_by_dialog() {
    let mut desk = Desk::new();
    desk.open_picture();
    desk.press(Key::R);
    desk.drag((10.0, 10.0), (40.0, 40.0));
    let mask = desk.path("mask.png");
    desk.answer(mask.clone());
    desk.click("Save the mask");
    desk.wait("the mask is saved", |_| mask.exists());
    desk.click("Clear the mask");
    assert!(!desk.masked(20, 20));
    desk.click("Open a mask");
    desk.wait("the mask is open", |window| {
        let mask = window.canvas().editor().unwrap().document().mask();
        mask.get(20, 20).unwrap() > 127
    });
    let document = desk.path("work.ember");
    desk.answer(document.clone());
    desk.press_with(Modifiers::COMMAND, Key::S);
    desk.wait("the document is saved", |_| document.exists());
    desk.click("Clear the mask");
    desk.click("Open a picture or a document");
    desk.wait("the document is open again", |window| {
        let mask = window.canvas().editor().unwrap().document().mask();
        mask.get(20, 20).unwrap() > 127
    });
}

#[test]
fn a_picture_is_pasted() {
    let mut desk = Desk::new();
    let mut image = ColorImage::filled([40, 30], Color32::from_rgb(10, 200, 30));
    image[(3, 4)] = Color32::from_rgb(250, 0, 90);
    desk.harness.event(Event::PasteImage(Arc::new(image)));
    desk.wait("the picture is open", |window| window.canvas().editor().is_some());
    assert_eq!(desk.document().size(), (40, 30));
    assert_eq!((desk.seen(3, 4), desk.seen(9, 9)), ([250, 0, 90], [10, 200, 30]));
    assert_eq!(desk.document().name, "Pasted");
}
