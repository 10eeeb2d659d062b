// Byte-pair merging over ids: which neighbours merge into what, and the merging of one segment of text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/vocabulary.h"

namespace ringflash {

/// Built from a vocabulary, text here is plain: spaces are spaces. Ids below the vocabulary's size are pieces; from there on they
/// stand for characters that have no piece of their own but occur in longer ones.
class Bpe {
 public:
  /// Of the pieces, the normal and unused ones take part. `plain_texts[id]` is the text of piece `id`, empty
  /// for one that takes no part; both must outlive this.
  Bpe(const Vocabulary& vocabulary, const std::vector<std::string>& plain_texts);

  struct Merge {
    int32_t left, right, merged;
  };
  /// Merging of ids alone, by a list, the best pair first.
  explicit Bpe(std::span<const Merge> merges);

  /// The id of a character; -1 if no piece contains it.
  int32_t character(char32_t code) const {
    if (code < kAscii) return ascii_[code];
    const auto found = characters_.find(code);
    return found == characters_.end() ? -1 : found->second;
  }

  /// The text of an id.
  std::string_view text(int32_t id) const;

  /// Whether a text may be cut between any other character and a space without changing the result: so if no
  /// piece has a space behind another character.
  bool splits_at_spaces() const { return splits_at_spaces_; }

  /// Buffers of merge(), kept from call to call.
  struct Workspace;

  /// Merges, in place, the pair of neighbours whose merged piece has the highest score (of several the
  /// leftmost) until none is left. Unused pieces are taken apart again as they were put together, as
  /// sentencepiece does. O(n log n) in the number of ids, of which there are fewer than 2^31.
  void merge(std::vector<int32_t>& ids, Workspace& workspace) const;

 private:
  static constexpr char32_t kAscii = 128;

  /// Open addressing with linear probing; at most half full.
  class PairTable {
   public:
    void reserve(size_t entries);
    struct Slot {
      uint64_t pair = kEmpty;
      int32_t merged = -1;
      float score = 0;
    };
    void insert(const Merge& merge, float score);  // of one pair, the first stays
    const Slot& find(int32_t left, int32_t right) const;  // merged is -1 if they do not

   private:
    static constexpr uint64_t kEmpty = ~0ull;
    size_t place(uint64_t pair) const;
    std::vector<Slot> slots_;
    int shift_ = 0;
  };

  void number_characters(const std::vector<std::string>& texts);
  void number_pairs(const Vocabulary& vocabulary, const std::vector<std::string>& texts);
  void push_candidate(int32_t left, int32_t right, Workspace& workspace) const;
  void append_used(int32_t id, const Workspace& workspace, std::vector<int32_t>& out) const;

  const std::vector<std::string>* texts_ = nullptr;
  std::vector<std::string> character_texts_;  // of ids from the vocabulary's size on
  std::vector<bool> unused_;
  bool has_unused_ = false;
  bool splits_at_spaces_ = true;
  std::vector<int32_t> ascii_ = std::vector<int32_t>(kAscii, -1);
  std::unordered_map<char32_t, int32_t> characters_;
  PairTable pairs_;
};

struct Bpe::Workspace {
  struct Symbol {
    int32_t id, previous, next;  // id -1: merged into another
  };
  struct Candidate {
    float score;
    int32_t merged;
    int32_t left, right;        // places of the two symbols
    int32_t left_id, right_id;  // their ids then; the candidate is stale if these have changed
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  std::unordered_map<int32_t, std::pair<int32_t, int32_t>> parts;  // of unused pieces
};

}  // namespace ringflash
