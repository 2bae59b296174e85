//! The two forms in which `torch.save` writes: a zip archive with a pickle and a file for each
//! storage, and, until PyTorch 1.6, a row of pickles with the storages behind them.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
};

use zip::{CompressionMethod, ZipArchive};

use super::{
    PickleProblem, Storages, element_bytes,
    input::Input,
    machine::{self, Pickled},
    value::{Storage, Value},
};

/// Descriptions of published checkpoints stay under 2 MB.
const MAX_PICKLE_BYTES: u64 = 64 << 20;

/// What begins a file of before PyTorch 1.6 (`torch/serialization.py`, `MAGIC_NUMBER`).
const LEGACY_MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;

/// The only `PROTOCOL_VERSION` of such files.
const LEGACY_PROTOCOL: i128 = 1001;

/// Reads the description, and finds the storages.
pub(super) fn read(file: &mut File) -> Result<(Pickled, Storages), PickleProblem> {
    let mut start = [0; 4];
    file.read_exact(&mut start).map_err(PickleProblem::Io)?;
    file.rewind().map_err(PickleProblem::Io)?;
    if &start == b"PK\x03\x04" { read_zip(file) } else { read_legacy(file) }
}

fn invalid(reason: impl std::fmt::Display) -> PickleProblem {
    PickleProblem::Invalid(reason.to_string())
}

fn read_zip(file: &mut File) -> Result<(Pickled, Storages), PickleProblem> {
    let file_length = file.metadata().map_err(PickleProblem::Io)?.len();
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(invalid)?;
    let description = archive
        .file_names()
        .filter_map(Result::ok)
        .find(|name| name.ends_with("/data.pkl") || name == "data.pkl")
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| invalid("it is a zip archive without data.pkl"))?;
    let root = description.trim_end_matches("data.pkl").to_owned();
    if let Ok(mut order) = archive.by_name(&format!("{root}byteorder")) {
        let mut first = [0; 1];
        if order.read_exact(&mut first).is_ok() && &first == b"b" {
            return Err(invalid("its numbers are big-endian"));
        }
    }
    let pickled = {
        let entry = archive.by_name(&description).map_err(invalid)?;
        machine::read(&mut Input::new(BufReader::new(entry), MAX_PICKLE_BYTES))?
    };
    let mut storages = Storages::new();
    for (name, storage) in &pickled.storages {
        let path = format!("{root}data/{name}");
        let Some(index) = archive.index_for_name(&path) else { continue };
        let entry = archive.by_index_raw(index).map_err(invalid)?;
        // torch.save never compresses, so that nothing can grow beyond the file.
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(invalid(format!("{path} in it is compressed or encrypted")));
        }
        let start = entry.data_start().ok_or_else(|| invalid(format!("{path} has no place")))?;
        let length = entry.size();
        if start.checked_add(length).is_none_or(|end| end > file_length) {
            return Err(invalid(format!("{path} in it lies outside the file")));
        }
        check_length(name, storage, length)?;
        storages.insert(name.clone(), (start, length));
    }
    Ok((pickled, storages))
}

fn check_length(name: &str, storage: &Storage, length: u64) -> Result<(), PickleProblem> {
    let wanted = storage.elements.checked_mul(element_bytes(storage.dtype) as u64);
    if wanted.is_none_or(|wanted| wanted > length) {
        return Err(invalid(format!(
            "the storage `{}` claims {} elements, but {length} bytes are there",
            name.escape_default(),
            storage.elements
        )));
    }
    Ok(())
}

fn read_legacy(file: &mut File) -> Result<(Pickled, Storages), PickleProblem> {
    let file_length = file.metadata().map_err(PickleProblem::Io)?.len();
    let mut input = Input::new(BufReader::new(&mut *file), MAX_PICKLE_BYTES);
    let number = |input: &mut Input<_>| -> Result<i128, PickleProblem> {
        let pickled = machine::read(input)?;
        match pickled.values[pickled.root] {
            Value::Integer(number) => Ok(number),
            _ => Err(invalid("it is a pickle, but not one of torch.save")),
        }
    };
    if number(&mut input)? != LEGACY_MAGIC {
        return Err(invalid("it is a pickle, but not one of torch.save"));
    }
    let protocol = number(&mut input)?;
    if protocol != LEGACY_PROTOCOL {
        return Err(invalid(format!("its protocol is {protocol}, not {LEGACY_PROTOCOL}")));
    }
    check_system(&machine::read(&mut input)?)?;
    let pickled = machine::read(&mut input)?;
    let order = storage_names(&machine::read(&mut input)?)?;

    let mut storages = BTreeMap::new();
    let mut position = input.position;
    for name in order {
        let Some(storage) = pickled.storages.get(&name) else {
            return Err(invalid(format!("`{}` is no storage of it", name.escape_default())));
        };
        file.seek(SeekFrom::Start(position)).map_err(PickleProblem::Io)?;
        let mut count = [0; 8];
        file.read_exact(&mut count)
            .map_err(|_| invalid("it ends before its storages, so it is truncated"))?;
        position += 8;
        if u64::from_le_bytes(count) != storage.elements {
            return Err(invalid("a storage has another length than described"));
        }
        let left = file_length.saturating_sub(position);
        check_length(&name, storage, left)?;
        let length = storage.elements * element_bytes(storage.dtype) as u64;
        storages.insert(name, (position, length));
        position += length;
    }
    Ok((pickled, storages))
}

/// The third pickle: `{"protocol_version": 1001, "little_endian": True, "type_sizes": {…}}`.
fn check_system(pickled: &Pickled) -> Result<(), PickleProblem> {
    let Value::Dict(entries) = &pickled.values[pickled.root] else {
        return Err(invalid("it does not describe the system that wrote it"));
    };
    let is_big = entries.iter().any(|&(key, value)| {
        matches!(&pickled.values[key], Value::Text(key) if key == "little_endian")
            && pickled.values[value] == Value::Integer(0)
    });
    if is_big { Err(invalid("its numbers are big-endian")) } else { Ok(()) }
}

/// The last pickle: the names of the storages, in the order in which they follow.
fn storage_names(pickled: &Pickled) -> Result<Vec<String>, PickleProblem> {
    let Value::List(items) = &pickled.values[pickled.root] else {
        return Err(invalid("it does not list its storages"));
    };
    items
        .iter()
        .map(|&item| match &pickled.values[item] {
            Value::Text(name) => Ok(name.clone()),
            _ => Err(invalid("it does not list its storages")),
        })
        .collect()
}
