//! Questions for a quantity, and the words that can answer them.

use knowledge::citation::number_word;

use super::plausibility::{asked, tokens};

/// What is measured, where it has units of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Time,
    /// Of data.
    Size,
    Share,
}

use Measure::{Share, Size, Time};

/// What a question asks for that asks for a quantity.
#[derive(Debug, PartialEq)]
pub(super) struct Quantity {
    /// The measures that fit; any where there is none. A number without a unit always fits.
    measures: Option<Vec<Measure>>,
    /// Whether it asks how often, which is also answered without a number.
    how_often: bool,
}

impl Quantity {
    /// What an English question asks for if it asks how much, how many, how long, ... or for a port or a size. "Which
    /// option sets the maximum?" does not.
    pub(super) fn asked(question: &str) -> Option<Quantity> {
        const AFTER_HOW: &[&str] = &[
            "many", "much", "long", "large", "big", "often", "wide", "old", "high", "fast", "deep",
            "small", "short",
        ];
        const AFTER_WHICH: &[&str] = &[
            "port",
            "size",
            "percentage",
            "percent",
            "share",
            "proportion",
            "fraction",
        ];
        const EXTREMES: &[&str] = &[
            "most", "maximum", "minimum", "largest", "smallest", "longest",
        ];
        let asked = asked(question).to_lowercase();
        let words = asked.split(|c: char| !c.is_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let asking = |word: &&str| ["how", "which", "what"].contains(word);
        let place = words.iter().position(asking).unwrap_or(words.len());
        let asking = words.get(place..).unwrap_or_default();
        let wanted = match asking {
            ["how", what, ..] => AFTER_HOW.contains(what),
            [_, what, ..] if AFTER_WHICH.contains(what) || EXTREMES.contains(what) => true,
            [_, "is" | "are" | "was" | "s", "the", what, ..] => EXTREMES.contains(what),
            [_, ..] => false,
            [] => (words.windows(2))
                .any(|pair| matches!(pair, ["the", what] if EXTREMES.contains(what))),
        };
        wanted.then(|| Quantity {
            measures: measures(&words, asking),
            how_often: asked.contains("how often"),
        })
    }

    /// Whether words can be the answer from the first on.
    pub(super) fn begins(&self, words: &[&str]) -> bool {
        let next = words.get(1).copied().unwrap_or_default();
        begins_quantity(words) && words.first().is_some_and(|first| self.fits(first, next))
    }

    /// Whether an English answer says it.
    pub(super) fn is_in(&self, answer: &str) -> bool {
        let words: Vec<&str> = answer.split_whitespace().collect();
        let numbers = words.iter().enumerate().filter(|(_, word)| counts(word));
        let next = |index: usize| words.get(index + 1).copied().unwrap_or_default();
        let fit: Vec<bool> = numbers
            .map(|(index, word)| self.fits(word, next(index)))
            .collect();
        (has_quantity(answer) && (fit.is_empty() || fit.contains(&true)))
            || (self.how_often && has_frequency(answer))
    }

    /// Whether a number, which `next` follows, has no unit or one that is asked for.
    fn fits(&self, number: &str, next: &str) -> bool {
        match (&self.measures, measure(number, next)) {
            (Some(measures), Some(measure)) => measures.contains(&measure),
            _ => true,
        }
    }
}

/// The measures that the `words` of a question ask for, `asking` from the word on that asks.
fn measures(words: &[&str], asking: &[&str]) -> Option<Vec<Measure>> {
    /// Words behind "how" or "what" that say what is to be measured.
    const NEAR: usize = 4;
    let of = |words: &[&str]| -> Vec<Measure> {
        words
            .iter()
            .flat_map(|word| asked_with(word))
            .copied()
            .collect()
    };
    let near = of(asking.get(1..words.len().min(NEAR + 1)).unwrap_or(asking));
    let found = match near.is_empty() {
        true => of(words),
        false => near,
    };
    match asking {
        ["how", "often", ..] => None,
        ["how", "many", ..] | [_, "port", ..] => Some(found),
        _ => (!found.is_empty()).then_some(found),
    }
}

/// What a word of a question says that it wants measured.
fn asked_with(word: &str) -> &'static [Measure] {
    match word {
        "time" | "timeout" | "duration" | "interval" | "period" | "delay" | "old" | "age"
        | "lifetime" => &[Time],
        "long" | "longest" => &[Time, Size],
        "size" | "large" | "largest" | "big" | "memory" | "space" | "disk" => &[Size, Share],
        "character" | "characters" | "letters" | "data" => &[Size],
        "share" | "proportion" | "fraction" | "percentage" => &[Share],
        // Of "what's" and "give us", not of seconds.
        "s" | "h" | "us" => &[],
        _ => match unit(word) {
            Some(Time) => &[Time],
            Some(Size) => &[Size],
            Some(Share) => &[Share],
            None => &[],
        },
    }
}

/// Whether a word is a number, perhaps with its unit.
fn counts(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    bare.starts_with(|c: char| c.is_ascii_digit()) || number_word(&bare.to_lowercase()).is_some()
}

/// What a number measures that has a unit, or has it `next` to it: `10%`, `2MiB`, `30-second`, `one hour`.
fn measure(number: &str, next: &str) -> Option<Measure> {
    let number = number.trim_start_matches(|c: char| !c.is_alphanumeric());
    let ends = |c: char| ".,;:!?)]\"'”".contains(c);
    let digits = |c: char| c.is_ascii_digit() || ".,-_".contains(c);
    let own = number.trim_end_matches(ends).trim_start_matches(digits);
    let own = match number_word(&number.to_lowercase()) {
        Some(_) => "",
        None => own,
    };
    match (own, number.ends_with(ends)) {
        ("", false) => unit(next.trim_end_matches(ends)),
        ("", true) => None,
        (own, _) => unit(own),
    }
}

/// What is measured in a unit.
fn unit(word: &str) -> Option<Measure> {
    let lower = word.to_lowercase();
    let one = match lower.strip_suffix('s') {
        Some(one) if one.len() > 1 => one,
        _ => &lower,
    };
    match one {
        "s" | "ms" | "us" | "µs" | "sec" | "msec" | "second" | "millisecond" | "microsecond"
        | "min" | "minute" | "h" | "hr" | "hour" | "day" | "week" | "month" | "year" => Some(Time),
        "kb" | "mb" | "gb" | "tb" | "pb" | "kib" | "mib" | "gib" | "tib" | "pib" | "octet" => {
            Some(Size)
        }
        "%" | "percent" => Some(Share),
        _ if one.ends_with("byte") => Some(Size),
        _ => None,
    }
}

/// A text with the units of its numbers written out, so that `2 s`, `2s` and `2 seconds` are the same, and `640x480` and
/// `640 x 480`.
pub(super) fn with_units_written_out(text: &str) -> String {
    const UNITS: &[(&str, &str)] = &[
        ("ms", "milliseconds"),
        ("msec", "milliseconds"),
        ("us", "microseconds"),
        ("µs", "microseconds"),
        ("s", "seconds"),
        ("sec", "seconds"),
        ("secs", "seconds"),
        ("min", "minutes"),
        ("mins", "minutes"),
        ("h", "hours"),
        ("hr", "hours"),
        ("hrs", "hours"),
        ("kb", "kilobytes"),
        ("mb", "megabytes"),
        ("gb", "gigabytes"),
        ("tb", "terabytes"),
        ("%", "percent"),
    ];
    let whole = |unit: &str| {
        let unit = unit.to_lowercase();
        let known = UNITS.iter().find(|(short, _)| *short == unit);
        known.map(|(_, whole)| *whole)
    };
    let is_number = |text: &&str| text.parse::<usize>().is_ok();
    let mut written: Vec<&str> = Vec::new();
    for word in text.split_whitespace() {
        let word = word.trim_matches(|c: char| ".,;:!?()[]\"'“”".contains(c));
        let unit = word.trim_start_matches(|c: char| c.is_ascii_digit() || ".,".contains(c));
        let (number, unit) = word.split_at(word.len() - unit.len());
        let has_number = !number.is_empty();
        let follows_one = written.last().is_some_and(|before| counts(before));
        match (whole(unit), unit.strip_prefix('x').filter(is_number)) {
            (Some(whole), _) if has_number => written.extend([number, whole]),
            (Some(whole), _) if follows_one => written.push(whole),
            (_, Some(times)) if has_number => written.extend([number, "x", times]),
            _ => written.push(word),
        }
    }
    written.join(" ")
}

/// Words that say a quantity without a number.
const QUANTITIES: &[&str] = &[
    "thirty",
    "hundred",
    "thousand",
    "million",
    "billion",
    "twice",
    "half",
    "third",
    "quarter",
    "tenth",
    "double",
    "never",
    "always",
    "forever",
    "unlimited",
    "infinite",
    "infinitely",
    "indefinitely",
    "immediately",
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "yearly",
];

/// Units that "one", "a", or "every" make a quantity of.
const UNITS: &[&str] = &[
    "second", "minute", "hour", "day", "week", "month", "year", "byte", "kilobyte", "megabyte",
    "gigabyte", "terabyte", "percent",
];

/// Whether words can be a quantity from the first on: it has a digit in front, or is a number or the like, or
/// they begin "every month" or "once a month".
fn begins_quantity(words: &[&str]) -> bool {
    let bare = |word: &&str| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        bare.to_lowercase()
    };
    let Some(first) = words.first().map(bare) else {
        return false;
    };
    let second = words.get(1).map(bare).unwrap_or_default();
    (first.starts_with(|c: char| c.is_ascii_digit()) && !is_section(&first))
        || number_word(&first).is_some()
        || QUANTITIES.contains(&first.as_str())
        || first == "no"
        || is_of_unit(&first, &second)
        || is_one_time(&first, &second)
}

/// Whether "once" says how often, and not after what: it is the last word, or goes on "a month", "per class", "at
/// the start".
fn is_one_time(word: &str, next: &str) -> bool {
    const AFTER: &[&str] = &[
        "", "a", "an", "per", "every", "each", "for", "in", "at", "on", "and", "then", "when",
        "only",
    ];
    word == "once" && AFTER.contains(&next)
}

/// Whether an answer says how often without a number: "on every start".
fn has_frequency(text: &str) -> bool {
    tokens(text).any(|word| ["every", "each", "per", "whenever"].contains(&word.as_str()))
}

/// Whether a word and a unit are a quantity together: "an hour", "every month".
fn is_of_unit(word: &str, unit: &str) -> bool {
    ["one", "a", "an", "per", "each", "every"].contains(&word) && UNITS.contains(&unit)
}

/// Whether a word is the number of a section or a version, like 3.2.1, which counts nothing.
fn is_section(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    parts.len() > 2 && parts.iter().all(is_number)
}

/// Whether an English text says a number, a frequency, or that there is no limit.
fn has_quantity(text: &str) -> bool {
    let text = text.to_lowercase();
    let counting = tokens(&text).filter(|word| !is_section(word));
    // The digit in a name such as `sqlite3_limit` is none.
    let words: Vec<String> = counting
        .flat_map(|word| {
            let parts = word.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            parts.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let is_more_than_one = |word: &str| number_word(word).is_some_and(|number| number != 1);
    let says = |word: &String| {
        is_number(word) || is_more_than_one(word) || QUANTITIES.contains(&word.as_str())
    };
    words.iter().any(says)
        || words
            .windows(2)
            .any(|pair| matches!(pair, [word, next] if is_of_unit(word, next) || is_one_time(word, next)))
        || words.last().is_some_and(|word| is_one_time(word, ""))
        || text.contains("no limit")
        || text.contains("not limited")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_begins_with_a_number_or_how_often() {
        let begins = |text: &str| begins_quantity(&text.split(' ').collect::<Vec<_>>());
        for text in [
            "15 minutes",
            "(512 MB)",
            "twelve",
            "no limit",
            "once a month by",
            "once.",
            "every week",
            "an hour",
            "0.4",
        ] {
            assert!(begins(text), "{text}");
        }
        for text in [
            "3.2.1 Limits",
            "once started",
            "every place",
            "a pool",
            "pool_size",
            "",
        ] {
            assert!(!begins(text), "{text}");
        }
    }

    #[test]
    fn units_are_written_out_after_numbers_alone() {
        for (text, written) in [
            ("2000ms.", "2000 milliseconds"),
            ("1 second (1s)", "1 second 1 seconds"),
            ("two s, 10%", "two seconds 10 percent"),
            ("1.5 GB of the min", "1.5 gigabytes of the min"),
            ("200a", "200a"),
            ("640x480 or x480", "640 x 480 or x480"),
        ] {
            assert_eq!(with_units_written_out(text), written);
        }
    }

    #[test]
    fn a_number_of_another_measure_does_not_answer() {
        for (question, fitting, other) in [
            (
                "What share of the pool must be free before it shrinks to save space?",
                ["10%", "10 percent", "a tenth", "10"],
                ["4 GiB", "two seconds", "17-byte"],
            ),
            (
                "How long does a guest wait for a place?",
                ["one hour", "30s.", "5 minutes (10%)", "600"],
                ["20 %", "at most 5 percent.", "(5%)"],
            ),
            (
                "How many guests may wait?",
                ["8", "8 guests", "eight", "8, within 10 seconds"],
                ["80%", "10 seconds", "512MB"],
            ),
            (
                "After how many seconds is a guest sent away?",
                ["60", "60 s", "a minute", "one minute"],
                ["10 MB", "80%", "2 KiB"],
            ),
            (
                "How much memory may the pool take?",
                ["512 MB", "half of it", "80%", "512"],
                ["10 seconds", "2 hours", "30 min"],
            ),
            (
                "What is the maximum size of a place?",
                ["8 kB", "8192 bytes", "8192", "no limit"],
                ["10 seconds", "2 hours", "30 min"],
            ),
        ] {
            let asked = Quantity::asked(question);
            let says = |answer: &str| asked.as_ref().is_some_and(|asked| asked.is_in(answer));
            for answer in fitting {
                assert!(says(answer), "{question} {answer}");
            }
            for answer in other {
                assert!(!says(answer), "{question} {answer}");
                let words: Vec<&str> = answer.split(' ').collect();
                assert!(
                    !asked.as_ref().is_some_and(|asked| asked.begins(&words)),
                    "{answer}"
                );
            }
        }
        let question = "What's the maximum that the server's pool gives us?";
        for answer in ["4 GiB", "80%", "10 seconds", "8"] {
            let asked = Quantity::asked(question);
            assert!(asked.is_some_and(|asked| asked.is_in(answer)), "{answer}");
        }
        let how_often = Quantity::asked("How often is it cleaned?");
        for answer in ["every 16 MB", "10 seconds", "on every start"] {
            assert!(how_often.as_ref().is_some_and(|asked| asked.is_in(answer)));
        }
    }
}
