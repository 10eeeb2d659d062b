#!/usr/bin/env bash
# include_direction.sh ROOT: includes point only the way docs/architecture.md draws; libtorch is seen by the trainer
# alone, and sentencepiece's library by the program that trains tokenizers.
set -euo pipefail
cd "$1"

declare -A may_include=(
  [base]="base"
  [model]="base model"
  [plan]="base model kernels plan"
  [text]="base text"
  [format]="base model text format"
  [report]="base model text format report"
  [kernels]="base model kernels"
  [import]="base model text format kernels import"
  [runtime]="base model text format kernels runtime"
  [eval]="base model text format report kernels runtime eval"
  [bench]="base model text format kernels runtime eval bench"
  [serve]="base model text format kernels runtime eval serve"
  [cli]="base model plan text format report kernels import runtime eval bench serve cli"
  [data]="base text data"
  [train]="base model plan text format report kernels data train"
)
failures=0
fail() { printf '%s\n' "$*"; failures=1; }

checked=0
while IFS=: read -r file line include; do
  [[ $include =~ ^#include\ \"([^\"]*)\" ]]
  target=${BASH_REMATCH[1]} to=${BASH_REMATCH[1]%%/*}
  from=${file#src/} from=${from%%/*}
  allowed=${may_include[$from]:-}
  [[ $file != src/cli/ringflash_train* ]] || allowed+=" data train"
  ((++checked))
  if [[ -z $allowed ]]; then
    fail "$file: no rule says what src/$from/ may include"
  elif [[ $to == ringflash ]]; then  # include/ringflash, the public API
    [[ $from =~ ^(runtime|serve|cli)$ ]] || fail "$file:$line: the public API stands above it"
  elif [[ $from == kernels && $target =~ ^format/(block_|quantize_|sparse_shape) ]]; then
    continue  # the block formats are the kernels' operands, and their unpackers the references' words for them
  elif [[ ! -e src/$target ]]; then
    fail "$file:$line: \"$target\" is not a path below src/"
  elif [[ " $allowed " != *" $to "* ]]; then
    fail "$file:$line: may not include $target"
  fi
done < <(grep -rnE '^#include "' src)
((checked >= 100)) || fail "only $checked includes were found: this check reads the wrong folder"

while IFS= read -r hit; do
  case $hit in
    src/train/* | src/cli/ringflash_train*) ;;
    src/cli/ringflash_tokenizer.cc*'<sentencepiece'*) ;;
    *) fail "$hit: not here" ;;
  esac
done < <(grep -rnE '^#include [<"](torch|ATen|c10|caffe2|sentencepiece)' src include examples || true)
exit "$failures"
