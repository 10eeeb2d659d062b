#!/usr/bin/env python3
"""tokens.py RINGFLASH MODEL.gguf FOREIGN.gguf [TEXT...]: our tokens of a model beside llama.cpp's.

Without TEXT a megabyte is made up, the same each time: English, Chinese and other scripts, emoji, code, numbers, control
characters, runs of spaces, and any code points. Needs llama-cpp-python and numpy.
"""

import json
import random
import subprocess
import sys
import tempfile

from compare import Peer

MEGABYTE = 1 << 20
PARTS = [
    "The quick brown fox jumps over the lazy dog. ", "It's what they'd've said, isn't it? ", "tokenization ", "HELLO World ",
    "深度学习模型的训练和推理。", "我们提出了一种新的方法，", "日本語のテキスト", "한국어 문장 ", "Привет, мир! ", "مرحبا بالعالم ",
    "naïve café Ünïcödé ", "e\u0301 o\u0308 a\u030a\u0301 ", "ﬁ ﬂ ½ ① Ⅳ ", "नमस्ते ", "สวัสดี ",
    "😀", "👩‍👩‍👧‍👦", "🇩🇪🇫🇷", "🏳️‍🌈 ", "\u200b", "\u00a0", "\u2028", "\ufeff", "\ue000",
    "for (int i = 0; i < n; ++i) {\n", "    return x[i] * y[j];\n", "}\n\n", "\t\tfoo();\r\n", "#include <vector>\n",
    "def f(self, x):\n    pass\n", "SELECT * FROM t WHERE a = 'b';\n", "<div class=\"x\">&amp;</div>\n",
    "https://example.org/a/b?c=d&e=%20 ", "3.14159 ", "2024-01-31 ", "1000000 ", "0x7fff ", "12 345,67 ",
    "\x01\x02\x1b[0m\x7f", "\r", "\v\f", "   ", "                ", "\n\n\n", "\t", "----------------", "aaaaaaaaaaaaaaaa", "!?!?...",
]


def mixed_text():
    random.seed(1)
    parts, size = [], 0
    while size < MEGABYTE:
        if random.random() < 0.1:
            code = random.choice((random.randrange(1, 0xD800), random.randrange(0xE000, 0x110000), random.randrange(1, 256)))
            part = chr(code)
        else:
            part = random.choice(PARTS)
        parts.append(part)
        size += len(part.encode())
    return "".join(parts)


def without_lost_bytes(peer, name, data):
    """Some vocabularies have no piece for some control characters. Hugging Face's tokenizers and ours merge what is
    beside such a byte, llama.cpp does not: no text to compare on."""
    lost = [byte for byte in range(1, 128) if not peer.tokens_of_bytes(bytes([byte]), special=False)]
    kept = data.translate(None, bytes(lost))
    if len(kept) < len(data):
        print(f"{name}: left out {len(data) - len(kept)} control characters that the vocabulary has no piece for")
    return kept


def compare(program, ours, peer, name, data):
    data = without_lost_bytes(peer, name, data)
    theirs = peer.tokens_of_bytes(data)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        command = [program, "tokenize", ours, "--prompt-file", file.name, "--plain", "--json"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["ids"]
    if found == theirs:
        print(f"{name}: {len(data)} bytes, all {len(theirs)} tokens the same")
        return True
    at = next((i for i, (a, b) in enumerate(zip(found, theirs)) if a != b), min(len(found), len(theirs)))
    print(f"{name}: differs at token {at}: llama.cpp {theirs[at:at + 8]}, ringflash {found[at:at + 8]}")
    return False


def main():
    program, ours, foreign, *files = sys.argv[1:]
    peer = Peer(foreign, vocab_only=True)
    texts = [(file, open(file, "rb").read()) for file in files] or [("mixed text", mixed_text().encode())]
    return 0 if all([compare(program, ours, peer, name, data) for name, data in texts]) else 1


if __name__ == "__main__":
    sys.exit(main())
