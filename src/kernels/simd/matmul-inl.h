// y = x . w^T for few tokens (limited by memory) and many (limited by arithmetic), with one order of
// summation: of each block of kBlockInputs, lane l of an accumulator sums the products of inputs l,
// l + kLanes, ... in turn, then the lanes are added halves first; the blocks' sums are added in turn. A tile
// of tokens and outputs only decides which accumulators are in registers together, so a result does not
// depend on the tile it fell into. bf16 weights are exact in fp32: both formats give the same bits for the
// same weights. Where RF_BF16 is defined, an "input" is a slot of two bf16 numbers
// (operands-inl.h), and only matmul() itself is there.
#pragma once

#include "kernels/simd/operands-inl.h"
#include "kernels/simd/weights-inl.h"

namespace ringflash::kernels::RF_ISA {

// The largest tile's accumulators, its column of w and one x must fit in the registers: 16 with AVX2,
// else 32.
inline constexpr int kTileTokens = RF_LANES == 8 ? 4 : 6;
inline constexpr int kTileOutputs = RF_LANES == 8 ? 3 : 4;

// Inputs per step of the main loop.
inline constexpr int kStep = 32;
static_assert(kStep % kLanes == 0);

// Inputs summed in registers before the lanes are added up: a tile's x stays in the L1 cache while the
// weights pass.
inline constexpr int64_t kBlockInputs = 1024;

// Bytes of weights that stay in a private L2 cache while the tokens pass.
inline constexpr int64_t kBlockBytes = 512 * 1024;

// How each format's rows are read. A Step is what kStep inputs of a row need, beginning at input s * kStep;
// the inputs after a row's last whole step are read one vector at a time. prefetch() may be given rows past
// the last.
template <typename T>
struct PlainRows {
  using Step = const T*;
  static constexpr int64_t kStepBytes = kStep * sizeof(T);
  const T* w;
  int64_t in;
  Step step(int64_t o, int64_t s) const { return w + o * in + s * kStep; }
  void prefetch(int64_t o, int64_t s) const { __builtin_prefetch(w + o * in + s * kStep); }
  static Vec read(Step step, int part) { return load(step + part); }
  Vec read_tail(int64_t o, int64_t i) const { return load_partial(w + o * in + i, in - i); }
};

/// y[t, r] (+)= the products of kTokens rows of x and rows [o, o + kOutputs) of w over inputs [begin, end);
/// added to what is there unless begin is 0.
template <int kTokens, int kOutputs, typename Rows>
inline void tile(const float* x, const Rows& rows, int64_t o, int64_t begin, int64_t end, float* y,
                 int64_t y_stride) {
  Vec sums[kTokens * kOutputs] = {};
  const auto multiply = [&](const Vec* w, auto x_at) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      Vec xt = x_at(t);
      keep_in_register(xt);
#pragma GCC unroll 4
      for (int r = 0; r < kOutputs; ++r) {
        sums[t * kOutputs + r] = multiply_add(xt, w[r], sums[t * kOutputs + r]);
      }
    }
  };
  for (int64_t s = begin / kStep; s < end / kStep; ++s) {
    typename Rows::Step steps[kOutputs];
#pragma GCC unroll 4
    for (int r = 0; r < kOutputs; ++r) steps[r] = rows.step(o + r, s);
    if constexpr (kTokens == 1) {  // the hardware's prefetchers lose the rows at each tile's end
      for (int r = 0; r < kOutputs; ++r) rows.prefetch(o + r + 2 * kOutputs, s);
    }
#pragma GCC unroll 8
    for (int part = 0; part < kStep; part += kLanes) {
      Vec w[kOutputs];
#pragma GCC unroll 4
      for (int r = 0; r < kOutputs; ++r) w[r] = Rows::read(steps[r], part);
      multiply(w, [&](int t) { return load(x + t * rows.in + s * kStep + part); });
    }
  }
  for (int64_t i = end / kStep * kStep; i < end; i += kLanes) {
    Vec w[kOutputs];
    for (int r = 0; r < kOutputs; ++r) w[r] = rows.read_tail(o + r, i);
    multiply(w, [&](int t) { return load_partial(x + t * rows.in + i, end - i); });
  }
  float totals[kTokens * kOutputs];
  sum_each<kTokens * kOutputs>(sums, totals);
  for (int t = 0; t < kTokens; ++t) {
    float* to = y + t * y_stride + o;
    for (int r = 0; r < kOutputs; ++r) {
      const float total = totals[t * kOutputs + r];
      to[r] = begin == 0 ? total : to[r] + total;
    }
  }
}

/// Rows [out_begin, out_end) of w times kTokens rows of x.
template <int kTokens, typename Rows>
inline void strip(const float* x, const Rows& rows, float* y, int64_t y_stride, int64_t out_begin,
                  int64_t out_end) {
  for (int64_t begin = 0; begin < rows.in; begin += kBlockInputs) {
    const int64_t end = begin + kBlockInputs < rows.in ? begin + kBlockInputs : rows.in;
    int64_t o = out_begin;
    for (; o + kTileOutputs <= out_end; o += kTileOutputs) {
      tile<kTokens, kTileOutputs>(x, rows, o, begin, end, y, y_stride);
    }
    for (; o < out_end; ++o) tile<kTokens, 1>(x, rows, o, begin, end, y, y_stride);
  }
}

template <typename Rows>
inline void matmul(const float* x, const Rows& rows, float* y, int64_t tokens, int64_t y_stride,
                   int64_t out_begin, int64_t out_end) {
  // A few tokens read each weight once: whole rows then, in the order of memory.
  const int64_t cached = kBlockBytes / (rows.in / kStep + 1) / Rows::kStepBytes / kTileOutputs * kTileOutputs;
  const int64_t block = tokens > kTileTokens && cached > kTileOutputs ? cached : kTileOutputs;
  for (int64_t o = out_begin; o < out_end; o += block) {
    const int64_t o_end = o + block < out_end ? o + block : out_end;
    int64_t t = 0;
    const auto sweep = [&]<int kTokens>() {
      for (; t + kTokens <= tokens; t += kTokens) {
        strip<kTokens>(x + t * rows.in, rows, y + t * y_stride, y_stride, o, o_end);
      }
    };
    sweep.template operator()<kTileTokens>();
    sweep.template operator()<4>();
    sweep.template operator()<2>();
    sweep.template operator()<1>();
  }
}

#if !defined(RF_BF16)
inline void matmul_f32(const float* x, const float* w, float* y, int64_t tokens, int64_t in, int64_t y_stride,
                       int64_t out_begin, int64_t out_end) {
  matmul(x, PlainRows<float>{w, in}, y, tokens, y_stride, out_begin, out_end);
}

inline void matmul_bf16(const float* x, const bf16* w, float* y, int64_t tokens, int64_t in, int64_t y_stride,
                        int64_t out_begin, int64_t out_end) {
  matmul(x, PlainRows<bf16>{w, in}, y, tokens, y_stride, out_begin, out_end);
}
#endif

}  // namespace ringflash::kernels::RF_ISA
