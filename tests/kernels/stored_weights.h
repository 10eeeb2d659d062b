// Matrices of random weights in every quantised format, for the tests of their products.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/ceil_div.h"
#include "base/rng.h"
#include "format/quantize_q4_0.h"
#include "format/quantize_q4_1.h"
#include "format/quantize_q5_0.h"
#include "format/quantize_q8_0.h"
#include "format/quantize_sparse.h"
#include "kernels/kernels.h"

namespace ringflash::kernels {

inline std::vector<float> random_activations(int64_t tokens, int64_t in, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> x(tokens * in);
  for (float& value : x) value = static_cast<float>(rng.normal() * (rng.below(50) == 0 ? 20 : 1));
  return x;
}

/// A stored matrix: its bytes end where the allocation does, so that AddressSanitizer sees reads beyond.
struct Weights {
  std::string name;
  int64_t rows, columns;
  std::vector<std::byte> bytes;
  std::vector<float> decoded;
  std::function<void(const Table&, const Int8Tokens&, const std::byte*, float*, int64_t, int64_t, int64_t)> multiply;
  std::function<void(const WideKernels&, const WideTokens&, const std::byte*, float*, int64_t, int64_t, int64_t)>
      multiply_wide;
  std::vector<float> terms = {};  ///< magnitude of what a product is the sum of, where that is more than one number
};

inline std::vector<float> random_weights(int64_t count, int kept_of_64, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> weights(count);
  for (int64_t group = 0; group < count; group += 64) {
    for (int n = 0; n < kept_of_64; ++n) {
      const int64_t at = kept_of_64 == 64 ? n : static_cast<int64_t>(rng.below(64));
      if (group + at < count) weights[group + at] = static_cast<float>(rng.normal());
    }
  }
  return weights;
}

inline Weights sparse(SparseBits bits, int nonzeros, int64_t rows, int64_t columns) {
  const SparseFormat format{bits, {rows, columns, nonzeros}, s4_base_exponent(4)};
  Weights w{(bits == SparseBits::k4 ? "S4 " : "S8 ") + std::to_string(nonzeros), rows, columns,
            std::vector<std::byte>(format.bytes()), std::vector<float>(rows * columns), {}, {}};
  const RowBlocks all{0, format.shape.row_blocks()};
  quantize(format, random_weights(rows * columns, nonzeros, 5).data(), all, w.bytes.data()).value();
  dequantize(format, w.bytes.data(), all, w.decoded.data());
  w.multiply = [format](const Table& table, const Int8Tokens& x, const std::byte* data, float* y, int64_t stride,
                        int64_t begin, int64_t end) {
    table.matmul_sparse(x, format, data, y, stride, {begin / kSparseRows, ceil_div(end, kSparseRows)});
  };
  w.multiply_wide = [format](const WideKernels& wide, const WideTokens& x, const std::byte* data, float* y,
                             int64_t stride, int64_t begin, int64_t end) {
    wide.matmul_sparse(x, format, data, y, stride, {begin / kSparseRows, ceil_div(end, kSparseRows)});
  };
  return w;
}

template <typename Block>
Weights blocks(const char* name, int64_t rows, int64_t columns, void (*pack)(std::span<const float>, std::span<Block>),
               void (*unpack)(std::span<const Block>, std::span<float>), auto kernel, auto wide_kernel) {
  std::vector<Block> packed(rows * columns / Block::kWeights);
  pack(random_weights(rows * columns, 64, 6), packed);
  const auto bytes = std::as_bytes(std::span(packed));
  Weights w{name, rows, columns, {bytes.begin(), bytes.end()}, std::vector<float>(rows * columns), {}, {}};
  unpack(packed, w.decoded);
  w.multiply = [kernel](const Table& table, const Int8Tokens& x, const std::byte* data, float* y, int64_t stride,
                        int64_t begin, int64_t end) {
    (table.*kernel)(x, reinterpret_cast<const Block*>(data), y, stride, begin, end);
  };
  w.multiply_wide = [wide_kernel](const WideKernels& wide, const WideTokens& x, const std::byte* data, float* y,
                                  int64_t stride, int64_t begin, int64_t end) {
    (wide.*wide_kernel)(x, reinterpret_cast<const Block*>(data), y, stride, begin, end);
  };
  return w;
}

/// |d n| + |m| of each weight: the products with both are added up apart.
inline std::vector<float> terms_q4_1(const Weights& w) {
  std::vector<float> terms(w.decoded.size());
  const auto* blocks = reinterpret_cast<const BlockQ4_1*>(w.bytes.data());
  for (size_t i = 0; i < terms.size(); ++i) {
    const float m = std::abs(to_float(blocks[i / BlockQ4_1::kWeights].minimum));
    terms[i] = std::abs(w.decoded[i]) + 2 * m;  // |d n| is at most |d n + m| + |m|
  }
  return terms;
}

inline std::vector<Weights> all_weights(int64_t rows, int64_t columns) {
  std::vector<Weights> all;
  all.push_back(blocks<BlockQ8_0>("Q8_0", rows, columns, quantize_q8_0, dequantize_q8_0, &Table::matmul_q8_0,
                                  &WideKernels::matmul_q8_0));
  all.push_back(blocks<BlockQ4_0>("Q4_0", rows, columns, quantize_q4_0, dequantize_q4_0, &Table::matmul_q4_0,
                                  &WideKernels::matmul_q4_0));
  all.push_back(blocks<BlockQ4_1>("Q4_1", rows, columns, quantize_q4_1, dequantize_q4_1, &Table::matmul_q4_1,
                                  &WideKernels::matmul_q4_1));
  all.back().terms = terms_q4_1(all.back());
  all.push_back(blocks<BlockQ5_0>("Q5_0", rows, columns, quantize_q5_0, dequantize_q5_0, &Table::matmul_q5_0,
                                  &WideKernels::matmul_q5_0));
  for (const int nonzeros : {4, 8, 12, 16, 32, 45, 64}) {
    if (columns % 64 != 0) break;
    all.push_back(sparse(SparseBits::k4, nonzeros, rows, columns));
    all.push_back(sparse(SparseBits::k8, nonzeros, rows, columns));
  }
  return all;
}

/// Outputs [begin, end) of y [tokens, y_stride] are sums of x(t, i) * weight(o, i) over the columns, each within `allowed`
/// of the sum of the terms' magnitudes; the others are still NaN.
void expect_sums(const Weights& w, int64_t tokens, const float* y, int64_t y_stride, int64_t begin, int64_t end,
                 double allowed, auto x, auto weight) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t o = 0; o < y_stride; ++o) {
      const float got = y[t * y_stride + o];
      if (o < begin || o >= end) {
        ASSERT_TRUE(std::isnan(got)) << "wrote outside the range, at token " << t << " output " << o;
        continue;
      }
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < w.columns; ++i) {
        const double product = x(t, i) * weight(o, i);
        sum += product;
        magnitude += w.terms.empty() ? std::abs(product) : std::abs(x(t, i)) * double{w.terms[o * w.columns + i]};
      }
      ASSERT_LE(std::abs(got - sum), allowed * magnitude) << "token " << t << " output " << o;
    }
  }
}

}  // namespace ringflash::kernels
