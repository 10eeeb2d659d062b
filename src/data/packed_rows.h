// Rows of a fixed length cut from the documents: a pure function of the row number, so that a run can be resumed at any
// row, with any number of processes. Documents are shuffled, laid end to end and cut, and the rows shuffled again, or a long
// document would be all that many steps see.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "data/token_dataset.h"

namespace ringflash {

/// `rows` sequences of equal length laid one after another.
struct PackedBatch {
  std::vector<int32_t> inputs;   ///< [rows * length]
  std::vector<int32_t> targets;  ///< the next token of the same document, or kIgnored where there is none to learn
  std::vector<int64_t> bounds;   ///< document and row edges over the whole batch: 0, ..., rows * length
  static constexpr int32_t kIgnored = -100;
};

class PackedRows {
 public:
  /// Documents are laid end to end in an order drawn from `seed` and the epoch, and cut into rows of `length`. The rows
  /// that lie within an epoch are read in an order drawn likewise; one across the edge of two keeps its place. `shuffle` off
  /// keeps the order of the dataset (held-out evaluation). The dataset must outlive this and hold at least one token. Not to
  /// be used from two threads at once.
  PackedRows(const TokenDataset& dataset, int64_t length, uint64_t seed, bool shuffle = true);

  /// Rows in one pass over the dataset, rounded up. Shuffled, the last one goes on into the next epoch;
  /// unshuffled, it is padded with the dataset's last token (EOS), targets ignored, and the row after it is
  /// row 0 again.
  int64_t rows_per_epoch() const;

  /// Rows first, first + step, first + 2 * step, ... (`count` of them).
  PackedBatch batch(int64_t first, int64_t count, int64_t step = 1) const;

 private:
  struct Order;  // one epoch's permutations and prefix sums
  const Order& order(int64_t epoch) const;
  int64_t place_of(int64_t row) const;
  /// Copies from the document at `position` of the endless stream, to its end or the spans', and returns how
  /// many.
  int64_t fill(int64_t position, std::span<int32_t> inputs, std::span<int32_t> targets) const;
  int32_t last_token() const;

  const TokenDataset& dataset_;
  int64_t length_;
  uint64_t seed_;
  bool shuffle_;
  mutable std::vector<std::pair<int64_t, std::shared_ptr<const Order>>> orders_;
};

}  // namespace ringflash
