//! The bytes of a pickle.

use std::io::Read;

use super::PickleProblem;

/// Bytes with a place in them, and an end that no length in a file can move.
#[derive(Debug)]
pub(super) struct Input<R> {
    reader: R,
    /// Bytes that were read.
    pub(super) position: u64,
    limit: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(reader: R, limit: u64) -> Self {
        Self { reader, position: 0, limit }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), PickleProblem> {
        let end = self.position.saturating_add(buffer.len() as u64);
        if end > self.limit {
            return Err(PickleProblem::Invalid(format!(
                "its instructions take more than {} bytes",
                self.limit
            )));
        }
        self.reader.read_exact(buffer).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                PickleProblem::Invalid("it ends in the middle of a pickle".to_owned())
            }
            _ => PickleProblem::Io(error),
        })?;
        self.position = end;
        Ok(())
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], PickleProblem> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, PickleProblem> {
        Ok(self.bytes::<1>()?[0])
    }

    pub(super) fn text(&mut self, length: u64) -> Result<String, PickleProblem> {
        if length > self.limit.saturating_sub(self.position) {
            return Err(PickleProblem::Invalid(format!("it claims a text of {length} bytes")));
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes)
            .map_err(|_| PickleProblem::Invalid("a text is not UTF-8".to_owned()))
    }

    /// A text up to the end of the line.
    pub(super) fn line(&mut self) -> Result<String, PickleProblem> {
        const LONGEST: usize = 1024;
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => break,
                _ if line.len() == LONGEST => {
                    return Err(PickleProblem::Invalid("a name is too long".to_owned()));
                }
                byte => line.push(byte),
            }
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// LONG1: a signed number of up to 16 bytes, which is more than any count takes.
    pub(super) fn long(&mut self) -> Result<i128, PickleProblem> {
        let length = usize::from(self.byte()?);
        let mut bytes = [0; 16];
        let Some(digits) = bytes.get_mut(..length) else {
            return Err(PickleProblem::Invalid(format!("it holds a number of {length} bytes")));
        };
        self.fill(digits)?;
        let is_negative = digits.last().is_some_and(|last| last & 0x80 != 0);
        if is_negative {
            bytes[length..].fill(0xff);
        }
        Ok(i128::from_le_bytes(bytes))
    }
}
