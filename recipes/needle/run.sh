#!/usr/bin/env bash
# Trains two small models on recall in texts of up to 4096 tokens, one with the router and one with its window alone, and
# asks both for a fact in texts of up to 40,960 tokens. About twenty minutes on two cores. Run again, it goes on
# where it was.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

out=out/needle
bin=build/release/bin
recipe=recipes/needle
lengths=1024,2048,4096,8192,16384,40960
depths=0,10,25,50,75,90,100

scripts/install-deps.sh --train
[[ -e build/release/build.ninja ]] || cmake --preset release >/dev/null
cmake --build --preset release --parallel "$(nproc)" --target ringflash ringflash-train recall-text

mkdir -p $out/text
# text NAME DOCUMENTS TOKENS GAP SEED
text() {
  [[ -s $out/text/$1.jsonl ]] && return
  $bin/recall-text "${@:2}" >"$out/text/$1.tmp"
  mv "$out/text/$1.tmp" "$out/text/$1.jsonl"
}
text short 12000 512 4 1
text long 4000 4096 4 2
text sparse 6000 4096 25 3
text rare 6000 4096 50 4
text rarest 4000 4096 200 5

# train NAME RATIO: short texts and many small steps first, until the model copies within its window at all; then long
# ones, for which it needs the pages; then long ones with fewer and fewer facts, so that the router learns to pass the
# filler over, which at 40,960 tokens is ten times as much as it has ever seen.
train() {
  local run=$out/$1
  mkdir -p "$run"
  sed "s/\"global_ratio\": 0.05/\"global_ratio\": $2/" $recipe/config.json >"$run/config.json"
  $bin/ringflash train --data $out/text/short.jsonl --out "$run/short" --config "$run/config.json" --resume \
    --steps 2000 --seq 512 --set batch_size=4 --set learning_rate=2e-3 --set adam_beta2=0.95 --set eval_tokens=16384
  $bin/ringflash train --data $out/text/long.jsonl --out "$run/long" --from "$run/short" --resume \
    --steps 2000 --seq 4096 --set batch_size=1 --set learning_rate=2e-3 --set adam_beta2=0.95 --set eval_tokens=32768
  $bin/ringflash train --data $out/text/sparse.jsonl --out "$run/sparse" --from "$run/long" --resume \
    --steps 2000 --seq 4096 --set batch_size=1 --set learning_rate=1.5e-3 --set adam_beta2=0.95 --set eval_tokens=32768
  $bin/ringflash train --data $out/text/rare.jsonl --out "$run/rare" --from "$run/sparse" --resume \
    --steps 3000 --seq 4096 --set batch_size=1 --set learning_rate=1.5e-3 --set adam_beta2=0.95 --set eval_tokens=32768
  $bin/ringflash train --data $out/text/rarest.jsonl --out "$run/rarest" --from "$run/rare" --resume \
    --steps 2000 --seq 4096 --set batch_size=1 --set learning_rate=1e-3 --set adam_beta2=0.95 --set eval_tokens=32768
  $bin/ringflash export "$run/rarest" --out "$run.gguf" --format bf16
  $bin/ringflash eval "$run.gguf" --task needle --lengths $lengths --depths $depths --samples 10 \
    --html "$run.html" --json >"$run.json"
}

train router 0.05
train window 0

for name in router window; do
  printf '%s: %s\n' $name "$(head -c 300 $out/$name.json)"
done
echo "heat maps: $out/router.html $out/window.html"
