// `recall-text DOCUMENTS TOKENS SEED`: training text for the needle recipe on stdout, one JSON object with a "text" a
// line. A document is filler with facts in between, each asked for later at any distance, in the words of
// `ringflash eval --task needle`.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "eval/needle_text.h"

namespace ringflash {
namespace {

constexpr int64_t kMarks = 2;            // start and end of the text
constexpr double kQuestionShare = 0.75;  // of what is no filler
constexpr double kLeastGap = 1, kMostGap = 16;

/// Tokens, with a tokenizer that has every word and every punctuation mark as one piece.
int64_t count_tokens(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return std::strchr(" .,?", c) != nullptr; });
}

class Document {
 public:
  Document(Rng& rng, int64_t tokens) : rng_(rng), left_(tokens - kMarks), filler_(rng.below(needle_filler().size())) {
    for (const std::string_view key : needle_keys()) untold_.push_back(key);
    // From nearly all recall to a few facts in a long text.
    gap_ = kLeastGap * std::pow(kMostGap / kLeastGap, rng.uniform());
  }

  std::string write() {
    while (left_ > 0) {
      if (rng_.uniform() * (gap_ + 1) < 1) {
        add(recall_sentence());
      } else {
        add(std::string(needle_filler()[filler_++ % needle_filler().size()]));
      }
    }
    return std::move(text_);
  }

 private:
  std::string recall_sentence() {
    const bool ask = !told_.empty() && (untold_.empty() || rng_.uniform() < kQuestionShare);
    if (!ask) {
      std::swap(untold_[rng_.below(untold_.size())], untold_.back());
      told_.push_back({untold_.back(), needle_values()[rng_.below(needle_values().size())]});
      untold_.pop_back();
      return told_.back().statement();
    }
    // Log-uniform in how long ago it was told: the circuit is learned near by, within the window, and then reaches out.
    const double back = std::pow(static_cast<double>(told_.size() + 1), rng_.uniform());
    const Fact& fact = told_[told_.size() - static_cast<size_t>(back)];
    return fact.statement();
  }

  /// The last sentence is cut where the document is full, so that documents fill rows exactly.
  void add(std::string sentence) {
    while (count_tokens(sentence) > left_) sentence.resize(sentence.find_last_of(" .,?"));
    left_ -= count_tokens(sentence);
    text_ += sentence;
  }

  Rng& rng_;
  int64_t left_;
  size_t filler_;
  double gap_;  ///< filler sentences per other one, on average
  std::vector<std::string_view> untold_;
  std::vector<Fact> told_;
  std::string text_;
};

bool parse(const char* text, int64_t& value) {
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
  return error == std::errc() && *end == '\0' && value > 0;
}

}  // namespace
}  // namespace ringflash

int main(int argc, char** argv) {
  using namespace ringflash;
  int64_t documents = 0, tokens = 0, seed = 0;
  if (argc != 4 || !parse(argv[1], documents) || !parse(argv[2], tokens) || !parse(argv[3], seed)) {
    std::fprintf(stderr, "usage: recall-text DOCUMENTS TOKENS SEED >text.jsonl\n");
    return 2;
  }
  Rng rng(static_cast<uint64_t>(seed));
  for (int64_t i = 0; i < documents; ++i) {
    std::printf("{\"text\":\"%s\"}\n", Document(rng, tokens).write().c_str());
  }
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0 ? 0 : 1;
}
