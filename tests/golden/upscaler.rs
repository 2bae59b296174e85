//! ESRGAN's network against torch, in every naming that its checkpoints have.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use burn::tensor::{Device, FloatDType, TensorData};
use emberbrush_layers::weights::{WeightError, WeightSource, Weights};
use emberbrush_pipeline::checkpoint::safetensors_file::SafetensorsFile;
use emberbrush_tests::{Golden, NETWORK_TOLERANCE, assert_close, fixtures};
use emberbrush_upscaler::{RrdbNet, RrdbNetConfig};

fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn file(name: &str) -> SafetensorsFile {
    let path = fixtures().join(format!("decoders/upscalers/{name}.safetensors"));
    SafetensorsFile::open(path).expect("fixture")
}

fn network(source: &dyn WeightSource) -> Result<RrdbNet, WeightError> {
    let (config, naming) = RrdbNetConfig::recognise(source)?;
    RrdbNet::new(&config, naming, &Weights::new(source, &Device::flex(), FloatDType::F32))
}

#[test]
fn every_naming_gives_what_torch_gives() {
    let golden = Golden::open("decoders", &Device::flex());
    let plain = RrdbNetConfig {
        features: 8,
        growth: 4,
        blocks: 1,
        folding: 1,
        enlargements: 2,
        plus: false,
    };
    let narrow = RrdbNetConfig { features: 6, growth: 3, ..plain };
    for (name, config, scale) in [
        ("x4", RrdbNetConfig { blocks: 2, ..plain }, 4),
        ("x2-folded", RrdbNetConfig { folding: 2, ..plain }, 2),
        ("x1-folded", RrdbNetConfig { folding: 4, ..plain }, 1),
        ("x4-esrgan", narrow, 4),
        ("x4-sequential-plus", RrdbNetConfig { plus: true, ..plain }, 4),
        ("x2-sequential", RrdbNetConfig { blocks: 2, enlargements: 1, ..narrow }, 2),
        ("x1-sequential", RrdbNetConfig { enlargements: 0, ..narrow }, 1),
    ] {
        let network = network(&file(name)).unwrap();
        assert_eq!((*network.config(), config.scale()), (config, scale), "{name}");
        let image = golden.tensor::<4>(&format!("{name}.image"));
        let enlarged = network.forward(image, &mut go_on).unwrap();
        let expected = golden.tensor(&format!("{name}.enlarged"));
        assert_close(name, &enlarged, &expected, NETWORK_TOLERANCE);
    }
}

/// A file of which one tensor is another, or not there.
struct Changed(SafetensorsFile, &'static str, Option<Vec<usize>>);

impl WeightSource for Changed {
    fn shape(&self, key: &str) -> Option<Vec<usize>> {
        if key == self.1 { self.2.clone() } else { self.0.shape(key) }
    }

    fn read(&self, key: &str) -> Result<TensorData, WeightError> {
        self.0.read(key)
    }

    fn origin(&self) -> String {
        self.0.origin()
    }
}

#[test]
fn other_networks_and_broken_files_are_refused_by_name() {
    for (key, shape, parts) in [
        ("conv_first.weight", None, &["x4.safetensors", "no ESRGAN upscaler"][..]),
        ("conv_first.weight", Some(vec![8]), &["conv_first", "[8]"]),
        ("conv_first.weight", Some(vec![8, 5, 3, 3]), &["5 channels"]),
        ("conv_last.weight", Some(vec![1, 8, 3, 3]), &["1 channels"]),
        ("conv_last.weight", None, &["conv_last"]),
        ("conv_body.bias", None, &["`conv_body.bias` is missing"]),
        (
            "body.1.rdb2.conv3.weight",
            Some(vec![4, 9, 3, 3]),
            &["body.1.rdb2.conv3", "[4, 16, 3, 3]"],
        ),
        ("conv_first.weight", Some(vec![8, 75, 3, 3]), &["folds pixels by 5"]),
    ] {
        let error = network(&Changed(file("x4"), key, shape)).expect_err(key).to_string();
        for part in parts {
            assert!(error.contains(part), "{key}: {error}");
        }
    }
}

#[test]
fn a_cancel_stops_before_the_next_block() {
    let golden = Golden::open("decoders", &Device::flex());
    let network = network(&file("x4")).unwrap();
    let mut calls = 0;
    let cancelled = network.forward(golden.tensor("x4.image"), &mut || {
        calls += 1;
        if calls == 3 { ControlFlow::Break(()) } else { go_on() }
    });
    assert!(cancelled.is_err());
    assert_eq!(calls, 3);
}
