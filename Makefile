# Two commands: `make demo` shows what Plumb does, `make test` passes its tests. Both install what is
# missing, on any machine with a Rust toolchain and a C compiler.

export CARGO_TARGET_DIR ?= $(HOME)/.cache/plumb/target
PLUMB := $(CARGO_TARGET_DIR)/debug/plumb
# The small models that the tests need.
TEST_MODELS := qwen2.5-coder-1.5b qwen2.5-coder-0.5b smollm2-135m minilm-int8 minilm-tokenizer

# .cargo/config.toml takes for granted what processors of the last ten years have. What an older one
# lacks is switched off here; the environment wins over cargo's configuration.
define without
ifneq ($$(shell [ -r /proc/cpuinfo ] && ! grep -qw $(1) /proc/cpuinfo && echo lacking),)
export $(2) := OFF
endif
endef
ifeq ($(shell uname -m),x86_64)
$(eval $(call without,avx,GGML_AVX))
$(eval $(call without,avx2,GGML_AVX2))
$(eval $(call without,fma,GGML_FMA))
$(eval $(call without,f16c,GGML_F16C))
$(eval $(call without,bmi2,GGML_BMI2))
$(eval $(call without,sse4_2,GGML_SSE42))
endif

.PHONY: help setup demo test

help:
	@echo "make demo   build Plumb, fetch its models, and ask its own documentation a question"
	@echo "make test   pass the tests, with warnings as errors and real models"

setup:
	cargo xtask setup

demo: setup
	cargo build
	$(PLUMB) models pull
	$(PLUMB) research "How does a run survive a crash?" docs/

test: setup
	cargo fmt --all --check
	cargo xtask tidy
	cargo xtask arrows
	cargo clippy --workspace --all-targets -- -D warnings
	cargo build
	cargo test --workspace --no-run
	cargo xtask command-line --check
	$(PLUMB) models pull $(TEST_MODELS)
	PLUMB_REQUIRE_MODELS=1 cargo test --workspace
	@if command -v npm >/dev/null; then cargo xtask mcp-conformance; \
	else echo "npm is not here: the conformance suite of MCP is passed by"; fi
