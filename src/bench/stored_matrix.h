// One random matrix in a stored format, many times over: products with the copies in turn read them from memory.
#pragma once

#include <span>
#include <string>

#include "base/aligned.h"
#include "base/executor.h"
#include "runtime/weights.h"

namespace ringflash::bench {

enum class StoredFormat { kBF16, kQ8_0, kQ4_0, kQ4_1, kQ5_0, kS8, kS4, kS4Half };
inline constexpr StoredFormat kStoredFormats[] = {StoredFormat::kBF16, StoredFormat::kQ8_0, StoredFormat::kQ4_0,
                                                  StoredFormat::kQ4_1, StoredFormat::kQ5_0, StoredFormat::kS8,
                                                  StoredFormat::kS4, StoredFormat::kS4Half};

/// "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "s8", "s4": sparse ones keep 12 of 64 weights, but for "s4_32", which keeps 32.
std::string to_string(StoredFormat format);

/// A matrix [rows, columns] in a format, without data. `largest` bounds the magnitudes of its weights.
WeightMatrix describe(StoredFormat format, int64_t rows, int64_t columns, float largest);

/// `weights` as `matrix` describes them; pruned before, where that is sparse.
AlignedVector<std::byte> pack(const WeightMatrix& matrix, std::span<const float> weights);

class StoredMatrix {
 public:
  StoredMatrix(StoredFormat format, std::span<const float> weights, int64_t rows, int64_t columns, int64_t copies);

  StoredFormat format() const { return format_; }
  int64_t bytes() const { return bytes_; }  ///< of one copy
  int64_t copies() const { return std::ssize(all_) / bytes_; }
  std::span<const std::byte> all() const { return all_; }
  WeightMatrix copy(int64_t index) const;

 private:
  StoredFormat format_;
  WeightMatrix matrix_;
  int64_t bytes_;
  AlignedVector<std::byte> all_;
};

}  // namespace ringflash::bench
