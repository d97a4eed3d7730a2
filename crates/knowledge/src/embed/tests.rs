//! Tests with the real model; they need its files in the models folder.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::PathBuf;

use super::*;

/// The files of the embedding model; `None` when they are not there, which `PLUMB_REQUIRE_MODELS=1` forbids.
pub(crate) fn model_files() -> Option<EmbeddingFiles> {
    let folder = std::env::var_os("PLUMB_MODELS")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache/plumb/models")))?;
    let files = EmbeddingFiles {
        model: folder.join("minilm-int8.onnx"),
        tokenizer: folder.join("minilm-tokenizer.json"),
    };
    if files.model.exists() && files.tokenizer.exists() {
        return Some(files);
    }
    assert!(
        std::env::var_os("PLUMB_REQUIRE_MODELS").is_none(),
        "no embedding model in {}",
        folder.display()
    );
    None
}

#[test]
fn nearer_meanings_have_nearer_vectors() {
    let Some(files) = model_files() else { return };
    let embeddings = Embeddings::load(&files, 2).unwrap();
    let texts = [
        "The server writes its changes to the log before the data files.",
        "Write-ahead logging guarantees that no committed change is lost.",
        "Bake the bread for forty minutes until the crust is brown.",
        "",
    ]
    .map(str::to_owned);
    let mut vectors = embeddings.embed(&texts).unwrap();
    vectors.sort_by_key(|(position, _)| *position);
    let vectors: Vec<Vec<f32>> = vectors.into_iter().map(|(_, vector)| vector).collect();
    let query = embeddings
        .embed_query("How does a database keep changes durable?")
        .unwrap();
    let near: Vec<f32> = vectors
        .iter()
        .map(|vector| quantised::product(&query, vector))
        .collect();
    assert!(
        near[0] > near[2] + 0.1 && near[1] > near[2] + 0.1,
        "{near:?}"
    );
    // Alone or in a batch with longer texts, a text has the same vector.
    let alone = embeddings.embed_query(&texts[2]).unwrap();
    assert!(quantised::product(&alone, &vectors[2]) > 0.99);
}

#[test]
fn long_texts_are_cut_off() {
    let Some(files) = model_files() else { return };
    let embeddings = Embeddings::load(&files, 2).unwrap();
    let tokens = embeddings.tokens(&"word ".repeat(5000));
    assert_eq!(tokens.len(), MOST_TOKENS);
    assert_eq!((tokens.first(), tokens.last()), (Some(&101), Some(&102)));
}

#[test]
fn tokens_are_those_of_the_reference_tokenizer() {
    let Some(files) = model_files() else { return };
    let embeddings = Embeddings::load(&files, 2).unwrap();
    // From Hugging Face's `tokenizers` with the same file.
    let text = "Set max_connections=100 (naïve café), e.g. pg_hba.conf!";
    let expected = [
        101, 2275, 4098, 1035, 7264, 1027, 2531, 1006, 15743, 7668, 1007, 1010, 1041, 1012, 1043,
        1012, 18720, 1035, 1044, 3676, 1012, 9530, 2546, 999, 102,
    ];
    assert_eq!(embeddings.tokens(text), expected);
}

#[test]
fn every_token_of_a_long_query_is_in_a_window() {
    let Some(files) = model_files() else { return };
    let embeddings = Embeddings::load(&files, 2).unwrap();
    for words in [1, 253, 254, 255, 300, 457, 458, 459, 1000] {
        let windows = embeddings.windows(&"word ".repeat(words));
        assert!(
            windows
                .iter()
                .all(|window| (3..=MOST_TOKENS).contains(&window.len()))
        );
        let tokens: usize = windows.iter().map(|window| window.len() - 2).sum();
        assert_eq!(tokens - OVERLAP * (windows.len() - 1), words);
    }
    assert!(embeddings.embed_query("  ").unwrap().is_empty());
}

#[test]
fn a_file_that_is_no_model_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let files = EmbeddingFiles {
        model: folder.path().join("x.onnx"),
        tokenizer: folder.path().join("t.json"),
    };
    let message = |files| match Embeddings::load(files, 1) {
        Ok(_) => panic!("loaded"),
        Err(error) => error.to_string(),
    };
    assert!(message(&files).contains("x.onnx"));
    std::fs::write(&files.model, "no model").unwrap();
    assert!(message(&files).contains("x.onnx"));
}

#[test]
fn names_of_programs_are_no_common_words() {
    let Some(files) = model_files() else { return };
    let embeddings = Embeddings::load(&files, 1).unwrap();
    let common = |word: &&str| embeddings.is_common(word);
    let english = [
        "machine",
        "deleting",
        "authenticated",
        "queries",
        "blanks",
        "rewrites",
    ];
    let programs = ["restic", "nginx", "rsyslog", "kubectl", "zstd"];
    assert_eq!(
        english.iter().filter(|word| common(word)).count(),
        english.len()
    );
    assert_eq!(programs.iter().find(|word| common(word)), None);
}
