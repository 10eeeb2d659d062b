// Text of every sort a tokenizer meets, deterministic: prose, code, Chinese, emoji, combining marks,
// controls.
#pragma once

#include <string>
#include <string_view>

#include "base/rng.h"

namespace ringflash::testing {

/// About `bytes` of valid UTF-8; `hostile` adds U+2581 and invalid bytes.
inline std::string mixed_text(uint64_t seed, size_t bytes, bool hostile = false) {
  static constexpr std::string_view kParts[] = {"the ",
                                                "quick ",
                                                "brown fox",
                                                " jumps over",
                                                " the lazy dog. ",
                                                "It was ",
                                                "a bright cold day in April, ",
                                                "and the clocks were striking thirteen.\n",
                                                "training ",
                                                "trained",
                                                "retrain ",
                                                "tokenization ",
                                                "don't ",
                                                "for (int i = 0; i < n; ++i) {\n",
                                                "    return x[i] * y[j];\n",
                                                "        if (a == b) {\n",
                                                "}\n\n",
                                                "\t\tfoo();\r\n",
                                                "#include <vector>\n",
                                                "def f(self, x):\n    pass\n",
                                                "https://example.org/a/b?c=d&e=%20 ",
                                                "3.14159",
                                                " 2024-01-31 ",
                                                "1000000 ",
                                                "0x7fff",
                                                "深度学习模型",
                                                "的训练和推理",
                                                "。",
                                                "我们提出了一种",
                                                "日本語のテキスト",
                                                "한국어 문장 ",
                                                "Привет, мир! ",
                                                "naïve café ",
                                                "e\xCC\x81 o\xCC\x88 a\xCC\x8A\xCC\x81",
                                                "😀",
                                                "👩‍👩‍👧‍👦",
                                                "🇩🇪🇫🇷",
                                                "\xE2\x80\x8B",
                                                "مرحبا بالعالم ",
                                                "ﬁ ﬂ ½ ①",
                                                "\x01\x02\x1b[0m",
                                                "                                ",
                                                "\n\n\n\n",
                                                "----------------",
                                                "aaaaaaaaaaaaaaaa",
                                                "<s></s><unk><0x0A>",
                                                "\xF0\x9D\x94\xB8",
                                                "\xEF\xBF\xBD"};
  static constexpr std::string_view kHostile[] = {"\xE2\x96\x81",     "\xE2\x96\x81word", "\xFF\xFE",
                                                  "\xC0\x80",         "\xED\xA0\x80",     "\xE2\x96",
                                                  "\xF4\x90\x80\x80", "\x80\x80"};
  Rng rng(seed);
  std::string text;
  while (text.size() < bytes) {
    const uint64_t kind = rng.below(100);
    if (kind < 90) {
      text += kParts[rng.below(std::size(kParts))];
    } else if (kind < 92) {
      text += std::string(rng.below(300), ' ');
    } else if (kind < 94) {
      text += '\0';
    } else if (kind < 98) {
      text += static_cast<char>(rng.below(128));
    } else if (hostile) {
      text += kHostile[rng.below(std::size(kHostile))];
    }
  }
  return text;
}

}  // namespace ringflash::testing
