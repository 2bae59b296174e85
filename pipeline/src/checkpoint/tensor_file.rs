//! A file of tensors in any of the formats that are read, told by its content.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, TensorData};
use emberbrush_layers::{
    stored_tensor::StoredTensor,
    weights::{WeightError, WeightSource},
};
use safetensors::Dtype;

use super::{
    CheckpointError,
    pickle::{PickleFile, element_bytes, is_pickle},
    safetensors_file::SafetensorsFile,
};

/// What a file says about a tensor before it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of an element as stored.
    pub fn element_bytes(&self) -> usize {
        element_bytes(self.dtype)
    }

    /// Bytes as stored.
    pub fn bytes(&self) -> usize {
        self.elements() * self.element_bytes()
    }

    /// The type's name as people write it: `f16`, `bf16`, `i64`.
    pub fn dtype_name(&self) -> String {
        format!("{:?}", self.dtype).to_lowercase()
    }
}

/// One open file of tensors.
#[derive(Debug)]
pub enum TensorFile {
    /// In safetensors format.
    Safetensors(SafetensorsFile),
    /// Written by `torch.save`.
    Pickle(PickleFile),
}

impl TensorFile {
    /// Opens a file and reads its description. Its content decides what it is, not its name.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, is damaged, or is of a format that is not read, which is named.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let path = path.into();
        let start = start(&path)?;
        if start.starts_with(b"GGUF") {
            return Err(CheckpointError::Unsupported {
                path: path.display().to_string(),
                reason: "this is a GGUF file, whose weights are quantised; GGUF is not supported. \
                         Get the checkpoint as .safetensors in f16, bf16 or f32"
                    .to_owned(),
            });
        }
        if is_pickle(start) {
            return Ok(Self::Pickle(PickleFile::open(&path)?));
        }
        Ok(Self::Safetensors(SafetensorsFile::open(path)?))
    }

    /// Refuses networks whose weights are stored in less than 16 bits.
    pub(super) fn refuse_small_types(&self) -> Result<(), CheckpointError> {
        let is_fp8 = |name: &String| {
            self.info(name).is_some_and(|info| {
                matches!(info.dtype, Dtype::F8_E4M3 | Dtype::F8_E5M2 | Dtype::F8_E8M0)
            })
        };
        let names = self.keys();
        let fp8 = names.iter().filter(|name| is_fp8(name)).min();
        let four_bits = names.iter().filter(|name| name.contains(".quant_state.")).min();
        let (how, name) = match (fp8, four_bits) {
            (Some(name), _) => ("stored in fp8", name),
            (None, Some(name)) => ("quantised to 4 bits", name),
            (None, None) => return Ok(()),
        };
        Err(CheckpointError::Unsupported {
            path: self.origin(),
            reason: format!(
                "its weights are {how} (such as `{name}`), which is not supported. Get the \
                 checkpoint in f16, bf16 or f32"
            ),
        })
    }

    /// The names of all tensors, in no particular order.
    pub fn keys(&self) -> Vec<String> {
        match self {
            Self::Safetensors(file) => file.metadata().offset_keys(),
            Self::Pickle(file) => file.keys().map(str::to_owned).collect(),
        }
    }

    /// Type and shape of a tensor; `None` where the file does not hold it.
    pub fn info(&self, key: &str) -> Option<TensorInfo> {
        match self {
            Self::Safetensors(file) => file
                .metadata()
                .info(key)
                .map(|info| TensorInfo { dtype: info.dtype, shape: info.shape.clone() }),
            Self::Pickle(file) => file.info(key).cloned(),
        }
    }

    /// Whether the file holds `key`.
    pub fn contains(&self, key: &str) -> bool {
        match self {
            Self::Safetensors(file) => file.metadata().info(key).is_some(),
            Self::Pickle(file) => file.info(key).is_some(),
        }
    }

    /// A single whole number: a tensor of one, or what a pickle holds beside tensors.
    pub fn integer(&self, key: &str) -> Option<i64> {
        if let Self::Pickle(file) = self
            && let Some(number) = file.integer(key)
        {
            return Some(number);
        }
        let info = self.info(key)?;
        if info.elements() != 1 {
            return None;
        }
        self.read(key).ok()?.convert_dtype(DType::I64).try_to_vec::<i64>().ok()?.first().copied()
    }

    /// One third of a tensor's rows, counted from 0, without the others, as
    /// [`WeightSource::stored`] gives the whole.
    ///
    /// # Errors
    ///
    /// As [`WeightSource::read`], and where the rows cannot be divided by three.
    pub fn stored_third(&self, key: &str, third: usize) -> Result<StoredTensor, WeightError> {
        const CANNOT: &str = "its rows cannot be divided by three";
        let file = match self {
            Self::Safetensors(file) => {
                let part = file.stored(key)?.part(third, 3);
                return part.ok_or_else(|| self.unreadable(key, CANNOT));
            }
            Self::Pickle(file) => file,
        };
        let info = self.info(key).ok_or_else(|| self.unreadable(key, NOT_HELD))?;
        let Some((&rows, rest)) = info.shape.split_first().filter(|(rows, _)| *rows % 3 == 0)
        else {
            return Err(self.unreadable(key, CANNOT));
        };
        let mut shape = vec![rows / 3];
        shape.extend_from_slice(rest);
        let length = info.bytes() / 3;
        let read = self.unpickle(file, key, info.dtype, third * length, length, shape);
        read.map(StoredTensor::from)
    }

    fn unpickle(
        &self,
        file: &PickleFile,
        key: &str,
        dtype: Dtype,
        start: usize,
        length: usize,
        shape: Vec<usize>,
    ) -> Result<TensorData, WeightError> {
        let Some(dtype) = element_type(dtype) else {
            let reason = format!("its element type {dtype:?} is not supported");
            return Err(self.unreadable(key, &reason));
        };
        let bytes = file
            .read_bytes(key, start, length)
            .map_err(|error| self.unreadable(key, &error.to_string()))?;
        TensorData::try_from_bytes_vec(bytes, shape, dtype)
            .map_err(|error| self.unreadable(key, &error.to_string()))
    }

    fn unreadable(&self, key: &str, reason: &str) -> WeightError {
        WeightError::Unreadable {
            origin: self.origin(),
            key: key.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

const NOT_HELD: &str = "the file does not hold it";

/// The type in which burn holds elements; `None` for those that no network takes.
pub(super) fn element_type(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F64 => DType::F64,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::U8 => DType::U8,
        _ => return None,
    })
}

/// The first bytes of a file; zeros after its end.
fn start(path: &Path) -> Result<[u8; 8], CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.display().to_string(), source };
    let mut start = Vec::with_capacity(8);
    File::open(path).map_err(io)?.take(8).read_to_end(&mut start).map_err(io)?;
    start.resize(8, 0);
    Ok(start.try_into().unwrap_or_default())
}

impl WeightSource for TensorFile {
    fn shape(&self, key: &str) -> Option<Vec<usize>> {
        self.info(key).map(|info| info.shape)
    }

    fn read(&self, key: &str) -> Result<TensorData, WeightError> {
        let file = match self {
            Self::Safetensors(file) => return file.read(key),
            Self::Pickle(file) => file,
        };
        let info = self.info(key).ok_or_else(|| self.unreadable(key, NOT_HELD))?;
        self.unpickle(file, key, info.dtype, 0, info.bytes(), info.shape)
    }

    fn stored(&self, key: &str) -> Result<StoredTensor, WeightError> {
        match self {
            Self::Safetensors(file) => file.stored(key),
            Self::Pickle(_) => self.read(key).map(StoredTensor::from),
        }
    }

    fn origin(&self) -> String {
        match self {
            Self::Safetensors(file) => file.origin(),
            Self::Pickle(file) => file.name().to_owned(),
        }
    }
}
