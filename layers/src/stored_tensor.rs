//! Tensors as files hold them.

use std::{fmt, ops::Range, sync::Arc};

use burn::tensor::{DType, FloatDType, TensorData};
use half::{bf16, f16};

pub use crate::kernels::file_contents;

/// Bytes that several tensors share, such as a file that is mapped into memory.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A tensor in the type and order in which a source holds it. A clone shares the bytes.
#[derive(Clone)]
pub struct StoredTensor {
    bytes: SharedBytes,
    range: Range<usize>,
    dtype: DType,
    shape: Vec<usize>,
}

impl fmt::Debug for StoredTensor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StoredTensor({:?}, {:?})", self.dtype, self.shape)
    }
}

impl StoredTensor {
    /// The tensor whose elements, little endian and row by row, are `bytes[range]`.
    ///
    /// `None` where the range is not within the bytes, or not as long as the shape calls for.
    pub fn new(
        bytes: SharedBytes,
        range: Range<usize>,
        dtype: DType,
        shape: Vec<usize>,
    ) -> Option<Self> {
        let elements = shape.iter().try_fold(1_usize, |count, &side| count.checked_mul(side))?;
        let held = (*bytes).as_ref().get(range.clone())?.len();
        (elements.checked_mul(dtype.size())? == held).then_some(Self { bytes, range, dtype, shape })
    }

    /// The elements' bytes.
    pub fn bytes(&self) -> &[u8] {
        // `new` has seen that they are there; a source that shortens them since gives nothing.
        (*self.bytes).as_ref().get(self.range.clone()).unwrap_or_default()
    }

    /// The elements' type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Length of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The same elements in another shape; `None` where that has another number of them.
    #[must_use]
    pub fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        Self::new(Arc::clone(&self.bytes), self.range.clone(), self.dtype, shape.to_vec())
    }

    /// The part `part` of `parts` along the first dimension, counted from 0; `None` where it
    /// cannot be divided so.
    pub fn part(&self, part: usize, parts: usize) -> Option<Self> {
        let rows = *self.shape.first()?;
        if parts == 0 || part >= parts || rows % parts != 0 {
            return None;
        }
        let length = self.range.len() / parts;
        let start = self.range.start + part * length;
        let mut shape = self.shape.clone();
        shape[0] = rows / parts;
        Self::new(Arc::clone(&self.bytes), start..start + length, self.dtype, shape)
    }

    /// The rows of these numbers, converted as [`to_data`](Self::to_data) does; `None` also where
    /// it is no matrix or a number is too large.
    pub fn rows(&self, numbers: &[usize], dtype: FloatDType) -> Option<TensorData> {
        let [rows, columns] = self.shape[..] else { return None };
        let length = columns * self.dtype.size();
        let mut chosen = Vec::with_capacity(numbers.len() * length);
        for &number in numbers {
            let start = (number < rows).then_some(number * length)?;
            chosen.extend_from_slice(self.bytes().get(start..start + length)?);
        }
        convert(&chosen, self.dtype, vec![numbers.len(), columns], dtype)
    }

    /// A copy in the stored type; `None` where burn has no such tensors.
    pub fn copied(&self) -> Option<TensorData> {
        TensorData::try_from_bytes_vec(self.bytes().to_vec(), self.shape.clone(), self.dtype).ok()
    }

    /// A copy in one of the floating-point types of checkpoints; `None` where it is of none of
    /// them itself.
    ///
    /// Converted here and not on the device because a GPU without the stored type (bf16, often)
    /// could not even hold the tensor that it should convert.
    pub fn to_data(&self, dtype: FloatDType) -> Option<TensorData> {
        convert(self.bytes(), self.dtype, self.shape.clone(), dtype)
    }
}

impl From<TensorData> for StoredTensor {
    fn from(data: TensorData) -> Self {
        struct Owned(TensorData);
        impl AsRef<[u8]> for Owned {
            fn as_ref(&self) -> &[u8] {
                self.0.bytes()
            }
        }
        let (dtype, shape) = (data.dtype(), data.shape().to_vec());
        let range = 0..data.bytes().len();
        Self { bytes: Arc::new(Owned(data)), range, dtype, shape }
    }
}

fn convert(bytes: &[u8], from: DType, shape: Vec<usize>, wanted: FloatDType) -> Option<TensorData> {
    if from == DType::from(wanted) {
        return TensorData::try_from_bytes_vec(bytes.to_vec(), shape, from).ok();
    }
    let values: Vec<f32> = match from {
        DType::F32 => {
            bytes.as_chunks::<4>().0.iter().map(|&value| f32::from_le_bytes(value)).collect()
        }
        DType::F16 => bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&value| f16::from_le_bytes(value).to_f32())
            .collect(),
        DType::BF16 => bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&value| bf16::from_le_bytes(value).to_f32())
            .collect(),
        _ => return None,
    };
    Some(match wanted {
        FloatDType::F16 => {
            TensorData::new(values.into_iter().map(f16::from_f32).collect::<Vec<_>>(), shape)
        }
        FloatDType::BF16 => {
            TensorData::new(values.into_iter().map(bf16::from_f32).collect::<Vec<_>>(), shape)
        }
        FloatDType::F32 => TensorData::new(values, shape),
        FloatDType::F64 => {
            TensorData::new(values.into_iter().map(f64::from).collect::<Vec<_>>(), shape)
        }
        _ => return None,
    })
}
