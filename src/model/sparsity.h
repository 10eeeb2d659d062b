// Which weights of a model are absent, and how many bits the others keep: DESIGN section 5 as data.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ringflash {

/// The shape that absence takes in a weight matrix [out, in].
enum class SparsePattern {
  kNone,   ///< every weight is there
  kFine,   ///< of each group of 64 weights along `in`, `keep` are there
  kBlock,  ///< tiles of 16 (out) x 2 (in) are there or not; each strip of 16 rows keeps the same number
};

std::string to_string(SparsePattern pattern);
Result<SparsePattern> parse_sparse_pattern(const std::string& text);

inline constexpr int64_t kSparseGroup = 64;  ///< weights of a group of the fine pattern, along `in`
inline constexpr int64_t kBlockRows = 16;    ///< a tile of the block pattern, along `out`
inline constexpr int64_t kBlockColumns = 2;  ///< and along `in`

/// Only weight matrices inside the decoder layers are ever sparse: the first and last layers (embedding and
/// head), the router and the norms are exempt.
struct SparsityConfig {
  SparsePattern pattern = SparsePattern::kNone;  ///< config key sparsity
  int64_t keep = 12;                             ///< of 64 weights; key sparsity_keep
  int64_t weight_bits = 16;  ///< of the weights that are there: 4, 8 or 16 (not quantised); key weight_bits
  /// "PART=PATTERN": tensors whose name contains PART have another pattern; the last that fits counts. Key
  /// sparsity_exceptions, for example ["layers.0.=none", "down_proj=block"].
  std::vector<std::string> exceptions = {};

  /// For a tensor of role kLinear.
  SparsePattern pattern_of(std::string_view tensor) const;

  bool operator==(const SparsityConfig&) const = default;
};

/// Tiles that each strip of 16 rows keeps of a matrix with `in` columns: keep / 64 of them, rounded, at least
/// one.
int64_t kept_tiles(int64_t keep, int64_t in);

/// Weights that are there of a matrix [out, in] with this pattern. A group of less than 64 at a row's end
/// keeps at most what it has; tiles beyond the edges count for what lies within.
int64_t active_weights(SparsePattern pattern, int64_t keep, int64_t out, int64_t in);

/// The error names the key.
Status validate(const SparsityConfig& config);

}  // namespace ringflash
