#!/usr/bin/env bash
# lean_links.sh READELF BINARY: the runtime needs the C++ library and nothing else (and a sanitizer's, built with one).
set -euo pipefail
mapfile -t needed < <("$1" -d "$2" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
((${#needed[@]})) || { printf '%s: readelf found no dynamic section\n' "$2"; exit 1; }
failures=0
for library in "${needed[@]}"; do
  case $library in
    libstdc++.so.* | libm.so.* | libgcc_s.so.* | libc.so.* | ld-linux*.so.*) ;;
    libasan.so.* | libubsan.so.* | libtsan.so.*) ;;
    *) printf '%s links %s\n' "$2" "$library"; failures=1 ;;
  esac
done
exit "$failures"
