//! Fingerprints: what tells whether a step is asked the same as was recorded.
//!
//! A fingerprint is BLAKE3 of the input's canonical text: JSON without white space, the keys of every
//! object in byte order, so that a map without an order of its own always gives the same. A long array
//! stands there as a digest of its items, taken in blocks from the front, so that a [`List`](crate::List)
//! that grows hashes each of its items once.

use serde_json::Value;

use crate::list::Captured;
use crate::payload::{Hash, hex};

/// Bytes of an array's text after which a block is full.
const BLOCK_BYTES: usize = 16 * 1024;

/// The digest of an array, taken as its items come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rolling {
    /// What has not been hashed yet: everything, while the array is short.
    text: Vec<u8>,
    block: Option<Block>,
}

/// The block that is being filled, once the first one is full.
#[derive(Clone, Debug)]
struct Block {
    /// Has taken the digest of the block before, and the first bytes of this one.
    hasher: Box<blake3::Hasher>,
    bytes: usize,
}

impl Block {
    fn after(digest: &Hash) -> Block {
        let mut hasher = Box::new(blake3::Hasher::new());
        hasher.update(digest);
        Block { hasher, bytes: 0 }
    }
}

impl Rolling {
    /// Takes the next item, with the lists that were captured in it.
    pub(crate) fn push(&mut self, item: &Value, lists: &[Captured]) -> serde_json::Result<()> {
        let start = self.text.len();
        if self.block.is_some() || !self.text.is_empty() {
            self.text.push(b',');
        }
        if let Err(error) = canonical(item, lists, &mut self.text) {
            self.text.truncate(start);
            return Err(error);
        }
        let hashed = self.block.as_ref().map_or(0, |block| block.bytes);
        if hashed + self.text.len() >= BLOCK_BYTES {
            let digest = self.digest();
            self.block = Some(Block::after(&digest));
        }
        Ok(())
    }

    /// The digest of everything so far. Hashes what is new and no more.
    fn digest(&mut self) -> Hash {
        let first = || Block::after(&Hash::default());
        let block = self.block.get_or_insert_with(first);
        block.hasher.update(&self.text);
        block.bytes += self.text.len();
        self.text.clear();
        *block.hasher.finalize().as_bytes()
    }

    /// Writes what stands for the array in a canonical text: itself while it is short. No JSON has a
    /// `#` outside of a string.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) {
        if self.block.is_none() {
            out.push(b'[');
            out.extend_from_slice(&self.text);
            out.push(b']');
        } else {
            out.push(b'#');
            out.extend_from_slice(hex(&self.digest()).as_bytes());
        }
    }
}

/// The fingerprint of an input, with the lists that were captured in it.
pub(crate) fn fingerprint(value: &Value, lists: &[Captured]) -> serde_json::Result<Hash> {
    let mut text = Vec::new();
    canonical(value, lists, &mut text)?;
    Ok(*blake3::hash(&text).as_bytes())
}

/// Writes the canonical text of a value.
fn canonical(value: &Value, lists: &[Captured], out: &mut Vec<u8>) -> serde_json::Result<()> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            serde_json::to_writer(out, value)?;
        }
        Value::Array(items) => {
            let mut rolling = Rolling::default();
            for item in items {
                rolling.push(item, lists)?;
            }
            rolling.write(out);
        }
        Value::Object(fields) => {
            if let Some(list) = Captured::find(fields, lists) {
                out.extend_from_slice(list.canonical());
                return Ok(());
            }
            let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, field)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, key)?;
                out.push(b':');
                canonical(field, lists, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// The fingerprint as version 1 of the journal took it: arrays stand there with all their items.
pub(crate) fn fingerprint_v1(value: &Value) -> serde_json::Result<Hash> {
    let mut text = Vec::new();
    canonical_v1(value, &mut text)?;
    Ok(*blake3::hash(&text).as_bytes())
}

fn canonical_v1(value: &Value, out: &mut Vec<u8>) -> serde_json::Result<()> {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                canonical_v1(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, field)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, key)?;
                out.push(b':');
                canonical_v1(field, out)?;
            }
            out.push(b'}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            serde_json::to_writer(out, value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of(value: &Value) -> String {
        hex(&fingerprint(value, &[]).unwrap())
    }

    #[test]
    fn it_does_not_depend_on_the_order_of_keys_and_sees_every_difference() {
        let long: Vec<Value> = (0..5_000).map(|number| json!({"n": number})).collect();
        let mut other = long.clone();
        assert_eq!(
            of(&json!({"a": 1, "b": long})),
            of(&json!({"b": long, "a": 1}))
        );
        other[17] = json!({"n": -17});
        assert_ne!(
            of(&json!({"a": 1, "b": long})),
            of(&json!({"a": 1, "b": other}))
        );
        other.truncate(4_999);
        assert_ne!(of(&json!(long)), of(&json!(other)));
        assert_ne!(of(&json!([[1], 2])), of(&json!([[1, 2]])));
    }

    #[test]
    fn short_inputs_have_the_fingerprint_of_version_1() {
        let value = json!({"b": [1, 2.5, "x#"], "a": {"z": null, "y": true}});
        assert_eq!(
            fingerprint(&value, &[]).unwrap(),
            fingerprint_v1(&value).unwrap()
        );
    }

    proptest! {
        #[test]
        fn another_cut_into_items_is_another_fingerprint(
            items in prop::collection::vec("[a-z,]{0,3000}", 1..30), place in any::<prop::sample::Index>()
        ) {
            let mut other = items.clone();
            let place = place.index(items.len());
            other[place].push('x');
            prop_assert_ne!(of(&json!(items)), of(&json!(other)));
            prop_assert_eq!(of(&json!(items)), of(&json!(items.clone())));
        }
    }
}
