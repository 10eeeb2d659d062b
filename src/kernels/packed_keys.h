// Keys and values in the layout of kernels.h's KeyRows: the one place that writes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/aligned.h"
#include "kernels/kernels.h"

namespace ringflash::kernels {

/// An array of a KeyType's numbers, zero until written.
class KeyElements {
 public:
  explicit KeyElements(KeyType type);

  int64_t size() const { return std::ssize(bytes_) / element_bytes_; }
  void resize(int64_t count) { bytes_.resize(static_cast<size_t>(count * element_bytes_)); }
  void reserve(int64_t count) { bytes_.reserve(static_cast<size_t>(count * element_bytes_)); }
  /// Rounds `count` values to the type; they land `step` apart.
  void set(int64_t index, int64_t step, const float* values, int64_t count);
  int64_t capacity() const { return bytes() / element_bytes_; }
  /// Copies `count` numbers of `from`, which is of the same type.
  void copy(int64_t index, const KeyElements& from, int64_t from_index, int64_t count);
  /// The same for kPiece numbers, where that is many times quicker.
  static constexpr int64_t kPiece = 16;
  void copy_piece(int64_t index, const KeyElements& from, int64_t from_index);
  const void* data() const { return bytes_.data(); }
  int64_t bytes() const { return static_cast<int64_t>(bytes_.capacity()); }

 private:
  int64_t element_bytes_;
  AlignedVector<std::byte> bytes_;
};

/// Keys of one KV head that are added one by one, or in any order after resize().
class PackedKeys {
 public:
  PackedKeys(KeyType type, int64_t head_dim);

  int64_t count() const { return count_; }
  /// Makes keys [0, count) exist; new ones are zero.
  void resize(int64_t count);
  /// With this many keys or fewer nothing moves any more.
  void reserve(int64_t count);
  int64_t reserved() const { return k_.capacity() / padded_; }
  /// k and v are [head_dim].
  void set(int64_t index, const float* k, const float* v);
  KeyRows rows() const;
  int64_t bytes() const { return k_.bytes() + v_.bytes(); }

 private:
  int64_t head_dim_, padded_, count_ = 0;
  KeyElements k_, v_;
};

/// Pages of one KV head, all of the same number of keys, kept so that any choice of them is gathered in long
/// copies: values are transposed page by page.
class PackedPages {
 public:
  PackedPages(KeyType type, int64_t head_dim, int64_t page_tokens);

  int64_t page_tokens() const { return page_tokens_; }
  int64_t pages() const { return pages_; }
  /// With this many pages or fewer nothing moves any more.
  void reserve(int64_t pages);
  int64_t reserved() const { return k_.capacity() / (page_tokens_ * padded_); }
  /// Adds a page of zeros, whose keys set() then fills in.
  void add_page();
  void set(int64_t page, int64_t index, const float* k, const float* v);
  int64_t bytes() const { return k_.bytes() + v_.bytes(); }

 private:
  friend class GatheredPages;
  int64_t head_dim_, padded_, page_tokens_;
  int64_t pages_ = 0;
  KeyElements k_, v_;
};

/// Some of the pages of a PackedPages, one after the other.
class GatheredPages {
 public:
  GatheredPages(KeyType type, int64_t head_dim) : padded_(padded_dim(head_dim)), k_(type), v_(type) {}

  /// Replaces what was gathered before.
  void gather(const PackedPages& pages, std::span<const int32_t> chosen);
  KeyRows rows() const { return {k_.data(), v_.data(), row_, kBlockKeys}; }
  int64_t bytes() const { return k_.bytes() + v_.bytes(); }

 private:
  int64_t padded_, row_ = 0;
  KeyElements k_, v_;
};

}  // namespace ringflash::kernels
