// Texts to ids: a hash table for the few hundred thousand pieces of a vocabulary, which start-up looks up
// millions of times.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/check.h"

namespace ringflash {

/// Open addressing with linear probing; at most half full.
class PieceIndex {
 public:
  /// For at most `capacity` texts.
  explicit PieceIndex(size_t capacity) : slots_(std::bit_ceil(2 * capacity + 2)) { texts_.reserve(capacity); }

  /// Adds a text, which must stay where it is, unless it is there already; returns the id it has now.
  int32_t add(std::string_view text, int32_t id) {
    const uint32_t hash = hash_of(text);
    Slot& slot = slots_[place(text, hash)];
    if (slot.text >= 0) return ids_[static_cast<size_t>(slot.text)];
    RF_CHECK(2 * (texts_.size() + 1) <= slots_.size());
    slot = {hash, static_cast<int32_t>(texts_.size())};
    texts_.push_back(text);
    ids_.push_back(id);
    return id;
  }

  /// -1 if the text is not there.
  int32_t find(std::string_view text) const {
    const Slot& slot = slots_[place(text, hash_of(text))];
    return slot.text < 0 ? -1 : ids_[static_cast<size_t>(slot.text)];
  }

 private:
  struct Slot {
    uint32_t hash = 0;
    int32_t text = -1;  // place in texts_
  };

  /// FNV-1a, whose low bits a multiplication spreads.
  static uint32_t hash_of(std::string_view text) {
    uint64_t h = 0xcbf29ce484222325ull;
    for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
    return static_cast<uint32_t>(h * 0x9e3779b97f4a7c15ull >> 32);
  }

  size_t place(std::string_view text, uint32_t hash) const {
    size_t i = hash & (slots_.size() - 1);
    while (slots_[i].text >= 0 &&
           (slots_[i].hash != hash || texts_[static_cast<size_t>(slots_[i].text)] != text)) {
      i = (i + 1) & (slots_.size() - 1);
    }
    return i;
  }

  std::vector<Slot> slots_;
  std::vector<std::string_view> texts_;
  std::vector<int32_t> ids_;
};

}  // namespace ringflash
