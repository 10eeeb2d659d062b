#include "bench/stored_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "format/quantize_q4_0.h"
#include "format/quantize_q8_0.h"
#include "format/quantize_sparse.h"

namespace ringflash::bench {
namespace {

constexpr int kKept = 12;

template <typename Block>
void pack_blocks(std::span<const float> weights, void (*quantise)(std::span<const float>, std::span<Block>),
                 PackedMatrix& packed) {
  packed.bytes.resize(weights.size() / Block::kWeights * sizeof(Block));
  quantise(weights, {reinterpret_cast<Block*>(packed.bytes.data()), weights.size() / Block::kWeights});
}

void pack_bf16(std::span<const float> weights, PackedMatrix& packed) {
  packed.bytes.resize(weights.size() * sizeof(bf16));
  auto* out = reinterpret_cast<bf16*>(packed.bytes.data());
  std::transform(weights.begin(), weights.end(), out, [](float w) { return to_bf16(w); });
}

void pack_sparse(std::span<const float> weights, SparseBits bits, PackedMatrix& packed) {
  std::vector<float> pruned(weights.begin(), weights.end());
  prune_to_12_of_64(pruned);
  float largest = 0;
  for (const float w : pruned) largest = std::max(largest, std::abs(w));
  const SparseFormat format{bits, {packed.matrix.rows, packed.matrix.columns, kKept}, s4_base_exponent(largest)};
  packed.matrix.sparse = format;
  packed.bytes.resize(static_cast<size_t>(format.bytes()));
  quantize(format, pruned.data(), {0, format.shape.row_blocks()}, packed.bytes.data()).value();
}

GgufType type_of(StoredFormat format) {
  switch (format) {
    case StoredFormat::kBF16:
      return GgufType::kBF16;
    case StoredFormat::kQ8_0:
      return GgufType::kQ8_0;
    case StoredFormat::kQ4_0:
      return GgufType::kQ4_0;
    case StoredFormat::kS8:
    case StoredFormat::kS4:
      return GgufType::kI8;
  }
  RF_UNREACHABLE();
}

void fill(StoredFormat format, std::span<const float> weights, PackedMatrix& packed) {
  switch (format) {
    case StoredFormat::kBF16:
      return pack_bf16(weights, packed);
    case StoredFormat::kQ8_0:
      return pack_blocks<BlockQ8_0>(weights, quantize_q8_0, packed);
    case StoredFormat::kQ4_0:
      return pack_blocks<BlockQ4_0>(weights, quantize_q4_0, packed);
    case StoredFormat::kS8:
      return pack_sparse(weights, SparseBits::k8, packed);
    case StoredFormat::kS4:
      return pack_sparse(weights, SparseBits::k4, packed);
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
    case StoredFormat::kS8:
      return "s8";
    case StoredFormat::kS4:
      return "s4";
  }
  RF_UNREACHABLE();
}

void prune_to_12_of_64(std::span<float> weights) {
  for (size_t first = 0; first < weights.size(); first += kSparseInputs) {
    float sizes[kSparseInputs];
    const std::span<float> group = weights.subspan(first, kSparseInputs);
    std::transform(group.begin(), group.end(), sizes, [](float w) { return std::abs(w); });
    std::nth_element(sizes, sizes + kKept - 1, sizes + kSparseInputs, std::greater<>());
    int left = kKept;  // equal magnitudes may leave more than the twelve
    for (float& w : group) {
      if (std::abs(w) < sizes[kKept - 1] || left == 0) {
        w = 0;
      } else {
        --left;
      }
    }
  }
}

PackedMatrix pack(StoredFormat format, std::span<const float> weights, int64_t rows, int64_t columns) {
  PackedMatrix packed{{type_of(format), nullptr, rows, columns, {}}, {}};
  fill(format, weights, packed);
  packed.matrix.data = packed.bytes.data();
  return packed;
}

StoredMatrix::StoredMatrix(StoredFormat format, std::span<const float> weights, int64_t rows, int64_t columns,
                           int64_t copies)
    : format_(format) {
  const PackedMatrix packed = pack(format, weights, rows, columns);
  matrix_ = packed.matrix;
  bytes_ = std::ssize(packed.bytes);
  all_.resize(static_cast<size_t>(bytes_ * copies));
  for (int64_t i = 0; i < copies; ++i) std::memcpy(all_.data() + i * bytes_, packed.bytes.data(), packed.bytes.size());
}

WeightMatrix StoredMatrix::copy(int64_t index) const {
  WeightMatrix matrix = matrix_;
  matrix.data = all_.data() + index * bytes_;
  return matrix;
}

}  // namespace ringflash::bench
