//! How an answer that is held to a schema comes to a valid end before its token limit.
//!
//! A constraint alone cannot end an answer in time: a string may go on for as long as the model likes. So
//! from half the limit on, [`Ending`] keeps an end at hand that the constraint allows and that still fits:
//! the open string closed, what is required given in its shortest form, brackets closed. A token after
//! which no end would fit is not taken, and the one at hand is.
//!
//! The end is searched for without the model, and need not be the shortest there is.

use std::sync::Arc;

use llguidance::Matcher;
use toktrie::{TokTrie, TokenId};

/// What to try outside a string: what ends something first, then values that are short.
const OUTSIDE: &[u8] = b"}],:\"0123456789-tfn{[.eE";
/// What to try in a string that may not end yet, of equally often used ones the first: what formats are
/// parted by, then digits, then letters.
const INSIDE: &[u8] = b"@.-:/+TZ!,;#?=&%$0123456789abcdefghijklmnopqrstuvwxyz\
    ABCDEFGHIJKLMNOPQRSUVWXY _*()[]{}<>|~^'`";
/// An end is looked for after each token once so many are left beyond it.
const NEAR: usize = 64;

/// The tokens of single bytes.
pub(super) struct Bytes {
    quote: TokenId,
    outside: Vec<TokenId>,
    inside: Vec<TokenId>,
}

impl Bytes {
    pub(super) fn of(trie: &TokTrie) -> Bytes {
        let token = |byte: &u8| trie.greedy_tokenize(&[*byte]).first().copied();
        Bytes {
            quote: token(&b'"').unwrap_or_default(),
            outside: OUTSIDE.iter().filter_map(token).collect(),
            inside: INSIDE.iter().filter_map(token).collect(),
        }
    }
}

/// Where in JSON a text breaks off.
#[derive(Clone, Default)]
struct Place {
    in_string: bool,
    is_escaped: bool,
    /// How often each of [`Bytes::inside`] was put into this string.
    used: Vec<u32>,
}

impl Place {
    fn read(&mut self, text: &[u8]) {
        for byte in text {
            match (self.in_string, *byte) {
                (true, _) if self.is_escaped => self.is_escaped = false,
                (true, b'\\') => self.is_escaped = true,
                (_, b'"') => {
                    self.in_string = !self.in_string;
                    self.used.clear();
                }
                _ => {}
            }
        }
    }

    /// A token that goes on from here towards an end.
    fn next(&mut self, matcher: &mut Matcher, bytes: &Bytes) -> Option<TokenId> {
        let mut may = |token: TokenId| {
            matcher
                .validate_tokens(&[token])
                .is_ok_and(|valid| valid == 1)
        };
        if !self.in_string {
            if let Some(token) = bytes.outside.iter().find(|token| may(**token)) {
                return Some(*token);
            }
        } else if may(bytes.quote) {
            return Some(bytes.quote);
        } else {
            self.used.resize(bytes.inside.len(), 0);
            let mut order: Vec<usize> = (0..bytes.inside.len()).collect();
            order.sort_by_key(|index| self.used.get(*index).copied());
            for index in order {
                if let (Some(token), Some(used)) =
                    (bytes.inside.get(index), self.used.get_mut(index))
                    && may(*token)
                {
                    *used += 1;
                    return Some(*token);
                }
            }
        }
        let mask = matcher.compute_mask().ok()?;
        mask.iter().next()
    }
}

/// An end, of at most `most` tokens, of what `matcher` has let through so far.
fn search(matcher: &Matcher, mut place: Place, bytes: &Bytes, most: usize) -> Option<Vec<TokenId>> {
    let mut matcher = matcher.clone();
    let trie = matcher.tok_env().ok()?;
    let mut said = Vec::new();
    while !matcher.is_error() {
        if matcher.is_stopped() || matcher.is_accepting().ok()? {
            return (said.len() <= most).then_some(said);
        }
        if said.len() >= most {
            return None;
        }
        let mut next = matcher.consume_ff_tokens();
        if next.is_empty() {
            let token = place.next(&mut matcher, bytes)?;
            matcher.consume_token(token).ok()?;
            next.push(token);
        }
        place.read(&trie.tok_trie().decode(&next));
        said.extend(next);
    }
    None
}

/// Watches over an answer in JSON.
pub(super) struct Ending {
    bytes: Arc<Bytes>,
    place: Place,
    /// Looked for when no more tokens than this are left.
    look_at: usize,
    near: usize,
    /// An end of the answer as it stands.
    at_hand: Option<Vec<TokenId>>,
}

impl Ending {
    /// Of an answer that may have `most` tokens.
    pub(super) fn new(bytes: Arc<Bytes>, most: u32) -> Ending {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ending {
            bytes,
            place: Place::default(),
            look_at: most / 2,
            near: NEAR.min(most / 4),
            at_hand: None,
        }
    }

    /// The answer went on by `text`.
    pub(super) fn read(&mut self, text: &[u8]) {
        self.place.read(text);
    }

    /// The answer is about to go on by `text`, which `matcher` has let through and which leaves `left`
    /// tokens. Gives what it has to end with instead, where there would be no end within the limit.
    pub(super) fn instead_of(
        &mut self,
        text: &[u8],
        matcher: &Matcher,
        left: usize,
    ) -> Option<Vec<TokenId>> {
        let before = self.at_hand.take();
        if left > self.look_at {
            return None;
        }
        let mut place = self.place.clone();
        place.read(text);
        let Some(end) = search(matcher, place, &self.bytes, left) else {
            return before;
        };
        let spare = left - end.len();
        self.look_at = if spare <= self.near {
            left
        } else {
            left - spare / 2
        };
        self.at_hand = Some(end);
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use llguidance::toktrie::ApproximateTokEnv;
    use serde_json::{Value, json};

    use super::super::grammar::Grammars;
    use super::*;

    fn grammars() -> Grammars {
        Grammars::over(ApproximateTokEnv::single_byte_env()).unwrap()
    }

    /// `begun` brought to an end under `schema`, within so many bytes.
    fn ended(schema: &Value, begun: &str, most: usize) -> Option<String> {
        let grammars = grammars();
        let mut matcher = grammars.matcher(schema).unwrap();
        let tokens: Vec<TokenId> = begun.bytes().map(TokenId::from).collect();
        matcher.consume_tokens(&tokens).unwrap();
        let mut place = Place::default();
        place.read(begun.as_bytes());
        let end = search(&matcher, place, &grammars.bytes(), most)?;
        let end: Vec<u8> = end
            .into_iter()
            .map(|token| u8::try_from(token).unwrap())
            .collect();
        Some(begun.to_owned() + std::str::from_utf8(&end).unwrap())
    }

    #[test]
    fn an_end_closes_what_is_open_and_gives_what_is_required() {
        let item = json!({"type": "object", "properties": {
            "name": {"type": "string"}, "day": {"type": "string", "format": "date"},
            "count": {"type": "integer", "minimum": 12, "maximum": 40},
            "kind": {"enum": ["tall", "wide"]}, "note": {"type": "string"}},
            "required": ["name", "day", "count", "kind"], "additionalProperties": false});
        let schema = json!({"type": "object", "properties": {
            "items": {"type": "array", "items": item, "minItems": 2}}, "required": ["items"],
            "additionalProperties": false});
        for begun in [
            "",
            "{\"items\":[{\"name\":\"a ] \\\" }",
            "{\"items\":[{\"name\":\"a\\",
            "{\"items\":[{\"name\":\"\",\"day\":\"2024-1",
            "{\"items\":[{\"name\":\"\",\"day\":\"2024-10-12\",\"count\":3",
            "{\"items\":[{\"name\":\"\",\"day\":\"2024-10-12\",\"count\":13,\"kind\":\"w",
        ] {
            let text = ended(&schema, begun, 300).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            let validator = jsonschema::options()
                .should_validate_formats(true)
                .build(&schema);
            assert!(validator.unwrap().is_valid(&value), "{begun} became {text}");
        }
        assert_eq!(ended(&schema, "", 20), None, "more is required than that");
    }

    #[test]
    fn strings_with_a_form_come_to_an_end() {
        for format in [
            "date-time",
            "email",
            "uuid",
            "ipv4",
            "uri",
            "time",
            "hostname",
        ] {
            let schema = json!({"type": "string", "format": format});
            let text = ended(&schema, "\"", 120);
            let value: Option<Value> = text.and_then(|text| serde_json::from_str(&text).ok());
            let validator = jsonschema::options()
                .should_validate_formats(true)
                .build(&schema);
            assert!(
                validator.unwrap().is_valid(&value.clone().unwrap()),
                "{format}: {value:?}"
            );
        }
        let long = json!({"type": "string", "minLength": 30, "pattern": "^[a-z]+(, [a-z]+)+!$"});
        assert!(ended(&long, "\"abc", 120).is_some());
    }

    #[test]
    fn the_end_at_hand_is_taken_before_it_is_too_late_and_not_sooner() {
        let schema = json!({"type": "array", "items": {"type": "string"}});
        let grammars = grammars();
        for most in [8_u32, 20, 200, 2000] {
            let mut matcher = grammars.matcher(&schema).unwrap();
            let mut ending = Ending::new(grammars.bytes(), most);
            let mut text = String::new();
            // A model that opens a string and never comes to its end.
            let end = loop {
                let next = if text.is_empty() { "[\"" } else { "x" };
                let tokens: Vec<TokenId> = next.bytes().map(TokenId::from).collect();
                matcher.consume_tokens(&tokens).unwrap();
                let left = usize::try_from(most).unwrap() - text.len() - next.len();
                if let Some(end) = ending.instead_of(next.as_bytes(), &matcher, left) {
                    break end;
                }
                ending.read(next.as_bytes());
                text.push_str(next);
            };
            text.extend(
                end.iter()
                    .map(|token| char::from(u8::try_from(*token).unwrap())),
            );
            assert_eq!(text.len(), usize::try_from(most).unwrap());
            assert!(serde_json::from_str::<Vec<String>>(&text).is_ok(), "{text}");
        }
    }
}
