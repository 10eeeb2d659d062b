// Which tiles of 16 outs x 2 ins of a weight matrix are active.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "kernels/block_kernels.h"

namespace ringflash::kernels {

class BlockPattern {
 public:
  /// mask[row * in / 2 + column] != 0: the tile of outs [16 row, 16 row + 16) and ins 2 column, 2 column + 1 is active.
  /// An error unless out and in are positive multiples of 16 and the mask has out / 16 * in / 2 numbers.
  static Result<BlockPattern> make(std::span<const uint8_t> mask, int64_t out, int64_t in);

  int64_t out() const { return rows_ * kBlockOuts; }
  int64_t in() const { return columns_ * kBlockIns; }
  int64_t active() const { return active_; }
  /// Entries, those that mean nothing included.
  int64_t entries() const { return static_cast<int64_t>(entry_column_.size()); }
  BlockIndex index() const;

 private:
  void list_rows(std::span<const uint8_t> mask);
  void list_row_pairs(std::span<const uint8_t> mask);

  int64_t rows_ = 0, columns_ = 0, active_ = 0;
  std::vector<int32_t> row_begin_, row_count_, entry_column_;
  std::vector<int32_t> pair_begin_, pair_count_, pair_column_;
};

}  // namespace ringflash::kernels
