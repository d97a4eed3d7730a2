//! The header of a GGUF file: what a model is and how large its parts are, without loading it.
//!
//! Only what the estimate of memory needs is kept; everything else is read past. A file comes from
//! anywhere, so every length in it is held against what is left of the file before it is believed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use crate::store::file_error;
use crate::{Error, Result};

/// The longest text that is kept; longer ones, such as chat templates, are read past.
const LONGEST_TEXT: u64 = 256;
/// The most numbers of a list that are kept: one for each layer of a model.
const LONGEST_LIST: u64 = 1024;

/// A value of the header.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(f64),
    Text(String),
    /// Numbers, one for each layer.
    Numbers(Vec<f64>),
    /// How many there are of what is not kept.
    Count(u64),
}

/// What the header of a GGUF file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The length of the file in bytes: about what the weights take.
    pub bytes: u64,
    values: BTreeMap<String, Value>,
}

impl Header {
    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::Setting`] when it is no GGUF file.
    pub fn read(path: &Path) -> Result<Header> {
        let io = |error| file_error(path, error);
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let mut reader = Reader {
            source: BufReader::new(file),
            left: bytes,
        };
        match reader.header() {
            Ok(values) => Ok(Header { bytes, values }),
            Err(message) => Err(Error::Setting {
                message: format!("{} is no GGUF file: {message}", path.display()),
                hint: "fetch it again, or name another file".to_owned(),
            }),
        }
    }

    /// The family of models, such as `qwen2`.
    pub fn architecture(&self) -> &str {
        self.text("general.architecture").unwrap_or_default()
    }

    /// Whether the file is an adapter and no model.
    pub fn is_adapter(&self) -> bool {
        self.text("general.type") == Some("adapter")
    }

    /// The longest context that the model was trained for, in tokens.
    pub fn context_tokens(&self) -> Option<u32> {
        self.number("context_length").map(|tokens| tokens as u32)
    }

    /// How many layers it has.
    pub fn layers(&self) -> u64 {
        self.number("block_count").unwrap_or(0)
    }

    /// How many tokens its vocabulary has.
    pub fn vocabulary(&self) -> u64 {
        match self.values.get("tokenizer.ggml.tokens") {
            Some(Value::Count(count)) => *count,
            _ => self.number("vocab_size").unwrap_or(0),
        }
    }

    /// The width of its layers, of their inner part, and how many heads attend.
    pub fn widths(&self) -> [u64; 3] {
        [
            "embedding_length",
            "feed_forward_length",
            "attention.head_count",
        ]
        .map(|name| self.number(name).unwrap_or(0))
    }

    /// The numbers that the key-value cache keeps for each token, over all layers.
    pub fn cache_width(&self) -> u64 {
        let [width, _, heads] = self.widths();
        let head = width.checked_div(heads).unwrap_or(0);
        let key = self.number("attention.key_length").unwrap_or(head);
        let value = self.number("attention.value_length").unwrap_or(head);
        let heads: u64 = match self.own("attention.head_count_kv") {
            Some(Value::Numbers(layers)) => layers.iter().map(|heads| *heads as u64).sum(),
            _ => self.number("attention.head_count_kv").unwrap_or(heads) * self.layers(),
        };
        heads * (key + value)
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value called `name` of the model's own family.
    fn own(&self, name: &str) -> Option<&Value> {
        self.values.get(&format!("{}.{name}", self.architecture()))
    }

    /// A number of the model's own family; of several layers the largest.
    fn number(&self, name: &str) -> Option<u64> {
        match self.own(name)? {
            Value::Number(number) => Some(*number as u64),
            Value::Numbers(layers) => layers.iter().map(|number| *number as u64).max(),
            Value::Text(_) | Value::Count(_) => None,
        }
    }
}

/// The kinds of values, by their numbers in the file.
const TEXT: u32 = 8;
const LIST: u32 = 9;

type Read_<T> = std::result::Result<T, String>;

struct Reader<R> {
    source: R,
    /// Bytes of the file that were not read yet.
    left: u64,
}

impl<R: Read + Seek> Reader<R> {
    fn header(&mut self) -> Read_<BTreeMap<String, Value>> {
        if &self.bytes::<4>()? != b"GGUF" {
            return Err("it does not begin as one".to_owned());
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("version {version} is not known"));
        }
        let _tensors = self.u64()?;
        let count = self.u64()?;
        let mut values = BTreeMap::new();
        for _ in 0..count {
            let length = self.u64()?;
            let name = self.text(length)?;
            let kind = self.u32()?;
            let value = self.value(kind)?;
            // Several ones of a name are an error of the file, and which counts does not matter here.
            values.insert(name.unwrap_or_default(), value);
        }
        Ok(values)
    }

    fn value(&mut self, kind: u32) -> Read_<Value> {
        if kind == TEXT {
            let length = self.u64()?;
            let text = self.text(length)?;
            return Ok(text.map_or(Value::Count(length), Value::Text));
        }
        if kind != LIST {
            return self.number(kind).map(Value::Number);
        }
        let kind = self.u32()?;
        let count = self.u64()?;
        if kind == LIST {
            return Err("lists of lists are not known".to_owned());
        }
        if kind == TEXT {
            for _ in 0..count {
                let length = self.u64()?;
                self.skip(length)?;
            }
            return Ok(Value::Count(count));
        }
        if count > LONGEST_LIST {
            let bytes = count.checked_mul(width(kind)?);
            self.skip(bytes.ok_or("a list is too long")?)?;
            return Ok(Value::Count(count));
        }
        let numbers = (0..count).map(|_| self.number(kind));
        numbers.collect::<Read_<Vec<f64>>>().map(Value::Numbers)
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
    fn number(&mut self, kind: u32) -> Read_<f64> {
        Ok(match kind {
            0 | 7 => self.bytes::<1>()?[0].into(),
            1 => i8::from_le_bytes(self.bytes()?).into(),
            2 => u16::from_le_bytes(self.bytes()?).into(),
            3 => i16::from_le_bytes(self.bytes()?).into(),
            4 => self.u32()?.into(),
            5 => i32::from_le_bytes(self.bytes()?).into(),
            6 => f32::from_le_bytes(self.bytes()?).into(),
            10 => self.u64()? as f64,
            11 => i64::from_le_bytes(self.bytes()?) as f64,
            12 => f64::from_le_bytes(self.bytes()?),
            other => return Err(format!("values of kind {other} are not known")),
        })
    }

    /// The text of `length` bytes; none where it is not worth keeping.
    fn text(&mut self, length: u64) -> Read_<Option<String>> {
        if length > LONGEST_TEXT {
            self.skip(length)?;
            return Ok(None);
        }
        self.take(length)?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        let read = self.source.read_exact(&mut bytes);
        read.map_err(|error| error.to_string())?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn skip(&mut self, length: u64) -> Read_<()> {
        self.take(length)?;
        let length = i64::try_from(length).map_err(|error| error.to_string())?;
        let moved = self.source.seek_relative(length);
        moved.map_err(|error| error.to_string())
    }

    fn u32(&mut self) -> Read_<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Read_<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn bytes<const N: usize>(&mut self) -> Read_<[u8; N]> {
        self.take(N as u64)?;
        let mut bytes = [0; N];
        let read = self.source.read_exact(&mut bytes);
        read.map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    /// Counts what is about to be read.
    fn take(&mut self, length: u64) -> Read_<()> {
        let left = self.left.checked_sub(length);
        self.left = left.ok_or("it ends within its header")?;
        Ok(())
    }
}

/// How many bytes a number takes.
fn width(kind: u32) -> Read_<u64> {
    match kind {
        0 | 1 | 7 => Ok(1),
        2 | 3 => Ok(2),
        4..=6 => Ok(4),
        10..=12 => Ok(8),
        other => Err(format!("values of kind {other} are not known")),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
pub(crate) mod tests {
    use super::*;

    /// The bytes of a header with these values, each a name, a kind and its bytes.
    pub(crate) fn written(values: &[(&str, u32, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend((values.len() as u64).to_le_bytes());
        for (name, kind, value) in values {
            bytes.extend(text(name));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(value);
        }
        bytes
    }

    pub(crate) fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    pub(crate) fn number(number: u32) -> Vec<u8> {
        number.to_le_bytes().to_vec()
    }

    fn list(kind: u32, count: u64, items: Vec<u8>) -> Vec<u8> {
        [
            kind.to_le_bytes().to_vec(),
            count.to_le_bytes().to_vec(),
            items,
        ]
        .concat()
    }

    pub(crate) fn small() -> Vec<u8> {
        let words = ["a", "bc", "def"].map(text).concat();
        let types = vec![1_u8; 8000];
        written(&[
            ("general.architecture", TEXT, text("tiny")),
            ("tiny.context_length", 4, number(2048)),
            ("tiny.block_count", 4, number(3)),
            ("tiny.embedding_length", 4, number(64)),
            ("tiny.feed_forward_length", 4, number(128)),
            ("tiny.attention.head_count", 4, number(4)),
            (
                "tiny.attention.head_count_kv",
                LIST,
                list(5, 3, [2_i32, 0, 1].map(i32::to_le_bytes).concat()),
            ),
            ("tiny.rope.scale", 6, 1.5_f32.to_le_bytes().to_vec()),
            ("tokenizer.chat_template", TEXT, text(&"x".repeat(5000))),
            ("tokenizer.ggml.tokens", LIST, list(TEXT, 3, words)),
            ("tokenizer.ggml.token_type", LIST, list(1, 8000, types)),
        ])
    }

    fn read(bytes: &[u8]) -> Result<Header> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, bytes).unwrap();
        Header::read(&path)
    }

    #[test]
    fn a_header_says_how_large_a_model_is() {
        let header = read(&small()).unwrap();
        assert_eq!(header.architecture(), "tiny");
        assert_eq!(header.context_tokens(), Some(2048));
        assert_eq!((header.layers(), header.vocabulary()), (3, 3));
        assert_eq!(header.widths(), [64, 128, 4]);
        // Heads of three layers, 16 numbers of a key and 16 of a value each.
        assert_eq!(header.cache_width(), 3 * 32);
        assert!(!header.is_adapter());
    }

    #[test]
    fn a_file_that_is_cut_anywhere_or_lies_about_its_lengths_is_an_error() {
        let whole = small();
        for length in (0..whole.len()).step_by(7) {
            let error = read(&whole[..length]).unwrap_err().to_string();
            assert!(error.contains("is no GGUF file"), "{error}");
        }
        let huge = u64::MAX.to_le_bytes().to_vec();
        for lie in [
            written(&[("a", TEXT, huge.clone())]),
            written(&[("a", LIST, list(TEXT, u64::MAX, Vec::new()))]),
            written(&[("a", LIST, list(12, u64::MAX, Vec::new()))]),
            written(&[("a", LIST, list(LIST, 1, huge))]),
            written(&[("a", 99, Vec::new())]),
        ] {
            assert!(read(&lie).is_err());
        }
    }
}
