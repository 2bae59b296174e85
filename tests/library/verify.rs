//! Reading models in full.

use std::{collections::BTreeMap, fs, ops::ControlFlow, path::Path};

use safetensors::{Dtype, tensor::TensorView};

use emberbrush_library::{
    error::LibraryError,
    progress::Progress,
    verify::{VerifiedFile, verify},
};
use emberbrush_tests::single_file::{StoredTensor, Tensors, write_torch_dictionary};
use half::{bf16, f16};
use sha2::{Digest, Sha256};

fn go_on(_: Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// SHA-256 in hexadecimal digits.
fn hash(file: &Path) -> String {
    let hash = Sha256::digest(fs::read(file).unwrap());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(path: &Path, tensors: &[(&str, Dtype, Vec<u8>)]) {
    let views = tensors.iter().map(|(key, dtype, bytes)| {
        let elements = bytes.len() * 8 / dtype.bitsize();
        (*key, TensorView::new(*dtype, vec![elements], bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

#[test]
fn values_that_are_not_numbers_are_counted_in_every_type() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    let half = |values: &[f16]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let brain = |values: &[bf16]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let single = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    // More than one chunk, with the flaw in the last element.
    let mut long = vec![0.5; 300_000];
    long.push(f32::NEG_INFINITY);
    let tensors = [
        ("brain", Dtype::BF16, brain(&[bf16::NAN, bf16::ONE, bf16::NAN])),
        ("half", Dtype::F16, half(&[f16::INFINITY, f16::ONE, f16::MAX])),
        ("ids", Dtype::I64, u64::MAX.to_le_bytes().to_vec()),
        ("long", Dtype::F32, single(&long)),
        ("sound", Dtype::F32, single(&[1.0, f32::MAX, f32::MIN_POSITIVE])),
    ];
    write(&file, &tensors);
    let verified = verify(&file, &BTreeMap::new(), &mut go_on).unwrap();
    let [found] = verified.as_slice() else { panic!("{verified:?}") };
    let of = |key: &str| {
        let found = found.not_finite.iter().find(|found| found.key == key);
        found.map(|found| (found.nan, found.infinite))
    };
    assert_eq!(of("brain"), Some((2, 0)));
    assert_eq!(of("half"), Some((0, 1)));
    assert_eq!(of("long"), Some((0, 1)));
    assert_eq!((of("ids"), of("sound")), (None, None));
    assert_eq!(found.tensors, 5);
    assert_eq!(found.sha256, hash(&file));
    assert!(!found.is_sound());
}

#[test]
fn files_of_torch_save_are_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = Tensors::from([
        ("sound".to_owned(), StoredTensor::of_f16(&[2], [f16::ONE, -f16::ONE])),
        ("unsound".to_owned(), StoredTensor::of_f16(&[3], [f16::ONE, f16::NAN, f16::INFINITY])),
    ]);
    for within in [None, Some("state_dict")] {
        let file = folder.path().join("model.ckpt");
        write_torch_dictionary(&file, within, &tensors);
        let verified = verify(&file, &BTreeMap::new(), &mut go_on).unwrap();
        let [found] = verified.as_slice() else { panic!("{verified:?}") };
        assert_eq!((found.tensors, found.sha256.clone()), (2, hash(&file)));
        let [flaw] = found.not_finite.as_slice() else { panic!("{found:?}") };
        assert_eq!((flaw.key.as_str(), flaw.nan, flaw.infinite), ("unsound", 1, 1));
    }
    let file = folder.path().join("hostile.ckpt");
    fs::write(&file, b"\x80\x02cposix\nsystem\n.").unwrap();
    let error = verify(&file, &BTreeMap::new(), &mut go_on).unwrap_err().to_string();
    assert!(error.contains("hostile.ckpt: this pickle holds more than tensors"), "{error}");
}

#[test]
fn a_published_hash_is_compared() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    write(&file, &[("a", Dtype::F32, vec![0; 4])]);
    let hash = hash(&file);
    for (published, is_sound) in [(hash.clone(), true), (hash.replace('a', "b"), false)] {
        let published = BTreeMap::from([(String::new(), published)]);
        let verified = verify(&file, &published, &mut go_on).unwrap();
        assert_eq!(verified[0].is_sound(), is_sound);
    }
}

#[test]
fn every_network_of_a_folder_is_read_and_progress_reaches_the_end() {
    let model = emberbrush_tests::checkpoint("sd15-tiny");
    let mut last = None;
    let verified = verify(&model, &BTreeMap::new(), &mut |progress| {
        if let Progress::Bytes { done, total } = progress {
            last = Some((Some(done), total));
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    let files: Vec<&str> = verified.iter().map(|file| file.file.as_str()).collect();
    assert_eq!(
        files,
        [
            "text_encoder/model.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/diffusion_pytorch_model.safetensors"
        ]
    );
    let (done, total) = last.unwrap();
    assert_eq!(done, total);
    assert!(verified.iter().all(VerifiedFile::is_sound));
    let stopped = verify(&model, &BTreeMap::new(), &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(LibraryError::Cancelled)));
}
