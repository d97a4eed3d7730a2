//! Payloads: JSON values cut into content-addressed nodes, so that what repeats is stored once.
//!
//! A value longer than [`INLINE_BYTES`] becomes a node of its own and its parent holds a reference
//! `{"$plumb": "<hash>"}`. A long array becomes a chain: each node holds a few items and the hash of
//! the node before it. The chunks are cut from the front, so a list and the same list with one more
//! item share every node but the last: a conversation of n messages costs O(n) bytes, however many
//! steps carry it as their input. The format is described in `docs/reference/journal-format.md`.
//!
//! What it does not do: it does not touch the store; see `store` for where nodes are kept.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::list::Captured;

#[cfg(test)]
mod tests;

/// A BLAKE3 hash.
pub(crate) type Hash = [u8; 32];

/// A longer value becomes a node of its own.
pub(crate) const INLINE_BYTES: usize = 256;
/// The result of a step stays in its event up to here: most are seen once, and reading a run again
/// needs all of them.
const INLINE_RESULT_BYTES: usize = 1536;
/// The field of an event's body that has a step's result.
const RESULT: &str = "output";
/// Strings are only cut out of their object when longer than this: a message stays one node. As an
/// item of an array a string is a message itself.
const INLINE_STRING_BYTES: usize = 4096;
/// A node of a list is full as soon as its items take this many bytes.
const CHUNK_BYTES: usize = 256;
/// Arrays and objects may be nested so deep; JSON readers, serde_json's among them, stop at 128.
const DEEPEST: usize = 100;
/// Nothing that was written goes deeper: a list stands in an input, and its items count for themselves.
/// What is read is held to it, so that no file can exhaust the stack of whoever reads it.
pub(crate) const MOST_DEPTH: usize = 256;
/// Bytes that quotes and escaped characters of a string are expected to add.
const ESCAPES: usize = 64;
/// The key of a reference. Keys of the user that look like it get one more `$`.
const REFERENCE: &str = "$plumb";

/// What a node's text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    /// One JSON value, possibly with references.
    Value,
    /// `[hash of the previous node or null, item, ...]`.
    List,
}

impl NodeKind {
    /// The number in the database.
    pub(crate) fn code(self) -> i64 {
        match self {
            NodeKind::Value => 0,
            NodeKind::List => 1,
        }
    }

    /// The kind with this number.
    pub(crate) fn from_code(code: i64) -> Option<NodeKind> {
        [NodeKind::Value, NodeKind::List]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// A piece of a payload, addressed by its hash.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) hash: Hash,
    pub(crate) kind: NodeKind,
    pub(crate) text: Vec<u8>,
}

/// A value cut into nodes: its own text and the nodes that it refers to, directly or not.
#[derive(Default)]
pub(crate) struct Encoded<'a> {
    pub(crate) text: Vec<u8>,
    pub(crate) nodes: Vec<Node>,
    lists: &'a [Captured],
    /// Nothing is cut out.
    whole: bool,
    /// How deep in arrays and objects this is.
    depth: usize,
}

/// The hash that addresses a node.
pub(crate) fn hash_of(kind: NodeKind, text: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(match kind {
        NodeKind::Value => b"v",
        NodeKind::List => b"l",
    });
    hasher.update(text);
    *hasher.finalize().as_bytes()
}

/// A hash as text.
pub(crate) fn hex(hash: &Hash) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

/// A hash from its text.
pub(crate) fn from_hex(text: &str) -> Option<Hash> {
    blake3::Hash::from_hex(text)
        .ok()
        .map(|hash| *hash.as_bytes())
}

/// Cuts the fields of an event's body into nodes; the body itself stays whole and short. `lists` are
/// those that were captured in it.
pub(crate) fn encode<'a>(
    body: &Map<String, Value>,
    lists: &'a [Captured],
) -> serde_json::Result<Encoded<'a>> {
    let mut encoded = Encoded {
        lists,
        ..Encoded::default()
    };
    let mut text = Vec::with_capacity(INLINE_BYTES);
    text.push(b'{');
    for (index, (key, value)) in body.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        write_key(key, &mut text)?;
        let start = text.len();
        if key == RESULT {
            encoded.whole = true;
            encoded.write(value, &mut text)?;
            encoded.whole = false;
            if text.len() - start <= INLINE_RESULT_BYTES {
                continue;
            }
            text.truncate(start);
        }
        encoded.write(value, &mut text)?;
        encoded.cut(start, INLINE_BYTES, &mut text);
    }
    text.push(b'}');
    encoded.text = text;
    Ok(encoded)
}

/// Whether a value can be written: it may not be nested too deep.
pub(crate) fn check_depth(value: &Value) -> serde_json::Result<()> {
    fn depth(value: &Value, above: usize) -> usize {
        match value {
            _ if above > DEEPEST => above,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => above,
            Value::Array(items) => deepest(items.iter(), above),
            Value::Object(fields) => deepest(fields.values(), above),
        }
    }
    fn deepest<'a>(values: impl Iterator<Item = &'a Value>, above: usize) -> usize {
        let depths = values.map(|value| depth(value, above + 1));
        depths.max().unwrap_or(above)
    }
    if depth(value, 0) > DEEPEST {
        return Err(too_deep());
    }
    Ok(())
}

fn too_deep() -> serde_json::Error {
    let message = format!("it is nested more than {DEEPEST} deep");
    serde::ser::Error::custom(message)
}

impl Encoded<'_> {
    /// Writes a value, cutting out what is long.
    fn write(&mut self, value: &Value, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let start = out.len();
        if self.depth > DEEPEST {
            return Err(too_deep());
        }
        self.depth += 1;
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => serde_json::to_writer(out, value)?,
            Value::String(text) => {
                // It is written in many pieces: from one escaped character to the next.
                out.reserve(text.len() + ESCAPES);
                serde_json::to_writer(&mut *out, text)?;
                self.cut(start, INLINE_STRING_BYTES, out);
            }
            Value::Object(fields) => {
                if let Some(list) = Captured::find(fields, self.lists) {
                    list.write(out, &mut self.nodes)?;
                    self.depth -= 1;
                    return Ok(());
                }
                out.push(b'{');
                for (index, (key, field)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_key(key, out)?;
                    self.write(field, out)?;
                }
                out.push(b'}');
                self.cut(start, INLINE_BYTES, out);
            }
            Value::Array(items) => self.write_array(items, out)?,
        }
        self.depth -= 1;
        Ok(())
    }

    /// Writes an array: in place when it is short, else as a chain.
    fn write_array(&mut self, items: &[Value], out: &mut Vec<u8>) -> serde_json::Result<()> {
        if self.whole {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                self.write(item, out)?;
            }
            out.push(b']');
            return Ok(());
        }
        let mut chain = Chain::default();
        for item in items {
            chain.begin_item();
            let from = chain.tail.len();
            self.write(item, &mut chain.tail)?;
            if item.is_string() {
                self.cut(from, INLINE_BYTES, &mut chain.tail);
            }
            chain.end_item(&mut self.nodes);
        }
        let (text, last) = chain.close();
        out.extend_from_slice(&text);
        self.nodes.extend(last);
        Ok(())
    }

    /// Replaces what stands in `out` from `start` on by a reference, when it is longer than `limit`.
    fn cut(&mut self, start: usize, limit: usize, out: &mut Vec<u8>) {
        if !self.whole && out.len() - start > limit {
            let text = out.split_off(start);
            let hash = self.push(NodeKind::Value, text);
            write_reference(&hash, out);
        }
    }

    fn push(&mut self, kind: NodeKind, text: Vec<u8>) -> Hash {
        let hash = hash_of(kind, &text);
        self.nodes.push(Node { hash, kind, text });
        hash
    }
}

/// An array on its way into nodes: a chain of chunks, cut from the front.
#[derive(Clone, Default)]
pub(crate) struct Chain {
    /// The last chunk that is full.
    head: Option<Hash>,
    /// The items after it, with commas between them.
    tail: Vec<u8>,
}

impl Chain {
    /// Adds an item; adds the nodes that are complete by it.
    pub(crate) fn push(&mut self, item: &Value, nodes: &mut Vec<Node>) -> serde_json::Result<()> {
        let mut encoded = Encoded::default();
        let before = self.tail.len();
        self.begin_item();
        let from = self.tail.len();
        if let Err(error) = encoded.write(item, &mut self.tail) {
            self.tail.truncate(before);
            return Err(error);
        }
        if item.is_string() {
            encoded.cut(from, INLINE_BYTES, &mut self.tail);
        }
        nodes.append(&mut encoded.nodes);
        self.end_item(nodes);
        Ok(())
    }

    fn begin_item(&mut self) {
        if !self.tail.is_empty() {
            self.tail.push(b',');
        }
    }

    fn end_item(&mut self, nodes: &mut Vec<Node>) {
        if self.tail.len() >= CHUNK_BYTES {
            let node = self.chunk();
            self.head = Some(node.hash);
            self.tail.clear();
            nodes.push(node);
        }
    }

    /// What stands for the array so far, and the node of the chunk that is not full.
    pub(crate) fn close(&self) -> (Vec<u8>, Option<Node>) {
        let mut text = Vec::new();
        match &self.head {
            None if self.tail.len() + 2 <= INLINE_BYTES => {
                text.push(b'[');
                text.extend_from_slice(&self.tail);
                text.push(b']');
                (text, None)
            }
            Some(head) if self.tail.is_empty() => {
                write_reference(head, &mut text);
                (text, None)
            }
            _ => {
                let last = self.chunk();
                write_reference(&last.hash, &mut text);
                (text, Some(last))
            }
        }
    }

    /// The chain whose last node is this one, to be gone on with.
    fn ending_with(node: &Node) -> Option<Chain> {
        let text = node.text.strip_prefix(b"[")?.strip_suffix(b"]")?;
        let (head, tail) = match text.strip_prefix(b"null,") {
            Some(tail) => (None, tail),
            None => {
                let (hash, tail) = text.strip_prefix(b"\"")?.split_at_checked(64)?;
                let head = from_hex(std::str::from_utf8(hash).ok()?)?;
                (Some(head), tail.strip_prefix(b"\",")?)
            }
        };
        let is_full = tail.len() >= CHUNK_BYTES;
        Some(match is_full {
            true => Chain {
                head: Some(node.hash),
                tail: Vec::new(),
            },
            false => Chain {
                head,
                tail: tail.to_vec(),
            },
        })
    }

    /// The node of the items after the last full chunk.
    fn chunk(&self) -> Node {
        let mut text = match &self.head {
            Some(hash) => format!("[\"{}\",", hex(hash)).into_bytes(),
            None => b"[null,".to_vec(),
        };
        text.extend_from_slice(&self.tail);
        text.push(b']');
        let kind = NodeKind::List;
        Node {
            hash: hash_of(kind, &text),
            kind,
            text,
        }
    }
}

/// Whether a user's key has to be told apart from a reference: `$plumb`, `$$plumb`, ...
fn looks_like_reference(key: &str) -> bool {
    key.ends_with(REFERENCE)
        && key
            .bytes()
            .take(key.len() - REFERENCE.len())
            .all(|byte| byte == b'$')
}

fn write_key(key: &str, out: &mut Vec<u8>) -> serde_json::Result<()> {
    if looks_like_reference(key) {
        serde_json::to_writer(&mut *out, &format!("${key}"))?;
    } else {
        serde_json::to_writer(&mut *out, key)?;
    }
    out.push(b':');
    Ok(())
}

fn write_reference(hash: &Hash, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"{REFERENCE}\":\"{}\"}}", hex(hash)).as_bytes());
}

/// Whether a text may refer to nodes; `false` is certain.
pub(crate) fn has_references(text: &str) -> bool {
    // Most texts have no such character, which is found out quickly.
    text.as_bytes().contains(&b'$') && text.contains("\"$plumb\"")
}

/// Where nodes come from when a value is put together again. The error is the reader's own.
pub(crate) trait Nodes {
    /// What can go wrong.
    type Error;
    /// The node with this hash, its text already checked against the hash.
    fn node(&mut self, hash: &Hash) -> Result<Node, Self::Error>;
    /// The error for a text that is not what [`encode`] writes.
    fn malformed(&self, what: String) -> Self::Error;
}

/// Puts an event's body together again: the opposite of [`encode`].
pub(crate) fn decode<N: Nodes>(text: &[u8], nodes: &mut N) -> Result<Map<String, Value>, N::Error> {
    match parse(text, nodes)? {
        Value::Object(fields) => {
            let mut body = Map::with_capacity(fields.len());
            for (key, mut value) in fields {
                resolve(&mut value, 1, nodes)?;
                body.insert(plain_key(key), value);
            }
            Ok(body)
        }
        _ => Err(nodes.malformed("the event's body is not an object".to_string())),
    }
}

/// One field of an event's body, without reading the others' nodes.
pub(crate) fn decode_field<N: Nodes>(
    text: &str,
    field: &str,
    nodes: &mut N,
) -> Result<Option<Value>, N::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = Field(field)
        .deserialize(&mut reader)
        .and_then(|found| reader.end().map(|()| found))
        .map_err(|error| nodes.malformed(format!("not JSON: {error}")))?;
    match found {
        // Most bodies refer to nothing, and have no key that had to be told apart.
        Some(mut value) if text.as_bytes().contains(&b'$') => {
            resolve(&mut value, 1, nodes)?;
            Ok(Some(value))
        }
        found => Ok(found),
    }
}

/// The chunks of a list in the input of an event with this body. `input` is the same input with a mark
/// where the list stands. None: they have to be made again.
pub(crate) fn chain_in<N: Nodes>(
    body: &str,
    input: &Value,
    is_list: &dyn Fn(&Map<String, Value>) -> bool,
    nodes: &mut N,
) -> Result<Option<Chain>, N::Error> {
    match parse(body.as_bytes(), nodes)? {
        Value::Object(mut fields) => match fields.remove("input") {
            Some(recorded) => find_chain(recorded, input, is_list, nodes),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

fn find_chain<N: Nodes>(
    mut recorded: Value,
    input: &Value,
    is_list: &dyn Fn(&Map<String, Value>) -> bool,
    nodes: &mut N,
) -> Result<Option<Chain>, N::Error> {
    let Value::Object(fields) = input else {
        return Ok(None);
    };
    let reference = recorded.get(REFERENCE).and_then(Value::as_str);
    if let Some(hash) = reference.and_then(from_hex) {
        let node = nodes.node(&hash)?;
        match node.kind {
            NodeKind::List if is_list(fields) => return Ok(Chain::ending_with(&node)),
            NodeKind::List => return Ok(None),
            NodeKind::Value => recorded = parse(&node.text, nodes)?,
        }
    }
    for (key, field) in fields {
        if let Some(recorded) = recorded.get_mut(key)
            && let Some(chain) = find_chain(recorded.take(), field, is_list, nodes)?
        {
            return Ok(Some(chain));
        }
    }
    Ok(None)
}

/// Reads one field of an object and passes over the others.
struct Field<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Option<Value>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the body of an event, an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = fields.next_key::<String>()? {
            if key == self.0 {
                found = Some(fields.next_value()?);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

fn parse<N: Nodes>(text: &[u8], nodes: &N) -> Result<Value, N::Error> {
    serde_json::from_slice(text).map_err(|error| nodes.malformed(format!("not JSON: {error}")))
}

fn plain_key(key: String) -> String {
    if looks_like_reference(&key) {
        key[1..].to_string()
    } else {
        key
    }
}

/// Replaces references by what they refer to. `above` is how many arrays and objects this stands in.
fn resolve<N: Nodes>(value: &mut Value, above: usize, nodes: &mut N) -> Result<(), N::Error> {
    if above > MOST_DEPTH {
        let what = format!("it goes deeper than {MOST_DEPTH} arrays and objects");
        return Err(nodes.malformed(what));
    }
    while let Some(target) = value.get(REFERENCE) {
        let hash = target.as_str().and_then(from_hex);
        *value = match hash.filter(|_| value.as_object().is_some_and(|all| all.len() == 1)) {
            Some(hash) => load(&hash, nodes)?,
            None => return Err(nodes.malformed(format!("not a reference: {target}"))),
        };
    }
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        Value::Array(items) => {
            for item in items {
                resolve(item, above + 1, nodes)?;
            }
        }
        Value::Object(fields) => {
            if fields.keys().any(|key| looks_like_reference(key)) {
                let all = std::mem::take(fields).into_iter();
                *fields = all.map(|(key, field)| (plain_key(key), field)).collect();
            }
            for field in fields.values_mut() {
                resolve(field, above + 1, nodes)?;
            }
        }
    }
    Ok(())
}

/// Reads the node with this hash and, for a list, all the nodes before it; what they refer to is left.
fn load<N: Nodes>(hash: &Hash, nodes: &mut N) -> Result<Value, N::Error> {
    let mut node = nodes.node(hash)?;
    if node.kind == NodeKind::Value {
        return parse(&node.text, nodes);
    }
    let mut chunks = Vec::new();
    loop {
        let Value::Array(mut items) = parse(&node.text, nodes)? else {
            return Err(nodes.malformed("a list node is not an array".to_string()));
        };
        if items.is_empty() {
            return Err(nodes.malformed("a list node is empty".to_string()));
        }
        let previous = items.remove(0);
        chunks.push(items);
        match previous {
            Value::Null => break,
            Value::String(text) => match from_hex(&text) {
                Some(hash) => node = nodes.node(&hash)?,
                None => return Err(nodes.malformed(format!("not a hash: {text}"))),
            },
            other => return Err(nodes.malformed(format!("not a hash: {other}"))),
        }
    }
    Ok(Value::Array(chunks.into_iter().rev().flatten().collect()))
}

/// What a text refers to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Links {
    /// Hashes of nodes, with how deep the reference to each stands in arrays and objects; the node
    /// before this one in a list counts as standing outside.
    pub(crate) hashes: Vec<(Hash, usize)>,
    /// How deep the text's own arrays and objects go.
    pub(crate) depth: usize,
}

/// What a node, or an event's body, refers to. The error says what is not as [`encode`] writes it.
pub(crate) fn links(kind: NodeKind, text: &str) -> Result<Links, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let mut links = Links::default();
    let value = match (kind, value) {
        (NodeKind::Value, value) => value,
        (NodeKind::List, Value::Array(mut items)) if !items.is_empty() => {
            match items.remove(0) {
                Value::Null => {}
                Value::String(text) => match from_hex(&text) {
                    Some(hash) => links.hashes.push((hash, 0)),
                    None => return Err(format!("not a hash: {text}")),
                },
                other => return Err(format!("not a hash: {other}")),
            }
            Value::Array(items)
        }
        (NodeKind::List, _) => return Err("a list node is no array with items".to_string()),
    };
    links.gather(&value, 0)?;
    Ok(links)
}

impl Links {
    fn gather(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        self.depth = self.depth.max(depth);
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            Value::Array(items) => {
                self.depth = self.depth.max(depth + 1);
                for item in items {
                    self.gather(item, depth + 1)?;
                }
            }
            Value::Object(fields) => {
                if let Some(target) = fields.get(REFERENCE) {
                    let hash = target.as_str().and_then(from_hex);
                    match hash.filter(|_| fields.len() == 1) {
                        Some(hash) => self.hashes.push((hash, depth)),
                        None => return Err(format!("not a reference: {target}")),
                    }
                    return Ok(());
                }
                self.depth = self.depth.max(depth + 1);
                for field in fields.values() {
                    self.gather(field, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

/// Calls `each` for everything in a text that may be the hash of a node: whatever stands in quotation
/// marks and has 64 hexadecimal digits. Finds too much rather than too little, in damaged texts too.
pub(crate) fn each_hash<E>(
    text: &[u8],
    mut each: impl FnMut(&Hash) -> Result<(), E>,
) -> Result<(), E> {
    const DIGITS: usize = 64;
    let mut rest = text;
    while let Some(place) = rest.iter().position(|byte| *byte == b'"') {
        rest = rest.get(place + 1..).unwrap_or_default();
        if rest.get(DIGITS) != Some(&b'"') {
            continue;
        }
        let digits = rest
            .get(..DIGITS)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(hash) = digits.and_then(from_hex) {
            each(&hash)?;
        }
    }
    Ok(())
}
