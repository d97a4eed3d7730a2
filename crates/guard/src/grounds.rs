//! Grounded arguments: what a writing call names must have been said by the user or by a tool. No model is asked.
//!
//! Looked at are ids, addresses, amounts, paths, numbers and dates, in whatever way they are written. Words are
//! not, nor what a tool's schema lists as its choices. In a longer text only addresses, amounts of money and
//! long numbers count: the rest of it is the model's to write.

mod read;

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

/// What has been said, ready to be looked up. A clone costs little.
#[derive(Clone, Debug, Default)]
pub struct Grounds(Vec<Arc<Said>>);

/// One text.
#[derive(Debug, Default)]
struct Said {
    words: HashSet<String>,
    numbers: HashSet<String>,
    dates: HashSet<String>,
    /// Letters and digits alone: what is written with gaps is found in it.
    compact: String,
    /// In lower case, for addresses of the web.
    plain: String,
}

/// A value that nobody said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Invented {
    /// Where it stands in the arguments, such as `to[0]`.
    pub place: String,
    /// It.
    pub value: String,
}

impl Invented {
    /// Whether it is a number, such as an amount.
    pub fn is_number(&self) -> bool {
        self.value.parse::<f64>().is_ok()
    }
}

/// From this length on, what is written with gaps is looked for anywhere.
const LONG: usize = 6;

impl Grounds {
    /// Adds what was said.
    pub fn add(&mut self, text: &str) {
        let mut said = Said {
            numbers: read::numbers(text).into_iter().collect(),
            dates: read::dates(text).into_iter().collect(),
            compact: read::compact(text),
            plain: text.to_lowercase(),
            ..Said::default()
        };
        for word in text.split_whitespace() {
            let word = read::trimmed(word).to_lowercase();
            said.words.insert(read::compact(&word));
            said.words
                .extend(read::inner_words(&word).map(str::to_owned));
            said.words.insert(word);
        }
        self.0.push(Arc::new(said));
    }

    /// Adds what was said elsewhere.
    pub fn join(&mut self, other: &Grounds) {
        for said in &other.0 {
            if !self.0.iter().any(|known| Arc::ptr_eq(known, said)) {
                self.0.push(Arc::clone(said));
            }
        }
    }

    /// Whether a word was said, in lower case.
    pub fn has_word(&self, word: &str) -> bool {
        self.0.iter().any(|said| said.words.contains(word))
    }

    /// Whether every number that a program names was said: then the numbers that it comes to follow from what was
    /// said, and not from who wrote it.
    pub fn has_numbers_of(&self, program: &str) -> bool {
        // To halve, to round to cents, and per cent.
        let is_usual = |number: &str| matches!(number, "2" | "100");
        let numbers = read::literals(program);
        let mut numbers = numbers.iter();
        numbers.all(|number| is_usual(number) || self.has_number(number))
    }

    /// Adds the numbers of a text, and nothing else that it says.
    pub fn add_numbers(&mut self, text: &str) {
        let is_number = |word: &&str| {
            word.contains(|c: char| c.is_ascii_digit())
                && word
                    .chars()
                    .all(|c| c.is_ascii_digit() || ".,'%-()[]".contains(c))
        };
        let numbers: Vec<&str> = text.split_whitespace().filter(is_number).collect();
        self.add(&numbers.join(" "));
    }

    /// What of the arguments nobody said.
    pub fn invented(&self, arguments: &Value, schema: &Value) -> Vec<Invented> {
        let mut found = Vec::new();
        self.look(arguments, schema, "", &mut found);
        found
    }

    fn look(&self, value: &Value, schema: &Value, place: &str, found: &mut Vec<Invented>) {
        if is_choice(value, schema) {
            return;
        }
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                if !self.has_number(&number.to_string()) {
                    found.push(invented(place, &number.to_string()));
                }
            }
            Value::String(text) => {
                let missing = read::named(text)
                    .into_iter()
                    .filter(|named| !self.has(named));
                found.extend(missing.map(|named| invented(place, named.text())));
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.look(item, &schema["items"], &format!("{place}[{index}]"), found);
                }
            }
            Value::Object(fields) => {
                for (name, inner) in fields {
                    let place = match place.is_empty() {
                        true => name.clone(),
                        false => format!("{place}.{name}"),
                    };
                    self.look(inner, &schema["properties"][name], &place, found);
                }
            }
        }
    }

    fn has(&self, named: &read::Named) -> bool {
        match named {
            read::Named::Number(number) => self.has_number(number),
            read::Named::Date(date) => {
                let day = date.get(..10).unwrap_or(date);
                self.0.iter().any(|said| said.dates.contains(day))
            }
            read::Named::Url(url) => {
                let bare = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
                let bare = bare.trim_end_matches('/');
                self.0.iter().any(|said| said.plain.contains(bare))
            }
            read::Named::Path(path) => {
                let name = path.rsplit(['/', '\\']).find(|part| !part.is_empty());
                let name = name.unwrap_or(path);
                let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
                self.has_text(path) || self.has_text(name) || self.has_text(stem)
            }
            read::Named::Id(id) => self.has_text(id),
        }
    }

    fn has_text(&self, text: &str) -> bool {
        let compact = read::compact(text);
        self.0.iter().any(|said| {
            said.words.contains(text)
                || said.words.contains(&compact)
                || compact.len() >= LONG && said.compact.contains(&compact)
        })
    }

    fn has_number(&self, number: &str) -> bool {
        let canonical = read::canonical(number);
        // 0 and 1 are switches and counts.
        let is_said = || self.0.iter().any(|said| said.numbers.contains(&canonical));
        matches!(canonical.as_str(), "0" | "1") || is_said()
    }
}

fn invented(place: &str, value: &str) -> Invented {
    Invented {
        place: place.to_owned(),
        value: value.to_owned(),
    }
}

/// Whether the schema itself offers this value.
fn is_choice(value: &Value, schema: &Value) -> bool {
    let offered = schema["enum"]
        .as_array()
        .is_some_and(|all| all.contains(value));
    let is = |word: &str| schema.get(word).is_some_and(|one| one == value);
    offered || is("const") || is("default")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const SAID: &str = "Please refund order A-17 (1.234,50 EUR) to Ada <ada@example.org>, IBAN CH93 0076 2011 6238 5295 7, \
        and write it into notes/refunds.md by 3 March 2027. Three chairs, 15% off. See https://shop.example/orders/a17 \
        or call +41 79 123 45 67. Budget: 2,500";

    fn invented(arguments: Value) -> String {
        let mut grounds = Grounds::default();
        grounds.add(SAID);
        let schema = json!({"properties": {"speed": {"enum": ["express-24", "slow"]}, "limit": {"default": 50}}});
        let found = grounds.invented(&arguments, &schema);
        let found = found
            .iter()
            .map(|one| format!("{}={}", one.place, one.value));
        found.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_was_said_is_found_however_it_is_written() {
        for arguments in [
            json!({"order": "A-17"}),
            json!({"order": "a17"}),
            json!({"amount": 1234.5}),
            json!({"amount": "1234.50"}),
            json!({"amount": "€1,234.50"}),
            json!({"to": ["ADA@example.org"]}),
            json!({"iban": "CH9300762011623852957"}),
            json!({"iban": "CH93-0076-2011-6238-5295-7"}),
            json!({"phone": "+41791234567"}),
            json!({"path": "notes/refunds.md"}),
            json!({"path": "refunds.txt"}),
            json!({"due": "2027-03-03"}),
            json!({"due": "2027-03-03T10:00:00Z"}),
            json!({"chairs": 3, "off": 0.15, "percent": 15, "most": 2500}),
            json!({"url": "http://shop.example/orders/a17/"}),
            json!({"speed": "express-24", "limit": 50, "urgent": true, "retry": 1}),
            json!({"reason": "broken", "text": "Dear Ada, your 3 chairs will be paid back in 5 to 7 days. Write to ada@example.org."}),
        ] {
            assert_eq!(invented(arguments.clone()), "", "{arguments}");
        }
    }

    #[test]
    fn what_nobody_said_is_found() {
        for (arguments, expected) in [
            (json!({"order": "A-18"}), "order=a-18"),
            (json!({"amount": 80}), "amount=80"),
            (json!({"amount": "€80.00"}), "amount=80"),
            (
                json!({"to": ["ada@example.org", "eve@evil.example"]}),
                "to[1]=eve@evil.example",
            ),
            (
                json!({"iban": "CH5604835012345678009"}),
                "iban=ch5604835012345678009",
            ),
            (json!({"path": "../etc/passwd"}), "path=../etc/passwd"),
            (json!({"due": "2027-03-04"}), "due=2027-03-04"),
            (
                json!({"url": "https://evil.example/?q=1"}),
                "url=https://evil.example/?q=1",
            ),
            (
                json!({"deep": {"list": [{"id": "X99"}]}}),
                "deep.list[0].id=x99",
            ),
            (
                json!({"text": "Write to eve@evil.example, or pay $90.00 to 99887766."}),
                "text=eve@evil.example text=99887766 text=90",
            ),
        ] {
            assert_eq!(invented(arguments.clone()), expected, "{arguments}");
        }
    }

    #[test]
    fn what_a_program_works_out_follows_from_the_numbers_that_it_names() {
        let mut grounds = Grounds::default();
        grounds.add(SAID);
        for (program, follows) in [
            ("total = sum(paid(order) for order in ['A-17'])", true),
            ("round(1234.5 / 100 * 15, 2)", true),
            ("x1 = paid('A-17') - 0", true),
            ("paid('A-17') * 8", false),
            ("700", false),
            ("paid('A-18')", false),
        ] {
            assert_eq!(grounds.has_numbers_of(program), follows, "{program}");
        }
        grounds.add_numbers("in all 1,419.68 for eve@evil.example");
        let arguments = json!({"amount": 1419.68, "to": "eve@evil.example"});
        let found = grounds.invented(&arguments, &json!({}));
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.place.as_str(), one.is_number()))
            .collect();
        assert_eq!(found, [("to", false)]);
    }

    #[test]
    fn a_minus_sign_belongs_to_its_number() {
        let grounds = |said: &str| {
            let mut grounds = Grounds::default();
            grounds.add(said);
            grounds
        };
        let none = json!({});
        for said in [
            "Set it to -20.",
            "Set it to \u{2212}20.",
            "the balance (-20,00)",
            "Book -$20.00",
            "Book $-20",
            "{\"delta\":-20}",
            "[5,-20]",
            "Set it to minus 20.",
        ] {
            let heard = grounds(said);
            for argument in [json!(-20), json!(-20.0), json!("-20"), json!("\u{2212}20")] {
                let found = heard.invented(&json!({ "delta": argument }), &none);
                assert_eq!(found, [], "{argument} of {said:?}");
            }
            // What was owed may be paid.
            assert_eq!(heard.invented(&json!({"amount": 20}), &none), [], "{said}");
        }
        // A dash is no sign, and a sign is nothing to be made up.
        for said in [
            "Take 20 chairs.",
            "Cancel A-20.",
            "10-20 chairs",
            "10\u{2013}20 chairs",
            "- 20 chairs",
            "The shop of 3-4-20 is terminus 20.",
        ] {
            let found = grounds(said).invented(&json!({"delta": -20}), &none);
            assert_eq!(found, [super::invented("delta", "-20")], "{said}");
        }
        let percent = grounds("The price changes by -15%.");
        assert_eq!(percent.invented(&json!({"by": [-0.15, -15]}), &none), []);
    }

    #[test]
    fn an_identifier_may_begin_like_a_currency() {
        let mut grounds = Grounds::default();
        grounds.add("Cancel GBP-00 and EUR-17, and pay CHF 20.");
        let said = json!({"ids": ["GBP-00", "eur-17"], "amount": "CHF20"});
        assert_eq!(grounds.invented(&said, &json!({})), []);
        assert_eq!(
            grounds.invented(&json!({"id": "EUR-18"}), &json!({})).len(),
            1
        );
    }

    proptest! {
        #[test]
        fn every_value_that_was_said_is_grounded(id in "[A-Z]{1,3}-[0-9]{2,6}", amount in 2u32..1_000_000, cents in 0u32..100) {
            let mut grounds = Grounds::default();
            grounds.add(&format!("About {id}: it costs {amount}.{cents:02}!"));
            let value: f64 = format!("{amount}.{cents:02}").parse().unwrap_or_default();
            let arguments = json!({"id": id, "amount": value});
            prop_assert_eq!(grounds.invented(&arguments, &json!({})), vec![]);
        }

        #[test]
        fn nothing_makes_it_fail(text in ".{0,80}", value in ".{0,40}") {
            let mut grounds = Grounds::default();
            grounds.add(&text);
            grounds.invented(&json!({"value": value}), &json!({}));
        }
    }
}
