// Few tokens times rows of blocks on AVX-512: four rows side by side, a quarter of a vector each, so that one conversion and
// one multiplication by scales serve all of them. Each lane of a quarter sums its share of each block in turn; the four are
// added at the end, halves first, whichever tile a result falls into.
#pragma once

#include "kernels/simd/block_formats-inl.h"
#include "kernels/simd/input_sums-inl.h"
#include "kernels/simd/scratch-inl.h"

namespace ringflash::kernels::RF_ISA {

inline constexpr int kQuadRows = 4, kQuadBlocks = 4, kQuarterLanes = 4, kQuadTokens = 7;
inline constexpr int kBlockWeights = static_cast<int>(kInt8Group) / 2;

/// The inputs of kQuadBlocks blocks of one token.
struct alignas(32) QuadInputs {
  int8_t values[kQuadBlocks][kBlockWeights];
  int32_t starts[kQuadBlocks][kQuarterLanes];  ///< take out the format's bias
  float scales[kQuadBlocks];
  float totals[kQuadBlocks];  ///< sums of the inputs

  /// Those of the two blocks from `first` on; bias: what the format adds to its weights.
  void set(int first, const uint8_t* group, float scale, int bias) {
    const Bytes q = load_signed(group);
    __builtin_memcpy(values[first], &q, sizeof q);
    const HalfSums sums(q);
    for (int b = 0; b < 2; ++b) {
      const __m128i start = _mm_mullo_epi32(sums.lanes[b], _mm_set1_epi32(-bias));
      __builtin_memcpy(starts[first + b], &start, sizeof start);
      scales[first + b] = scale;
      totals[first + b] = sums.total(b) * scale;
    }
  }
};

/// Tokens as the tiles below read them, for formats with that bias.
template <int kBias>
class QuadTokens {
 public:
  const int64_t in;

  explicit QuadTokens(const Int8Tokens& x)
      : in(x.in), groups_((x.groups() + 1) / 2), scratch_(x.tokens * groups_ * kFloats),
        inputs_(reinterpret_cast<QuadInputs*>(scratch_.take(x.tokens * groups_ * kFloats))) {
    for (int64_t t = 0; t < x.tokens; ++t) {
      for (int64_t group = 0; group < x.groups(); ++group) {
        const int64_t at = x.place(group, t);
        if (group % 2 == 0) inputs_[t * groups_ + group / 2] = {};
        inputs_[t * groups_ + group / 2].set(group % 2 * 2, x.values + at * kInt8Group, x.scales[at], kBias);
      }
    }
  }

  /// Of one token, group after group.
  const QuadInputs* token(int64_t t) const { return inputs_ + t * groups_; }

 private:
  static constexpr int64_t kFloats = sizeof(QuadInputs) / sizeof(float);
  int64_t groups_;
  Scratch scratch_;
  QuadInputs* inputs_;
};

/// The same 16 bytes in all quarters.
template <typename T>
[[gnu::always_inline]] inline __m512i to_quarters(const T* p) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

/// 16 bytes of each row: the first row's at p, the others `step` bytes after the one before.
[[gnu::always_inline]] inline __m512i read_quarters(const char* p, int64_t step) {
  const auto at = [&](int r) __attribute__((always_inline)) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + r * step)); };
  __m512i all = _mm512_castsi128_si512(at(0));
  all = _mm512_inserti32x4(all, at(1), 1);
  all = _mm512_inserti32x4(all, at(2), 2);
  return _mm512_inserti32x4(all, at(3), 3);
}

/// A block of each row: the first half of its weights and the second, unsigned.
struct QuadWeights {
  __m512i halves[2];
};

[[gnu::always_inline]] inline QuadWeights split_halves(__m512i bytes) {
  const __m512i low = _mm512_set1_epi8(15);
  return {{_mm512_and_si512(bytes, low), _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low)}};
}

/// A block of each row, the first at p. Here of formats with two weights to a byte.
template <typename Format>
[[gnu::always_inline]] inline QuadWeights read_quad(const char* p, int64_t step) {
  return split_halves(read_quarters(p + offsetof(typename Format::Block, values), step));
}

template <>
[[gnu::always_inline]] inline QuadWeights read_quad<FormatQ5_0>(const char* p, int64_t step) {
  uint64_t fifth[2] = {};
#pragma GCC unroll 4
  for (int r = 0; r < kQuadRows; ++r) {
    const uint64_t bits = fifth_bits(*reinterpret_cast<const BlockQ5_0*>(p + r * step));
    fifth[0] |= (bits & 0xffff) << 16 * r;
    fifth[1] |= bits >> 16 << 16 * r;
  }
  QuadWeights w = split_halves(read_quarters(p + offsetof(BlockQ5_0, values), step));
  const __m512i sixteen = _mm512_set1_epi8(16);
  for (int h = 0; h < 2; ++h) w.halves[h] = _mm512_mask_add_epi8(w.halves[h], fifth[h], w.halves[h], sixteen);
  return w;
}

template <>
[[gnu::always_inline]] inline QuadWeights read_quad<FormatQ8_0>(const char* p, int64_t step) {
  const char* values = p + offsetof(BlockQ8_0, values);
  const __m512i sign = _mm512_set1_epi8(-128);
  return {{_mm512_xor_si512(read_quarters(values, step), sign), _mm512_xor_si512(read_quarters(values + 16, step), sign)}};
}

/// The scales of kBlocks blocks of each row, their first two bytes, in the low half, and the two bytes after each of them in the
/// high half: that of row r's block b at 4 r + b.
template <int kSize, int kBlocks>
[[gnu::always_inline]] inline __m512i read_words(const char* p, int64_t step) {
  constexpr int kBytesInAll = kBlocks * kSize;
  // Where one vector does not reach, another one begins further on; neither reads past the last block.
  constexpr bool kOne = (kBlocks - 1) * kSize + 4 <= 64;
  constexpr int kNext = kOne || 2 * kSize < kBytesInAll - 64 ? 2 * kSize : kBytesInAll - 64;
  const auto word = [](int b) { return static_cast<short>((kOne || b < 2 ? b * kSize : b * kSize - kNext) / 2); };
  const auto words = [&](int i) { return i < kBlocks ? word(i) : short{0}; };
  const auto pair = [&](int b) { return words(b) | static_cast<int>(words(b + 1)) << 16; };
  const __m128i first = _mm_setr_epi32(pair(0), pair(2), pair(0), pair(2));
  const __m512i places = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_broadcastsi128_si256(first)),
                                            _mm256_add_epi16(_mm256_broadcastsi128_si256(first), _mm256_set1_epi16(1)), 1);
  const auto read = [&](int r, int begin) __attribute__((always_inline)) {
    constexpr auto mask = [](int bytes) { return bytes >= 64 ? ~uint64_t{0} : (uint64_t{1} << bytes) - 1; };
    const char* from = p + r * step + begin;
    return begin == 0 ? _mm512_maskz_loadu_epi8(mask(kBytesInAll), from) : _mm512_loadu_si512(from);
  };
  __m512i all{};
#pragma GCC unroll 4
  for (int r = 0; r < kQuadRows; ++r) {
    constexpr uint32_t kAll = (1 << kBlocks) - 1, kFirst = kOne ? kAll : 3;
    const auto lanes = [&](uint32_t blocks) { return (blocks << 16 | blocks) << 4 * r; };
    all = _mm512_mask_permutexvar_epi16(all, lanes(kFirst), places, read(r, 0));
    if constexpr (!kOne) all = _mm512_mask_permutexvar_epi16(all, lanes(kAll - kFirst), places, read(r, kNext));
  }
  return all;
}

/// The sums of a tile: lane 4 r + l is the share that lane l of row r's quarter has.
template <typename Format, int kTokens>
struct QuadSums {
  Vec products[kTokens] = {}, minima[kTokens] = {};

  /// Adds kBlocks blocks of four rows, the first of them at p, times the inputs that are the quad-th of each token.
  template <int kBlocks>
  [[gnu::always_inline]] void add(const char* p, int64_t step, const QuadInputs* const* x, int64_t quad) {
    constexpr int kSize = sizeof(typename Format::Block);
#pragma GCC unroll 4
    for (int r = 0; r < kQuadRows; ++r) {
#pragma GCC unroll 3
      for (int line = 0; line < kBlocks * kSize; line += 64) __builtin_prefetch(p + r * step + kInt8Prefetch + line);
    }
    const __m512i words = read_words<kSize, kBlocks>(p, step);
    const __m512 scales = _mm512_maskz_cvtph_ps(0xffff, _mm512_castsi512_si256(words));
    __m512 scaled[kTokens];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) scaled[t] = _mm512_mul_ps(scales, (__m512)to_quarters(x[t][quad].scales));
    if constexpr (Format::kMinimum) {
      const auto lows = (Vec)_mm512_maskz_cvtph_ps(0xffff, _mm512_extracti64x4_epi64(words, 1));
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) minima[t] += lows * (Vec)to_quarters(x[t][quad].totals);
    }
    const auto add_block = [&]<int kBlock>() __attribute__((always_inline)) {
      const QuadWeights w = read_quad<Format>(p + kBlock * kSize, step);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const QuadInputs& inputs = x[t][quad];
        __m512i dot = Format::kBias != 0 ? to_quarters(inputs.starts[kBlock]) : __m512i{};
        dot = _mm512_dpbusd_epi32(dot, w.halves[0], to_quarters(inputs.values[kBlock]));
        dot = _mm512_dpbusd_epi32(dot, w.halves[1], to_quarters(inputs.values[kBlock] + 16));
        products[t] += __builtin_convertvector((VecI)dot, Vec) * (Vec)_mm512_permute_ps(scaled[t], kBlock * 0x55);
      }
    };
    add_block.template operator()<0>();
    if constexpr (kBlocks > 1) add_block.template operator()<1>();
    if constexpr (kBlocks > 2) add_block.template operator()<2>();
    if constexpr (kBlocks > 3) add_block.template operator()<3>();
  }

  /// A token's sums of the four rows.
  [[gnu::always_inline]] void total(int t, float* totals) const {
    auto sum = (__m512)(products[t] + minima[t]);
    sum = _mm512_add_ps(sum, _mm512_permute_ps(sum, 0x4e));
    sum = _mm512_add_ps(sum, _mm512_permute_ps(sum, 0xb1));
    const __m512i first = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    _mm_storeu_ps(totals, _mm512_castps512_ps128(_mm512_permutexvar_ps(first, sum)));
  }
};

/// y[t, r * step] = the products of kTokens tokens from `first` on and kRows rows of blocks, the first at w and each
/// `step` rows after the one before.
template <typename Format, int kTokens, int kRows>
[[gnu::always_inline]] inline void int8_tile(const QuadTokens<Format::kBias>& x, int64_t first, const typename Format::Block* w,
                                             int64_t step, float* y, int64_t y_stride) {
  static_assert(kRows == kQuadRows || kRows == 1);
  constexpr int kSize = sizeof(typename Format::Block);
  const int64_t blocks = x.in / Format::Block::kWeights;
  const int64_t row_step = kRows == 1 ? 0 : step * blocks * kSize;  // one row is read as four
  const auto* p = reinterpret_cast<const char*>(w);
  const QuadInputs* inputs[kTokens];
  for (int t = 0; t < kTokens; ++t) inputs[t] = x.token(first + t);
  QuadSums<Format, kTokens> sums;
  int64_t quad = 0;
  for (; quad < blocks / kQuadBlocks; ++quad, p += kQuadBlocks * kSize) sums.template add<kQuadBlocks>(p, row_step, inputs, quad);
  if (blocks % kQuadBlocks == 1) sums.template add<1>(p, row_step, inputs, quad);
  if (blocks % kQuadBlocks == 2) sums.template add<2>(p, row_step, inputs, quad);
  if (blocks % kQuadBlocks == 3) sums.template add<3>(p, row_step, inputs, quad);
  for (int t = 0; t < kTokens; ++t) {
    float totals[kQuadRows];
    sums.total(t, totals);
    for (int r = 0; r < kRows; ++r) y[t * y_stride + r * step] = totals[r];
  }
}

}  // namespace ringflash::kernels::RF_ISA
