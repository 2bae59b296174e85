//! How adapters write the difference of a weight in fewer numbers.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::{AdapterError, names::Part};

/// A tensor of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) key: String,
    pub(super) shape: Vec<usize>,
}

impl Stored {
    fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Elements of a row.
    fn columns(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Elements behind the second axis: those of a kernel.
    fn kernel(&self) -> usize {
        self.shape.iter().skip(2).product()
    }
}

/// A matrix in one tensor or as a product. The columns of a convolution's are inputs and kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Factor {
    /// `[rows, columns]`.
    Whole(Stored),
    /// `a b`, of `[rows, rank]` and `[rank, columns]`.
    Product { a: Stored, b: Stored },
    /// `up core down` at each place of a kernel, of `[rows, rank]`, `[rank, rank, height, width]`
    /// and `[rank, columns]`.
    Cored { up: Stored, core: Stored, down: Stored },
    /// The same, with `up` as LyCORIS has it in LoHa and LoKr: `[rank, rows]`.
    CoredTransposed { up: Stored, core: Stored, down: Stored },
}

/// The difference of one weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decomposition {
    /// LoRA (Hu et al. 2021), and LoCon, which is the same with kernels.
    LowRank(Factor),
    /// The elementwise product of two (FedPara, Hyeon-Woo et al. 2021; LyCORIS' LoHa).
    Hadamard(Factor, Factor),
    /// The Kronecker product of two (LyCORIS' LoKr).
    Kronecker(Factor, Factor),
    /// Itself.
    Full(Stored),
}

/// The parts of a layer's adapter.
pub(super) type Parts = BTreeMap<Part, Stored>;

impl Factor {
    fn new(
        path: &str,
        parts: &mut Parts,
        whole: Option<Part>,
        [a, b]: [Part; 2],
        core: Part,
    ) -> Result<Option<Self>, AdapterError> {
        let missing = |present: &Stored| AdapterError::MissingPart {
            path: path.to_owned(),
            key: counterpart(&present.key),
            present: present.key.clone(),
        };
        let (up, down) = match (parts.remove(&a), parts.remove(&b)) {
            (Some(up), Some(down)) => (up, down),
            (Some(present), None) | (None, Some(present)) => return Err(missing(&present)),
            (None, None) => {
                return Ok(whole.and_then(|whole| parts.remove(&whole)).map(Self::Whole));
            }
        };
        let factor = match parts.remove(&core) {
            None => Self::Product { a: up, b: down },
            Some(core) if a == Part::Up => Self::Cored { up, core, down },
            Some(core) => Self::CoredTransposed { up, core, down },
        };
        match factor.mismatch() {
            None => Ok(Some(factor)),
            Some((first, second)) => Err(AdapterError::Ranks {
                path: path.to_owned(),
                first: first.key.clone(),
                first_shape: first.shape.clone().into(),
                second: second.key.clone(),
                second_shape: second.shape.clone().into(),
            }),
        }
    }

    /// Tensors that are multiplied and whose ranks differ.
    fn mismatch(&self) -> Option<(&Stored, &Stored)> {
        let (first, rank, core, second) = match self {
            Self::Whole(_) => return None,
            Self::Product { a, b } => return (a.columns() != b.rows()).then_some((a, b)),
            Self::Cored { up, core, down } => (up, up.columns(), core, down),
            Self::CoredTransposed { up, core, down } => (up, up.rows(), core, down),
        };
        if core.rows() != rank {
            Some((first, core))
        } else {
            (core.shape.get(1) != Some(&second.rows())).then_some((core, second))
        }
    }

    fn rows(&self) -> usize {
        match self {
            Self::Whole(tensor) | Self::Product { a: tensor, .. } => tensor.rows(),
            Self::Cored { up, .. } => up.rows(),
            Self::CoredTransposed { up, .. } => up.columns(),
        }
    }

    fn columns(&self) -> usize {
        match self {
            Self::Whole(tensor) | Self::Product { b: tensor, .. } => tensor.columns(),
            Self::Cored { core, down, .. } | Self::CoredTransposed { core, down, .. } => {
                down.columns() * core.kernel()
            }
        }
    }

    fn rank(&self) -> Option<usize> {
        match self {
            Self::Whole(_) => None,
            Self::Product { b: down, .. }
            | Self::Cored { down, .. }
            | Self::CoredTransposed { down, .. } => Some(down.rows()),
        }
    }

    /// The matrix, `[rows, columns]`.
    fn value<E>(
        &self,
        read: &mut impl FnMut(&Stored, [usize; 2]) -> Result<Tensor<2>, E>,
    ) -> Result<Tensor<2>, E> {
        let mut matrix = |tensor: &Stored| read(tensor, [tensor.rows(), tensor.columns()]);
        let (up, core, down) = match self {
            Self::Whole(tensor) => return matrix(tensor),
            Self::Product { a, b } => return Ok(matrix(a)?.matmul(matrix(b)?)),
            Self::Cored { up, core, down } => (matrix(up)?, core, down),
            Self::CoredTransposed { up, core, down } => (matrix(up)?.transpose(), core, down),
        };
        let (rows, kernel, rank, columns) =
            (self.rows(), core.kernel(), down.rows(), down.columns());
        let left: Tensor<3> = up.matmul(matrix(core)?).reshape([rows, rank, kernel]);
        let left: Tensor<2> = left.swap_dims(1, 2).reshape([rows * kernel, rank]);
        let value: Tensor<3> = left.matmul(matrix(down)?).reshape([rows, kernel, columns]);
        Ok(value.swap_dims(1, 2).reshape([rows, columns * kernel]))
    }
}

impl Decomposition {
    /// Puts the parts of a layer's adapter together. Parts that stay have no use in it.
    ///
    /// # Errors
    ///
    /// A part without its counterpart, and parts whose ranks differ.
    pub(super) fn new(path: &str, layer: &str, parts: &mut Parts) -> Result<Self, AdapterError> {
        use Part::{
            HadaT1, HadaT2, HadaW1A, HadaW1B, HadaW2A, HadaW2B, LokrT2, LokrW1, LokrW1A, LokrW1B,
            LokrW2, LokrW2A, LokrW2B,
        };
        let mut factor = |whole, pair, core| Factor::new(path, parts, whole, pair, core);
        let low_rank = factor(None, [Part::Up, Part::Down], Part::Mid)?;
        let hadamard =
            [factor(None, [HadaW1A, HadaW1B], HadaT1)?, factor(None, [HadaW2A, HadaW2B], HadaT2)?];
        let kronecker = [
            factor(Some(LokrW1), [LokrW1A, LokrW1B], Part::Mid)?,
            factor(Some(LokrW2), [LokrW2A, LokrW2B], LokrT2)?,
        ];
        let full = parts.remove(&Part::Diff);
        match (low_rank, hadamard, kronecker, full) {
            (Some(factor), [None, None], [None, None], None) => Ok(Self::LowRank(factor)),
            (None, [Some(first), Some(second)], [None, None], None) => {
                Ok(Self::Hadamard(first, second))
            }
            (None, [None, None], [Some(first), Some(second)], None) => {
                Ok(Self::Kronecker(first, second))
            }
            (None, [None, None], [None, None], Some(full)) => Ok(Self::Full(full)),
            _ => Err(AdapterError::Parts { path: path.to_owned(), layer: layer.to_owned() }),
        }
    }

    /// Rows and columns of the difference. The columns of a convolution's are inputs and kernel.
    pub(super) fn dims(&self) -> [usize; 2] {
        match self {
            Self::LowRank(factor) | Self::Hadamard(factor, _) => [factor.rows(), factor.columns()],
            Self::Kronecker(first, second) => {
                [first.rows() * second.rows(), first.columns() * second.columns()]
            }
            Self::Full(tensor) => [tensor.rows(), tensor.columns()],
        }
    }

    /// The rank that `alpha` is divided by; whole tensors have none.
    pub(super) fn rank(&self) -> Option<usize> {
        match self {
            Self::LowRank(factor) | Self::Hadamard(factor, _) => factor.rank(),
            Self::Kronecker(first, second) => second.rank().or(first.rank()),
            Self::Full(_) => None,
        }
    }

    /// The difference, not scaled, as a matrix of [`dims`](Self::dims). `read` gives a tensor of
    /// the file as the matrix that it is.
    pub(super) fn value<E>(
        &self,
        mut read: impl FnMut(&Stored, [usize; 2]) -> Result<Tensor<2>, E>,
    ) -> Result<Tensor<2>, E> {
        let read = &mut read;
        match self {
            Self::LowRank(factor) => factor.value(read),
            Self::Hadamard(first, second) => Ok(first.value(read)? * second.value(read)?),
            Self::Kronecker(first, second) => {
                Ok(kronecker(first.value(read)?, second.value(read)?))
            }
            Self::Full(tensor) => read(tensor, [tensor.rows(), tensor.columns()]),
        }
    }
}

/// The Kronecker product: every element of the first times the whole second.
fn kronecker(first: Tensor<2>, second: Tensor<2>) -> Tensor<2> {
    let ([rows, columns], [inner_rows, inner_columns]) = (first.dims(), second.dims());
    let first: Tensor<4> = first.reshape([rows, 1, columns, 1]);
    let second: Tensor<4> = second.reshape([1, inner_rows, 1, inner_columns]);
    (first * second).reshape([rows * inner_rows, columns * inner_columns])
}

/// The key of the tensor that the one of `key` is multiplied with.
fn counterpart(key: &str) -> String {
    let pairs = [("lora_down", "lora_up"), ("lora_A", "lora_B"), (".down.", ".up."), ("_a", "_b")];
    let both_ways = pairs.into_iter().flat_map(|(one, other)| [(one, other), (other, one)]);
    let found = both_ways.filter_map(|(from, to)| {
        let (before, after) = key.rsplit_once(from)?;
        // The short ones are ends; the others stand before `.weight`.
        (from.len() > 2 || after.is_empty()).then_some((before, to, after))
    });
    match found.max_by_key(|(before, ..)| before.len()) {
        Some((before, to, after)) => format!("{before}{to}{after}"),
        None => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::counterpart;

    #[test]
    fn counterparts_are_spelt_as_their_files_spell_them() {
        for (one, other) in [
            ("a.lora_down.weight", "a.lora_up.weight"),
            ("lora_A.lora_A.weight", "lora_A.lora_B.weight"),
            ("a.to_q_lora.down.weight", "a.to_q_lora.up.weight"),
            ("a_a.hada_w1_a", "a_a.hada_w1_b"),
            ("a.lokr_w2_a", "a.lokr_w2_b"),
        ] {
            assert_eq!(counterpart(one), other);
            assert_eq!(counterpart(other), one);
        }
    }
}
