#!/usr/bin/env bash
# Installs what is missing, builds and runs every test.
#
#   ./test.sh               every configuration: the release build, sanitizers, scalar kernels, aarch64 under qemu
#   ./test.sh --fast        the release build alone
#   ./test.sh --minutes N   the release build, and of the others those that can begin within N minutes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/section.sh

packages=--test configurations=(release asan-ubsan tsan scalar-only neon-cross) minutes=
case "${*:-all}" in
  all) ;;
  --fast) packages=--train configurations=(release) ;;
  --minutes\ [0-9] | --minutes\ [0-9][0-9]) minutes=$2 ;;
  *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac

section "Installing what is missing"
scripts/install-deps.sh $packages

for configuration in "${configurations[@]}"; do
  if [[ $configuration != release && $minutes ]] && ((SECONDS > 60 * minutes)); then
    echo "left out: $configuration, for $((SECONDS / 60)) minutes have passed" >&2
    continue
  fi
  section "Building $configuration"
  cmake --preset "$configuration" >/dev/null
  cmake --build --preset "$configuration" --parallel "$(nproc)"

  section "Testing $configuration"
  run=()
  if [[ $configuration == tsan ]] && (($(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0) > 28)); then
    # g++ 12's ThreadSanitizer cannot cope with that much randomness in addresses.
    if ! setarch -R true 2>/dev/null; then
      echo "left out: ThreadSanitizer, for addresses are too random here and setarch -R is not allowed" >&2
      continue
    fi
    run=(setarch -R)
  fi
  "${run[@]}" ctest --preset "$configuration" --parallel "$(nproc)"
done
