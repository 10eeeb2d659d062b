// Products of many tokens on AMX tiles, weights widened to bf16 (wide_kernels.h).
#pragma once

#include "kernels/simd/widen-inl.h"

namespace ringflash::kernels::RF_ISA {

/// A block of weights is widened to so many rows and inputs: 128 KiB, which stays in the L2 cache while kWideBlockTokens
/// pass, beside the sums of both, 512 KiB. 32 tokens times kWideBlockInputs stay in the L1 cache while the rows pass.
inline constexpr int64_t kWideBlockRows = 512, kWideBlockInputs = 256, kWideBlockTokens = 512;

/// Sums of 32 tokens by 32 outputs.
inline constexpr int64_t kSquare = kWideTileTokens * kWideRows;

inline void round_wide(const float* x, int64_t tokens, int64_t in, int64_t begin, int64_t end, bf16* values) {
  for (int64_t tile = begin; tile < end; ++tile) {
    for (int64_t r = 0; r < kWideTileTokens; ++r) {
      const int64_t token = tile * kWideTileTokens + r;
      auto* to = reinterpret_cast<Slot*>(values + (tile * in + r) * kWideTileTokens);
      for (int64_t i = 0; i < in; i += kWidePanelInputs, to += kWideTileTokens * kPanelSlots) {
        const float* from = x + token * in + i;
        const bool real = token < tokens;
        store_left(to, real ? load(from) : Vec{}, real ? load(from + kLanes) : Vec{});
      }
    }
  }
}

/// One widened block times tokens [first, last): squares of sums, [token tile][32 rows].
template <bool kAdd>
[[gnu::noinline]] inline void multiply_widened(const WideTokens& x, int64_t first, int64_t last, int64_t input,
                                               int64_t inputs, const Slot* widened, int64_t rows, float* squares) {
  constexpr int64_t kPanel = kWideTileTokens * kPanelSlots;
  settle_memory();
  for (int64_t token = first; token < last; token += kWideTileTokens) {
    const Slot* tile = reinterpret_cast<const Slot*>(x.values + token * x.in) + input / kWidePanelInputs * kPanel;
    const Slot* b = widened;
    for (int64_t row = 0; row < rows; row += kWideRows, b += inputs / 2 * kWideRows, squares += kSquare) {
      multiply_tiles<kAdd, true>({tile, kPanelSlots, kPanel}, inputs / kWidePanelInputs, b, kWideRows, squares, kWideRows);
    }
  }
  settle_memory();
}

inline void store_squares(const float* squares, int64_t tokens, int64_t rows, float* y, int64_t y_stride) {
  const int64_t row_squares = (rows + kWideRows - 1) / kWideRows;
  for (int64_t t = 0; t < tokens; ++t) {
    const float* from = squares + t / kWideTileTokens * row_squares * kSquare + t % kWideTileTokens * kWideRows;
    for (int64_t row = 0; row < rows; row += kWideRows, from += kSquare) {
      const int64_t count = smaller(kWideRows, rows - row);
      __builtin_memcpy(y + t * y_stride + row, from, static_cast<size_t>(count) * sizeof(float));
    }
  }
}

/// Widens rows [begin, end), at most kWideBlockRows, and inputs [input, input + inputs).
template <typename Format>
inline void widen_block(const Format& format, int64_t begin, int64_t end, int64_t input, int64_t inputs, Slot* widened) {
  for (int64_t at = 0; at < (end - begin + kWideRows - 1) / kWideRows * kWideRows; at += kWideHalf) {
    Slot* to = widened + at / kWideRows * kWideRows * inputs / 2 + at % kWideRows;
    const int64_t count = larger(0, smaller(kWideHalf, end - begin - at));
    format.widen(begin + at, count, input, input + inputs, to);
  }
}

template <typename Format>
inline void matmul_wide(const WideTokens& x, const Format& format, float* y, int64_t y_stride, int64_t out_begin,
                        int64_t out_end) {
  const ProductSession session;
  constexpr int64_t kWidened = kWideBlockRows * kWideBlockInputs / 2, kSums = kWideBlockRows * kWideBlockTokens;
  Scratch scratch(kWidened + kSums);
  Slot* widened = scratch.take(kWidened);
  float* squares = scratch.take(kSums);
  for (int64_t first = 0; first < x.tokens; first += kWideBlockTokens) {
    const int64_t last = smaller(first + kWideBlockTokens, x.tokens);
    for (int64_t begin = out_begin; begin < out_end; begin += kWideBlockRows) {
      const int64_t end = smaller(begin + kWideBlockRows, out_end);
      for (int64_t i = 0; i < x.in; i += kWideBlockInputs) {
        const int64_t inputs = smaller(kWideBlockInputs, x.in - i);
        widen_block(format, begin, end, i, inputs, widened);
        (i == 0 ? multiply_widened<false> : multiply_widened<true>)(x, first, last, i, inputs, widened, end - begin, squares);
      }
      store_squares(squares, last - first, end - begin, y + first * y_stride + begin, y_stride);
    }
  }
}

inline void matmul_wide_bf16(const WideTokens& x, const bf16* w, float* y, int64_t y_stride, int64_t out_begin,
                             int64_t out_end) {
  matmul_wide(x, RowFormat<RowBf16>{w, x.in}, y, y_stride, out_begin, out_end);
}
inline void matmul_wide_q8_0(const WideTokens& x, const BlockQ8_0* w, float* y, int64_t y_stride, int64_t out_begin,
                             int64_t out_end) {
  matmul_wide(x, RowFormat<RowQ8_0>{w, x.in / BlockQ8_0::kWeights}, y, y_stride, out_begin, out_end);
}
inline void matmul_wide_q4_0(const WideTokens& x, const BlockQ4_0* w, float* y, int64_t y_stride, int64_t out_begin,
                             int64_t out_end) {
  matmul_wide(x, RowFormat<RowQ4_0>{w, x.in / BlockQ4_0::kWeights}, y, y_stride, out_begin, out_end);
}
inline void matmul_wide_q4_1(const WideTokens& x, const BlockQ4_1* w, float* y, int64_t y_stride, int64_t out_begin,
                             int64_t out_end) {
  matmul_wide(x, RowFormat<RowQ4_1>{w, x.in / BlockQ4_1::kWeights}, y, y_stride, out_begin, out_end);
}
inline void matmul_wide_q5_0(const WideTokens& x, const BlockQ5_0* w, float* y, int64_t y_stride, int64_t out_begin,
                             int64_t out_end) {
  matmul_wide(x, RowFormat<RowQ5_0>{w, x.in / BlockQ5_0::kWeights}, y, y_stride, out_begin, out_end);
}

template <int N, typename Codec>
inline void matmul_wide_sparse_as(const WideTokens& x, const SparseFormat& format, const std::byte* blocks, float* y,
                                  int64_t y_stride, RowBlocks rows) {
  const SparseFormatOf<N, Codec> widening{Codec(format), reinterpret_cast<const typename Codec::Block*>(blocks),
                                       x.in / kSparseInputs};
  matmul_wide(x, widening, y, y_stride, rows.begin * kSparseRows,
              smaller(rows.end * kSparseRows, format.shape.rows));
}

template <SparseBits kBits>
inline void matmul_wide_bitmap(const WideTokens& x, const SparseFormat& format, const std::byte* blocks, float* y,
                               int64_t y_stride, RowBlocks rows) {
  const BitmapFormat<kBits> widening{BitmapCodec<kBits>(format), blocks, x.in / kSparseInputs};
  matmul_wide(x, widening, y, y_stride, rows.begin * kSparseRows,
              smaller(rows.end * kSparseRows, format.shape.rows));
}

inline void matmul_wide_sparse(const WideTokens& x, const SparseFormat& format, const std::byte* blocks, float* y,
                               int64_t y_stride, RowBlocks rows) {
  if (is_bitmap_form(format.shape.nonzeros)) {
    const bool s4 = format.bits == SparseBits::k4;
    return (s4 ? matmul_wide_bitmap<SparseBits::k4> : matmul_wide_bitmap<SparseBits::k8>)(x, format, blocks, y, y_stride,
                                                                                        rows);
  }
  with_form(format.shape.nonzeros, [&]<int N>() {
    if (format.bits == SparseBits::k4) return matmul_wide_sparse_as<N, CodecS4<N>>(x, format, blocks, y, y_stride, rows);
    matmul_wide_sparse_as<N, CodecS8<N>>(x, format, blocks, y, y_stride, rows);
  });
}

inline constexpr WideKernels kWideKernels = {
    .round = round_wide,
    .matmul_bf16 = matmul_wide_bf16,
    .matmul_q8_0 = matmul_wide_q8_0,
    .matmul_q4_0 = matmul_wide_q4_0,
    .matmul_q4_1 = matmul_wide_q4_1,
    .matmul_q5_0 = matmul_wide_q5_0,
    .matmul_sparse = matmul_wide_sparse,
};

}  // namespace ringflash::kernels::RF_ISA
