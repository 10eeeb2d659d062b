#!/usr/bin/env bash
# Collects about 15 MB of English prose to train on from Debian's documentation packages, one file per document.
#
#   scripts/collect-docs.sh OUTDIR
#
# The packages are downloaded and unpacked, not installed, so it needs no root. Their licences go to OUTDIR-licences/.
# OUTDIR appears only when it is complete; a run that finds it complete changes nothing.
set -euo pipefail
export LC_ALL=C.UTF-8

readonly min_bytes=10000000
readonly min_document=512  # below that it is a stub or a table of contents

say() { printf '%s\n' "$*" >&2; }
die() { say "collect-docs: $*"; exit 1; }

if (($# != 1)) || [[ $1 == -* ]]; then
  say "usage: scripts/collect-docs.sh OUTDIR"
  exit 2
fi
out=${1%/}
stamp=$out/.collected
if [[ -e $stamp ]]; then
  cat "$stamp" >&2
  exit 0
fi
[[ ! -e $out ]] || rmdir "$out" 2>/dev/null || die "$out exists and was not made here: expected a new or empty folder"
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
  die "needs apt-get and dpkg-deb, that is Debian or a relative. Elsewhere, train on a folder of your own text."

mkdir -p "$(dirname "$out")"
work=$(mktemp -d "$(dirname "$out")/.collect-docs.XXXXXX")
work=$(cd "$work" && pwd)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{debs,lists/partial,cache/archives/partial,docs,licences}

apt_options=(-q -o APT::Sandbox::User= -o Acquire::Retries=3)

# python3-doc is the metapackage of the current version's documentation, e.g. python3.11-doc.
download() {
  local python
  python=$(apt-cache "${apt_options[@]}" depends python3-doc | sed -n 's/.*Depends: \(python3\.[0-9]*-doc\)$/\1/p')
  [[ -n $python ]] || return 1
  (cd "$work/debs" && apt-get "${apt_options[@]}" download perl-doc git-doc "$python")
}

say "Downloading perl-doc, git-doc and python3-doc's text ..."
if ! download >"$work/log" 2>&1; then
  # No package lists yet, or outdated ones: fetch fresh ones into the working folder.
  apt_options+=(-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache")
  { apt-get "${apt_options[@]}" update && download; } >>"$work/log" 2>&1 ||
    { tail -n 15 "$work/log" >&2; die "the download failed (apt-get's last words are above)"; }
fi

# The prose of a package: generated references, indices, change logs, tables of characters and languages other than
# English are left out. Prints the path of each document below the folder of unpacked packages.
documents() {
  case $1 in
    perl-doc)
      find . -path '*/pod/*.pod' ! -name '*delta.pod' ! -name 'perl[ctjk][nwpo].pod' ! -name perltoc.pod \
        ! -name perlapi.pod ! -name perlintern.pod ! -name perluniprops.pod ! -name perlebcdic.pod ! -name perlhist.pod
      ;;
    git-doc) find ./usr/share/doc/git-doc -name '*.txt' ;;
    python3*-doc)
      find . -regex '.*/_sources/\(extending\|faq\|howto\|library\|reference\|tutorial\|using\)/.*\.rst\.txt'
      ;;
  esac
}

# ./usr/share/doc/python3.11/html/_sources/library/os.rst.txt -> library-os.rst.txt
readable_name() {
  sed -E 's#^.*/(pod|_sources|git-doc)/##; s#/#-#g' <<<"$1"
}

table=$(printf '%-16s %-24s %6s %10s' package version files bytes)
total=0
for deb in "$work"/debs/*.deb; do
  package=$(dpkg-deb -f "$deb" Package)
  tree=$work/tree/$package
  mkdir -p "$tree" "$work/docs/$package"
  dpkg-deb -x "$deb" "$tree"
  cp -p "$tree/usr/share/doc/$package/copyright" "$work/licences/$package.txt"
  files=0 bytes=0
  while IFS= read -r document; do
    size=$(stat -c %s "$tree/$document")
    ((size >= min_document)) || continue
    cp -p "$tree/$document" "$work/docs/$package/$(readable_name "$document")"
    ((++files, bytes += size))
  done < <(cd "$tree" && documents "$package" | sort)
  ((files > 0)) || die "no text found in $(basename "$deb"): its layout has changed"
  ((total += bytes))
  table+=$(printf '\n%-16s %-24s %6d %10d' "$package" "$(dpkg-deb -f "$deb" Version)" "$files" "$bytes")
done
((total >= min_bytes)) || die "only $total bytes of text, expected at least $min_bytes: is a package missing above? $table"
table+=$(printf '\n%-48s %10d\nlicences: %s-licences/' total "$total" "$out")

rm -rf "$out-licences"
mv "$work/licences" "$out-licences"
printf '%s\n' "$table" >"$work/docs/.collected"
mv "$work/docs" "$out"
cat "$stamp" >&2
