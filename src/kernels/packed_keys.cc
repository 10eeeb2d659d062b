#include "kernels/packed_keys.h"

#include <algorithm>
#include <cstring>

#include "base/ceil_div.h"
#include "base/check.h"

namespace ringflash::kernels {
namespace {

int64_t element_bytes(KeyType type) {
  switch (type) {
    case KeyType::kF32:
      return sizeof(float);
    case KeyType::kBf16:
      return sizeof(bf16);
  }
  RF_UNREACHABLE();
}

void round_all(const float* values, int64_t count, bf16* target) {
  for (int64_t i = 0; i < count; ++i) target[i] = to_bf16(values[i]);
}

}  // namespace

KeyElements::KeyElements(KeyType type) : element_bytes_(element_bytes(type)) {}

void KeyElements::set(int64_t index, int64_t step, const float* values, int64_t count) {
  if (element_bytes_ == sizeof(float)) {
    auto* target = reinterpret_cast<float*>(bytes_.data()) + index;
    for (int64_t i = 0; i < count; ++i) target[i * step] = values[i];
  } else {
    auto* target = reinterpret_cast<bf16*>(bytes_.data()) + index;
    if (step == 1) return round_all(values, count, target);
    constexpr int64_t kRun = 64;  // rounded side by side, then spread: much faster than one by one
    bf16 rounded[kRun];
    for (int64_t first = 0; first < count; first += kRun) {
      const int64_t run = std::min(kRun, count - first);
      round_all(values + first, run, rounded);
      for (int64_t i = 0; i < run; ++i) target[(first + i) * step] = rounded[i];
    }
  }
}

void KeyElements::copy(int64_t index, const KeyElements& from, int64_t from_index, int64_t count) {
  std::memcpy(bytes_.data() + index * element_bytes_, from.bytes_.data() + from_index * element_bytes_,
              static_cast<size_t>(count * element_bytes_));
}

void KeyElements::copy_piece(int64_t index, const KeyElements& from, int64_t from_index) {
  std::byte* target = bytes_.data() + index * element_bytes_;
  const std::byte* source = from.bytes_.data() + from_index * element_bytes_;
  if (element_bytes_ == sizeof(float)) {
    std::memcpy(target, source, kPiece * sizeof(float));
  } else {
    std::memcpy(target, source, kPiece * sizeof(bf16));
  }
}

PackedKeys::PackedKeys(KeyType type, int64_t head_dim)
    : head_dim_(head_dim), padded_(padded_dim(head_dim)), k_(type), v_(type) {}

void PackedKeys::resize(int64_t count) {
  RF_CHECK(count >= count_);
  count_ = count;
  const int64_t elements = round_up(count, kBlockKeys) * padded_;
  k_.resize(elements);
  v_.resize(elements);
}

void PackedKeys::reserve(int64_t count) {
  k_.reserve(round_up(count, kBlockKeys) * padded_);
  v_.reserve(round_up(count, kBlockKeys) * padded_);
}

void PackedKeys::set(int64_t index, const float* k, const float* v) {
  RF_CHECK(index < count_);
  const int64_t block = index / kBlockKeys * kBlockKeys;
  k_.set(index * padded_, 1, k, head_dim_);
  v_.set(block * padded_ + index % kBlockKeys, kBlockKeys, v, head_dim_);
}

KeyRows PackedKeys::rows() const {
  return {.k = k_.data(), .v = v_.data(), .v_row = kBlockKeys, .v_block = kBlockKeys * padded_};
}

PackedPages::PackedPages(KeyType type, int64_t head_dim, int64_t page_tokens)
    : head_dim_(head_dim), padded_(padded_dim(head_dim)), page_tokens_(page_tokens), k_(type), v_(type) {}

// A piece that is copied from the last row of values reaches past it.
void PackedPages::reserve(int64_t pages) {
  k_.reserve(pages * page_tokens_ * padded_);
  v_.reserve(pages * page_tokens_ * padded_ + KeyElements::kPiece);
}

void PackedPages::add_page() {
  ++pages_;
  k_.resize(pages_ * page_tokens_ * padded_);
  v_.resize(pages_ * page_tokens_ * padded_ + KeyElements::kPiece);
}

void PackedPages::set(int64_t page, int64_t index, const float* k, const float* v) {
  RF_CHECK(page < pages_ && index < page_tokens_);
  k_.set((page * page_tokens_ + index) * padded_, 1, k, head_dim_);
  v_.set(page * page_tokens_ * padded_ + index, page_tokens_, v, head_dim_);
}

void GatheredPages::gather(const PackedPages& pages, std::span<const int32_t> chosen) {
  const int64_t tokens = pages.page_tokens_;
  // Whole pieces are copied: what one carries too much is overwritten by the page after it, or never looked
  // at.
  row_ = round_up(std::ssize(chosen) * tokens + KeyElements::kPiece, kBlockKeys);
  k_.resize(row_ * padded_);
  v_.resize(row_ * padded_);
  for (int64_t i = 0; i < std::ssize(chosen); ++i) {
    const int64_t page = chosen[static_cast<size_t>(i)];
    k_.copy(i * tokens * padded_, pages.k_, page * tokens * padded_, tokens * padded_);
    for (int64_t element = 0; element < padded_; ++element) {
      for (int64_t piece = 0; piece < tokens; piece += KeyElements::kPiece) {
        v_.copy_piece(element * row_ + i * tokens + piece, pages.v_,
                      (page * padded_ + element) * tokens + piece);
      }
    }
  }
}

}  // namespace ringflash::kernels
