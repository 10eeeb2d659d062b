#!/usr/bin/env python3
"""compare.py RINGFLASH MODEL.gguf FOREIGN.gguf TEXT: our import of a model beside llama.cpp on the original.

Prints the perplexity of TEXT by both (windows of 2048 tokens, none repeated) and, for twenty prompts, whether 64 greedy
tokens are the same; where they are not, by how much llama.cpp preferred its token. Needs llama-cpp-python and numpy.
"""

import ctypes
import json
import subprocess
import sys

import llama_cpp as llama
import numpy as np

CONTEXT = 2048
BATCH = 512
NEW_TOKENS = 64
PROMPTS = [
    "The capital of France is",
    "Once upon a time, there was a small village",
    "def fibonacci(n):\n",
    "Water boils at",
    "The main causes of the First World War were",
    "In machine learning, a neural network is",
    "To make a good cup of coffee, you",
    "Instructions: explain gravity to a child.\nAnswer:",
    "The quick brown fox",
    "1, 2, 3, 4,",
    "Dear Sir or Madam,",
    "The theory of evolution states that",
    "Photosynthesis is the process by which",
    "List of the planets:\n1. Mercury\n2.",
    "In the year 1969,",
    "The best way to learn a new language is",
    "#include <stdio.h>\n\nint main() {\n",
    "She opened the door and saw",
    "My favourite book is",
    "Question: What is 12 plus 30?\nAnswer:",
]


QUIET = llama.llama_log_callback(lambda level, text, data: None)  # llama.cpp calls it for as long as this runs


class Peer:
    """llama.cpp on one thread, keys and values in fp32 as in our portable kernels."""

    def __init__(self, path, vocab_only=False):
        llama.llama_log_set(QUIET, ctypes.c_void_p(0))
        llama.llama_backend_init()
        parameters = llama.llama_model_default_params()
        parameters.n_gpu_layers = 0
        parameters.vocab_only = vocab_only
        parameters.use_extra_bufts = False  # no weights repacked to smaller types
        self.model = llama.llama_model_load_from_file(path.encode(), parameters)
        if not self.model:
            sys.exit(f"{path}: llama.cpp cannot load it")
        self.vocabulary = llama.llama_model_get_vocab(self.model)
        self.size = llama.llama_vocab_n_tokens(self.vocabulary)

    def tokens(self, text):
        return self.tokens_of_bytes(text.encode())

    def tokens_of_bytes(self, data, special=True):
        ids = (llama.llama_token * (len(data) + 8))()
        return list(ids[: llama.llama_tokenize(self.vocabulary, data, len(data), ids, len(ids), special, False)])

    def text(self, ids):
        pieces = b""
        buffer = ctypes.create_string_buffer(256)
        for token in ids:
            count = llama.llama_token_to_piece(self.vocabulary, token, buffer, len(buffer), 0, False)
            pieces += buffer.raw[:count]
        return pieces.decode(errors="replace")

    def context(self, length):
        parameters = llama.llama_context_default_params()
        parameters.n_ctx = length
        parameters.n_batch = parameters.n_ubatch = BATCH
        parameters.n_threads = parameters.n_threads_batch = 1
        parameters.type_k = parameters.type_v = 0  # F32
        parameters.flash_attn_type = 0
        return llama.llama_init_from_model(self.model, parameters)

    def logits(self, context, ids, position):
        """Of at most BATCH ids that follow `position` others: [ids, vocabulary]."""
        batch = llama.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position + i, 1
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        assert llama.llama_decode(context, batch) == 0
        rows = [np.ctypeslib.as_array(llama.llama_get_logits_ith(context, i), (self.size,)) for i in range(len(ids))]
        result = np.array(rows, dtype=np.float64)
        llama.llama_batch_free(batch)
        return result


def perplexity(peer, text, window=CONTEXT):
    ids = peer.tokens(text)
    nats = 0.0
    for begin in range(0, len(ids) - 1, window):
        inputs = ids[begin : min(begin + window, len(ids) - 1)]
        context = peer.context(window)
        for at in range(0, len(inputs), BATCH):
            part = inputs[at : at + BATCH]
            rows = peer.logits(context, part, at)
            highest = rows.max(axis=1)
            sums = highest + np.log(np.exp(rows - highest[:, None]).sum(axis=1))
            targets = ids[begin + at + 1 : begin + at + 1 + len(part)]
            nats += (sums - rows[np.arange(len(part)), targets]).sum()
        llama.llama_free(context)
    return np.exp(nats / (len(ids) - 1)), len(ids) - 1


def greedy(peer, prompt):
    """Ids, and by how much each one's logit was above the next."""
    ids = peer.tokens(prompt)
    context = peer.context(256)
    position, new, gaps = 0, [], []
    while len(new) < NEW_TOKENS:
        logits = peer.logits(context, ids, position)[-1]
        position += len(ids)
        second, best = np.argsort(logits)[-2:]
        ids = [int(best)]
        new.append(int(best))
        gaps.append(logits[best] - logits[second])
    llama.llama_free(context)
    return new, gaps


def ringflash(program, *arguments):
    return json.loads(subprocess.run([program, *arguments, "--json"], check=True, capture_output=True).stdout)


def main():
    program, ours, foreign, text_file = sys.argv[1:]
    peer = Peer(foreign)
    with open(text_file, encoding="utf-8", newline="") as file:
        theirs, tokens = perplexity(peer, file.read())
    report = ringflash(program, "eval", ours, "--task", "ppl", "--data", text_file, "--context", str(CONTEXT),
                       "--overlap", "0")
    print(f"perplexity: llama.cpp {theirs:.4f} ({tokens} tokens), ringflash {report['ppl']:.4f} "
          f"({report['tokens']} tokens), {100 * (report['ppl'] / theirs - 1):+.3f} %")
    same = 0
    for prompt in PROMPTS:
        new, gaps = greedy(peer, prompt)
        expected = peer.text(new)
        found = ringflash(program, "generate", ours, "-p", prompt, "-n", str(NEW_TOKENS), "--temperature", "0",
                          "--ignore-eos")["text"]
        if found == expected:
            same += 1
            continue
        at = next((i for i in range(NEW_TOKENS) if not found.startswith(peer.text(new[: i + 1]))), NEW_TOKENS - 1)
        print(f"{prompt!r}: differs at token {at}, which llama.cpp preferred by {gaps[at]:.4f}")
    print(f"greedy continuations: {same} of {len(PROMPTS)} the same")


if __name__ == "__main__":
    main()
