//! Reads a pickle as plain data and executes nothing.
//!
//! A pickle is a program for a stack machine (Python `pickletools.py`) whose instructions may name
//! and call any function. This machine knows the instructions that `torch.save` writes and the few
//! names that stand for tensors; everything else is refused by name. What it builds lies in one
//! list, so that neither nesting nor cycles can exhaust the stack.

use std::{collections::BTreeMap, io::Read};

use super::{
    PickleProblem,
    input::Input,
    value::{self, Id, Name, Storage, Tensor, Value},
};

/// Far above what published checkpoints hold, and little enough to keep in memory.
const MAX_VALUES: usize = 1_000_000;

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickled {
    pub(super) values: Vec<Value>,
    pub(super) root: Id,
    /// The storages that it speaks of, by name.
    pub(super) storages: BTreeMap<String, Storage>,
}

/// Reads one pickle, up to its end.
pub(super) fn read<R: Read>(input: &mut Input<R>) -> Result<Pickled, PickleProblem> {
    let mut machine = Machine::default();
    loop {
        let place = input.position;
        let code = input.byte()?;
        if code == b'.' {
            let root = machine.pop()?;
            return Ok(Pickled { values: machine.values, root, storages: machine.storages });
        }
        machine.execute(code, place, input)?;
    }
}

#[derive(Debug, Default)]
struct Machine {
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks that are open.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
    storages: BTreeMap<String, Storage>,
}

fn broken(reason: &str) -> PickleProblem {
    PickleProblem::Invalid(reason.to_owned())
}

impl Machine {
    fn execute<R: Read>(
        &mut self,
        code: u8,
        place: u64,
        input: &mut Input<R>,
    ) -> Result<(), PickleProblem> {
        match code {
            // PROTO, FRAME: nothing to do.
            0x80 => drop(input.byte()?),
            0x95 => drop(input.bytes::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            // POP, POP_MARK
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'N' => self.push(Value::None)?,
            // NEWTRUE, NEWFALSE
            0x88 => self.push(Value::Integer(1))?,
            0x89 => self.push(Value::Integer(0))?,
            // BININT, BININT1, BININT2, LONG1
            b'J' => self.push(Value::Integer(i32::from_le_bytes(input.bytes()?).into()))?,
            b'K' => self.push(Value::Integer(input.byte()?.into()))?,
            b'M' => self.push(Value::Integer(u16::from_le_bytes(input.bytes()?).into()))?,
            0x8a => {
                let value = input.long()?;
                self.push(Value::Integer(value))?;
            }
            // BINFLOAT
            b'G' => {
                input.bytes::<8>()?;
                self.push(Value::Opaque)?;
            }
            // BINUNICODE, SHORT_BINUNICODE
            b'X' => {
                let length = u32::from_le_bytes(input.bytes()?);
                let text = input.text(length.into())?;
                self.push(Value::Text(text))?;
            }
            0x8c => {
                let length = input.byte()?;
                let text = input.text(length.into())?;
                self.push(Value::Text(text))?;
            }
            // BINSTRING, SHORT_BINSTRING, BINBYTES, SHORT_BINBYTES: bytes, which tell nothing.
            b'T' | b'B' => {
                let length = u32::from_le_bytes(input.bytes()?);
                self.skip(length.into(), input)?;
            }
            b'U' | b'C' => {
                let length = input.byte()?;
                self.skip(length.into(), input)?;
            }
            // EMPTY_TUPLE, TUPLE, TUPLE1, TUPLE2, TUPLE3
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items))?;
            }
            0x85..=0x87 => {
                let mut items =
                    (0..=code - 0x85).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                self.push(Value::Tuple(items))?;
            }
            // EMPTY_LIST, LIST, APPEND, APPENDS
            b']' => self.push(Value::List(Vec::new()))?,
            b'l' => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dict(pairs(&items)))?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![(key, value)])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set(pairs(&items))?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE
            b'q' => self.memoize(input.byte()?.into())?,
            b'r' => self.memoize(u32::from_le_bytes(input.bytes()?))?,
            0x94 => self.memoize(u32::try_from(self.memo.len()).unwrap_or(u32::MAX))?,
            // BINGET, LONG_BINGET
            b'h' => self.recall(input.byte()?.into())?,
            b'j' => self.recall(u32::from_le_bytes(input.bytes()?))?,
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (input.line()?, input.line()?);
                self.name(&module, &name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (name, module) = (self.text(name)?.to_owned(), self.text(module)?.to_owned());
                self.name(&module, &name)?;
            }
            // BINPERSID, REDUCE, NEWOBJ, BUILD
            b'Q' => self.storage()?,
            b'R' => self.call()?,
            0x81 => self.new_object()?,
            b'b' => self.build()?,
            _ => {
                return Err(PickleProblem::Forbidden(format!(
                    "the instruction {} at byte {place}",
                    value::instruction(code)
                )));
            }
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Result<(), PickleProblem> {
        if self.values.len() >= MAX_VALUES {
            return Err(PickleProblem::Invalid(format!("it holds more than {MAX_VALUES} values")));
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, PickleProblem> {
        let below = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= below {
            return Err(broken("it takes a value that is not there"));
        }
        self.stack.pop().ok_or_else(|| broken("it takes a value that is not there"))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, PickleProblem> {
        let mark =
            self.marks.pop().ok_or_else(|| broken("it returns to a mark that is not there"))?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Result<&mut Value, PickleProblem> {
        let id = self.stack.last().copied();
        id.and_then(|id| self.values.get_mut(id))
            .ok_or_else(|| broken("it changes a value that is not there"))
    }

    fn skip<R: Read>(&mut self, length: u64, input: &mut Input<R>) -> Result<(), PickleProblem> {
        for _ in 0..length {
            input.byte()?;
        }
        self.push(Value::Opaque)
    }

    fn append(&mut self, mut items: Vec<Id>) -> Result<(), PickleProblem> {
        match self.top()? {
            Value::List(list) => list.append(&mut items),
            Value::Opaque => {}
            _ => return Err(broken("it appends to something that is no list")),
        }
        Ok(())
    }

    fn set(&mut self, mut items: Vec<(Id, Id)>) -> Result<(), PickleProblem> {
        match self.top()? {
            Value::Dict(dict) => dict.append(&mut items),
            Value::Opaque => {}
            _ => return Err(broken("it sets a key of something that has none")),
        }
        Ok(())
    }

    fn memoize(&mut self, number: u32) -> Result<(), PickleProblem> {
        let id = *self.stack.last().ok_or_else(|| broken("it remembers nothing"))?;
        self.memo.insert(number, id);
        Ok(())
    }

    fn recall(&mut self, number: u32) -> Result<(), PickleProblem> {
        let id =
            self.memo.get(&number).ok_or_else(|| broken("it recalls what it did not remember"))?;
        if self.stack.len() >= MAX_VALUES {
            return Err(broken("its stack is too high"));
        }
        self.stack.push(*id);
        Ok(())
    }

    fn name(&mut self, module: &str, name: &str) -> Result<(), PickleProblem> {
        match value::named(module, name) {
            Some(known) => self.push(Value::Name(known)),
            None => Err(PickleProblem::Forbidden(format!(
                "`{}.{}`",
                module.escape_default(),
                name.escape_default()
            ))),
        }
    }

    fn text(&self, id: Id) -> Result<&str, PickleProblem> {
        match &self.values[id] {
            Value::Text(text) => Ok(text),
            _ => Err(broken("a text stands elsewhere than expected")),
        }
    }

    fn tuple(&self, id: Id) -> Result<&[Id], PickleProblem> {
        match &self.values[id] {
            Value::Tuple(items) => Ok(items),
            _ => Err(broken("a tuple stands elsewhere than expected")),
        }
    }

    fn count(&self, id: Id) -> Result<u64, PickleProblem> {
        match &self.values[id] {
            Value::Integer(number) => {
                u64::try_from(*number).map_err(|_| broken("a count is negative or too large"))
            }
            _ => Err(broken("a count stands elsewhere than expected")),
        }
    }

    fn counts(&self, id: Id) -> Result<Vec<usize>, PickleProblem> {
        const MAX_DIMENSIONS: usize = 8;
        let items = self.tuple(id)?;
        if items.len() > MAX_DIMENSIONS {
            return Err(broken("a tensor has more than 8 dimensions"));
        }
        items.iter().map(|&item| self.count(item).map(|count| count as usize)).collect()
    }

    /// BINPERSID: `("storage", type, name, device, elements)`.
    fn storage(&mut self) -> Result<(), PickleProblem> {
        let id = self.pop()?;
        let (kind, dtype, name, elements) = match self.tuple(id)? {
            [kind, dtype, name, _, elements] => (*kind, *dtype, *name, *elements),
            // Written before 2020, with the place in another storage last, which is none.
            [kind, dtype, name, _, elements, view] if self.values[*view] == Value::None => {
                (*kind, *dtype, *name, *elements)
            }
            _ => return Err(broken("a storage is described in an unknown way")),
        };
        if self.text(kind)? != "storage" {
            return Err(broken("it speaks of something outside that is no storage"));
        }
        let Value::Name(Name::StorageType(dtype)) = self.values[dtype] else {
            return Err(broken("the type of a storage is none"));
        };
        let name = self.text(name)?.to_owned();
        let storage = Storage { dtype, elements: self.count(elements)? };
        if self.storages.insert(name.clone(), storage).is_some_and(|before| before != storage) {
            return Err(broken("one storage is described in two ways"));
        }
        self.push(Value::Storage(name))
    }

    /// REDUCE: what a call would give, for the calls that stand for tensors.
    fn call(&mut self) -> Result<(), PickleProblem> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Name(function) = self.values[function] else {
            return Err(PickleProblem::Forbidden("a call of something without a name".to_owned()));
        };
        let arguments = self.tuple(arguments)?.to_vec();
        let result = match function {
            Name::RebuildTensor | Name::RebuildTypedTensor => {
                let [storage, offset, shape, strides, rest @ ..] = arguments.as_slice() else {
                    return Err(broken("a tensor lacks its shape"));
                };
                let dtype = match (function, rest) {
                    (Name::RebuildTypedTensor, [_, _, dtype, ..]) => match self.values[*dtype] {
                        Value::Name(Name::ElementType(dtype)) => Some(dtype),
                        _ => return Err(broken("the type of a tensor is none")),
                    },
                    (Name::RebuildTypedTensor, _) => {
                        return Err(broken("a tensor lacks its type"));
                    }
                    _ => None,
                };
                let Value::Storage(storage) = self.values[*storage].clone() else {
                    return Err(broken("a tensor has no storage"));
                };
                Value::Tensor(Tensor {
                    storage,
                    dtype,
                    offset: self.count(*offset)?,
                    shape: self.counts(*shape)?,
                    strides: self.counts(*strides)?,
                })
            }
            Name::RebuildParameter => {
                let tensor = arguments.first().ok_or_else(|| broken("a parameter is empty"))?;
                self.stack.push(*tensor);
                return Ok(());
            }
            Name::OrderedDict => {
                let items = match arguments.first().map(|&first| self.values[first].clone()) {
                    Some(Value::List(items)) => items,
                    _ => Vec::new(),
                };
                let pairs = items.iter().map(|&item| match self.tuple_or_list(item) {
                    Some([key, value]) => Ok((*key, *value)),
                    _ => Err(broken("an ordered dictionary is made of something else than pairs")),
                });
                Value::Dict(pairs.collect::<Result<_, _>>()?)
            }
            Name::Size => {
                let sizes = arguments.first().ok_or_else(|| broken("a size is empty"))?;
                self.stack.push(*sizes);
                return Ok(());
            }
            Name::Inert => Value::Opaque,
            Name::StorageType(_) | Name::ElementType(_) | Name::ParameterDict => {
                return Err(PickleProblem::Forbidden("a call of a type".to_owned()));
            }
        };
        self.push(result)
    }

    fn tuple_or_list(&self, id: Id) -> Option<&[Id]> {
        match &self.values[id] {
            Value::Tuple(items) | Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// NEWOBJ: the same for a class.
    fn new_object(&mut self) -> Result<(), PickleProblem> {
        let (_, class) = (self.pop()?, self.pop()?);
        match self.values[class] {
            Value::Name(Name::OrderedDict | Name::ParameterDict) => {
                self.push(Value::Dict(Vec::new()))
            }
            Value::Name(Name::Inert) => self.push(Value::Opaque),
            _ => Err(PickleProblem::Forbidden("an object of another class".to_owned())),
        }
    }

    /// BUILD: attributes. Those of a dictionary (`state_dict()._metadata`) tell nothing about
    /// tensors, but for `_parameters`.
    fn build(&mut self) -> Result<(), PickleProblem> {
        let state = self.pop()?;
        let parameters = match &self.values[state] {
            Value::Dict(entries) => entries.iter().find_map(|&(key, value)| {
                let is_named =
                    matches!(&self.values[key], Value::Text(key) if key == "_parameters");
                match &self.values[value] {
                    Value::Dict(parameters) if is_named => Some(parameters.clone()),
                    _ => None,
                }
            }),
            _ => None,
        };
        match self.top()? {
            Value::Dict(entries) => entries.extend(parameters.unwrap_or_default()),
            Value::Opaque | Value::Tensor(_) => {}
            _ => return Err(PickleProblem::Forbidden("attributes of another object".to_owned())),
        }
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}
