// Products of many tokens with quantised weights on AVX-512 VNNI. Sixteen rows of any format are turned into a panel whose
// lanes are rows, so that sums and scales need nothing across lanes, and all tokens pass it. Blocks' sums are exact, as
// they are for few tokens, but each is one number here and four or eight there: other bits (Table::least_panel_tokens).
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd/input_sums-inl.h"
#include "kernels/simd/panel_rows-inl.h"
#include "kernels/simd/scratch-inl.h"

namespace ringflash::kernels::RF_ISA {

/// From so many tokens on, turning rows round pays.
inline constexpr int64_t kLeastPanelTokens = 8;

/// Panels that are turned round together, so that a tile of tokens meets them all: what half of an L2 cache holds.
inline constexpr int64_t kPanelBytes = 512 << 10;

/// So few tokens meet each group as soon as it is packed: what comes next is on its way from memory meanwhile.
inline constexpr int64_t kFewPanelTokens = 32;

inline constexpr int kPanelTokens = 8, kPanelInputs = 4, kHalfSteps = kHalfGroup / kPanelInputs;

/// One group of a panel: a lane is a row, four inputs to a step.
struct PanelGroup {
  Bytes weights[2][kHalfSteps];
  VecI start[2];  ///< takes out the 128s of the activations
  Vec scales[2], minima[2];

  void pack(const RowGroup& rows) {
    Vec square[kLanes];
    for (int r = 0; r < kLanes; ++r) square[r] = (Vec)load_bytes(rows.values[r]);
    transpose(square);
    for (int half = 0; half < 2; ++half) {
      start[half] = VecI{};
      for (int s = 0; s < kHalfSteps; ++s) {
        weights[half][s] = (Bytes)square[half * kHalfSteps + s];
        start[half] = start_gathered(start[half], weights[half][s]);
      }
      scales[half] = load(rows.scales[half]);
      minima[half] = load(rows.minima[half]);
    }
  }
};

/// What formats with a minimum need of each token: the sum of either half of each group, [place][half].
inline void sum_halves(const Int8Tokens& x, float* totals) {
  for (int64_t at = 0; at < x.groups() * x.tokens; ++at) {
    const HalfSums sums(load_signed(x.values + at * kInt8Group));
    for (int half = 0; half < 2; ++half) totals[2 * at + half] = sums.total(half) * x.scales[at];
  }
}

/// sums[t] += the products of a group with kTokens tokens, whose places in x begin at `at`; `Source` says what kind it is:
/// kLess, kMinimum.
template <typename Source, int kTokens>
[[gnu::always_inline]] inline void add_group(const PanelGroup& w, const Int8Tokens& x, const float* totals, int64_t at, Vec* sums) {
  const uint8_t* values = x.values + at * kInt8Group;
  Vec parts[kTokens] = {};
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    VecI dots[kTokens];
    for (VecI& dot : dots) dot = w.start[half];
#pragma GCC unroll 8
    for (int s = 0; s < kHalfSteps; ++s) {
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        int32_t inputs;
        __builtin_memcpy(&inputs, values + t * kInt8Group + half * kHalfGroup + s * kPanelInputs, sizeof inputs);
        dots[t] = dot_gathered(dots[t], (Bytes)(VecI{} + inputs), w.weights[half][s]);
      }
    }
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) parts[t] += __builtin_convertvector(dots[t], Vec) * w.scales[half];
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) sums[t] += parts[t] * broadcast(x.scales[at + t]);
  if constexpr (Source::kMinimum) {
    static_assert(Source::kLess == 0);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const float* total = totals + 2 * (at + t);
      sums[t] += w.minima[0] * broadcast(total[0]) + w.minima[1] * broadcast(total[1]);
    }
  }
}

/// The tokens that a tile begins with, tiles of 8, 4 and 1; they are of one tile of x.
template <typename Tile>
[[gnu::always_inline]] inline void for_token_tiles(int64_t tokens, const Tile& tile) {
  static_assert(kInt8Tile % kPanelTokens == 0);
  int64_t t = 0;
  for (; t + kPanelTokens <= tokens; t += kPanelTokens) tile.template operator()<kPanelTokens>(t);
  for (; t + 4 <= tokens; t += 4) tile.template operator()<4>(t);
  for (; t < tokens; ++t) tile.template operator()<1>(t);
}

/// y[t, row..] of `count` tokens: what of a panel's sums there are rows for.
inline void store_sums(const Vec* sums, int64_t count, int64_t rows, float* y, int64_t y_stride) {
  const auto bytes = static_cast<size_t>(rows < kPanelRows ? rows : kPanelRows) * sizeof(float);
  for (int64_t t = 0; t < count; ++t) __builtin_memcpy(y + t * y_stride, sums + t, bytes);
}

/// sums[t] = the products of a panel with kTokens tokens from `first` on.
template <typename Source, int kTokens>
[[gnu::noinline]] void multiply_panel(const PanelGroup* panel, const Int8Tokens& x, const float* totals, int64_t first, Vec* sums) {
  const int64_t start = x.place(0, first), group_step = x.place(1, first) - start;
  Vec products[kTokens] = {};
  for (int64_t group = 0; group < x.groups(); ++group) {
    add_group<Source, kTokens>(panel[group], x, totals, start + group * group_step, products);
  }
  for (int t = 0; t < kTokens; ++t) sums[t] = products[t];
}

/// y[t, o] for kFewPanelTokens tokens at most and o in [begin, end).
template <typename Source>
inline void pass_groups(const Int8Tokens& x, const Source& source, const float* totals, float* y, int64_t y_stride, int64_t begin,
                        int64_t end) {
  for (int64_t row = begin; row < end; row += kPanelRows) {
    Vec sums[kFewPanelTokens];
    for (int64_t t = 0; t < x.tokens; ++t) sums[t] = Vec{};
    for (int64_t index = 0; index < x.groups(); ++index) {
      PanelGroup group;
      pack_group(source, row, end - row, index, group);
      for_token_tiles(x.tokens, [&]<int kTokens>(int64_t t) __attribute__((always_inline)) {
        Vec some[kTokens];
        __builtin_memcpy(some, sums + t, sizeof some);
        add_group<Source, kTokens>(group, x, totals, x.place(index, t), some);
        __builtin_memcpy(sums + t, some, sizeof some);
      });
    }
    store_sums(sums, x.tokens, end - row, y + row, y_stride);
  }
}

/// y[t, o] for all tokens and o in [begin, end), at most as many panels' worth as `packed` holds.
template <typename Source>
inline void pass_panels(const Int8Tokens& x, const PanelGroup* packed, const float* totals, float* y, int64_t y_stride,
                        int64_t begin, int64_t end) {
  for_token_tiles(x.tokens, [&]<int kTokens>(int64_t t) {
    const PanelGroup* panel = packed;
    for (int64_t row = begin; row < end; row += kPanelRows, panel += x.groups()) {
      Vec sums[kTokens];
      multiply_panel<Source, kTokens>(panel, x, totals, t, sums);
      store_sums(sums, kTokens, end - row, y + t * y_stride + row, y_stride);
    }
  });
}

/// y[t, o] for all tokens and o in [begin, end).
template <typename Source>
inline void multiply_panels(const Int8Tokens& x, const Source& source, float* y, int64_t y_stride, int64_t begin,
                            int64_t end) {
  constexpr int64_t kGroupFloats = sizeof(PanelGroup) / sizeof(float);
  const int64_t fit = kPanelBytes / (x.groups() * static_cast<int64_t>(sizeof(PanelGroup)));
  const bool few = x.tokens <= kFewPanelTokens;
  const int64_t panels = few ? 0 : fit < 1 ? 1 : fit, sums = Source::kMinimum ? 2 * x.groups() * x.tokens : 0;
  Scratch scratch(panels * x.groups() * kGroupFloats + sums);
  auto* packed = reinterpret_cast<PanelGroup*>(scratch.take(panels * x.groups() * kGroupFloats));
  float* totals = scratch.take(sums);
  if constexpr (Source::kMinimum) sum_halves(x, totals);
  if (few) return pass_groups(x, source, totals, y, y_stride, begin, end);
  for (int64_t from = begin; from < end; from += panels * kPanelRows) {
    const int64_t to = from + panels * kPanelRows < end ? from + panels * kPanelRows : end;
    pack_panels(source, x.groups(), from, to, packed);
    pass_panels<Source>(x, packed, totals, y, y_stride, from, to);
  }
}

}  // namespace ringflash::kernels::RF_ISA
