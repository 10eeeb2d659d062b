#!/usr/bin/env python3
"""sizes.py FOREIGN.gguf TEXT [TYPE ...]: bits per byte of TEXT by llama.cpp's own quantisations of a model.

FOREIGN.gguf in F32 (widen.py), TYPE such as Q3_K_M (the default: Q4_0 Q3_K_M Q3_K_S Q2_K). Windows of 1,024 tokens, none
repeated, as `ringflash eval --task ppl --context 1024 --overlap 0`. Needs llama-cpp-python and numpy.
"""

import ctypes
import math
import os
import sys
import tempfile

import llama_cpp as llama
from compare import QUIET, Peer, perplexity

WINDOW = 1024


def quantize(source, target, name):
    llama.llama_log_set(QUIET, ctypes.c_void_p(0))
    parameters = llama.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama, f"LLAMA_FTYPE_MOSTLY_{name}")
    if llama.llama_model_quantize(source.encode(), target.encode(), parameters) != 0:
        sys.exit(f"{source}: llama.cpp cannot make {name} of it")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    source, text_file, *names = sys.argv[1:]
    with open(text_file, encoding="utf-8", newline="") as file:
        text = file.read()
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(source))) as folder:
        for name in names or ["Q4_0", "Q3_K_M", "Q3_K_S", "Q2_K"]:
            path = os.path.join(folder, f"{name}.gguf")
            quantize(source, path, name)
            found, tokens = perplexity(Peer(path), text, WINDOW)
            bits = math.log(found) * tokens / math.log(2) / len(text.encode())
            print(f"{name:7} {os.path.getsize(path) / 1e6:6.1f} MB  {bits:.4f} bits per byte", flush=True)


if __name__ == "__main__":
    main()
