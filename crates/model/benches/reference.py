"""Speed of llama.cpp by itself, to set beside `--bench local`: pip install llama-cpp-python==0.3.36

    python crates/model/benches/reference.py ~/.cache/plumb/models/qwen2.5-coder-1.5b.gguf
"""

import sys
import time

from llama_cpp import Llama

model = Llama(sys.argv[1], n_ctx=4096, n_threads=2, n_threads_batch=2, n_batch=128, flash_attn=True, verbose=False)
tokens = model.tokenize(b"The quick brown fox jumps over the lazy dog. " * 60)[:512]
for _ in range(2):
    model.reset()
    started = time.perf_counter()
    model.eval(tokens)
    print(f"prefill {len(tokens) / (time.perf_counter() - started):6.1f} tokens/s")
    started = time.perf_counter()
    for _ in range(64):
        model.eval([tokens[-1]])
    print(f"decode  {64 / (time.perf_counter() - started):6.1f} tokens/s")
