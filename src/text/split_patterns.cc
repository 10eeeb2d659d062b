#include "text/split_patterns.h"

#include "base/in_quotes.h"

namespace ringflash {

const std::string kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

// Parts that the younger patterns share.
const std::string kContractions = R"((?i:'s|'t|'re|'ve|'m|'ll|'d))";
const std::string kSpaces = R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// As GPT-4's: contractions in any case, words with the character before them, numbers, the rest.
std::string gpt4_like(const std::string& numbers) {
  return kContractions + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|)" + numbers + R"(| ?[^\s\p{L}\p{N}]+[\r\n]*)" +
         kSpaces;
}

/// As GPT-4o's, which cuts where small letters are followed by capitals.
std::string gpt4o_like(const std::string& suffix, const std::string& numbers) {
  const std::string upper = R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])", lower = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])";
  const std::string before = R"([^\r\n\p{L}\p{N}]?)";
  return before + upper + "*" + lower + "+" + suffix + "|" + before + upper + "+" + lower + "*" + suffix +
         "|" + numbers + R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*)" + kSpaces;
}

struct NamedRules {
  const char* name;
  SplitRules rules;
};

/// Of several names for the same rules the first is the one that is written.
const std::vector<NamedRules>& table() {
  static const std::vector<NamedRules> rows = [] {
    const SplitRules gpt2{{kGpt2Pattern}}, digits_then_gpt2{{R"(\p{N})", kGpt2Pattern}};
    const SplitRules llama3{{gpt4_like(R"(\p{N}{1,3})")}, true}, qwen2{{gpt4_like(R"(\p{N})")}};
    const SplitRules gpt4{llama3.patterns}, gpt4o{{gpt4o_like(kContractions + "?", R"(\p{N}{1,3})")}};
    const SplitRules tekken{{gpt4o_like("", R"(\p{N})")}, true};
    // What GGUF files before the key existed were made with; numbers end up in groups of at most three
    // digits.
    const SplitRules unnamed{{R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"}};
    const SplitRules falcon{{R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Pattern, "[0-9][0-9][0-9]"}};
    const SplitRules deepseek3{
        {R"(\p{N}{1,3})", R"([一-龥぀-ゟ゠-ヿ]+)",
         R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*)" +
             kSpaces}};
    const SplitRules qwen35{{kContractions +
                             R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)" +
                             kSpaces}};
    return std::vector<NamedRules>{{"gpt-2", gpt2},
                                   {"phi-2", gpt2},
                                   {"mpt", gpt2},
                                   {"olmo", gpt2},
                                   {"jais", gpt2},
                                   {"trillion", gpt2},
                                   {"exaone4", gpt2},
                                   {"modern-bert", gpt2},
                                   {"mellum", gpt2},
                                   {"smollm", digits_then_gpt2},
                                   {"starcoder", digits_then_gpt2},
                                   {"refact", digits_then_gpt2},
                                   {"command-r", digits_then_gpt2},
                                   {"codeshell", digits_then_gpt2},
                                   {"exaone", digits_then_gpt2},
                                   {"minerva-7b", digits_then_gpt2},
                                   {"llama-bpe", llama3},
                                   {"llama3", llama3},
                                   {"llama-v3", llama3},
                                   {"falcon3", llama3},
                                   {"pixtral", llama3},
                                   {"lfm2", llama3},
                                   {"glm4", llama3},
                                   {"dbrx", gpt4},
                                   {"smaug-bpe", gpt4},
                                   {"chatglm-bpe", gpt4},
                                   {"qwen2", qwen2},
                                   {"deepseek-r1-qwen", qwen2},
                                   {"stablelm2", qwen2},
                                   {"megrez", qwen2},
                                   {"hunyuan", qwen2},
                                   {"grok-2", qwen2},
                                   {"qwen35", qwen35},
                                   {"gpt-4o", gpt4o},
                                   {"llama4", gpt4o},
                                   {"tekken", tekken},
                                   {"deepseek-v3", deepseek3},
                                   {"hunyuan-dense", deepseek3},
                                   {"falcon", falcon},
                                   {"default", unnamed}};
  }();
  return rows;
}

}  // namespace

Result<SplitRules> named_split_rules(std::string_view name) {
  std::string names;
  for (const NamedRules& row : table()) {
    if (row.name == name) return row.rules;
    names += (names.empty() ? "" : ", ") + std::string(row.name);
  }
  return Error{"the pre-tokenizer " + in_quotes(name) + " is not known; known are " + names};
}

std::string name_of(const SplitRules& rules) {
  for (const NamedRules& row : table()) {
    if (row.rules == rules) return row.name;
  }
  return "";
}

}  // namespace ringflash
