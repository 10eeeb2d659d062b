#!/usr/bin/env bash
# docs_paths.sh ROOT: every path of the repository that README.md or docs/ names is there. Checked are the targets of
# relative links, and `code` that begins with one of the repository's folders or ./ (globs may be used).
set -euo pipefail
cd "$1"
failures=0 checked=0

check() {  # check DOCUMENT PATH
  ((++checked))
  compgen -G "${2%/}" >/dev/null || { printf '%s: names %s, which is not there\n' "$1" "$2"; failures=1; }
}

for document in README.md docs/*.md; do
  while IFS= read -r link; do
    check "$document" "$(dirname "$document")/${link%%#*}"
  done < <(grep -oE '\]\([^)# ]+' "$document" | sed 's/^](//' | grep -vE '^[a-z]+:' || true)
  while IFS= read -r path; do
    [[ $path == *' '* ]] || check "$document" "$path"  # with a space it is a command
  done < <(grep -oE '`(\./|(src|include|tests|bench|examples|scripts|cmake|docs|\.ci)/)[^`]*`' "$document" | tr -d '`')
done
((checked >= 20)) || { printf 'only %d paths were found: this check reads the wrong folder\n' "$checked"; failures=1; }
exit "$failures"
