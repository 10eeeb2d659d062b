#include <algorithm>
#include <cmath>
#include <vector>

#include "format/quantize_q4_0.h"
#include "format/quantize_q4_1.h"
#include "format/quantize_q5_0.h"
#include "format/quantize_q8_0.h"
#include "format/quantize_sparse.h"
#include "kernels/ref/ref.h"

namespace ringflash::kernels::ref {
namespace {

double activation(const Int8Tokens& x, int64_t t, int64_t i) {
  const int64_t at = x.place(i / kInt8Group, t);
  return double{x.scales[at]} * (x.values[at * kInt8Group + i % kInt8Group] - 128);
}

/// Column o of y, given row o of the weights.
void multiply_row(const Int8Tokens& x, const float* row, float* y, int64_t y_stride) {
  for (int64_t t = 0; t < x.tokens; ++t) {
    double sum = 0;
    for (int64_t i = 0; i < x.in; ++i) sum += activation(x, t, i) * double{row[i]};
    y[t * y_stride] = static_cast<float>(sum);
  }
}

/// Columns [out_begin, out_end) of y, given rows of blocks.
template <typename Block>
void multiply_blocks(const Int8Tokens& x, const Block* w, void (*unpack)(std::span<const Block>, std::span<float>),
                     float* y, int64_t y_stride, int64_t out_begin, int64_t out_end) {
  std::vector<float> row(static_cast<size_t>(x.in));
  const int64_t blocks = x.in / Block::kWeights;
  for (int64_t o = out_begin; o < out_end; ++o) {
    unpack({w + o * blocks, static_cast<size_t>(blocks)}, row);
    multiply_row(x, row.data(), y + o, y_stride);
  }
}

}  // namespace

void round_to_int8(const float* x, int64_t tokens, int64_t in, int64_t begin, int64_t end, uint8_t* values,
                   float* scales) {
  const Int8Tokens layout{values, scales, tokens, in};
  for (int64_t t = begin; t < end; ++t) {
    for (int64_t first = 0; first < in; first += kInt8Group) {
      const int64_t at = layout.place(first / kInt8Group, t), count = std::min(kInt8Group, in - first);
      const float* group = x + t * in + first;
      float largest = 0;
      for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(group[i]));
      const bool zero = largest < kLeastInt8Maximum;
      scales[at] = zero ? 0.0f : largest / 127.0f;
      const float inverse = zero ? 0.0f : 127.0f / largest;
      uint8_t* out = values + at * kInt8Group;
      for (int64_t i = 0; i < kInt8Group; ++i) {
        const float q = i < count ? std::nearbyint(group[i] * inverse) : 0.0f;
        out[i] = static_cast<uint8_t>(128 + (std::abs(q) <= 127 ? static_cast<int>(q) : 0));
      }
    }
  }
}

void matmul_q8_0(const Int8Tokens& x, const BlockQ8_0* w, float* y, int64_t y_stride, int64_t out_begin,
                 int64_t out_end) {
  multiply_blocks(x, w, dequantize_q8_0, y, y_stride, out_begin, out_end);
}

void matmul_q4_0(const Int8Tokens& x, const BlockQ4_0* w, float* y, int64_t y_stride, int64_t out_begin,
                 int64_t out_end) {
  multiply_blocks(x, w, dequantize_q4_0, y, y_stride, out_begin, out_end);
}

void matmul_q4_1(const Int8Tokens& x, const BlockQ4_1* w, float* y, int64_t y_stride, int64_t out_begin,
                 int64_t out_end) {
  multiply_blocks(x, w, dequantize_q4_1, y, y_stride, out_begin, out_end);
}

void matmul_q5_0(const Int8Tokens& x, const BlockQ5_0* w, float* y, int64_t y_stride, int64_t out_begin,
                 int64_t out_end) {
  multiply_blocks(x, w, dequantize_q5_0, y, y_stride, out_begin, out_end);
}

void matmul_sparse(const Int8Tokens& x, const SparseFormat& format, const std::byte* blocks, float* y,
                   int64_t y_stride, RowBlocks rows) {
  std::vector<float> weights(static_cast<size_t>(kSparseRows * x.in));
  const int64_t row_bytes = format.shape.groups() * format.superblock_bytes();
  for (int64_t block = rows.begin; block < rows.end; ++block) {
    const int64_t first = block * kSparseRows, count = std::min(kSparseRows, format.shape.rows - first);
    SparseFormat one = format;
    one.shape.rows = count;
    dequantize(one, blocks + block * row_bytes, {0, 1}, weights.data());
    for (int64_t r = 0; r < count; ++r) multiply_row(x, weights.data() + r * x.in, y + first + r, y_stride);
  }
}

}  // namespace ringflash::kernels::ref
