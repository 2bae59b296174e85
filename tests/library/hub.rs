//! Downloads from a hub that breaks connections, lies and refuses.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use emberbrush_library::{
    error::LibraryError,
    folder::{Library, Model},
    hub::{Endpoint, Hub, HubError, Patience, Precision, PullRequest, Token},
    index::Source,
    progress::Progress,
    verify::{VerifiedFile, verify},
};
use emberbrush_tests::{
    CheckpointFolder, checkpoint,
    hub_server::{COMMIT, HubServer, Mischief, in_repository},
};

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// A hub with one tiny checkpoint, and an empty library.
struct Scene {
    hub: HubServer,
    original: CheckpointFolder,
    library: Library,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let hub = HubServer::start();
        let original = checkpoint("sd15-tiny");
        hub.publish_folder("someone/tiny", &original);
        let folder = tempfile::tempdir().unwrap();
        let library = Library::new(folder.path().join("models"));
        Self { hub, original, library, _folder: folder }
    }

    fn request(&self, origin: &str) -> PullRequest {
        PullRequest {
            origin: origin.parse().unwrap(),
            name: None,
            file: None,
            precision: Precision::Half,
            hub: Hub { endpoint: Endpoint::new(&self.hub.address()).unwrap(), token: None },
            patience: Patience { first_pause: Duration::from_millis(10), failures: 5 },
        }
    }

    fn pull(&self, origin: &str) -> Result<Model, LibraryError> {
        self.library.pull(&self.request(origin), &mut |_| ControlFlow::Continue(()))
    }

    fn tiny(&self) -> Result<Model, LibraryError> {
        self.pull("someone/tiny")
    }

    /// Fails unless the model is what was published.
    #[track_caller]
    fn assert_whole(&self, model: &Model) {
        for file in ["model_index.json", UNET, "tokenizer/vocab.json"] {
            let published = fs::read(self.original.join(file)).unwrap();
            assert!(fs::read(model.path.join(file)).unwrap() == published, "{file}");
        }
        assert_eq!(self.partial_files(), 0, "nothing is left of the download");
    }

    /// Fails unless nothing has a final name.
    #[track_caller]
    fn assert_nothing(&self) {
        assert_eq!(self.library.models().unwrap(), []);
        let names = fs::read_dir(self.library.folder()).into_iter().flatten().flatten();
        let visible = names.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
        assert_eq!(visible.count(), 0);
    }

    /// Files of this path that are not whole yet.
    fn unfinished(&self, path: &str) -> Vec<PathBuf> {
        let works = fs::read_dir(self.library.folder().join(".partial")).into_iter().flatten();
        let files = works.flatten().map(|work| work.path().join(path));
        files.filter(|file| file.exists()).collect()
    }

    fn partial_files(&self) -> usize {
        fs::read_dir(self.library.folder().join(".partial")).map_or(0, Iterator::count)
    }
}

#[test]
fn a_checkpoint_comes_whole_with_its_commit_and_hashes() {
    let scene = Scene::new();
    let model = scene.tiny().unwrap();
    scene.assert_whole(&model);
    assert_eq!(model.name.as_str(), "tiny");
    let source = Source::Repository {
        repository: "someone/tiny".to_owned(),
        revision: "main".to_owned(),
        commit: COMMIT.to_owned(),
    };
    assert_eq!(model.source, source);
    assert_eq!(scene.library.find("someone/tiny").unwrap(), model);
    let verified = verify(&model.path, &model.published, &mut |_| ControlFlow::Continue(()));
    let verified = verified.unwrap();
    assert!(verified.iter().all(|file| file.published.is_some() && file.is_sound()));
    let again = scene.tiny();
    assert!(matches!(again, Err(LibraryError::Taken { .. })));
    let _: Vec<VerifiedFile> = verified;
}

#[test]
fn a_broken_connection_is_gone_on_with_from_where_it_broke() {
    let scene = Scene::new();
    let unet = in_repository("someone/tiny", UNET);
    scene.hub.mischief(&unet, Mischief::Drop(30_000));
    scene.hub.mischief(&unet, Mischief::Drop(20_000));
    // Only failures without progress count, so one is enough.
    let mut request = scene.request("someone/tiny");
    request.patience.failures = 1;
    let model = scene.library.pull(&request, &mut |_| ControlFlow::Continue(())).unwrap();
    scene.assert_whole(&model);
    let asked = scene.hub.take_asked();
    let starts: Vec<u64> = asked
        .iter()
        .filter(|asked| asked.target.ends_with(UNET))
        .map(|asked| asked.start)
        .collect();
    assert_eq!(starts, [0, 30_000, 50_000]);
}

#[test]
fn a_download_that_was_given_up_goes_on_with_the_same_command() {
    let scene = Scene::new();
    let unet = in_repository("someone/tiny", UNET);
    scene.hub.mischief(&unet, Mischief::Drop(30_000));
    let mut request = scene.request("someone/tiny");
    let mut stop_at_wait = |progress: Progress<'_>| match progress {
        Progress::Waiting { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let stopped = scene.library.pull(&request, &mut stop_at_wait);
    assert!(matches!(stopped, Err(LibraryError::Cancelled)));
    scene.assert_nothing();
    scene.hub.take_asked();

    request.hub.token = Token::new("hf_abc");
    let model = scene.library.pull(&request, &mut |_| ControlFlow::Continue(())).unwrap();
    scene.assert_whole(&model);
    let asked = scene.hub.take_asked();
    let weights: Vec<(&str, u64)> = asked
        .iter()
        .filter(|asked| asked.target.ends_with(".safetensors"))
        .map(|asked| (asked.target.rsplit('/').nth(1).unwrap(), asked.start))
        .collect();
    assert_eq!(weights, [("unet", 30_000), ("vae", 0)], "what was whole is not asked for again");
}

#[test]
fn a_server_that_does_not_know_ranges_sends_all_again() {
    let scene = Scene::new();
    let unet = in_repository("someone/tiny", UNET);
    scene.hub.mischief(&unet, Mischief::Drop(30_000));
    scene.hub.mischief(&unet, Mischief::IgnoreRange);
    let model = scene.tiny().unwrap();
    scene.assert_whole(&model);
}

#[test]
fn a_connection_that_always_breaks_is_given_up_and_what_came_is_kept() {
    let scene = Scene::new();
    let vae = in_repository("someone/tiny", "vae/diffusion_pytorch_model.safetensors");
    scene.hub.mischief(&vae, Mischief::AlwaysDrop(0));
    let failed = scene.tiny().unwrap_err();
    assert!(matches!(failed, LibraryError::Hub(HubError::Connection { .. })), "{failed}");
    assert!(failed.to_string().contains("goes on from there"), "{failed}");
    scene.assert_nothing();
    assert_eq!(scene.partial_files(), 1);
    scene.hub.behave();
    scene.assert_whole(&scene.tiny().unwrap());
}

#[test]
fn lies_about_lengths_are_refused() {
    let unet = in_repository("someone/tiny", UNET);
    for lie in 0..3 {
        let scene = Scene::new();
        match lie {
            0 => scene.hub.lie(&unet, Some(1_000), None),
            1 => scene.hub.lie(&unet, Some(10_000_000), None),
            _ => scene.hub.mischief(&unet, Mischief::ClaimMore(100)),
        }
        let failed = scene.tiny().unwrap_err();
        assert!(matches!(failed, LibraryError::Hub(HubError::Size { .. })), "{lie}: {failed}");
        scene.assert_nothing();
        scene.hub.behave();
        scene.assert_whole(&scene.tiny().unwrap());
    }
}

#[test]
fn another_content_than_was_published_is_not_kept() {
    let unet = in_repository("someone/tiny", UNET);
    for is_spoilt in [true, false] {
        let scene = Scene::new();
        if is_spoilt {
            scene.hub.mischief(&unet, Mischief::Spoil);
        } else {
            scene.hub.lie(&unet, None, Some("ab".repeat(32)));
        }
        let failed = scene.tiny().unwrap_err();
        assert!(matches!(failed, LibraryError::Hub(HubError::Hash { .. })), "{failed}");
        scene.assert_nothing();
        assert!(scene.unfinished(UNET).is_empty(), "what is worthless is not kept");
        scene.hub.behave();
        scene.assert_whole(&scene.tiny().unwrap());
    }
}

#[test]
fn a_beginning_of_another_version_is_replaced() {
    let scene = Scene::new();
    let unet = in_repository("someone/tiny", UNET);
    scene.hub.mischief(&unet, Mischief::Drop(30_000));
    let stop_at_wait = |progress: Progress<'_>| match progress {
        Progress::Waiting { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let request = scene.request("someone/tiny");
    scene.library.pull(&request, &mut { stop_at_wait }).unwrap_err();
    let mut changed = fs::read(scene.original.join(UNET)).unwrap();
    let end = changed.len();
    changed[20_000] ^= 1;
    changed[end - 1] ^= 1;
    scene.hub.publish(&unet, &changed);
    let model = scene.tiny().unwrap();
    assert!(fs::read(model.path.join(UNET)).unwrap() == changed);
}

#[test]
fn refusals_tell_what_to_do() {
    let listing = format!("api/models/someone/tiny/revision/{}", "main");
    for (status, parts) in [
        (401, ["someone/tiny", "HF_TOKEN", "models login"]),
        (403, ["someone/tiny", "agreement", "accept"]),
        (404, ["someone/tiny", "no such", "404"]),
    ] {
        let scene = Scene::new();
        scene.hub.mischief(&listing, Mischief::AlwaysRefuse(status));
        let failed = scene.tiny().unwrap_err().to_string();
        for part in parts {
            assert!(failed.contains(part), "`{part}` is not in: {failed}");
        }
        scene.assert_nothing();
        assert_eq!(scene.hub.take_asked().len(), 1, "{status} is not asked again");
    }
}

#[test]
fn too_many_requests_are_waited_for_as_long_as_is_bearable() {
    let scene = Scene::new();
    let unet = in_repository("someone/tiny", UNET);
    let wait = |seconds: &str| Mischief::Refuse(429, vec![("Retry-After", seconds.to_owned())]);
    scene.hub.mischief(&unet, wait("1"));
    let started = Instant::now();
    let mut pauses = Vec::new();
    let pulled = scene.library.pull(&scene.request("someone/tiny"), &mut |progress| {
        if let Progress::Waiting { pause, .. } = progress {
            pauses.push(pause);
        }
        ControlFlow::Continue(())
    });
    scene.assert_whole(&pulled.unwrap());
    assert_eq!(pauses, [Duration::from_secs(1)]);
    assert!(started.elapsed() >= Duration::from_secs(1));

    let scene = Scene::new();
    scene.hub.mischief(&unet, wait("3600"));
    let failed = scene.tiny().unwrap_err().to_string();
    assert!(failed.contains("3600 s"), "{failed}");
    scene.assert_nothing();
}

#[test]
fn the_token_is_shown_to_the_hub_alone() {
    let scene = Scene::new();
    let elsewhere = HubServer::start();
    let unet = in_repository("someone/tiny", UNET);
    elsewhere.publish("bytes", &fs::read(scene.original.join(UNET)).unwrap());
    elsewhere.mischief("bytes", Mischief::Drop(40_000));
    scene.hub.mischief(&unet, Mischief::SendTo(format!("{}/bytes", elsewhere.address())));
    let mut request = scene.request("someone/tiny");
    request.hub.token = Token::new("hf_secret\n");
    let model = scene.library.pull(&request, &mut |_| ControlFlow::Continue(())).unwrap();
    scene.assert_whole(&model);
    let is_shown =
        |authorization: Option<String>| authorization.as_deref() == Some("Bearer hf_secret");
    assert!(scene.hub.take_asked().into_iter().all(|asked| is_shown(asked.authorization)));
    let elsewhere = elsewhere.take_asked();
    assert_eq!(elsewhere.iter().map(|asked| asked.start).collect::<Vec<_>>(), [0, 40_000]);
    assert!(elsewhere.into_iter().all(|asked| asked.authorization.is_none()));
}

#[test]
fn nobody_is_sent_to_an_insecure_address() {
    let scene = Scene::new();
    let unet = in_repository("someone/tiny", UNET);
    scene.hub.mischief(&unet, Mischief::SendTo("http://example.invalid/x".to_owned()));
    let failed = scene.tiny().unwrap_err();
    assert!(matches!(failed, LibraryError::Hub(HubError::Insecure { .. })), "{failed}");
    scene.assert_nothing();
}

#[test]
fn what_does_not_fit_on_the_disk_is_refused_before_anything_is_fetched() {
    let scene = Scene::new();
    let unet = in_repository("someone/tiny", UNET);
    scene.hub.lie(&unet, Some(1 << 60), None);
    let failed = scene.tiny().unwrap_err();
    assert!(matches!(failed, LibraryError::NoSpace { .. }), "{failed}");
    assert!(scene.hub.take_asked().iter().all(|asked| !asked.target.ends_with(UNET)));
    scene.assert_nothing();
}

#[test]
fn an_unsupported_checkpoint_is_refused_before_its_weights_are_fetched() {
    let scene = Scene::new();
    let index = r#"{"_class_name": "FluxPipeline", "unet": ["diffusers", "X"]}"#;
    scene.hub.publish(&in_repository("someone/tiny", "model_index.json"), index.as_bytes());
    let failed = scene.tiny().unwrap_err().to_string();
    assert!(failed.contains("FluxPipeline"), "{failed}");
    let asked = scene.hub.take_asked();
    assert!(asked.iter().all(|asked| !asked.target.ends_with(".safetensors")));
    scene.assert_nothing();
}

#[test]
fn a_file_comes_from_an_address_and_is_gone_on_with_only_while_it_is_the_same() {
    let scene = Scene::new();
    let content = fs::read(scene.original.join(UNET)).unwrap();
    scene.hub.publish("files/neon.safetensors", &content);
    scene.hub.mischief("files/neon.safetensors", Mischief::Drop(10_000));
    let url = format!("{}/files/neon.safetensors?download=true", scene.hub.address());
    let model = scene.pull(&url).unwrap();
    assert_eq!(model.name.as_str(), "neon");
    assert!(model.path.ends_with("neon.safetensors"));
    assert!(fs::read(&model.path).unwrap() == content);
    assert_eq!(model.source, Source::Url { url });
    let starts: Vec<u64> = scene.hub.take_asked().iter().map(|asked| asked.start).collect();
    assert_eq!(starts, [0, 10_000]);

    // Another version of the file is not joined to the beginning of the first.
    scene.hub.publish("files/other.safetensors", &content);
    scene.hub.mischief("files/other.safetensors", Mischief::Drop(100_000));
    let request = scene.request(&format!("{}/files/other.safetensors", scene.hub.address()));
    let mut stop_at_wait = |progress: Progress<'_>| match progress {
        Progress::Waiting { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    scene.library.pull(&request, &mut stop_at_wait).unwrap_err();
    let mut changed = content.clone();
    let end = changed.len();
    // Numbers, and not their description, which lies before.
    (changed[90_000], changed[end - 1]) = (changed[90_000] ^ 1, changed[end - 1] ^ 1);
    scene.hub.publish("files/other.safetensors", &changed);
    scene.hub.take_asked();
    let model = scene.library.pull(&request, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(fs::read(&model.path).unwrap() == changed);
    assert_eq!(scene.hub.take_asked()[0].start, 100_000, "going on was tried");

    // The name may be told by the server.
    scene.hub.publish("download/7", &content);
    scene.hub.mischief("download/7", Mischief::Named("../loud.safetensors"));
    let refused = scene.pull(&format!("{}/download/7", scene.hub.address())).unwrap_err();
    assert!(matches!(refused, LibraryError::Name { .. }), "{refused}");
    scene.hub.behave();
    scene.hub.mischief("download/7", Mischief::Named("loud.safetensors"));
    let model = scene.pull(&format!("{}/download/7", scene.hub.address())).unwrap();
    assert_eq!(model.name.as_str(), "loud");
}

#[test]
fn what_is_no_model_does_not_get_a_name() {
    let scene = Scene::new();
    scene.hub.publish("page.safetensors", b"<html>please log in</html>");
    let failed = scene.pull(&format!("{}/page.safetensors", scene.hub.address())).unwrap_err();
    assert!(matches!(failed, LibraryError::Checkpoint(_)), "{failed}");
    scene.assert_nothing();
    scene.hub.publish("login.safetensors", b"<html>please log in</html>");
    scene.hub.mischief("login.safetensors", Mischief::WebPage);
    let failed = scene.pull(&format!("{}/login.safetensors", scene.hub.address())).unwrap_err();
    assert!(failed.to_string().contains("it is a web page"), "{failed}");
    scene.assert_nothing();
    let gone = scene.pull(&format!("{}/gone.safetensors", scene.hub.address())).unwrap_err();
    assert!(matches!(gone, LibraryError::Hub(HubError::NotFound { .. })), "{gone}");
}

#[test]
fn a_stop_is_heard_while_nothing_comes() {
    let scene = Scene::new();
    let unet = in_repository("someone/tiny", UNET);
    scene.hub.mischief(&unet, Mischief::Stall(10_000));
    let mut began = None;
    let stopped = scene.library.pull(&scene.request("someone/tiny"), &mut |progress| {
        if matches!(progress, Progress::File { name } if name == UNET) {
            began = Some(Instant::now());
        }
        match began {
            Some(began) if began.elapsed() > Duration::from_millis(300) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    assert!(matches!(stopped, Err(LibraryError::Cancelled)));
    assert!(began.unwrap().elapsed() < Duration::from_millis(900));
    scene.assert_nothing();
    assert!(Path::new(scene.library.folder()).join(".partial").is_dir());
}
