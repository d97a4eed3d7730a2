//! Adapters (LoRA) over the smallest model of the catalogue. The adapters are written here: rank 1 over one
//! matrix, with weights that follow from a formula.
//!
//! Without the model's file a test says so and passes; with `PLUMB_REQUIRE_MODELS=1`, as in `make test`, it
//! fails.
#![cfg(feature = "local")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "tests may fail loudly"
)]

use std::path::Path;

use futures::future::join_all;
use plumb_model::{
    Bounds, Error, Message, Model, Models, Output, Request, Response, Settings, catalogue,
};
use tempfile::TempDir;

/// The matrix that the adapters change, and its numbers in and out.
const MATRIX: &str = "blk.29.ffn_down.weight";
const IN: usize = 1536;
const OUT: usize = 576;

/// The bytes of an adapter in GGUF whose weights are up to `size`.
fn adapter(architecture: &str, size: f32) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let entry = |name: &str, kind: u32, value: Vec<u8>| {
        [text(name), kind.to_le_bytes().to_vec(), value].concat()
    };
    let tensor = |name: &str, shape: [usize; 2], offset: usize| {
        let [rows, columns] = shape.map(|length| (length as u64).to_le_bytes());
        let float = 0_u32.to_le_bytes();
        let offset = (offset as u64).to_le_bytes();
        [
            text(name),
            2_u32.to_le_bytes().to_vec(),
            rows.to_vec(),
            columns.to_vec(),
            float.to_vec(),
            offset.to_vec(),
        ]
        .concat()
    };
    let wave = |length: usize, step: f32| -> Vec<u8> {
        (0..length)
            .flat_map(|n| (size * (n as f32 * step).sin()).to_le_bytes())
            .collect()
    };
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(2_u64.to_le_bytes());
    bytes.extend(4_u64.to_le_bytes());
    bytes.extend(entry("general.type", 8, text("adapter")));
    bytes.extend(entry("general.architecture", 8, text(architecture)));
    bytes.extend(entry("adapter.type", 8, text("lora")));
    bytes.extend(entry(
        "adapter.lora.alpha",
        6,
        1.0_f32.to_le_bytes().to_vec(),
    ));
    // The numbers of both lie behind each other, each at a multiple of 32.
    bytes.extend(tensor(&format!("{MATRIX}.lora_a"), [IN, 1], 0));
    bytes.extend(tensor(&format!("{MATRIX}.lora_b"), [1, OUT], IN * 4));
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.extend(wave(IN, 0.7));
    bytes.extend(wave(OUT, 1.3));
    bytes
}

/// A folder with the model as `base.gguf` and these adapters beside it.
fn folder(adapters: &[(&str, Vec<u8>)]) -> Option<TempDir> {
    let entry = catalogue::find("smollm2-135m").unwrap();
    if !entry.is_present() {
        let required = std::env::var_os("PLUMB_REQUIRE_MODELS").is_some_and(|value| value == "1");
        assert!(!required, "plumb models pull {}", entry.name);
        eprintln!("skipped: {} is missing", entry.name);
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(entry.path().unwrap(), folder.path().join("base.gguf")).unwrap();
    for (name, bytes) in adapters {
        std::fs::write(folder.path().join(format!("base+{name}.gguf")), bytes).unwrap();
    }
    Some(folder)
}

fn models() -> Models {
    let local = Bounds {
        threads: Some(1),
        context_tokens: Some(2048),
        ..Bounds::default()
    };
    Models::new(Settings {
        local,
        ..Settings::default()
    })
}

fn name(folder: &Path, adapter: &str) -> String {
    format!("local:{}/base.gguf{adapter}", folder.display())
}

fn request() -> Request {
    Request {
        messages: vec![Message::user(
            "Name three animals of the sea, and say why each is well known.",
        )],
        output: Output::Text,
        max_tokens: 24,
        ..Request::default()
    }
}

async fn answer(model: &dyn Model) -> Response {
    model.generate(&request(), None).await.expect("an answer")
}

#[tokio::test]
async fn each_call_has_the_adapter_that_it_names_and_all_share_one_model() {
    let adapters = [
        ("loud", adapter("llama", 0.6)),
        ("silent", adapter("llama", 0.0)),
    ];
    let Some(folder) = folder(&adapters) else {
        return;
    };
    let models = models();
    let open = |adapter: &str| {
        models
            .open(&name(folder.path(), adapter))
            .expect("it opens")
    };
    let before = resident();
    let base = open("");
    let loaded = resident();
    let (loud, silent) = (open("+loud"), open("+silent"));
    assert_eq!(loud.name(), name(folder.path(), "+loud"));
    assert!(
        resident() - loaded < (loaded - before) / 4,
        "the weights are loaded again"
    );
    let alone = [
        answer(&*base).await,
        answer(&*loud).await,
        answer(&*silent).await,
    ];
    assert_eq!(
        alone[0].text, alone[2].text,
        "weights of zero change nothing"
    );
    assert_ne!(
        alone[0].text, alone[1].text,
        "the adapter changes what is said"
    );
    // The beginning of the conversation is known, but not as this adapter reads it.
    assert_eq!(alone[1].usage.cached_tokens, 0);
    assert_eq!(alone[2].usage.cached_tokens, 0);
    assert!(answer(&*loud).await.usage.cached_tokens > 0);
    // Side by side each has its own, and takes turns with the others. In other company a token may come out
    // differently, but hardly one of the first.
    let together =
        join_all([&base, &loud, &silent, &loud, &base].map(|model| answer(&**model))).await;
    let [quiet, changed] = [0, 1].map(|index| alone[index].text.as_str());
    for (answer, is_changed) in together.iter().zip([false, true, false, true, false]) {
        let (like, unlike) = if is_changed {
            (changed, quiet)
        } else {
            (quiet, changed)
        };
        let text = answer.text.as_str();
        assert!(
            common(text, like) > common(text, unlike),
            "{text}, not {like}"
        );
    }
}

/// How long the beginning is that two texts share.
fn common(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

#[tokio::test]
async fn an_adapter_that_is_not_there_or_not_for_this_model_is_named() {
    let mut wrong = adapter("llama", 0.1);
    wrong.truncate(400);
    let adapters = [
        ("other", adapter("qwen2", 0.1)),
        ("cut", wrong),
        ("text", b"hello".to_vec()),
    ];
    let Some(folder) = folder(&adapters) else {
        return;
    };
    let models = models();
    let base = models
        .open(&name(folder.path(), ""))
        .expect("the base opens all the same");
    let refused = |adapter: &str| models.open(&name(folder.path(), adapter)).err().unwrap();
    for (adapter, expected) in [
        ("+none", "its adapters are cut, other, text"),
        ("+other", "is for qwen2 and the model is llama"),
        ("+cut", "does not fit the model"),
        ("+text", "is no GGUF file"),
    ] {
        let error = refused(adapter).to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(matches!(refused("+none"), Error::Unknown { .. }));
    assert!(!answer(&*base).await.text.is_empty());
}

/// The memory of this process, in pages.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse().unwrap()
}
