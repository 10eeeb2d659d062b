#!/usr/bin/env bash
# What sparsity costs: trains the same model dense and sparse in every way there is, on the same text, and a small dense
# one of as many active weights; then lists them side by side.
#
#   recipes/sparsity/run.sh [STEPS [ROW...]]
#
# STEPS of 1024 tokens each (3000: about five minutes a model on two cores, two hours in all). Run again, it
# goes on where it was; another STEPS needs another OUT=folder. With ROWs, names below, it trains only those: once dense
# is trained, long ones come half as far again when each core trains one, THREADS=1, in shells of their own. Other text,
# in a folder, is TEXT=folder: more_text.py collects as much as a longer run needs to see none twice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

steps=${1:-3000}
wanted=("${@:2}")
threads=${THREADS:-0}
out=${OUT:-out/sparsity}
text=${TEXT:-out/quickstart/docs}
bin=build/release/bin
recipe=recipes/sparsity

full=$recipe/config.json
declare -A rows=(
  [dense]="$full"
  [small-dense]="$recipe/small.json learning_rate=2e-3"
  [small-dense-distilled]="$recipe/small.json learning_rate=2e-3 teacher=dense distill_weight=0.75"
  [fine]="$full sparsity=fine"
  [fine-no-l1]="$full sparsity=fine l1=0"
  [fine-s4]="$full sparsity=fine weight_bits=4"
  [fine-s8]="$full sparsity=fine weight_bits=8"
  [fine-kept-only]="$full sparsity=fine pruned_update_scale=0"
  [fine-straight-through]="$full sparsity=fine pruned_update_scale=1"
  [fine-rigl]="$full sparsity=fine mask_method=rigl"
  [fine-static]="$full sparsity=fine mask_method=static"
  [fine-s4-static]="$full sparsity=fine weight_bits=4 mask_method=static"
  [fine-s4-rigl]="$full sparsity=fine weight_bits=4 mask_method=rigl"
  [fine-s4-early]="$full sparsity=fine weight_bits=4 sparsity_begin_ratio=0 sparsity_end_ratio=0.4"
  [fine-s4-same-rate]="$full sparsity=fine weight_bits=4 sparse_rate_power=0"
  [fine-s4-distilled]="$full sparsity=fine weight_bits=4 teacher=dense distill_weight=0.75"
  [block]="$full sparsity=block"
  [block-kept-only]="$full sparsity=block pruned_update_scale=0"
)
for seed in 1 2; do
  rows[dense-seed$seed]="${rows[dense]} seed=$seed"
  rows[fine-s4-seed$seed]="${rows[fine-s4]} seed=$seed"
done
for row in "${wanted[@]}"; do
  [[ -n ${rows[$row]:-} ]] || { printf 'run.sh: no row is called %s; there are: %s\n' "$row" "${!rows[*]}" >&2; exit 2; }
done

scripts/install-deps.sh --train
[[ -e build/release/build.ninja ]] || cmake --preset release >/dev/null
cmake --build --preset release --parallel "$(nproc)" --target ringflash ringflash-train
[[ $text != out/quickstart/docs ]] || scripts/collect-docs.sh "$text"
mkdir -p $out

# train NAME: trains a row, unless that is done. The text is prepared once, for the first.
train() {
  local name=$1 config settings=() setting
  [[ ! -s $out/$name.json ]] || return 0
  read -r config setting <<<"${rows[$name]}"
  for setting in $setting; do
    case $setting in
      teacher=*) settings+=(--teacher "$out/${setting#teacher=}") ;;
      *) settings+=(--set "$setting") ;;
    esac
  done
  if [[ ! -e $out/$name/data && -e $out/dense/data/data.json ]]; then
    mkdir -p "$out/$name"
    cp -r "$out/dense/data" "$out/$name/data"
  fi
  printf '%s\n' "$name" >&2
  $bin/ringflash train --data "$text" --out "$out/$name" --config "$config" --resume --steps "$steps" --seq 512 \
    --threads "$threads" --set batch_size=2 --set eval_tokens=65536 --set eval_steps=500 --set save_steps=500 \
    --set learning_rate=1e-3 "${settings[@]}" --json >"$out/$name.tmp"
  mv "$out/$name.tmp" "$out/$name.json"
}

if ((${#wanted[@]} == 0)); then
  wanted=(dense)  # the teacher of others
  for row in "${!rows[@]}"; do [[ $row == dense ]] || wanted+=("$row"); done
fi
for row in "${wanted[@]}"; do train "$row"; done

number() { sed -nE "s/.*\"$1\": *([-+0-9.eE]+).*/\1/p" "$2"; }
printf '%-22s %12s %12s %14s\n' model "bits/byte" "accuracy %" "MACs of dense"
for file in $out/*.json; do
  awk -v name="$(basename "$file" .json)" -v bits="$(number bits_per_byte "$file")" -v accuracy="$(number accuracy "$file")" \
    -v macs="$(number step_macs "$file")" -v dense="$(number dense_step_macs "$file")" \
    'BEGIN { printf "%-22s %12.4f %12.2f %13.1f%%\n", name, bits, 100 * accuracy, 100 * macs / dense }'
done
