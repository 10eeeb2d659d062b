#!/usr/bin/env bash
# readme_commands.sh ROOT RINGFLASH: every command in README.md's shell blocks can be run as it stands: scripts exist
# and are executable, and `ringflash COMMAND --help` knows each flag used.
set -euo pipefail
cd "$1"
ringflash=$2
failures=0 checked=0
fail() { printf 'README.md: %s\n' "$*"; failures=1; }

# Lines of ```sh blocks, continuation lines joined, comments cut.
commands() {
  awk '/^```/ {inside = ($0 == "```sh"); next} inside' README.md | sed -e ':a' -e '/\\$/{N;s/\\\n */ /;ba}' -e 's/ *# .*//' -e '/^$/d'
}

while IFS= read -r command; do
  read -ra words <<<"$command"
  ((++checked))
  case ${words[0]} in
    ./* | scripts/* | recipes/*) [[ -x ${words[0]} ]] || fail "$command: ${words[0]} is not an executable file" ;;
    ringflash | build/release/bin/ringflash)
      help=$("$ringflash" "${words[1]}" --help 2>&1) || { fail "$command: no such command"; continue; }
      for word in "${words[@]:2}"; do
        [[ $word == -* ]] || continue
        grep -qE -- "(^|[ ,])${word%%=*}([ ,=]|$)" <<<"$help" || fail "$command: --help does not know ${word%%=*}"
      done
      ;;
    git | cd | export | cmake | ctest) ;;
    *) fail "$command: not a command that is tested" ;;
  esac
done < <(commands)
((checked >= 6)) || fail "only $checked commands were found"
exit "$failures"
