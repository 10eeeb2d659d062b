// `recall-text DOCUMENTS TOKENS GAP SEED`: training text for the needle recipe on stdout, one JSON object
// with a "text" a line. The words are those of `ringflash eval --task needle`.
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

constexpr int64_t kMarks = 2;  // start and end of the text
constexpr double kRarest = 1.0 / 400;
constexpr double kGapRange = 20;  // from the fewest filler sentences a document has per fact to the most

double log_uniform(Rng& rng, double low, double high) {
  return low * std::pow(high / low, rng.uniform());
}

/// Tokens, with a tokenizer that has every word and every punctuation mark as one piece.
int64_t count_tokens(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return std::strchr(" .,", c) != nullptr; });
}

/// Filler, and in between one fact of each topic, told again and again: often or rarely, so that the
/// distances from one time to the next go from a few tokens to the whole document.
class Document {
 public:
  Document(Rng& rng, int64_t tokens, int64_t most_gap)
      : rng_(rng),
        left_(tokens - kMarks),
        filler_(rng.below(needle_filler().size())),
        gap_(log_uniform(rng, static_cast<double>(most_gap) / kGapRange, static_cast<double>(most_gap))) {
    for (const NeedleTopic& topic : needle_topics()) {
      facts_.push_back({topic.key, topic.values[rng.below(topic.values.size())]});
      total_weight_ += log_uniform(rng, kRarest, 1);
      weights_end_.push_back(total_weight_);
    }
  }

  std::string write() {
    while (left_ > 0) {
      const bool fact = rng_.uniform() * (gap_ + 1) < 1;
      add(fact ? draw_fact().statement() : std::string(needle_filler()[filler_++ % needle_filler().size()]));
    }
    return std::move(text_);
  }

 private:
  const Fact& draw_fact() {
    const double x = rng_.uniform() * total_weight_;
    const auto found = std::upper_bound(weights_end_.begin(), weights_end_.end() - 1, x);
    return facts_[static_cast<size_t>(found - weights_end_.begin())];
  }

  /// The last sentence is cut where the document is full, so that documents fill rows exactly.
  void add(std::string sentence) {
    while (count_tokens(sentence) > left_) sentence.resize(sentence.find_last_of(" .,"));
    left_ -= count_tokens(sentence);
    text_ += sentence;
  }

  Rng& rng_;
  int64_t left_;
  size_t filler_;
  double gap_;  ///< filler sentences per fact, on average
  std::vector<Fact> facts_;
  std::vector<double> weights_end_;  ///< running sums of how often each fact is told
  double total_weight_ = 0;
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
  int64_t documents = 0, tokens = 0, gap = 0, seed = 0;
  if (argc != 5 || !parse(argv[1], documents) || !parse(argv[2], tokens) || !parse(argv[3], gap) ||
      !parse(argv[4], seed)) {
    std::fprintf(stderr, "usage: recall-text DOCUMENTS TOKENS GAP SEED >text.jsonl\n");
    return 2;
  }
  Rng rng(static_cast<uint64_t>(seed));
  for (int64_t i = 0; i < documents; ++i) {
    std::printf("{\"text\":\"%s\"}\n", Document(rng, tokens, gap).write().c_str());
  }
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0 ? 0 : 1;
}
