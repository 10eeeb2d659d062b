#!/usr/bin/env bash
# What sharing costs: trains the same model with a weight for each layer (the twin) and with weights shared by two layers
# each, which also learns from the twin, on the same text in the same order, with three seeds; then lists parameters and
# held-out loss side by side.
#
#   recipes/sharing/run.sh [STEPS]
#
# STEPS of 1024 tokens each (1800: six minutes a twin and nine a shared model on one core of a Zen 3). Run again, it goes on where
# it was; another STEPS needs another OUT=folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

steps=${1:-1800}
out=${OUT:-out/sharing}
bin=build/release/bin

scripts/install-deps.sh --train
[[ -e build/release/build.ninja ]] || cmake --preset release >/dev/null
cmake --build --preset release --parallel "$(nproc)" --target ringflash ringflash-train
scripts/collect-docs.sh out/quickstart/docs
mkdir -p "$out"

# run NAME [OPTION]...: trains one, unless it is done. The text is prepared once, for the first.
run() {
  local name=$1
  shift
  [[ -s $out/$name.json ]] && return
  if [[ ! -e $out/$name/data && -e $out/twin-seed0/data ]]; then
    mkdir -p "$out/$name"
    cp -r "$out/twin-seed0/data" "$out/$name/data"
  fi
  printf '%s\n' "$name" >&2
  $bin/ringflash train --data out/quickstart/docs --out "$out/$name" --config recipes/sharing/config.json --resume \
    --steps "$steps" --seq 512 --threads 1 --set batch_size=2 --set eval_tokens=65536 --set eval_steps=250 \
    --set save_steps=500 --set learning_rate=3e-3 --set adam_beta2=0.95 "$@" --json >"$out/$name.tmp"
  mv "$out/$name.tmp" "$out/$name.json"
}

number() { sed -nE "s/.*\"$1\": *([-+0-9.eE]+).*/\1/p" "$2"; }
printf '%-6s %12s %12s %12s %12s %12s\n' seed parameters "of the twin" loss "twin's loss" higher
for seed in 0 1 2; do
  run "twin-seed$seed" --set seed=$seed
  run "taught-seed$seed" --set seed=$seed --set sharing_group_size=2 --set sharing_rank=12 --teacher "$out/twin-seed$seed/best"
  twin=$out/twin-seed$seed.json shared=$out/taught-seed$seed.json
  awk -v seed=$seed -v p="$(number parameters "$shared")" -v q="$(number parameters "$twin")" \
    -v l="$(number best_heldout_loss "$shared")" -v m="$(number best_heldout_loss "$twin")" \
    'BEGIN { printf "%-6s %12d %11.1f%% %12.4f %12.4f %11.2f%%\n", seed, p, 100 * p / q, l, m, 100 * (l / m - 1) }'
done
