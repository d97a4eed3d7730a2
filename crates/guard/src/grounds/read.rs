//! Numbers, dates, addresses and ids in texts, each in one form.

/// What an argument names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A number, as [`canonical`] writes it.
    Number(String),
    /// A date, and perhaps a time after it.
    Date(String),
    /// An address of the web.
    Url(String),
    /// A file's name, or a path.
    Path(String),
    /// Anything else that names one thing: a number of an order, an address of mail, an account.
    Id(String),
}

impl Named {
    pub(super) fn text(&self) -> &str {
        match self {
            Named::Number(text)
            | Named::Date(text)
            | Named::Url(text)
            | Named::Path(text)
            | Named::Id(text) => text,
        }
    }
}

const CURRENCIES: &[&str] = &[
    "$", "€", "£", "¥", "usd", "eur", "gbp", "chf", "francs", "dollars", "euros",
];
const MONTHS: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const NUMBERS: &[&str] = &[
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve",
];
/// How a minus sign is written: with a hyphen, as typesetters do, and with a dash in place of it.
const MINUS: [char; 3] = ['-', '\u{2212}', '\u{2013}'];
/// A longer text's numbers count from so many digits on.
const LONG_NUMBER: usize = 6;

/// What a text argument names: itself, or, of a longer text, what stands in it.
pub(super) fn named(text: &str) -> Vec<Named> {
    let text = text.trim().to_lowercase().replace('\u{2212}', "-");
    let is_one = !text.contains(char::is_whitespace) || is_spaced_number(&text);
    match is_one {
        true => one(&text).into_iter().collect(),
        false => text
            .split_whitespace()
            .flat_map(in_prose)
            .chain(amounts(&text))
            .collect(),
    }
}

/// A number that is written in groups: an account, a telephone.
fn is_spaced_number(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    digits >= LONG_NUMBER && digits > 2 * letters && date(text).is_none()
}

fn one(text: &str) -> Option<Named> {
    if text.contains("://") || text.starts_with("www.") {
        return Some(Named::Url(text.to_owned()));
    }
    if is_date(text) {
        return Some(Named::Date(text.to_owned()));
    }
    if is_clock(text) {
        return None;
    }
    if let Some(number) = number_of(text) {
        return Some(Named::Number(number));
    }
    let has_digit = text.contains(|c: char| c.is_ascii_digit());
    if text.contains('@') {
        return Some(Named::Id(text.to_owned()));
    }
    if text.contains(['/', '\\']) || is_file(text) {
        return Some(Named::Path(text.to_owned()));
    }
    has_digit.then(|| Named::Id(trimmed(text).to_owned()))
}

fn in_prose(word: &str) -> Option<Named> {
    let word = trimmed(word);
    if word.contains("://") {
        return Some(Named::Url(word.to_owned()));
    }
    if word.contains('@') && word.contains('.') {
        return Some(Named::Id(word.to_owned()));
    }
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let is_long = digits >= LONG_NUMBER && !is_date(word);
    is_long.then(|| Named::Id(word.to_owned()))
}

/// Amounts of money in a text.
fn amounts(text: &str) -> Vec<Named> {
    let words: Vec<&str> = text.split_whitespace().map(trimmed_end).collect();
    let is_currency = |word: &&str| CURRENCIES.contains(word);
    let mut found = Vec::new();
    for (place, word) in words.iter().enumerate() {
        let beside = [place.checked_sub(1), Some(place + 1)];
        let mut beside = beside
            .into_iter()
            .flatten()
            .filter_map(|place| words.get(place));
        let has_sign = CURRENCIES
            .iter()
            .any(|sign| word.starts_with(sign) || word.ends_with(sign));
        if (has_sign || beside.any(&is_currency))
            && let Some(number) = number_of(word)
        {
            found.push(Named::Number(number));
        }
    }
    found
}

/// The number that a word is, without its currency.
fn number_of(word: &str) -> Option<String> {
    let mut bare = trimmed_end(word);
    for sign in CURRENCIES {
        bare = bare.strip_prefix(sign).unwrap_or(bare);
        bare = bare.strip_suffix(sign).unwrap_or(bare);
    }
    let bare = bare.trim_end_matches('%');
    // "gbp-17" names something.
    if bare.starts_with('-') && word.starts_with(char::is_alphabetic) {
        return None;
    }
    let digits = bare.chars().filter(char::is_ascii_digit).count();
    let rest = bare.trim_start_matches('-').chars();
    let fits = rest
        .clone()
        .all(|c| c.is_ascii_digit() || ".,'".contains(c));
    // What is that long is a name, not an amount; neither is what begins with zeros.
    let is_name =
        digits > 12 || (digits > 1 && bare.starts_with('0') && !bare.contains(['.', ',']));
    (fits && digits > 0 && !is_name).then(|| canonical(bare))
}

/// All numbers of a text, in every way that they can be read.
pub(super) fn numbers(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let mut found = Vec::new();
    for word in lower.split(|c: char| !(c.is_alphanumeric() || ".,'%-".contains(c))) {
        if let Some(place) = NUMBERS.iter().position(|name| *name == trimmed(word)) {
            found.push(place.to_string());
        }
    }
    let is_part = |c: char| c.is_ascii_digit() || ".,'".contains(c);
    let mut start = 0;
    for piece in lower.split_inclusive(|c: char| !is_part(c)) {
        let before = lower.get(..start).unwrap_or_default();
        start += piece.len();
        let piece = piece.trim_end_matches(|c: char| !is_part(c));
        let bare = piece.trim_start_matches(|c: char| ".,'".contains(c));
        let is_negative = bare.len() == piece.len() && ends_with_minus(before);
        let bare = bare.trim_end_matches(|c: char| ".,'".contains(c));
        if bare.is_empty() {
            continue;
        }
        for read in readings(bare) {
            // With a sign or without: what is owed is an amount that can be paid.
            if is_negative {
                found.push(format!("-{read}"));
            }
            found.push(read);
        }
    }
    found
}

/// Whether the number that follows is negative: there is a minus, which does not join it to something before, or
/// the word. An amount of money may have its currency between the two.
fn ends_with_minus(before: &str) -> bool {
    let before = before.trim_end_matches(|c: char| "$€£¥".contains(c));
    if let Some(rest) = before.strip_suffix(MINUS) {
        return !rest.ends_with(|c: char| c.is_alphanumeric() || MINUS.contains(&c));
    }
    let rest = before.trim_end().strip_suffix("minus");
    rest.is_some_and(|rest| !rest.ends_with(char::is_alphanumeric))
}

/// In what ways a number without a sign can be read.
fn readings(number: &str) -> Vec<String> {
    let read = canonical(number);
    let percent = read.parse::<f64>().ok();
    let mut found: Vec<String> = percent
        .map(|percent| canonical(&(percent / 100.0).to_string()))
        .into_iter()
        .collect();
    found.push(read);
    // A comma alone may stand for thousands or for a fraction.
    found.push(canonical(&number.replace([',', '\''], "")));
    found.push(canonical(
        &number.replace(['.', '\''], "").replace(',', "."),
    ));
    // And a list may be written without spaces.
    found.extend(number.split([',', '\'']).map(canonical));
    found
}

/// The numbers that a program names, each in one form. Digits that end a name are none.
pub(super) fn literals(program: &str) -> Vec<String> {
    let words = program.split(|c: char| !(c.is_alphanumeric() || "._".contains(c)));
    let numbers = words.map(|word| word.trim_matches('.'));
    let numbers = numbers.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    numbers
        .map(|word| canonical(&word.replace('_', "")))
        .collect()
}

/// A number in one form: `1.234,50` and `1'234.5` are `1234.5`, `-05` is `-5`.
pub(super) fn canonical(number: &str) -> String {
    let number = number.trim();
    if let Some(positive) = number.strip_prefix('-') {
        let positive = canonical(positive);
        return match positive.as_str() {
            "0" => positive,
            _ => format!("-{positive}"),
        };
    }
    let number = number.replace('\'', "");
    let last = |c: char| number.rfind(c);
    let plain = match (last('.'), last(',')) {
        (Some(dot), Some(comma)) if comma > dot => number.replace('.', "").replace(',', "."),
        (Some(_), Some(_)) => number.replace(',', ""),
        (None, Some(comma)) => {
            let decimals = number.len() - comma - 1;
            let once = number.matches(',').count() == 1;
            match once && decimals != 3 {
                true => number.replace(',', "."),
                false => number.replace(',', ""),
            }
        }
        (Some(_), None) if number.matches('.').count() > 1 => number.replace('.', ""),
        _ => number,
    };
    let plain = plain.strip_suffix(".0").unwrap_or(&plain);
    if !plain.contains('.') {
        let whole = plain.trim_start_matches('0');
        return if whole.is_empty() {
            "0".to_owned()
        } else {
            whole.to_owned()
        };
    }
    let short = plain.trim_end_matches('0').trim_end_matches('.');
    let short = short.trim_start_matches('0');
    match short.starts_with('.') {
        true => format!("0{short}"),
        false if short.is_empty() => "0".to_owned(),
        false => short.to_owned(),
    }
}

/// Whether it is `2027-03-03`, perhaps with a time after it.
fn is_date(text: &str) -> bool {
    text.get(..10).and_then(date).is_some()
        && text
            .as_bytes()
            .get(10)
            .is_none_or(|next| b"t ".contains(next))
}

fn is_clock(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let fits = |part: &&str| {
        part.len() <= 2 && !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit())
    };
    (2..=3).contains(&parts.len()) && parts.iter().all(fits)
}

fn is_file(text: &str) -> bool {
    text.rsplit_once('.').is_some_and(|(stem, end)| {
        let fits =
            (1..=5).contains(&end.len()) && end.starts_with(|c: char| c.is_ascii_alphabetic());
        !stem.is_empty() && fits && end.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

/// A date that is written in one piece: year-month-day, or day.month.year, or month/day/year.
fn date(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split(['-', '.', '/']).collect();
    let [first, second, third] = parts.as_slice() else {
        return None;
    };
    let number = |part: &str| {
        let digits = part.bytes().all(|c| c.is_ascii_digit()) && !part.is_empty();
        digits.then(|| part.parse::<u32>().ok()).flatten()
    };
    let (a, b, c) = (number(first)?, number(second)?, number(third)?);
    match (first.len(), third.len()) {
        (4, _) => whole(a, b, c),
        (_, 4) if text.contains('/') => whole(c, a, b).or_else(|| whole(c, b, a)),
        (_, 4) => whole(c, b, a),
        _ => None,
    }
}

fn whole(year: u32, month: u32, day: u32) -> Option<String> {
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day);
    fits.then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// All dates of a text.
pub(super) fn dates(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| c.is_whitespace() || c == ',' || c == '"' || c == '(' || c == ')')
        .filter(|word| !word.is_empty())
        .collect();
    let mut found = Vec::new();
    for (place, word) in words.iter().enumerate() {
        let bare = trimmed(word);
        let day_alone = bare.get(..10).filter(|_| is_date(bare)).unwrap_or(bare);
        found.extend(date(day_alone));
        let month = MONTHS.iter().position(|name| {
            let is_short = bare.len() >= 3 && name.starts_with(bare);
            *name == bare || is_short
        });
        let Some(month) = month.and_then(|month| u32::try_from(month + 1).ok()) else {
            continue;
        };
        let number = |place: Option<usize>| {
            let word = words.get(place?)?;
            let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u32>().ok()
        };
        let (before, after, later) = (
            number(place.checked_sub(1)),
            number(Some(place + 1)),
            number(Some(place + 2)),
        );
        if let (Some(day), Some(year)) = (before, after) {
            found.extend(whole(year, month, day));
        }
        if let (Some(day), Some(year)) = (after, later) {
            found.extend(whole(year, month, day));
        }
    }
    found
}

/// Letters and digits alone, in lower case.
pub(super) fn compact(text: &str) -> String {
    let kept = text.chars().filter(|c| c.is_alphanumeric());
    kept.flat_map(char::to_lowercase).collect()
}

/// Without the punctuation around it.
pub(super) fn trimmed(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric() && !"/\\+$€£~_".contains(c))
        .trim_end_matches(['/', '+'])
}

fn trimmed_end(word: &str) -> &str {
    word.trim_end_matches(|c: char| ".,;:!?)\"'".contains(c))
        .trim_start_matches(['(', '"', '\''])
}

/// The words that a word is made of: `notes/todo.md` has `notes`, `todo`, `md` and `todo.md`.
pub(super) fn inner_words(word: &str) -> impl Iterator<Item = &str> {
    let pieces = word.split(|c: char| !(c.is_alphanumeric() || "-_.@".contains(c)));
    let finer = word.split(|c: char| !c.is_alphanumeric());
    pieces
        .chain(finer)
        .map(trimmed)
        .filter(|piece| !piece.is_empty())
}
