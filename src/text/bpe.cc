#include "text/bpe.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "text/piece_index.h"
#include "text/utf8.h"

namespace ringflash {
namespace {

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

/// Calls visit(character, end) for every character of valid UTF-8; `end` is where the next one begins.
template <typename Visit>
void for_each_character(std::string_view text, Visit visit) {
  for (size_t begin = 0; begin < text.size();) {
    const Utf8Char c = first_utf8_char(text.substr(begin));
    begin += c.size;
    visit(c, begin);
  }
}

bool has_inner_space(std::string_view text) {
  const size_t word = text.find_first_not_of(' ');
  return word != text.npos && text.find(' ', word) != text.npos;
}

bool ranks_below(const Bpe::Workspace::Candidate& a, const Bpe::Workspace::Candidate& b) {
  return a.score < b.score || (a.score == b.score && a.left > b.left);
}

}  // namespace

Bpe::Bpe(const Vocabulary& vocabulary, const std::vector<std::string>& plain_texts) : texts_(&plain_texts) {
  RF_CHECK(plain_texts.size() == vocabulary.pieces.size());
  for (const Piece& piece : vocabulary.pieces) unused_.push_back(piece.type == PieceType::kUnused);
  for (const std::string& text : plain_texts) splits_at_spaces_ &= !has_inner_space(text);
  number_characters(plain_texts);
  number_pairs(vocabulary, plain_texts);
}

Bpe::Bpe(std::span<const Merge> merges) {
  pairs_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    pairs_.insert(merges[rank], -static_cast<float>(rank));  // exact: there are fewer than 2^24
  }
}

void Bpe::number_characters(const std::vector<std::string>& texts) {
  const auto assign = [&](char32_t code, int32_t id) {
    characters_.emplace(code, id);
    if (code < kAscii) ascii_[code] = id;
  };
  for (size_t id = 0; id < texts.size(); ++id) {
    if (texts[id].empty()) continue;
    const Utf8Char c = first_utf8_char(texts[id]);
    if (c.size == texts[id].size()) assign(c.code, static_cast<int32_t>(id));
  }
  for (const std::string& text : texts) {
    for_each_character(text, [&](const Utf8Char& c, size_t end) {
      if (character(c.code) >= 0) return;
      assign(c.code, static_cast<int32_t>(texts.size() + character_texts_.size()));
      character_texts_.push_back(text.substr(end - c.size, c.size));
    });
  }
}

void Bpe::number_pairs(const Vocabulary& vocabulary, const std::vector<std::string>& texts) {
  PieceIndex ids(texts.size() + character_texts_.size());
  for (size_t id = 0; id < texts.size(); ++id) {
    if (!texts[id].empty()) ids.add(texts[id], static_cast<int32_t>(id));
  }
  for (size_t i = 0; i < character_texts_.size(); ++i) {
    ids.add(character_texts_[i], static_cast<int32_t>(texts.size() + i));
  }
  std::vector<Merge> merges;
  for (const std::string_view text : texts) {
    for_each_character(text, [&](const Utf8Char&, size_t end) {
      if (end == text.size()) return;
      const int32_t left = ids.find(text.substr(0, end));
      if (left < 0) return;
      const int32_t right = ids.find(text.substr(end));
      if (right >= 0) merges.push_back({left, right, ids.find(text)});
    });
  }
  pairs_.reserve(merges.size());
  for (const Merge& merge : merges) {
    const Piece& piece = vocabulary.pieces[static_cast<size_t>(merge.merged)];
    pairs_.insert(merge, piece.score);
    if (piece.type == PieceType::kUnused) has_unused_ = true;
  }
  // sentencepiece takes an unused piece apart as it was last put together anywhere in the text.
  if (has_unused_) splits_at_spaces_ = false;
}

std::string_view Bpe::text(int32_t id) const {
  const auto i = static_cast<size_t>(id);
  return i < texts_->size() ? (*texts_)[i] : character_texts_[i - texts_->size()];
}

void Bpe::push_candidate(int32_t left, int32_t right, Workspace& workspace) const {
  if (left < 0 || right < 0) return;
  const int32_t left_id = workspace.symbols[static_cast<size_t>(left)].id;
  const int32_t right_id = workspace.symbols[static_cast<size_t>(right)].id;
  const auto& [pair, merged, score] = pairs_.find(left_id, right_id);
  if (merged < 0) return;
  workspace.heap.push_back({score, merged, left, right, left_id, right_id});
  std::push_heap(workspace.heap.begin(), workspace.heap.end(), ranks_below);
  if (has_unused_ && unused_[static_cast<size_t>(merged)]) workspace.parts[merged] = {left_id, right_id};
}

void Bpe::append_used(int32_t id, const Workspace& workspace, std::vector<int32_t>& out) const {
  const auto parts = workspace.parts.find(id);
  if (parts == workspace.parts.end()) {
    out.push_back(id);
    return;
  }
  append_used(parts->second.first, workspace, out);
  append_used(parts->second.second, workspace, out);
}

void Bpe::merge(std::vector<int32_t>& ids, Workspace& workspace) const {
  if (ids.size() < 2) return;
  auto& [symbols, heap, parts] = workspace;
  symbols.clear();
  heap.clear();
  parts.clear();
  const auto count = static_cast<int32_t>(ids.size());
  for (int32_t i = 0; i < count; ++i) {
    symbols.push_back({ids[static_cast<size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
  }
  for (int32_t i = 1; i < count; ++i) push_candidate(i - 1, i, workspace);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), ranks_below);
    const Workspace::Candidate best = heap.back();
    heap.pop_back();
    Workspace::Symbol& left = symbols[static_cast<size_t>(best.left)];
    Workspace::Symbol& right = symbols[static_cast<size_t>(best.right)];
    if (left.id != best.left_id || right.id != best.right_id) continue;
    left.id = best.merged;
    left.next = right.next;
    right.id = -1;
    if (right.next >= 0) symbols[static_cast<size_t>(right.next)].previous = best.left;
    push_candidate(left.previous, best.left, workspace);
    push_candidate(best.left, left.next, workspace);
  }
  ids.clear();
  for (const auto& symbol : symbols) {
    if (symbol.id >= 0) append_used(symbol.id, workspace, ids);
  }
}

void Bpe::PairTable::reserve(size_t entries) {
  const size_t size = std::bit_ceil(std::max<size_t>(2 * entries, 2));
  shift_ = 64 - std::countr_zero(size);
  slots_.assign(size, Slot{});
}

size_t Bpe::PairTable::place(uint64_t pair) const {
  size_t i = pair * 0x9e3779b97f4a7c15ull >> shift_;  // Fibonacci hashing
  while (slots_[i].pair != pair && slots_[i].pair != kEmpty) i = (i + 1) & (slots_.size() - 1);
  return i;
}

void Bpe::PairTable::insert(const Merge& merge, float score) {
  const uint64_t pair = pair_key(merge.left, merge.right);
  Slot& slot = slots_[place(pair)];
  if (slot.pair == kEmpty) slot = {pair, merge.merged, score};
}

const Bpe::PairTable::Slot& Bpe::PairTable::find(int32_t left, int32_t right) const {
  return slots_[place(pair_key(left, right))];
}

}  // namespace ringflash
