#!/usr/bin/env bash
# file_size.sh ROOT: no source file has grown past what one reads in a sitting, and most are short.
set -euo pipefail
cd "$1"
readonly max_lines=600 max_median=200

lines_of() { find "$@" \( -name '*.cc' -o -name '*.h' -o -name '*.sh' \) -type f -exec wc -l {} \; 2>/dev/null; }

folders=()
for folder in src include tests bench examples scripts; do
  [[ ! -d $folder ]] || folders+=("$folder")
done
failures=0
while read -r lines file; do
  if ((lines > max_lines)); then
    printf '%s: %d lines, at most %d\n' "$file" "$lines" "$max_lines"
    failures=1
  fi
done < <(lines_of "${folders[@]}")

mapfile -t sorted < <(lines_of src | awk '{print $1}' | sort -n)
median=${sorted[${#sorted[@]} / 2]}
printf '%d files in src, median %d lines\n' "${#sorted[@]}" "$median"
((median < max_median)) || { printf 'the median must stay under %d\n' "$max_median"; failures=1; }
exit "$failures"
