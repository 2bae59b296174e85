//! Single-file checkpoints, made of the tiny folders as `make_single_files.py` found them to be.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Cursor, Read, Write},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use safetensors::{Dtype, SafeTensors, serialize_to_file, tensor::TensorView};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::fixtures;

/// A tensor as a file holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, little-endian.
    pub bytes: Vec<u8>,
}

impl StoredTensor {
    /// A list of f16.
    pub fn of_f16(shape: &[usize], values: impl IntoIterator<Item = half::f16>) -> Self {
        let bytes = values.into_iter().flat_map(half::f16::to_le_bytes).collect();
        Self { dtype: Dtype::F16, shape: shape.to_vec(), bytes }
    }

    fn transposed(&self) -> Self {
        let [rows, columns] = self.shape[..] else { panic!("no matrix") };
        let size = self.bytes.len() / (rows * columns);
        let element = |row: usize, column: usize| {
            let start = (row * columns + column) * size;
            &self.bytes[start..start + size]
        };
        let bytes = (0..columns)
            .flat_map(|column| (0..rows).map(move |row| (row, column)))
            .flat_map(|(row, column)| element(row, column).to_vec())
            .collect();
        Self { dtype: self.dtype, shape: vec![columns, rows], bytes }
    }
}

/// Tensors by their names.
pub type Tensors = BTreeMap<String, StoredTensor>;

/// All tensors of a safetensors file.
pub fn read_safetensors(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).expect("file of tensors");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    file.iter()
        .map(|(name, view)| {
            let shape = view.shape().to_vec();
            let tensor = StoredTensor { dtype: view.dtype(), shape, bytes: view.data().to_vec() };
            (name.to_owned(), tensor)
        })
        .collect()
}

/// Writes tensors as the safetensors library does.
pub fn write_safetensors(path: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(name, tensor)| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
        (name.as_str(), view.expect("tensor"))
    });
    serialize_to_file(views, None, path).expect("write safetensors");
}

/// The lines of `single-files/NAME.tsv`: the SHA-256 of the file, and each tensor with its source.
pub fn single_file_table(name: &str) -> (String, Vec<(String, String)>) {
    let path = fixtures().join(format!("single-files/{name}.tsv"));
    let text = std::fs::read_to_string(path).expect("table");
    let mut lines = text.lines();
    let hash = lines.next().expect("hash").to_owned();
    let tensors = lines.map(|line| {
        let (name, source) = line.split_once('\t').expect("name and source");
        (name.to_owned(), source.to_owned())
    });
    (hash, tensors.collect())
}

/// The tensors of the single file that holds the same as the folder `checkpoint`, which has the
/// layout of the tiny checkpoint `table`.
pub fn single_file_tensors(table: &str, checkpoint: &Path) -> Tensors {
    let mut parts: BTreeMap<&str, Tensors> = BTreeMap::new();
    for (part, stem) in [
        ("text_encoder", "model"),
        ("text_encoder_2", "model"),
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
    ] {
        let path = checkpoint.join(part).join(format!("{stem}.safetensors"));
        if path.is_file() {
            parts.insert(part, read_safetensors(&path));
        }
    }
    let extras = read_safetensors(&fixtures().join("single-files/extras.safetensors"));
    let find = |source: &str| -> Option<StoredTensor> {
        let (part, key) = source.split_once(':').expect("part and key");
        parts.get(part)?.get(key).cloned()
    };
    single_file_table(table)
        .1
        .into_iter()
        .filter_map(|(name, source)| {
            let tensor = match source.split(' ').collect::<Vec<_>>()[..] {
                ["="] => extras.get(&format!("{table}.{name}")).cloned()?,
                ["T", source] => find(source)?.transposed(),
                ["4", source] => {
                    let mut tensor = find(source)?;
                    tensor.shape.extend([1, 1]);
                    tensor
                }
                [source] => find(source)?,
                ref sources => {
                    let all: Option<Vec<_>> = sources.iter().map(|source| find(source)).collect();
                    let all = all?;
                    let mut joined = all.first().cloned()?;
                    joined.shape[0] = all.iter().map(|tensor| tensor.shape[0]).sum();
                    joined.bytes = all.into_iter().flat_map(|tensor| tensor.bytes).collect();
                    joined
                }
            };
            Some((name, tensor))
        })
        .collect()
}

/// A file in a temporary folder.
#[derive(Debug)]
pub struct CheckpointFile {
    _folder: TempDir,
    path: PathBuf,
}

impl CheckpointFile {
    /// A file of this name that `write` writes.
    pub fn new(name: &str, write: impl FnOnce(&Path)) -> Self {
        let folder = TempDir::with_prefix("single-file").expect("temporary folder");
        let path = folder.path().join(name);
        write(&path);
        Self { _folder: folder, path }
    }

    /// A safetensors file of this name.
    pub fn of(name: &str, tensors: &Tensors) -> Self {
        Self::new(name, |path| write_safetensors(path, tensors))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The single file that holds the same as the tiny checkpoint `name`.
pub fn single_file(name: &str) -> CheckpointFile {
    let tensors = single_file_tensors(name, &crate::checkpoint(name));
    CheckpointFile::of(&format!("{name}.safetensors"), &tensors)
}

/// One, as a number of a tensor.
pub const ONE: half::f16 = half::f16::ONE;

/// Names and shapes of the full-size single file `layouts/NAME.json.gz`, as `make_layouts.py` takes
/// them from published configurations.
pub fn layout(name: &str) -> BTreeMap<String, Vec<usize>> {
    let file = File::open(fixtures().join(format!("layouts/{name}.json.gz"))).expect("layout");
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).expect("gzip");
    let tensors: Vec<(String, Vec<usize>)> = serde_json::from_str(&text).expect("JSON");
    tensors.into_iter().collect()
}

/// Writes a file that describes the tensors of `layout`, after `change`, and holds none of their
/// numbers, so that it takes no room on disk; those of `small` are there.
pub fn write_hollow(
    path: &Path,
    layout_name: &str,
    small: &Tensors,
    change: impl FnOnce(&mut BTreeMap<String, Vec<usize>>),
) {
    let mut tensors = layout(layout_name);
    change(&mut tensors);
    let mut header = Map::new();
    let mut end = 0;
    let mut add = |name: &str, dtype: &str, shape: &[usize], bytes: usize| {
        let offsets = [end, end + bytes];
        end += bytes;
        let description = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        header.insert(name.to_owned(), description);
    };
    for (name, tensor) in small {
        add(name, &format!("{:?}", tensor.dtype), &tensor.shape, tensor.bytes.len());
    }
    for (name, shape) in tensors.iter().filter(|(name, _)| !small.contains_key(*name)) {
        let (dtype, size) = if name.ends_with("position_ids") { ("I64", 8) } else { ("F16", 2) };
        add(name, dtype, shape, size * shape.iter().product::<usize>());
    }
    let header = Value::Object(header).to_string();
    let mut file = File::create(path).expect("create");
    file.write_all(&(header.len() as u64).to_le_bytes()).expect("write");
    file.write_all(header.as_bytes()).expect("write");
    for tensor in small.values() {
        file.write_all(&tensor.bytes).expect("write");
    }
    file.set_len(8 + header.len() as u64 + end as u64).expect("set length");
}

/// Writes the file that `torch.save` writes for these tensors: the description that it made,
/// `pickles/DESCRIPTION.pkl.gz`, and their numbers.
pub fn write_torch(path: &Path, description: &str, tensors: &Tensors) {
    let description = fixtures().join(format!("pickles/{description}.pkl.gz"));
    let mut pickle = Vec::new();
    let file = File::open(description).expect("description");
    GzDecoder::new(file).read_to_end(&mut pickle).expect("gzip");
    let numbers = tensors.values().map(|tensor| tensor.bytes.clone());
    let entries = numbers.enumerate().map(|(place, bytes)| (format!("data/{place}"), bytes));
    std::fs::write(path, torch_archive(&pickle, entries, CompressionMethod::Stored))
        .expect("write");
}

/// Writes a dictionary of tensors in the form of `torch.save`, within another dictionary under the
/// key `within` where one is named, as upscalers are published.
pub fn write_torch_dictionary(path: &Path, within: Option<&str>, tensors: &Tensors) {
    let (begin, end) = (&b"}("[..], &b"u"[..]);
    let mut pickle = b"\x80\x02".to_vec();
    if let Some(within) = within {
        pickle.extend(begin);
        pickle.extend(text_of_pickle(within));
    }
    pickle.extend(begin);
    for (place, (name, tensor)) in tensors.iter().enumerate() {
        pickle.extend(text_of_pickle(name));
        pickle.extend(tensor_of_pickle(place, tensor));
    }
    pickle.extend(end);
    if within.is_some() {
        pickle.extend(end);
    }
    pickle.push(b'.');
    let numbers = tensors.values().map(|tensor| tensor.bytes.clone());
    let entries = numbers.enumerate().map(|(place, bytes)| (format!("data/{place}"), bytes));
    let archive = torch_archive(&pickle, entries, CompressionMethod::Stored);
    std::fs::write(path, archive).expect("write");
}

/// `BINUNICODE`.
fn text_of_pickle(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A call that rebuilds a tensor of the storage `place`, which holds the tensor's numbers alone.
fn tensor_of_pickle(place: usize, tensor: &StoredTensor) -> Vec<u8> {
    let (call, storage, dtype) = match tensor.dtype {
        Dtype::F16 => ("_rebuild_tensor_v2", "torch\nHalfStorage", None),
        Dtype::BF16 => ("_rebuild_tensor_v2", "torch\nBFloat16Storage", None),
        Dtype::F32 => ("_rebuild_tensor_v2", "torch\nFloatStorage", None),
        Dtype::I64 => ("_rebuild_tensor_v2", "torch\nLongStorage", None),
        Dtype::F8_E4M3 => {
            ("_rebuild_tensor_v3", "torch.storage\nUntypedStorage", Some("float8_e4m3fn"))
        }
        other => panic!("no storage of {other:?}"),
    };
    let number = |number: usize| [b"J", &(number as i32).to_le_bytes()[..]].concat();
    let tuple = |numbers: &[usize]| {
        let numbers: Vec<u8> = numbers.iter().flat_map(|&value| number(value)).collect();
        [b"(", &numbers[..], b"t"].concat()
    };
    let mut strides = vec![1; tensor.shape.len()];
    for axis in (1..tensor.shape.len()).rev() {
        strides[axis - 1] = strides[axis] * tensor.shape[axis];
    }
    [
        format!("ctorch._utils\n{call}\n((").into_bytes(),
        text_of_pickle("storage"),
        format!("c{storage}\n").into_bytes(),
        text_of_pickle(&place.to_string()),
        text_of_pickle("cpu"),
        number(tensor.shape.iter().product()),
        b"tQ".to_vec(),
        number(0),
        tuple(&tensor.shape),
        tuple(&strides),
        b"\x89ccollections\nOrderedDict\n)R".to_vec(),
        dtype.map_or_else(Vec::new, |dtype| format!("ctorch\n{dtype}\n").into_bytes()),
        b"tR".to_vec(),
    ]
    .concat()
}

/// The archive of a pickle and of entries beside it.
pub fn torch_archive(
    pickle: &[u8],
    entries: impl IntoIterator<Item = (String, Vec<u8>)>,
    compression: CompressionMethod,
) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    archive.start_file("archive/data.pkl", stored).expect("entry");
    archive.write_all(pickle).expect("write");
    for (name, bytes) in entries {
        archive
            .start_file(format!("archive/{name}"), stored.compression_method(compression))
            .expect("entry");
        archive.write_all(&bytes).expect("write");
    }
    archive.finish().expect("archive").into_inner()
}
