//! Text to tokens and back.
#![expect(
    unsafe_code,
    reason = "one call that the safe binding lacks: the engine's compile flags"
)]

use std::sync::OnceLock;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;

/// The tokens of `text`, in which control tokens are text like any other.
pub(super) fn plain(model: &LlamaModel, text: &str) -> Vec<LlamaToken> {
    model.vocab().tokenize(text.as_bytes(), false, false)
}

/// The tokens of a piece of a chat template, in which control tokens are what they are.
pub(super) fn template(model: &LlamaModel, text: &str) -> Vec<LlamaToken> {
    model.vocab().tokenize(text.as_bytes(), false, true)
}

/// The bytes of a token; none for a control token.
pub(super) fn bytes(model: &LlamaModel, token: LlamaToken) -> Vec<u8> {
    model.vocab().token_to_piece(token, false, None)
}

/// How a control token is written in templates; empty for none.
pub(super) fn name(model: &LlamaModel, token: LlamaToken) -> String {
    if token.0 < 0 {
        return String::new();
    }
    let bytes = model.vocab().token_to_piece(token, true, None);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What instruction sets the engine was compiled for, as llama.cpp prints it.
pub(super) fn system_info() -> &'static str {
    // Asked once: llama.cpp writes the text anew at each call, into one place for all threads.
    static INFO: OnceLock<String> = OnceLock::new();
    INFO.get_or_init(|| {
        // SAFETY: the pointer is to a null-terminated string that only this call writes; the lock lets
        // one thread in, and the text is copied before it lets go.
        let text = unsafe { std::ffi::CStr::from_ptr(llama_cpp_sys_2::llama_print_system_info()) };
        text.to_string_lossy().into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_that_start_side_by_side_ask_what_was_compiled() {
        let ask = || (0..2000).for_each(|_| assert!(system_info().contains(" = 1")));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(ask);
            }
        });
    }
}
