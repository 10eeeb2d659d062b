#!/usr/bin/env python3
"""speed.py RINGFLASH MODEL.gguf FOREIGN.gguf TEXT: how fast our import of a model is beside llama.cpp on the original.

For each length of prompt, the beginning of TEXT, both take turns, each in a process of its own, and medians are printed: tokens
of the prompt read a second, tokens written a second, and the seconds from the start to the first token (ours of the whole process,
llama.cpp's without Python). Needs llama-cpp-python and numpy.
"""

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("program", "ours", "foreign", "text"):
        parser.add_argument(name)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--new", type=int, default=64, help="tokens to write")
    parser.add_argument("--prompts", default="1,512,2048", help="tokens of the prompts, roughly")
    parser.add_argument("--peer", type=int, help=argparse.SUPPRESS)  # one turn of llama.cpp with so many bytes of the text
    return parser.parse_args()


def peer_turn(options):
    import llama_cpp as llama
    import numpy as np

    quiet = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    start = time.perf_counter()
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(options.foreign.encode(), llama.llama_model_default_params())
    vocabulary = llama.llama_model_get_vocab(model)
    size = llama.llama_vocab_n_tokens(vocabulary)
    data = open(options.text, "rb").read()[: options.peer]
    ids = (llama.llama_token * (len(data) + 8))()
    count = llama.llama_tokenize(vocabulary, data, len(data), ids, len(ids), True, False)
    parameters = llama.llama_context_default_params()
    parameters.n_ctx = count + options.new + 8
    parameters.n_batch = max(count, 64)
    parameters.n_threads = parameters.n_threads_batch = options.threads
    context = llama.llama_init_from_model(model, parameters)

    def step(tokens, length):
        assert llama.llama_decode(context, llama.llama_batch_get_one(tokens, length)) == 0
        return int(np.argmax(np.ctypeslib.as_array(llama.llama_get_logits_ith(context, -1), (size,))))

    begin = time.perf_counter()
    token = step(ids, count)
    first = time.perf_counter()
    for _ in range(options.new):
        token = step((llama.llama_token * 1)(token), 1)
    end = time.perf_counter()
    print(json.dumps({"tokens": count, "prefill": count / (first - begin), "decode": options.new / (end - first),
                      "start": first - start}))


def our_turn(options, bytes_of_prompt):
    prompt = open(options.text, "rb").read()[:bytes_of_prompt].decode(errors="ignore")
    command = [options.program, "generate", options.ours, "-p", prompt, "--temperature", "0", "--ignore-eos", "--threads",
               str(options.threads), "--json"]
    report = json.loads(subprocess.run([*command, "-n", str(options.new + 1)], check=True, capture_output=True).stdout)
    start = time.perf_counter()
    subprocess.run([*command, "-n", "1"], check=True, capture_output=True)
    return {"tokens": report["prompt_tokens"], "prefill": report["prefill_tokens_per_s"],
            "decode": report["decode_tokens_per_s"], "start": time.perf_counter() - start}


def main():
    options = arguments()
    if options.peer is not None:
        return peer_turn(options)
    bytes_a_token = 4
    for tokens in map(int, options.prompts.split(",")):
        size = tokens * bytes_a_token
        turns = {"llama.cpp": [], "ringflash": []}
        for _ in range(options.rounds):
            peer = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--peer", str(size)], check=True, capture_output=True)
            turns["llama.cpp"].append(json.loads(peer.stdout))
            turns["ringflash"].append(our_turn(options, size))
        median = {name: {key: statistics.median(turn[key] for turn in all_turns) for key in ("tokens", "prefill", "decode", "start")}
                  for name, all_turns in turns.items()}
        for name, found in median.items():
            print(f"{name:9}  {found['tokens']:5.0f} tokens  prefill {found['prefill']:7.1f} tokens/s  decode "
                  f"{found['decode']:6.1f} tokens/s  first token after {found['start']:.3f} s")
        theirs, ours = median["llama.cpp"], median["ringflash"]
        print(f"ratios     prefill {ours['prefill'] / theirs['prefill']:.2f}  decode {ours['decode'] / theirs['decode']:.2f}  start "
              f"{ours['start'] / theirs['start']:.2f}", flush=True)


if __name__ == "__main__":
    main()
