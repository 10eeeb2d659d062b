// Few tokens times rows of blocks on AVX2: the products of a block are summed exactly before they become a float, as
// int8_panel-inl.h does for many tokens, so that both give the same bits. A group's even block and its odd one have sums of
// their own, which are added at the end.
#pragma once

#include "kernels/simd/block_formats-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Lane 4 b + r of a group's vectors: block b of row r.
inline constexpr int kBlockLanes = kLanes / 2;

/// Lane i is the sum of all lanes of v[i].
[[gnu::always_inline]] inline VecI sum_lanes(const VecI (&v)[kLanes]) {
  const auto pairs = [&](int i) __attribute__((always_inline)) { return _mm256_hadd_epi32((__m256i)v[i], (__m256i)v[i + 1]); };
  const __m256i first = _mm256_hadd_epi32(pairs(0), pairs(2)), second = _mm256_hadd_epi32(pairs(4), pairs(6));
  return (VecI)_mm256_add_epi32(_mm256_permute2x128_si256(first, second, 0x20),
                                _mm256_permute2x128_si256(first, second, 0x31));
}

/// The sums of both, each in all lanes of its block.
[[gnu::always_inline]] inline VecI sum_blocks(VecI even, VecI odd) {
  return sum_lanes({even, even, even, even, odd, odd, odd, odd});
}

/// half(0), ..., half(7) as floats.
template <typename Half>
[[gnu::always_inline]] inline Vec half_lanes(Half half) {
  const auto bits = [&](int i) __attribute__((always_inline)) { return static_cast<short>(half(i).bits); };
  return (Vec)_mm256_cvtph_ps(
      _mm_setr_epi16(bits(0), bits(1), bits(2), bits(3), bits(4), bits(5), bits(6), bits(7)));
}

/// A group of each row, whose blocks are at[r]; of those that do not exist all is zero.
template <typename Format, int kRows>
struct BlockGroup {
  using Block = typename Format::Block;
  Bytes weights[2][kRows];
  Vec scales, minima{};

  [[gnu::always_inline]] BlockGroup(const Block* const* at, int blocks) {
#pragma GCC unroll 2
    for (int b = 0; b < 2; ++b) {
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) weights[b][r] = b < blocks ? Format::values(at[r][b]) : Bytes{};
    }
    const auto exists = [&](int i) __attribute__((always_inline)) { return i % kBlockLanes < kRows && i / kBlockLanes < blocks; };
    const auto block = [&](int i) __attribute__((always_inline)) -> const Block& { return at[i % kBlockLanes][i / kBlockLanes]; };
    if constexpr (sizeof(Block::scale) == sizeof(float)) {
      const auto scale = [&](int i) __attribute__((always_inline)) { return exists(i) ? block(i).scale : 0.0f; };
      scales = Vec{scale(0), scale(1), scale(2), scale(3), scale(4), scale(5), scale(6), scale(7)};
    } else {
      scales = half_lanes([&](int i) __attribute__((always_inline)) { return exists(i) ? block(i).scale : fp16{}; });
    }
    if constexpr (Format::kMinimum) {
      minima = half_lanes([&](int i) __attribute__((always_inline)) { return exists(i) ? block(i).minimum : fp16{}; });
    }
  }

  /// Adds a token's products.
  [[gnu::always_inline]] void add(const uint8_t* activations, float activation_scale, Vec& sums) const {
    const Vec scale = broadcast(activation_scale);
    VecI dots[kLanes] = {}, totals[2] = {};
#pragma GCC unroll 2
    for (int b = 0; b < 2; ++b) {
      const Bytes q = load_signed(activations + b * kBytes);
      if constexpr (Format::kMinimum) totals[b] = dot_unsigned(VecI{}, Bytes{} + int8_t{1}, q);
      VecI offset{};
      if constexpr (Format::kBias != 0) offset -= dot_unsigned(VecI{}, Bytes{} + static_cast<int8_t>(Format::kBias), q);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        VecI& dot = dots[b * kBlockLanes + r];
        dot = Format::kUnsigned ? dot_unsigned(offset, weights[b][r], q) : dot_gathered(offset, q, weights[b][r]);
      }
    }
    sums += __builtin_convertvector(sum_lanes(dots), Vec) * (scales * scale);
    if constexpr (Format::kMinimum) {
      sums += __builtin_convertvector(sum_blocks(totals[0], totals[1]), Vec) * scale * minima;
    }
  }
};

/// y[t, r * step] = the products of kTokens tokens from `first` on and kRows rows of blocks, the first at w and each
/// `step` rows after the one before. The tokens are of one tile of x.
template <typename Format, int kTokens, int kRows>
[[gnu::always_inline]] inline void int8_tile(const Int8Tokens& x, int64_t first, const typename Format::Block* w,
                                             int64_t step, float* y, int64_t y_stride) {
  static_assert(kRows <= kBlockLanes);
  const int64_t row_blocks = x.in / Format::Block::kWeights;
  const int64_t start = x.place(0, first), group_step = x.place(1, first) - start;
  Vec sums[kTokens] = {};
  const auto add_group = [&](int64_t group, int blocks) __attribute__((always_inline)) {
    const typename Format::Block* at[kRows];
    for (int r = 0; r < kRows; ++r) {
      at[r] = w + r * step * row_blocks + 2 * group;
      __builtin_prefetch(reinterpret_cast<const char*>(at[r]) + kInt8Prefetch);
    }
    const BlockGroup<Format, kRows> weights(at, blocks);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const int64_t place = start + group * group_step + t;
      weights.add(x.values + place * kInt8Group, x.scales[place], sums[t]);
    }
  };
  for (int64_t group = 0; group < x.in / kInt8Group; ++group) add_group(group, 2);
  if (x.in % kInt8Group != 0) add_group(x.in / kInt8Group, 1);
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) y[t * y_stride + r * step] = sums[t][r] + sums[t][kBlockLanes + r];
  }
}

}  // namespace ringflash::kernels::RF_ISA
