#!/usr/bin/env python3
"""Compares what `ringflash plan` says a training run takes with the memory that short runs really take.

    recipes/plan/measure.py --ringflash build/release/bin/ringflash --data notes/ --out /tmp/plan
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys

DEEP = ["--preset", "micro", "--set", "num_hidden_layers=12"]
WIDE = ["--preset", "micro", "--set", "hidden_size=768", "--set", "intermediate_size=2048", "--set",
        "num_attention_heads=12"]
# name, options of both commands, options of train alone and of plan alone
CASES = [
    ("7 M, ring, 4 rows of 1024", ["--preset", "nano", "--seq", "1024"],
     ["--set", "batch_size=4"], ["--batch", "4"]),
    ("22 M, full attention, 2 rows of 2048", ["--preset", "micro", "--seq", "2048", "--set", "attention=full"],
     ["--set", "batch_size=2"], ["--batch", "2"]),
    ("22 M, fine sparse, 4096, 8-bit moments", ["--preset", "micro", "--seq", "4096", "--set", "sparsity=fine"],
     ["--set", "batch_size=1", "--set", "optimizer_bits=8", "--set", "mask_method=static"],
     ["--optimizer-bits", "8", "--mask-method", "static"]),
    ("38 M, block-sparse, 2 rows of 2048", DEEP + ["--seq", "2048", "--set", "sparsity=block"],
     ["--set", "batch_size=2", "--set", "mask_method=static"], ["--batch", "2", "--mask-method", "static"]),
    ("38 M, ring, 8192", DEEP + ["--seq", "8192"], ["--set", "batch_size=1"], []),
    ("38 M, ring, 8192, budget 32 %, 8-bit moments", DEEP + ["--seq", "8192", "--activation-budget", "32%"],
     ["--set", "batch_size=1", "--set", "optimizer_bits=8"], ["--optimizer-bits", "8"]),
    ("51 M, ring, 2 x 2048, fp32", WIDE + ["--seq", "2048"],
     ["--set", "batch_size=1", "--set", "gradient_accumulation_steps=2", "--set", "precision=fp32"],
     ["--accumulation", "2", "--precision", "fp32"]),
]


def measured(args, name, options):
    run = args.out / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    prepared = args.out / "data"
    if prepared.exists():
        shutil.copytree(prepared, run / "data")
    options = ["--set", f"precision={args.precision}"] + options
    command = [args.ringflash, "train", "--data", args.data, "--out", run, "--steps", str(args.steps), "--threads",
               str(args.threads), "--set", "vocab_size=8192", "--set", "eval_tokens=8192"] + options
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{name}: {done.stderr}")
    if not prepared.exists():
        shutil.copytree(run / "data", prepared)
    return max(json.loads(line).get("peak_memory", 0) for line in open(run / "metrics.jsonl"))


def planned(args, options):
    command = [args.ringflash, "plan", "--json", "--set", "vocab_size=8192"]
    command += options if "--precision" in options else ["--precision", args.precision] + options
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ringflash", required=True)
    parser.add_argument("--data", required=True, help="text of a few megabytes")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="bf16", help="of cases that do not name one: fp32 is faster where processors do "
                        "not multiply bf16")
    parser.add_argument("--only", help="cases whose names contain this")
    args = parser.parse_args()
    print("| run | weights, moments, masks | activations | a step's most | planned peak | measured | error |")
    print("|---|---|---|---|---|---|---|")
    for name, both, train, plan in CASES:
        if args.only and args.only not in name:
            continue
        said = planned(args, both + plan)["bytes"]
        found = measured(args, name, both + train)
        standing = said["weights"] + said["moments"] + said["masks"]
        sizes = [f"{size / 1e6:.0f} MB" for size in (standing, said["activations"], said["step"], said["peak"], found)]
        print(f"| {name} | {' | '.join(sizes)} | {100 * (said['peak'] / found - 1):+.1f} % |", flush=True)


if __name__ == "__main__":
    main()
