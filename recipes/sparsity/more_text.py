#!/usr/bin/env python3
"""Collects 95 MB of documentation in English from Debian's packages, so that no token of a longer run comes twice.

    scripts/collect-docs.sh out/quickstart/docs
    recipes/sparsity/more_text.py --with out/quickstart/docs out/more-text
    TEXT=out/more-text OUT=out/unique recipes/sparsity/run.sh 8000 dense fine-s4

The packages are downloaded and unpacked, not installed. A document becomes a text file: its source where the package has
it, what stands between the tags where it is HTML. Left out are copies, tables of numbers, indices and other languages.
"""
import argparse
import gzip
import hashlib
import html
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PACKAGES = """linux-doc-6.1 llvm-14-doc postgresql-doc-15 python-scipy-doc sqlite3-doc python-sklearn-doc python-django-doc
    python-sqlalchemy-doc rust-doc octave-doc cmake-doc manpages debian-handbook python-pandas-doc python-sympy-doc
    debian-reference-en developers-reference debian-policy""".split()
# Of these packages, the files below such paths alone.
PARTS = {
    "rust-doc": "/html/(book|reference|nomicon|rust-by-example|cargo|rustc|edition-guide|unstable-book|embedded-book|rustdoc"
                "|error_codes|clippy)/",
    "debian-handbook": "en-US",
}
INDICES = re.compile(r"/(genindex|search|py-modindex|print|bookindex|toc|_modules/|changelog|ChangeLog|whatsnew|translations)")
HTML = re.compile(r"\.x?html(\.en)?(\.gz)?$")
LEAST, MOST = 1024, 3_000_000  # bytes of a document; what is longer is cut


def text_of_html(page):
    page = re.sub(r"(?is)<(script|style|head|nav|footer|svg|select)\b.*?</\1>", " ", page)
    page = re.sub(r"(?i)<(/?(p|div|h[1-6]|li|ul|ol|dl|dt|dd|pre|tr|table|section|blockquote)|br)\b[^>]*>", "\n", page)
    page = html.unescape(re.sub(r"(?s)<!--.*?-->|<[^>]+>", "", page)).replace("\u00b6", "").replace("\xa0", " ")
    return re.sub(r"\n\s*\n+", "\n\n", re.sub(r"[ \t]+\n", "\n", page)).strip() + "\n"


def text_of_man(page):
    return re.sub(r'(?m)^\.\\".*\n|^\.[a-zA-Z]+ ?|\\f[BIRP]|\\&', "", page).replace("\\-", "-")


def documents(package, folder):
    """The files of an unpacked package that are worth reading, and what makes text of each."""
    files = sorted(str(f) for f in folder.rglob("*") if f.is_file() and not f.is_symlink())
    kept = [f for f in files if not INDICES.search(f) and re.search(PARTS.get(package, ""), f)]
    sources = [f for f in kept if "/_sources/" in f or package.startswith("linux") and re.search(r"\.(rst|txt)(\.gz)?$", f)]
    if len(sources) > 20:
        return [(f, str) for f in sources]
    if package == "manpages":
        return [(f, text_of_man) for f in kept if "/man/" in f and f.endswith(".gz")]
    return [(f, text_of_html) for f in kept if HTML.search(f)]


def read(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        try:
            return file.read(MOST).decode("utf-8")
        except UnicodeDecodeError:
            return ""


def is_prose(text):
    foreign, digits = sum(ord(c) > 127 for c in text), sum(c.isdigit() for c in text)
    ruled = re.search(r"(.)\1{200,}", text)
    return len(text) >= LEAST and foreign <= 0.03 * len(text) and digits <= 0.15 * len(text) and not ruled


def collect(package, work, out, seen):
    folder = work / package
    subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=", "download", package], cwd=work, check=True, capture_output=True)
    subprocess.run(["dpkg-deb", "-x", *map(str, work.glob(package + "_*.deb")), str(folder)], check=True)
    (out / package).mkdir(parents=True)
    total = 0
    for path, convert in documents(package, folder):
        text = convert(read(path))
        digest = hashlib.sha256(text.encode()).digest()
        if digest in seen or not is_prose(text):
            continue
        seen.add(digest)
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", str(pathlib.Path(path).relative_to(work)))[-150:] + ".txt"
        total += (out / package / name).write_bytes(text.encode())
    shutil.rmtree(folder)
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, metavar="OUTDIR", help="a new folder; it appears when it is complete")
    parser.add_argument("--with", dest="others", action="append", default=[], type=pathlib.Path, metavar="DIR", help="copies this text as well")
    args = parser.parse_args()
    if args.out.exists():
        sys.exit(f"more_text.py: {args.out}: expected a new folder, found one that exists")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    seen = set()
    with tempfile.TemporaryDirectory(dir=args.out.parent, prefix=".more-text.") as temporary:
        work = pathlib.Path(temporary).absolute()
        for package in PACKAGES:
            try:
                total = collect(package, work, work / "out", seen)
            except subprocess.CalledProcessError as error:
                reason = (error.stderr or b"").decode(errors="replace").strip().splitlines()[-1:]
                sys.exit(f"more_text.py: {package}: could not be had ({' '.join(reason)}); expected a package of Debian 12, after apt-get update")
            print(f"{package}: {total / 1e6:.1f} MB", file=sys.stderr)
        for other in args.others:
            shutil.copytree(other, work / "out", dirs_exist_ok=True)
        (work / "out").rename(args.out)


if __name__ == "__main__":
    main()
