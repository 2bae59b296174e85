//! Files of `torch.save`: what is in them, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, io::Cursor};

use burn::tensor::TensorData;
use emberbrush_layers::weights::WeightSource;
use emberbrush_pipeline::{
    adapters::{AdaptedNetwork, AdapterFolders, AdapterSelection, Embedding},
    checkpoint::{
        component::ComponentWeights, files::CheckpointFiles, folder, inspect::inspect,
        tensor_file::TensorFile,
    },
};
use emberbrush_tests::{
    checkpoint, fixtures,
    single_file::{
        CheckpointFile, read_safetensors, single_file_tensors, torch_archive, write_torch,
    },
};
use zip::{CompressionMethod, ZipArchive};

fn fixture(name: &str) -> std::path::PathBuf {
    fixtures().join("pickles").join(name)
}

/// The same tensors, by name and value.
fn assert_same(file: &TensorFile, expected: &TensorFile) {
    let mut keys = expected.keys();
    keys.sort_unstable();
    let mut found = file.keys();
    found.sort_unstable();
    assert_eq!(found, keys);
    for key in keys {
        let read = |file: &TensorFile| -> TensorData { file.read(&key).unwrap() };
        assert_eq!(file.info(&key), expected.info(&key), "{key}");
        assert_eq!(read(file).bytes(), read(expected).bytes(), "{key}");
    }
}

#[test]
fn both_forms_hold_the_tensors_that_were_saved() {
    let expected = TensorFile::open(fixture("small.safetensors")).unwrap();
    for name in ["small.ckpt", "small-legacy.ckpt"] {
        let file = TensorFile::open(fixture(name)).unwrap();
        assert!(matches!(file, TensorFile::Pickle(_)), "{name}");
        assert_same(&file, &expected);
        assert_eq!(file.integer("global_step"), Some(470_000), "{name}");
        assert_eq!(file.integer("epoch"), Some(3), "{name}");
        assert_eq!(file.integer("i64"), None, "{name}");
    }
}

#[test]
fn a_third_is_read_alone() {
    let file = TensorFile::open(fixture("small.ckpt")).unwrap();
    let whole = file.read("narrow").unwrap();
    assert_eq!(whole.shape()[..], [1, 3]);
    // Three rows of four that lie four apart.
    let transposed = file.read("strided").unwrap();
    assert_eq!(transposed.shape()[..], [4, 3]);
    assert!(file.stored_third("strided", 0).is_err(), "4 rows are no three thirds");
    let whole = file.read("i64").unwrap();
    assert_eq!(whole.shape()[..], [5]);
    let third = file.stored_third("u8", 1).unwrap();
    assert_eq!(third.bytes()[..], [1]);
}

#[test]
fn inner_dictionaries_are_joined() {
    for name in ["embedding.pt", "embedding-parameters.pt"] {
        let file = TensorFile::open(fixture(name)).unwrap();
        let mut keys = file.keys();
        keys.sort_unstable();
        assert_eq!(keys, ["string_to_param.*", "string_to_token.*"], "{name}");
        let values = file.read("string_to_param.*").unwrap().try_to_vec::<f32>().unwrap();
        assert_eq!(values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "{name}");
    }
}

#[test]
fn embeddings_of_torch_save_are_found_and_read() {
    let folders = AdapterFolders { embeddings: Some(fixture("")), ..AdapterFolders::default() };
    for name in ["embedding.pt", "embedding-parameters.pt"] {
        let selection = AdapterSelection {
            embedding: vec![name.trim_end_matches(".pt").into()],
            ..AdapterSelection::default()
        };
        let found = folders.find_embeddings(&selection, std::iter::empty()).unwrap();
        let embedding = Embedding::open(found.into_iter().next().unwrap()).unwrap();
        let vectors = embedding.vectors(AdaptedNetwork::TextEncoder).unwrap();
        assert_eq!((vectors.count, vectors.width), (2, 3), "{name}");
        assert_eq!(vectors.values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "{name}");
    }
}

#[test]
fn a_whole_checkpoint_is_that_of_the_safetensors_file() {
    let folder = checkpoint("sd15-tiny");
    let tensors = single_file_tensors("sd15-tiny", &folder);
    let pickled =
        CheckpointFile::new("model.ckpt", |path| write_torch(path, "sd15-tiny", &tensors));
    let safe = CheckpointFile::of("model.safetensors", &tensors);
    assert_same(
        &TensorFile::open(pickled.path()).unwrap(),
        &TensorFile::open(safe.path()).unwrap(),
    );
    let files = folder::locate_with_config(pickled.path(), Some(&folder)).unwrap();
    assert_eq!(inspect(&files).unwrap().layout, "single file, pickled");
}

#[test]
fn folders_with_pickled_weights_hold_the_same() {
    let (pickled, folder) = (checkpoint("sd15-tiny"), checkpoint("sd15-tiny"));
    for (part, stem, pickled_stem) in [
        ("unet", "diffusion_pytorch_model", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model", "diffusion_pytorch_model"),
        ("text_encoder", "model", "pytorch_model"),
    ] {
        let safe = pickled.join(part).join(format!("{stem}.safetensors"));
        let tensors = read_safetensors(&safe);
        fs::remove_file(safe).unwrap();
        let path = pickled.join(part).join(format!("{pickled_stem}.bin"));
        write_torch(&path, &format!("sd15-tiny-{part}"), &tensors);
    }
    let (pickled, folder) = (folder::locate(&pickled).unwrap(), folder::locate(&folder).unwrap());
    for part in ["unet", "vae", "text_encoder"] {
        let open = |files: &CheckpointFiles| ComponentWeights::open(files, part).unwrap();
        let (pickled, safe) = (open(&pickled), open(&folder));
        assert_eq!(pickled.unused_keys(), safe.unused_keys());
        for key in safe.unused_keys() {
            assert_eq!(pickled.read(&key).unwrap().bytes(), safe.read(&key).unwrap().bytes());
        }
    }
}

/// The message with which a file of these bytes is refused.
fn refusal(bytes: &[u8]) -> String {
    let file = CheckpointFile::new("model.ckpt", |path| fs::write(path, bytes).unwrap());
    let message = TensorFile::open(file.path()).unwrap_err().to_string();
    assert!(message.contains("model.ckpt"), "{message}");
    message
}

fn zipped(pickle: &[u8]) -> Vec<u8> {
    torch_archive(pickle, [], CompressionMethod::Stored)
}

/// What Python would execute, each in a way that a malicious file may try.
#[test]
fn code_is_refused_by_name() {
    for (pickle, what) in [
        (&b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."[..], "`os.system`"),
        (b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.", "`posix.system`"),
        (b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.", "`builtins.eval`"),
        (b"\x80\x02c__builtin__\nexec\nX\x01\x00\x00\x001\x85R.", "`__builtin__.exec`"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.", "`os.system`"),
        (b"\x80\x02csubprocess\nPopen\n)\x81.", "`subprocess.Popen`"),
        (b"\x80\x02ctorch\nload\nX\x01\x00\x00\x001\x85R.", "`torch.load`"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor\n)R.", "`torch._utils._rebuild_tensor`"),
        (b"\x80\x02(ios\nsystem\n.", "INST"),
        (b"\x80\x02(cnumpy\ndtype\nX\x01\x00\x00\x001o.", "OBJ"),
        (b"\x80\x02\x82\x01.", "EXT"),
        (b"P0\n.", "PERSID"),
        (b"\x80\x02}}\x92.", "NEWOBJ_EX"),
        (b"\x80\x02\xff.", "0xff"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "a call of a type"),
        (b"\x80\x02X\x01\x00\x00\x001)R.", "a call of something without a name"),
        (b"\x80\x02ctorch\nSize\n)\x81.", "an object of another class"),
        (b"\x80\x02ctorch\nSize\n}b.", "attributes of another object"),
    ] {
        let message = refusal(&zipped(pickle));
        assert!(message.contains(what) && message.contains("refused"), "{message}");
    }
    // The same in the form of before PyTorch 1.6.
    let mut legacy = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    legacy.extend(b"\x80\x02}q\x00X\r\x00\x00\x00little_endianq\x01\x88s.");
    legacy.extend(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.");
    assert!(refusal(&legacy).contains("`os.system`"));
}

/// A storage of `elements` f32, and a tensor of it with the shape and strides that `view` pushes.
fn tensor_pickle(elements: &[u8], offset: &[u8], view: &[u8]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((".to_vec();
    pickle.extend(b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000");
    pickle.extend(b"X\x03\x00\x00\x00cpu");
    pickle.extend(elements);
    pickle.extend(b"tQ");
    pickle.extend(offset);
    pickle.extend(view);
    pickle.extend(b"\x89NtRs.");
    pickle
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let holds = |bytes: usize| vec![("data/0".to_owned(), vec![0; bytes])];
    let file =
        |pickle: &[u8], bytes| torch_archive(pickle, holds(bytes), CompressionMethod::Stored);
    let four = tensor_pickle(b"K\x04", b"K\x00", b"K\x02K\x02\x86K\x02K\x01\x86");
    let opened =
        CheckpointFile::new("model.ckpt", |path| fs::write(path, file(&four, 16)).unwrap());
    let opened = TensorFile::open(opened.path()).unwrap();
    assert_eq!(opened.read("w").unwrap().shape()[..], [2, 2]);

    // 10 TB of f32 in 16 bytes.
    let huge = b"\x8a\x06\x00\x00\x9c\xc9\x46\x02";
    let message = refusal(&file(&tensor_pickle(huge, b"K\x00", b"K\x02\x85K\x01\x85"), 16));
    assert!(message.contains("2503053410304 elements, but 16 bytes"), "{message}");
    for (what, pickle) in [
        (
            "a shape",
            tensor_pickle(b"K\x04", b"K\x00", b"\x8a\x06\x00\x00\x9c\xc9\x46\x02\x85K\x01\x85"),
        ),
        ("an offset", tensor_pickle(b"K\x04", b"K\x03", b"K\x02\x85K\x01\x85")),
        ("a stride", tensor_pickle(b"K\x04", b"K\x00", b"K\x02\x85K\x05\x85")),
        ("repeated elements", tensor_pickle(b"K\x04", b"K\x00", b"M\x00\x40\x85K\x00\x85")),
        (
            "a product",
            tensor_pickle(
                b"K\x04",
                b"K\x00",
                b"\x8a\x05\x00\x00\x00\x00\x01\x8a\x05\x00\x00\x00\x00\x01\x86K\x01K\x01\x86",
            ),
        ),
    ] {
        let message = refusal(&file(&pickle, 16));
        assert!(message.contains("does not fit into its storage"), "{what}: {message}");
    }
    let negative = tensor_pickle(b"K\x04", b"J\xff\xff\xff\xff", b"K\x01\x85K\x01\x85");
    assert!(refusal(&file(&negative, 16)).contains("negative"));
    let missing = tensor_pickle(b"K\x04", b"K\x00", b"K\x01\x85K\x01\x85");
    assert!(refusal(&zipped(&missing)).contains("which is not there"));
    let deflated = torch_archive(&four, holds(16), CompressionMethod::Deflated);
    assert!(refusal(&deflated).contains("compressed"));
    let text = b"\x80\x02X\xff\xff\xff\xff.";
    assert!(refusal(&zipped(text)).contains("4294967295 bytes"));
}

#[test]
fn nesting_and_repetition_end() {
    // A hundred thousand lists in each other, a dictionary that holds itself, and 2^40 ways to one tensor.
    let mut nested = b"\x80\x02".to_vec();
    nested.extend(std::iter::repeat_n(b']', 100_000));
    nested.extend(std::iter::repeat_n(b'a', 99_999));
    nested.push(b'.');
    assert!(refusal(&zipped(&nested)).contains("no dictionary of tensors"));
    let cycle = b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.";
    let cycle = CheckpointFile::new("a.ckpt", |path| fs::write(path, zipped(cycle)).unwrap());
    assert_eq!(TensorFile::open(cycle.path()).unwrap().keys(), [""; 0]);
    let mut ways = b"\x80\x02}q\x00".to_vec();
    for level in 0..6_u8 {
        ways.extend(b"}q");
        ways.push(level + 1);
        ways.push(b'(');
        for entry in 0..40_u8 {
            ways.extend([b'K', entry, b'h', level]);
        }
        ways.push(b'u');
    }
    ways.push(b'.');
    assert!(refusal(&zipped(&ways)).contains("more than 100000 entries"));
    let mut many = b"\x80\x02".to_vec();
    many.extend(std::iter::repeat_n(b'N', 1_000_001));
    assert!(refusal(&zipped(&many)).contains("more than 1000000 values"));
}

#[test]
fn damaged_files_are_refused_wherever_they_end() {
    for name in ["small.ckpt", "small-legacy.ckpt"] {
        let bytes = fs::read(fixture(name)).unwrap();
        for end in (8..bytes.len()).step_by(331) {
            refusal(&bytes[..end]);
        }
        // Every byte of the description in turn: an error or another file, and never a panic.
        for place in (0..bytes.len().min(2500)).step_by(13) {
            let mut bytes = bytes.clone();
            bytes[place] ^= 0xa5;
            let file = CheckpointFile::new("m.ckpt", |path| fs::write(path, &bytes).unwrap());
            if let Ok(file) = TensorFile::open(file.path()) {
                for key in file.keys() {
                    let _ = file.read(&key);
                }
            }
        }
    }
    assert!(refusal(b"PK\x03\x04 and nothing else").contains("not a valid PyTorch checkpoint"));
    assert!(refusal(b"\x80\x02}q\x00.").contains("not one of torch.save"));
    let mut archive = ZipArchive::new(Cursor::new(zipped(b"\x80\x02}."))).unwrap();
    assert_eq!(archive.len(), 1);
    assert!(archive.by_name("archive/data.pkl").is_ok());
}
