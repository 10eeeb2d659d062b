#include "kernels/block_pattern.h"

#include <limits>

#include "base/ceil_div.h"

namespace ringflash::kernels {
namespace {

/// Fills a list up to a multiple of `size`.
void fill_up(std::vector<int32_t>& list, int64_t size) {
  const auto count = static_cast<int64_t>(list.size());
  list.resize(round_up(count, size), 0);
}

int32_t length(const std::vector<int32_t>& list) { return static_cast<int32_t>(list.size()); }

}  // namespace

Result<BlockPattern> BlockPattern::make(std::span<const uint8_t> mask, int64_t out, int64_t in) {
  if (out <= 0 || in <= 0 || out % 16 != 0 || in % 16 != 0) {
    return Error{"a block-sparse weight needs sizes that are multiples of 16, found " + std::to_string(out) + " x " +
                 std::to_string(in)};
  }
  const int64_t rows = out / kBlockOuts, columns = in / kBlockIns;
  if (rows > std::numeric_limits<int32_t>::max() / 2 / columns) {
    return Error{"a block-sparse weight of " + std::to_string(out) + " x " + std::to_string(in) + " is too large"};
  }
  if (static_cast<int64_t>(mask.size()) != rows * columns) {
    return Error{"a mask of " + std::to_string(out) + " x " + std::to_string(in) + " has " +
                 std::to_string(rows * columns) + " tiles, found " + std::to_string(mask.size())};
  }
  BlockPattern pattern;
  pattern.rows_ = rows;
  pattern.columns_ = columns;
  pattern.list_rows(mask);
  pattern.list_row_pairs(mask);
  return pattern;
}

void BlockPattern::list_rows(std::span<const uint8_t> mask) {
  row_begin_.push_back(0);
  for (int64_t row = 0; row < rows_; ++row) {
    for (int64_t column = 0; column < columns_; ++column) {
      if (mask[row * columns_ + column]) entry_column_.push_back(static_cast<int32_t>(column));
    }
    row_count_.push_back(length(entry_column_) - row_begin_.back());
    active_ += row_count_.back();
    fill_up(entry_column_, BlockIndex::kChunk);
    row_begin_.push_back(length(entry_column_));
  }
}

void BlockPattern::list_row_pairs(std::span<const uint8_t> mask) {
  pair_begin_.push_back(0);
  for (int64_t row = 0; row < rows_; row += 2) {
    for (int64_t column = 0; column < columns_; ++column) {
      const bool second = row + 1 < rows_ && mask[(row + 1) * columns_ + column];
      if (mask[row * columns_ + column] || second) pair_column_.push_back(static_cast<int32_t>(column));
    }
    pair_count_.push_back(length(pair_column_) - pair_begin_.back());
    fill_up(pair_column_, BlockIndex::kUnit);
    pair_begin_.push_back(length(pair_column_));
  }
}

BlockIndex BlockPattern::index() const {
  return {.rows = rows_,
          .columns = columns_,
          .active = active_,
          .row_begin = row_begin_.data(),
          .row_count = row_count_.data(),
          .entry_column = entry_column_.data(),
          .row_pairs = (rows_ + 1) / 2,
          .pair_begin = pair_begin_.data(),
          .pair_count = pair_count_.data(),
          .pair_column = pair_column_.data()};
}

}  // namespace ringflash::kernels
