//! What a pickle may hold, and the names that it may speak of.

use safetensors::Dtype;

/// The place of a value in [`Pickled::values`].
pub(super) type Id = usize;

/// A storage of numbers that a pickle speaks of and another part of the file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) dtype: Dtype,
    /// Number of elements.
    pub(super) elements: u64,
}

/// A view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tensor {
    /// The name of the storage.
    pub(super) storage: String,
    /// The type of its elements, where the storage is of plain bytes.
    pub(super) dtype: Option<Dtype>,
    /// The first element.
    pub(super) offset: u64,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// What a pickle holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    None,
    Integer(i128),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Storage(String),
    Tensor(Tensor),
    Name(Name),
    /// Something that is no tensor and says nothing about one.
    Opaque,
}

/// The names that may stand in a pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    RebuildTensor,
    /// The same for types that have no storages of their own, such as fp8.
    RebuildTypedTensor,
    RebuildParameter,
    OrderedDict,
    Size,
    /// Early textual inversion embeddings: a dictionary whose entries are its attribute
    /// `_parameters`.
    ParameterDict,
    StorageType(Dtype),
    ElementType(Dtype),
    /// What training programs leave behind beside tensors. It is kept as a name, and what a call
    /// of it would give as [`Value::Opaque`].
    Inert,
}

/// `module name` and what it stands for.
const NAMES: &[(&str, &str, Name)] = &[
    ("torch._utils", "_rebuild_tensor_v2", Name::RebuildTensor),
    ("torch._utils", "_rebuild_tensor_v3", Name::RebuildTypedTensor),
    ("torch._utils", "_rebuild_parameter", Name::RebuildParameter),
    ("collections", "OrderedDict", Name::OrderedDict),
    ("torch", "Size", Name::Size),
    ("torch.nn.modules.container", "ParameterDict", Name::ParameterDict),
    ("torch", "DoubleStorage", Name::StorageType(Dtype::F64)),
    ("torch", "FloatStorage", Name::StorageType(Dtype::F32)),
    ("torch", "HalfStorage", Name::StorageType(Dtype::F16)),
    ("torch", "BFloat16Storage", Name::StorageType(Dtype::BF16)),
    ("torch", "LongStorage", Name::StorageType(Dtype::I64)),
    ("torch", "IntStorage", Name::StorageType(Dtype::I32)),
    ("torch", "ShortStorage", Name::StorageType(Dtype::I16)),
    ("torch", "CharStorage", Name::StorageType(Dtype::I8)),
    ("torch", "ByteStorage", Name::StorageType(Dtype::U8)),
    ("torch", "BoolStorage", Name::StorageType(Dtype::BOOL)),
    ("torch.storage", "UntypedStorage", Name::StorageType(Dtype::U8)),
    ("torch", "float8_e4m3fn", Name::ElementType(Dtype::F8_E4M3)),
    ("torch", "float8_e5m2", Name::ElementType(Dtype::F8_E5M2)),
    ("torch", "float8_e8m0fnu", Name::ElementType(Dtype::F8_E8M0)),
    ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint", Name::Inert),
    ("numpy.core.multiarray", "scalar", Name::Inert),
    ("numpy._core.multiarray", "scalar", Name::Inert),
    ("numpy.core.multiarray", "_reconstruct", Name::Inert),
    ("numpy._core.multiarray", "_reconstruct", Name::Inert),
    ("numpy", "ndarray", Name::Inert),
    ("numpy", "dtype", Name::Inert),
    ("_codecs", "encode", Name::Inert),
];

/// What `module.name` stands for, where it may stand in a pickle.
pub(super) fn named(module: &str, name: &str) -> Option<Name> {
    let found = NAMES.iter().find(|known| known.0 == module && known.1 == name);
    found.map(|(_, _, known)| *known)
}

/// The name of an instruction that is refused (Python `pickle.py`).
pub(super) fn instruction(code: u8) -> String {
    let name = match code {
        b'i' => "INST",
        b'o' => "OBJ",
        b'P' => "PERSID",
        b'I' => "INT",
        b'L' => "LONG",
        b'F' => "FLOAT",
        b'S' => "STRING",
        b'V' => "UNICODE",
        b'p' => "PUT",
        b'g' => "GET",
        b'2' => "DUP",
        0x82..=0x84 => "EXT",
        0x8b => "LONG4",
        0x8d => "BINUNICODE8",
        0x8e => "BINBYTES8",
        0x8f => "EMPTY_SET",
        0x90 => "ADDITEMS",
        0x91 => "FROZENSET",
        0x92 => "NEWOBJ_EX",
        0x96 => "BYTEARRAY8",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => return format!("0x{code:02x}"),
    };
    name.to_owned()
}
