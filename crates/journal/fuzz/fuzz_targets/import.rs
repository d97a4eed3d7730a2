//! Imports whatever comes: never a panic, nothing left of what is refused, and what is taken is sound.
//!
//! With `cargo-fuzz` and a nightly compiler, from `crates/journal`:
//!
//! ```text
//! mkdir -p fuzz/corpus/import && cp ../../tests/journals/v3/*.jsonl fuzz/corpus/import/
//! cargo +nightly fuzz run import -- -max_total_time=600 -max_len=65536
//! ```
//!
//! Without `cargo-fuzz`, from `crates/journal/fuzz`, with the same corpus; any compiler does:
//!
//! ```text
//! RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
//!   -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table" \
//!   cargo run --release --target x86_64-unknown-linux-gnu --bin import -- corpus/import
//! ```

#![no_main]

use std::io::Cursor;

use journal::{Error, Journal, Page};
use libfuzzer_sys::fuzz_target;

/// The file with a last line that fits it, so that more than the hash is put to the test.
fn sealed(data: &[u8]) -> Vec<u8> {
    let is_end = |line: &&[u8]| line.starts_with(b"{\"end\"");
    let lines: Vec<&[u8]> = data
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !is_end(line))
        .collect();
    let count = |name: &[u8]| lines.iter().filter(|line| line.starts_with(name)).count();
    let mut file = lines.concat();
    let hash = blake3::hash(&file).to_hex();
    let (runs, payloads, events) = (count(b"{\"run\""), count(b"{\"payload\""), count(b"{\"event\""));
    let end = format!(
        "{{\"end\":{{\"runs\":{runs},\"payloads\":{payloads},\"events\":{events},\"blake3\":\"{hash}\"}}}}\n"
    );
    file.extend_from_slice(end.as_bytes());
    file
}

async fn import(file: Vec<u8>) {
    let journal = Journal::in_memory().expect("a journal");
    let page = || journal.runs(Page::default());
    match journal.import(Cursor::new(file)).await {
        Err(Error::Import { .. }) => assert!(page().await.expect("a list").is_empty()),
        Err(error) => panic!("{error}"),
        Ok(ids) => {
            let found = journal.check(|_, _| {}).await.expect("a check");
            assert!(found.iter().all(|finding| finding.place == "its times"), "{found:?}");
            for id in ids {
                journal.steps(&id).await.expect("its steps");
                let mut out = Vec::new();
                journal.export(id.as_str(), &mut out).await.expect("an export");
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(import(data.to_vec()));
    runtime.block_on(import(sealed(data)));
});
