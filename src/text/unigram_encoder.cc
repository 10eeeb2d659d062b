// Sentencepiece's unigram model (Kudo 2018): of all ways to cut a text into pieces, the likeliest one.
#include <algorithm>
#include <limits>
#include <unordered_map>

#include "text/encoder.h"
#include "text/utf8.h"

namespace ringflash {
namespace {

/// How much less likely than the least likely piece a character without one is, as in sentencepiece.
constexpr float kUnknownPenalty = 10;

/// A prefix tree of the pieces' bytes.
class Trie {
 public:
  static constexpr uint32_t kRoot = 0, kNone = ~0u;

  void add(std::string_view text, int32_t id) {
    uint32_t node = kRoot;
    for (const char c : text) {
      const auto [edge, is_new] = edges_.emplace(key(node, c), static_cast<uint32_t>(ids_.size()));
      if (is_new) ids_.push_back(-1);
      node = edge->second;
    }
    ids_[node] = id;
  }
  uint32_t next(uint32_t node, char c) const {
    const auto edge = edges_.find(key(node, c));
    return edge == edges_.end() ? kNone : edge->second;
  }
  int32_t id(uint32_t node) const { return ids_[node]; }  ///< -1 where no piece ends

 private:
  static uint64_t key(uint32_t node, char c) { return uint64_t{node} << 8 | static_cast<unsigned char>(c); }
  std::unordered_map<uint64_t, uint32_t> edges_;
  std::vector<int32_t> ids_ = {-1};
};

class Unigram final : public Encoder {
 public:
  explicit Unigram(const DecodedVocabulary& from) : vocabulary_(from.vocabulary), fallback_(from.vocabulary) {
    float lowest = std::numeric_limits<float>::max();
    for (size_t i = 0; i < from.bytes.size(); ++i) {
      const Piece& piece = vocabulary_.pieces[i];
      if (piece.type != PieceType::kNormal || piece.text.find(' ') != std::string::npos) continue;
      lowest = std::min(lowest, piece.score);
      trie_.add(from.bytes[i], static_cast<int32_t>(i));
    }
    unknown_score_ = lowest - kUnknownPenalty;
  }

  /// Viterbi's algorithm, one step per character: O(text * longest piece).
  void encode(std::string_view text, std::vector<int32_t>& ids) const override {
    std::vector<Step> best(text.size() + 1);
    best[0].reached = true;
    for (size_t begin = 0; begin < text.size();) {
      const Utf8Char c = first_utf8_char(text.substr(begin));
      // A U+2581 of the text itself must not become a space.
      const bool known = c.kind == Utf8Char::Kind::kValid && c.code != kSpaceSymbolCode;
      const bool has_single = known && try_pieces(text, begin, c.size, best);
      if (!has_single) offer(best, begin, begin + c.size, -1, static_cast<double>(unknown_score_));
      begin += c.size;
    }
    append_path(text, best, ids);
  }

 private:
  /// The best way to reach a place in the text.
  struct Step {
    float score = 0;
    bool reached = false;
    int32_t id = -1;  // of the last piece; -1: an unknown character
    size_t from = 0;
  };

  /// Sums are rounded as sentencepiece rounds them, which decides between ways that are equally likely: a
  /// piece's in double precision, kept in single.
  static void offer(std::vector<Step>& best, size_t from, size_t to, int32_t id, double score) {
    const double total = score + static_cast<double>(best[from].score);
    if (!best[to].reached || total > static_cast<double>(best[to].score)) {
      best[to] = {static_cast<float>(total), true, id, from};
    }
  }

  /// Offers all pieces that begin here, and says whether one of them is the first character alone.
  bool try_pieces(std::string_view text, size_t begin, size_t first, std::vector<Step>& best) const {
    bool has_single = false;
    uint32_t node = Trie::kRoot;
    for (size_t end = begin; end < text.size();) {
      node = trie_.next(node, text[end++]);
      if (node == Trie::kNone) break;
      const int32_t id = trie_.id(node);
      if (id < 0) continue;
      offer(best, begin, end, id, static_cast<double>(vocabulary_.pieces[static_cast<size_t>(id)].score));
      has_single |= end - begin == first;
    }
    return has_single;
  }

  void append_path(std::string_view text, const std::vector<Step>& best, std::vector<int32_t>& ids) const {
    std::vector<size_t> ends;
    for (size_t end = text.size(); end > 0; end = best[end].from) ends.push_back(end);
    std::reverse(ends.begin(), ends.end());
    for (const size_t end : ends) {
      const Step& step = best[end];
      if (step.id >= 0) {
        ids.push_back(step.id);
      } else {
        fallback_.append(text.substr(step.from, end - step.from), ids);
      }
    }
  }

  const Vocabulary& vocabulary_;
  const ByteFallback fallback_;
  Trie trie_;
  float unknown_score_ = 0;
};

}  // namespace

std::unique_ptr<Encoder> make_unigram_encoder(const DecodedVocabulary& from) {
  return std::make_unique<Unigram>(from);
}

}  // namespace ringflash
