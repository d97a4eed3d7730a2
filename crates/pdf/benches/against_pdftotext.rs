//! Words and speed beside `pdftotext -bbox` of poppler-utils.
//!
//! `cargo bench -p plumb-pdf --profile dev --bench against_pdftotext -- [--diff] FILE_OR_FOLDER...`
//!
//! Folders are searched for `*.pdf` and `*.pdf.gz`. For each file:
//! - `words`: F1 of the words of each page as a bag (multiset), pages summed up;
//! - `placed`: the same, but a word only counts where it stands: the centre of our box lies in the
//!   reference box grown by 2 points, or the boxes overlap by more than half (IoU > 0.5);
//! - pages per CPU second of both (user + system time; theirs includes starting the process and
//!   writing the words as XML), and the peak of our resident memory, bytes of the file included.
//!
//! The last lines give the mean over files and the sum over all words. Ligatures are spelled out
//! on both sides before words are compared, nothing else is. `--diff` lists the words of each file
//! that only one side has. A file that pdftotext finds no words in is listed and left out.

#![allow(clippy::print_stdout, reason = "a measurement prints its figures")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement may stop at what it did not expect"
)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Clock ticks per second of `/proc/*/stat` on every Linux of today.
const TICKS: f64 = 100.0;
/// A word's centre may lie this far (points) outside the reference box.
const SLACK: f32 = 2.0;

struct Placed {
    text: String,
    bounds: [f32; 4],
}

/// Counts of matched words and of the words of both sides.
#[derive(Default, Clone, Copy)]
struct Score {
    matched: usize,
    placed: usize,
    ours: usize,
    theirs: usize,
}

impl Score {
    fn f1(matched: usize, ours: usize, theirs: usize) -> f64 {
        if ours + theirs == 0 {
            1.0
        } else {
            2.0 * matched as f64 / (ours + theirs) as f64
        }
    }

    fn words(&self) -> f64 {
        Self::f1(self.matched, self.ours, self.theirs)
    }

    fn in_place(&self) -> f64 {
        Self::f1(self.placed, self.ours, self.theirs)
    }

    fn add(&mut self, other: &Self) {
        self.matched += other.matched;
        self.placed += other.placed;
        self.ours += other.ours;
        self.theirs += other.theirs;
    }
}

struct Measured {
    score: Score,
    pages: usize,
    our_seconds: f64,
    their_seconds: f64,
    wall_seconds: f64,
    peak_mib: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let diff = arguments.iter().any(|argument| argument == "--diff");
    let mut files = Vec::new();
    for argument in arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"))
    {
        collect(Path::new(argument), &mut files);
    }
    if files.is_empty() {
        println!("no PDF given: pass files or folders, see the head of this bench");
        return;
    }
    let scratch = tempfile::tempdir().expect("a temporary folder");
    println!(
        "{:>7} {:>7} {:>6} {:>8} {:>8} {:>6}  file",
        "words", "placed", "pages", "ours/s", "theirs/s", "MiB"
    );
    let mut all = Vec::new();
    for file in &files {
        match measure(file, scratch.path(), diff) {
            Ok(measured) => {
                print_row(&measured, &file.display().to_string());
                all.push(measured);
            }
            Err(reason) => println!("      - {reason}  {}", file.display()),
        }
    }
    summarise(&all);
}

fn print_row(measured: &Measured, name: &str) {
    println!(
        "{:>7.4} {:>7.4} {:>6} {:>8.0} {:>8.0} {:>6.0}  {name}",
        measured.score.words(),
        measured.score.in_place(),
        measured.pages,
        measured.pages as f64 / measured.our_seconds,
        measured.pages as f64 / measured.their_seconds,
        measured.peak_mib,
    );
}

fn summarise(all: &[Measured]) {
    let mut total = Score::default();
    all.iter().for_each(|measured| total.add(&measured.score));
    let sum = |value: fn(&Measured) -> f64| all.iter().map(value).sum::<f64>();
    let mean = |value: fn(&Measured) -> f64| sum(value) / all.len().max(1) as f64;
    let pages = sum(|measured| measured.pages as f64);
    let (ours, theirs) = (
        sum(|measured| measured.our_seconds),
        sum(|measured| measured.their_seconds),
    );
    println!(
        "mean over {} files: words {:.4}, placed {:.4}",
        all.len(),
        mean(|one| one.score.words()),
        mean(|one| one.score.in_place())
    );
    println!(
        "all {} words: words {:.4}, placed {:.4}",
        total.theirs,
        total.words(),
        total.in_place()
    );
    println!(
        "{pages} pages: {:.0} pages per CPU second, pdftotext {:.0}: ratio {:.2}; wall {:.2} s; peak {:.0} MiB",
        pages / ours,
        pages / theirs,
        theirs / ours,
        sum(|measured| measured.wall_seconds),
        all.iter()
            .map(|measured| measured.peak_mib)
            .fold(0.0, f64::max),
    );
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
            .expect("a readable folder")
            .flatten()
            .map(|entry| entry.path())
            .collect();
        entries.sort();
        entries.iter().for_each(|entry| collect(entry, files));
    } else if path.is_file()
        && path
            .to_string_lossy()
            .trim_end_matches(".gz")
            .ends_with(".pdf")
    {
        files.push(path.to_owned());
    }
}

fn measure(file: &Path, scratch: &Path, diff: bool) -> Result<Measured, String> {
    let plain = scratch.join("file.pdf");
    if file.extension().is_some_and(|extension| extension == "gz") {
        let unpacked = Command::new("gzip")
            .arg("-dc")
            .arg(file)
            .output()
            .map_err(|error| error.to_string())?;
        std::fs::write(&plain, unpacked.stdout).map_err(|error| error.to_string())?;
    } else {
        std::fs::copy(file, &plain).map_err(|error| error.to_string())?;
    }
    let (theirs, their_seconds) = reference(&plain, &scratch.join("words.html"))?;
    let bytes = std::fs::read(&plain).map_err(|error| error.to_string())?;
    // Forget the peak of the file before.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (before, start) = (cpu_seconds(false), Instant::now());
    let read = plumb_pdf::read(&bytes, &plumb_pdf::Options::default());
    let (our_seconds, wall_seconds) = (
        (cpu_seconds(false) - before).max(0.5 / TICKS),
        start.elapsed().as_secs_f64(),
    );
    let peak_mib = peak_mib();
    let pages = read.map_or_else(
        |error| {
            println!("      ! {error}");
            Vec::new()
        },
        |read| read.pages,
    );
    let ours: Vec<Vec<Placed>> = pages.iter().map(words_of).collect();
    let mut score = Score::default();
    for number in 0..theirs.len().max(ours.len()) {
        let none = Vec::new();
        score.add(&compare(
            ours.get(number).unwrap_or(&none),
            theirs.get(number).unwrap_or(&none),
        ));
    }
    if diff {
        print_difference(&ours, &theirs);
    }
    if score.theirs == 0 {
        return Err(format!("pdftotext finds no words, we find {}", score.ours));
    }
    Ok(Measured {
        score,
        pages: theirs.len(),
        our_seconds,
        their_seconds,
        wall_seconds,
        peak_mib,
    })
}

fn words_of(page: &plumb_pdf::Page) -> Vec<Placed> {
    let words = page
        .blocks
        .iter()
        .flat_map(|block| &block.lines)
        .flat_map(|line| &line.words);
    words
        .map(|word| Placed {
            text: spelled_out(&word.text),
            bounds: [
                word.bounds[0] * page.width,
                word.bounds[1] * page.height,
                word.bounds[2] * page.width,
                word.bounds[3] * page.height,
            ],
        })
        .collect()
}

/// Runs pdftotext and reads its words, page by page.
fn reference(file: &Path, output: &Path) -> Result<(Vec<Vec<Placed>>, f64), String> {
    let before = cpu_seconds(true);
    let status = Command::new("pdftotext")
        .args(["-q", "-bbox", "-cropbox"])
        .arg(file)
        .arg(output)
        .stderr(std::process::Stdio::null())
        .status();
    let seconds = (cpu_seconds(true) - before).max(0.5 / TICKS);
    match status {
        Err(error) => return Err(format!("pdftotext (poppler-utils) cannot be run: {error}")),
        Ok(status) if !status.success() => return Err(format!("pdftotext fails: {status}")),
        Ok(_) => {}
    }
    let xml = String::from_utf8_lossy(&std::fs::read(output).map_err(|error| error.to_string())?)
        .into_owned();
    let mut pages: Vec<Vec<Placed>> = Vec::new();
    for line in xml.lines().map(str::trim) {
        if line.starts_with("<page ") {
            pages.push(Vec::new());
        } else if let (Some(rest), Some(page)) = (line.strip_prefix("<word "), pages.last_mut()) {
            page.extend(parse_word(rest));
        }
    }
    Ok((pages, seconds))
}

fn parse_word(rest: &str) -> Option<Placed> {
    let (attributes, content) = rest.split_once('>')?;
    let text = content.strip_suffix("</word>")?;
    let number = |name: &str| {
        attributes
            .split_once(name)?
            .1
            .split('"')
            .nth(1)?
            .parse::<f32>()
            .ok()
    };
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&");
    Some(Placed {
        text: spelled_out(&text),
        bounds: [
            number("xMin")?,
            number("yMin")?,
            number("xMax")?,
            number("yMax")?,
        ],
    })
}

fn spelled_out(text: &str) -> String {
    let ligatures = [
        ("\u{fb00}", "ff"),
        ("\u{fb01}", "fi"),
        ("\u{fb02}", "fl"),
        ("\u{fb03}", "ffi"),
        ("\u{fb04}", "ffl"),
    ];
    ligatures
        .iter()
        .fold(text.to_owned(), |text, (ligature, letters)| {
            text.replace(ligature, letters)
        })
}

fn compare(ours: &[Placed], theirs: &[Placed]) -> Score {
    let mut score = Score {
        ours: ours.len(),
        theirs: theirs.len(),
        ..Score::default()
    };
    let mut by_text: HashMap<&str, Vec<&Placed>> = HashMap::new();
    for word in theirs {
        by_text.entry(&word.text).or_default().push(word);
    }
    let mut counts: HashMap<&str, usize> = by_text
        .iter()
        .map(|(text, words)| (*text, words.len()))
        .collect();
    for word in ours {
        if let Some(count) = counts
            .get_mut(word.text.as_str())
            .filter(|count| **count > 0)
        {
            *count -= 1;
            score.matched += 1;
        }
        if let Some(places) = by_text.get_mut(word.text.as_str())
            && let Some(found) = places
                .iter()
                .position(|place| same_place(&word.bounds, &place.bounds))
        {
            places.swap_remove(found);
            score.placed += 1;
        }
    }
    score
}

fn same_place(a: &[f32; 4], b: &[f32; 4]) -> bool {
    let (x, y) = ((a[0] + a[2]) / 2.0, (a[1] + a[3]) / 2.0);
    let inside = x >= b[0] - SLACK && x <= b[2] + SLACK && y >= b[1] - SLACK && y <= b[3] + SLACK;
    let area = |c: &[f32; 4]| (c[2] - c[0]).max(0.0) * (c[3] - c[1]).max(0.0);
    let common = area(&[
        a[0].max(b[0]),
        a[1].max(b[1]),
        a[2].min(b[2]),
        a[3].min(b[3]),
    ]);
    inside || common > 0.5 * (area(a) + area(b) - common)
}

fn print_difference(ours: &[Vec<Placed>], theirs: &[Vec<Placed>]) {
    let none = Vec::new();
    let mut balance: HashMap<(String, bool), (usize, usize)> = HashMap::new();
    for number in 0..theirs.len().max(ours.len()) {
        let mut page: HashMap<&str, isize> = HashMap::new();
        ours.get(number)
            .unwrap_or(&none)
            .iter()
            .for_each(|word| *page.entry(&word.text).or_default() += 1);
        theirs
            .get(number)
            .unwrap_or(&none)
            .iter()
            .for_each(|word| *page.entry(&word.text).or_default() -= 1);
        for (text, count) in page.into_iter().filter(|(_, count)| *count != 0) {
            let entry = balance
                .entry((text.to_owned(), count > 0))
                .or_insert((0, number + 1));
            entry.0 += count.unsigned_abs();
        }
    }
    for ours_only in [true, false] {
        let mut list: Vec<_> = balance
            .iter()
            .filter(|((_, side), _)| *side == ours_only)
            .collect();
        list.sort_by(|a, b| b.1.0.cmp(&a.1.0).then(a.0.cmp(b.0)));
        let shown: Vec<String> = list
            .iter()
            .take(60)
            .map(|((text, _), (count, page))| format!("{text} ×{count} p{page}"))
            .collect();
        println!(
            "  only {}: {}",
            if ours_only { "ours" } else { "theirs" },
            shown.join("  ")
        );
    }
}

/// User and system seconds of this process, or of the children it has waited for.
fn cpu_seconds(children: bool) -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .collect();
    let first = if children { 13 } else { 11 };
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(first) + ticks(first + 1)) / TICKS
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or("0");
    line.split_whitespace()
        .next()
        .and_then(|number| number.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1024.0
}
