// Products of many tokens with quantised weights on AVX2. Sixteen rows of any format are turned into a panel whose lanes
// are rows, so that sums and scales need nothing across lanes; then all tokens pass it. Products of a block are summed exactly
// and blocks added in turn, as block_tile-inl.h does for few tokens: the same bits.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd/block_tile-inl.h"
#include "kernels/simd/panel_rows-inl.h"
#include "kernels/simd/scratch-inl.h"

namespace ringflash::kernels::RF_ISA {

inline constexpr int kPanelVecs = kPanelRows / kLanes, kPanelTokens = 4;

/// From so many tokens on, turning rows round pays.
inline constexpr int64_t kLeastPanelTokens = 8;

/// Panels that are turned round together, so that a tile of tokens meets them all: what half of an L2 cache holds.
inline constexpr int64_t kPanelBytes = 192 << 10;

/// Weights from -8 to 7: a byte each, four inputs to a lane. Eight sums of two products with activations up to 255 fit
/// in 16 bits.
struct PanelNibbles {
  static constexpr int kInputs = 4, kSteps = kBytes / kInputs;  // of half a group
  using Activation = uint8_t;
  static __m256i add(__m256i sum, __m256i activations, __m256i weights) {
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(activations, weights));
  }
  static VecI total(__m256i sum) { return (VecI)_mm256_madd_epi16(sum, _mm256_set1_epi16(1)); }
  static __m256i ones() { return _mm256_set1_epi8(1); }  ///< as activations
  static void pack(const int8_t (*rows)[kInt8Group], int half, Vec (*square)[kLanes]) {
    for (int r = 0; r < kLanes; ++r) square[0][r] = (Vec)load_bytes(rows[r] + half * kBytes);
  }
};

/// Weights of 8 bits, widened to 16: two inputs to a lane.
struct PanelWords {
  static constexpr int kInputs = 2, kSteps = kBytes / kInputs;
  using Activation = uint16_t;
  static __m256i add(__m256i sum, __m256i activations, __m256i weights) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(activations, weights));
  }
  static VecI total(__m256i sum) { return (VecI)sum; }
  static __m256i ones() { return _mm256_set1_epi16(1); }
  static void pack(const int8_t (*rows)[kInt8Group], int half, Vec (*square)[kLanes]) {
    for (int part = 0; part < 2; ++part) {
      for (int r = 0; r < kLanes; ++r) {
        const auto* at = reinterpret_cast<const __m128i*>(rows[r] + half * kBytes + part * kBytes / 2);
        square[part][r] = (Vec)_mm256_cvtepi8_epi16(_mm_loadu_si128(at));
      }
    }
  }
};

template <typename Source>
struct NumbersOf {
  using Type = PanelWords;
};
template <typename Source>
  requires Source::kNibbles
struct NumbersOf<Source> {
  using Type = PanelNibbles;
};

/// One group of a panel.
template <typename Numbers>
struct PanelGroup {
  __m256i weights[2][Numbers::kSteps][kPanelVecs];
  VecI start[2][kPanelVecs];  ///< takes out the 128s of the activations
  Vec scales[2][kPanelVecs], minima[2][kPanelVecs];

  void pack(const RowGroup& rows) {
    constexpr int kSquares = Numbers::kSteps / kLanes;
    for (int half = 0; half < 2; ++half) {
      for (int v = 0; v < kPanelVecs; ++v) {
        Vec square[kSquares][kLanes];
        Numbers::pack(rows.values + v * kLanes, half, square);
        __m256i sum{};
        for (int s = 0; s < Numbers::kSteps; ++s) {
          if (s % kLanes == 0) transpose(square[s / kLanes]);
          weights[half][s][v] = (__m256i)square[s / kLanes][s % kLanes];
          sum = Numbers::add(sum, Numbers::ones(), weights[half][s][v]);
        }
        start[half][v] = Numbers::total(sum) * -128;
        scales[half][v] = load(rows.scales[half] + v * kLanes);
        minima[half][v] = load(rows.minima[half] + v * kLanes);
      }
    }
  }
};

/// A group of kPanelTokens tokens as a panel multiplies with them; tokens that do not exist are zeros.
template <typename Source>
struct TokenGroup {
  alignas(32) typename NumbersOf<Source>::Type::Activation values[kPanelTokens][kInt8Group];  ///< 128 + q
  float scales[kPanelTokens];
  int32_t totals[2][kPanelTokens];  ///< of q, of either half, for formats with a minimum

  void load(const Int8Tokens& x, int64_t group, int64_t first, int64_t count) {
    const int64_t at = x.place(group, first);
    for (int t = 0; t < kPanelTokens; ++t) {
      scales[t] = t < count ? x.scales[at + t] : 0;
      for (int half = 0; half < 2; ++half) {
        const uint8_t* from = x.values + (at + t) * kInt8Group + half * kBytes;
        const Bytes q = t < count ? load_bytes(from) : Bytes{} + int8_t{-128};
        put(q, values[t] + half * kBytes);
        if constexpr (Source::kMinimum) {
          const VecI sums = dot_unsigned(VecI{}, Bytes{} + int8_t{1}, q ^ int8_t{-128});
          totals[half][t] = sum_blocks(sums, VecI{})[0];
        }
      }
    }
  }

 private:
  static void put(Bytes q, uint8_t* to) { __builtin_memcpy(to, &q, sizeof q); }
  static void put(Bytes q, uint16_t* to) {
    const __m256i low = _mm256_cvtepu8_epi16(_mm256_castsi256_si128((__m256i)q));
    const __m256i high = _mm256_cvtepu8_epi16(_mm256_extracti128_si256((__m256i)q, 1));
    _mm256_store_si256(reinterpret_cast<__m256i*>(to), low);
    _mm256_store_si256(reinterpret_cast<__m256i*>(to) + 1, high);
  }
};

/// y[t, 0..15] = the products of a panel; `Source` says what kind it is: kNibbles, kMinimum.
template <typename Source>
[[gnu::noinline]] void multiply_panel(const PanelGroup<typename NumbersOf<Source>::Type>* panel, int64_t groups,
                                      const TokenGroup<Source>* x, float (*y)[kPanelRows]) {
  using Numbers = typename NumbersOf<Source>::Type;
  Vec sums[2][kPanelTokens][kPanelVecs] = {};
  for (int64_t group = 0; group < groups; ++group) {
    const PanelGroup<Numbers>& w = panel[group];
    for (int half = 0; half < 2; ++half) {
      __m256i partial[kPanelTokens][kPanelVecs] = {};
#pragma GCC unroll 4
      for (int s = 0; s < Numbers::kSteps; ++s) {
#pragma GCC unroll 4
        for (int t = 0; t < kPanelTokens; ++t) {
          int32_t inputs;
          __builtin_memcpy(&inputs, &x[group].values[t][half * kBytes + s * Numbers::kInputs], sizeof inputs);
          const __m256i activations = _mm256_set1_epi32(inputs);
#pragma GCC unroll 2
          for (int v = 0; v < kPanelVecs; ++v) {
            partial[t][v] = Numbers::add(partial[t][v], activations, w.weights[half][s][v]);
            asm("" : "+x"(partial[t][v]));  // or g++ adds in another order and runs out of registers
          }
        }
      }
#pragma GCC unroll 4
      for (int t = 0; t < kPanelTokens; ++t) {
        const Vec scale = broadcast(x[group].scales[t]);
#pragma GCC unroll 2
        for (int v = 0; v < kPanelVecs; ++v) {
          const VecI dot = Numbers::total(partial[t][v]) + w.start[half][v];
          const Vec scales = w.scales[half][v] * scale;
          Vec& sum = sums[half][t][v];
          if constexpr (Source::kMinimum) {
            const VecI total = VecI{} + x[group].totals[half][t];
            sum += __builtin_convertvector(dot + total * Source::kLess, Vec) * scales;
            sum += __builtin_convertvector(total, Vec) * scale * w.minima[half][v];
          } else {
            sum += __builtin_convertvector(dot, Vec) * scales;
          }
        }
      }
    }
  }
  for (int t = 0; t < kPanelTokens; ++t) {
    for (int v = 0; v < kPanelVecs; ++v) {
      store(y[t] + v * kLanes, sums[0][t][v] + sums[1][t][v]);
    }
  }
}

/// y[t, o] for all tokens and o in [begin, end).
template <typename Source>
inline void multiply_panels(const Int8Tokens& x, const Source& source, float* y, int64_t y_stride, int64_t begin,
                            int64_t end) {
  using Group = PanelGroup<typename NumbersOf<Source>::Type>;
  using Tokens = TokenGroup<Source>;
  const int64_t groups = x.groups(), fit = kPanelBytes / (groups * static_cast<int64_t>(sizeof(Group)));
  const int64_t panels = fit < 1 ? 1 : fit > 8 ? 8 : fit;
  constexpr int64_t kGroupFloats = sizeof(Group) / sizeof(float), kTokenFloats = sizeof(Tokens) / sizeof(float);
  Scratch scratch((panels * kGroupFloats + kTokenFloats) * groups);
  auto* packed = reinterpret_cast<Group*>(scratch.take(panels * groups * kGroupFloats));
  auto* tokens = reinterpret_cast<Tokens*>(scratch.take(groups * kTokenFloats));
  for (int64_t from = begin; from < end; from += panels * kPanelRows) {
    const int64_t to = from + panels * kPanelRows < end ? from + panels * kPanelRows : end;
    pack_panels(source, groups, from, to, packed);
    for (int64_t first = 0; first < x.tokens; first += kPanelTokens) {
      const int64_t count = x.tokens - first < kPanelTokens ? x.tokens - first : kPanelTokens;
      for (int64_t group = 0; group < groups; ++group) tokens[group].load(x, group, first, count);
      for (int64_t row = from; row < to; row += kPanelRows) {
        float products[kPanelTokens][kPanelRows];
        multiply_panel<Source>(packed + (row - from) / kPanelRows * groups, groups, tokens, products);
        const auto bytes = static_cast<size_t>(end - row < kPanelRows ? end - row : kPanelRows) * sizeof(float);
        for (int64_t t = 0; t < count; ++t) __builtin_memcpy(y + (first + t) * y_stride + row, products[t], bytes);
      }
    }
  }
}

}  // namespace ringflash::kernels::RF_ISA
