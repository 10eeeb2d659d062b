#!/usr/bin/env bash
# Installs the Debian 12 packages that building needs and that are missing; quick and silent when none is.
#
#   scripts/install-deps.sh [--lean | --train | --test]
#     --lean    what the runtime half needs: compiler, CMake, PCRE2, utf8proc, header-only libraries, GoogleTest
#     --train   and libtorch, sentencepiece and a fast BLAS for the training half (the default)
#     --test    and an aarch64 cross compiler with its emulator, for the NEON tests
# RINGFLASH_SKIP_DEPS=1 makes it a no-op, for those who have everything from elsewhere.
set -euo pipefail

lean=(g++ cmake ninja-build ccache pkg-config nlohmann-json3-dev libcli11-dev libpcre2-dev libutf8proc-dev libgtest-dev)
# libtorch alone would run on the reference BLAS, some 30 times slower in fp32 than OpenBLAS.
train=(libtorch-dev libgloo-dev libsentencepiece-dev libopenblas0-openmp xz-utils)
tests=(googletest g++-aarch64-linux-gnu qemu-user)

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

case "${1:---train}" in
  --lean) wanted=("${lean[@]}") ;;
  --train) wanted=("${lean[@]}" "${train[@]}") ;;
  --test) wanted=("${lean[@]}" "${train[@]}" "${tests[@]}") ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac
[[ ${RINGFLASH_SKIP_DEPS:-0} != 1 ]] || exit 0

die() { printf 'install-deps: %s\n' "$*" >&2; exit 1; }

cmake_suffices() {
  local version
  version=$(cmake --version 2>/dev/null | sed -n '1s/.*version \([0-9][0-9.]*\).*/\1/p')
  [[ -n $version ]] && printf '3.25\n%s\n' "$version" | sort -CV
}

installed() {
  case $1 in
    cmake) cmake_suffices ;;
    ninja-build) command -v ninja >/dev/null ;;
    *) [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed* ]] ;;
  esac
}

missing=()
for package in "${wanted[@]}"; do
  installed "$package" || missing+=("$package")
done
((${#missing[@]})) || exit 0

command -v apt-get >/dev/null ||
  die "no apt-get here. Install what these Debian packages hold, then run with RINGFLASH_SKIP_DEPS=1: ${missing[*]}"
root=(env)
if ((EUID != 0)); then
  command -v sudo >/dev/null || die "neither root nor sudo. Have root run: apt-get install ${missing[*]}"
  root=(sudo env)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  "${root[@]}" DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -q -y \
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" >>"$log" 2>&1
}
printf 'Installing %s\n' "${missing[*]}" >&2
apt update || printf 'install-deps: apt-get update failed; trying with the package lists at hand\n' >&2
if ! apt install --no-install-recommends "${missing[@]}"; then
  tail -n 25 "$log" >&2
  die "apt-get could not install: ${missing[*]} (its last words are above)"
fi
