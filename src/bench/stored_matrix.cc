#include "bench/stored_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "format/dense_encoding.h"
#include "format/quantize_sparse.h"

namespace ringflash::bench {
namespace {

/// Keeps the `kept` largest of each 64 weights; the others become 0.
void prune(int kept, std::span<float> weights) {
  for (size_t first = 0; first < weights.size(); first += kSparseInputs) {
    float sizes[kSparseInputs];
    const std::span<float> group = weights.subspan(first, kSparseInputs);
    std::transform(group.begin(), group.end(), sizes, [](float w) { return std::abs(w); });
    std::nth_element(sizes, sizes + kept - 1, sizes + kSparseInputs, std::greater<>());
    int left = kept;  // equal magnitudes may leave more than that
    for (float& w : group) {
      if (std::abs(w) < sizes[kept - 1] || left == 0) {
        w = 0;
      } else {
        --left;
      }
    }
  }
}

AlignedVector<std::byte> pack_sparse(const SparseFormat& format, std::span<const float> weights) {
  std::vector<float> pruned(weights.begin(), weights.end());
  prune(format.shape.nonzeros, pruned);
  AlignedVector<std::byte> bytes(static_cast<size_t>(format.bytes()));
  quantize(format, pruned.data(), {0, format.shape.row_blocks()}, bytes.data()).value();
  return bytes;
}

GgufType type_of(StoredFormat format) {
  switch (format) {
    case StoredFormat::kBF16:
      return GgufType::kBF16;
    case StoredFormat::kQ8_0:
      return GgufType::kQ8_0;
    case StoredFormat::kQ4_0:
      return GgufType::kQ4_0;
    case StoredFormat::kQ4_1:
      return GgufType::kQ4_1;
    case StoredFormat::kQ5_0:
      return GgufType::kQ5_0;
    case StoredFormat::kS8:
    case StoredFormat::kS4:
    case StoredFormat::kS4Half:
      return GgufType::kI8;
  }
  RF_UNREACHABLE();
}

}  // namespace

std::string to_string(StoredFormat format) {
  switch (format) {
    case StoredFormat::kBF16:
      return "bf16";
    case StoredFormat::kQ8_0:
      return "q8_0";
    case StoredFormat::kQ4_0:
      return "q4_0";
    case StoredFormat::kQ4_1:
      return "q4_1";
    case StoredFormat::kQ5_0:
      return "q5_0";
    case StoredFormat::kS8:
      return "s8";
    case StoredFormat::kS4:
      return "s4";
    case StoredFormat::kS4Half:
      return "s4_32";
  }
  RF_UNREACHABLE();
}

WeightMatrix describe(StoredFormat format, int64_t rows, int64_t columns, float largest) {
  WeightMatrix matrix{type_of(format), nullptr, rows, columns, {}};
  const bool s4 = format != StoredFormat::kS8;
  const int kept = format == StoredFormat::kS4Half ? 32 : 12;
  if (matrix.type == GgufType::kI8) {
    matrix.sparse = {s4 ? SparseBits::k4 : SparseBits::k8, {rows, columns, kept}, s4 ? s4_base_exponent(largest) : 0};
  }
  return matrix;
}

AlignedVector<std::byte> pack(const WeightMatrix& matrix, std::span<const float> weights) {
  if (matrix.type == GgufType::kI8) return pack_sparse(matrix.sparse, weights);
  const std::vector<std::byte> bytes = encode(weights, matrix.type);
  return {bytes.begin(), bytes.end()};
}

StoredMatrix::StoredMatrix(StoredFormat format, std::span<const float> weights, int64_t rows, int64_t columns,
                           int64_t copies)
    : format_(format) {
  float largest = 0;
  for (const float w : weights) largest = std::max(largest, std::abs(w));
  matrix_ = describe(format, rows, columns, largest);
  const AlignedVector<std::byte> packed = pack(matrix_, weights);
  bytes_ = std::ssize(packed);
  all_.resize(static_cast<size_t>(bytes_ * copies));
  for (int64_t i = 0; i < copies; ++i) std::memcpy(all_.data() + i * bytes_, packed.data(), packed.size());
}

WeightMatrix StoredMatrix::copy(int64_t index) const {
  WeightMatrix matrix = matrix_;
  matrix.data = all_.data() + index * bytes_;
  return matrix;
}

}  // namespace ringflash::bench
