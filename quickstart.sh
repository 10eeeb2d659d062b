#!/usr/bin/env bash
# From nothing to a language model of your own in ten to fifteen minutes: installs what is missing, builds, collects
# text, trains, exports, measures, and lets the model write. Run again, it reuses what is done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/section.sh

out=out/quickstart
model=$out/model.gguf
heldout=$out/run/data/heldout.txt
ringflash=build/release/bin/ringflash

# json_number KEY: the first number under that key in the JSON on stdin.
json_number() { sed -nE "s/.*\"$1\": *([-+0-9.eE]+).*/\1/p" | sed -n 1p; }

section "Installing what is missing"
scripts/install-deps.sh --train

section "Building"
[[ -e build/release/build.ninja ]] || cmake --preset release >/dev/null
cmake --build --preset release --parallel "$(nproc)" --target ringflash ringflash-train

section "Collecting text to train on"
scripts/collect-docs.sh $out/docs

section "Training"
$ringflash train --data $out/docs --out $out/run --preset nano --steps 650 --set eval_tokens=0 --resume

section "Exporting"
if [[ -e $model && -z $(find $out/run -name model.safetensors -newer $model) ]]; then
  echo "$model is up to date"
else
  $ringflash export $out/run --out $model --format bf16
fi

section "Measuring on text held out from training"
before=$(json_number heldout_bits_per_byte <$out/run/metrics.jsonl)
after=$($ringflash eval $model --task ppl --data $heldout --json | json_number bits_per_byte)
bytes=$(wc -c <$heldout)
compressed=$(xz -9e -c $heldout | wc -c)
awk -v bytes="$bytes" -v compressed="$compressed" -v before="$before" -v after="$after" 'BEGIN {
  printf "bits per byte of %d bytes never seen in training (less is better)\n", bytes
  printf "  untrained model  %6.3f\n  xz -9e           %6.3f\n  this model       %6.3f\n",
         before, 8 * compressed / bytes, after
}'

section "Writing"
for prompt in "The following example shows how to" "If the file does not exist, this function"; do
  printf '\n'
  $ringflash generate $model -p "$prompt" -n 96 --temperature 0.5 --repetition-penalty 1.1 --seed 1
done

section "Done"
cat <<TEXT
The model is $model ($(($(stat -c %s $model) >> 20)) MB, tokenizer inside). Yours is as near:
  $ringflash train --data YOUR_TEXT... --out out/mine --preset nano --steps 5000
  $ringflash export out/mine --out out/mine.gguf --format q8
  $ringflash generate out/mine.gguf -p "Once"
TEXT
