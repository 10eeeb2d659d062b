// Stored weights as the right factor of a product on bf16 tiles: pairs of inputs by rows, 32 rows side by side.
#pragma once

#include "kernels/simd/attention_tile-inl.h"
#include "kernels/simd/bitmap_codec-inl.h"
#include "kernels/simd/block_formats-inl.h"
#include "kernels/simd/sparse_codec-inl.h"
#include "kernels/wide_kernels.h"

namespace ringflash::kernels::RF_ISA {

/// Rows that a widened block holds, and of them those that are turned round together.
inline constexpr int64_t kWideRows = 32, kWideHalf = 16;
static_assert(kWideHalf == kLanes && kWideHalf == kSparseRows && kRowParts == 1);

// Each of the formats below widens kWideHalf rows from `row` on, of which `count` exist, and inputs [begin, end), a
// multiple of 32: slot [(i - begin) / 2][r] of `out`, rows of kWideRows slots, is the pair (i, i + 1) of row r.

/// A format whose rows are read 32 weights at a time by `Row::load(block)`.
template <typename Row>
struct RowFormat {
  const typename Row::Block* w;
  int64_t row_blocks;

  void widen(int64_t row, int64_t count, int64_t begin, int64_t end, Slot* out) const {
    for (int64_t i = begin; i < end; i += 32, out += kPanelSlots * kWideRows) {
      Vec square[kLanes];
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r) {
        const auto* block = w + (row + r) * row_blocks + i / Row::kWeights;
        square[r] = r < count ? Row::load(block) : Vec{};
      }
      transpose(square);
#pragma GCC unroll 16
      for (int pair = 0; pair < kLanes; ++pair) store(out + pair * kWideRows, square[pair]);
    }
  }
};

inline __m512 integers(__m128i bytes) {
  return _mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, bytes));
}
inline __m512 fp16_scale(fp16 scale) {
  return _mm512_maskz_broadcastss_ps(0xffff, _mm_cvtph_ps(_mm_cvtsi32_si128(scale.bits)));
}
/// The products with a scale of two runs of 16 integers.
inline Vec scaled_slots(__m128i first, __m128i second, __m512 factor) {
  return reinterpret_cast<Vec>(to_bf16(reinterpret_cast<Vec>(integers(first) * factor),
                                       reinterpret_cast<Vec>(integers(second) * factor)));
}

struct RowQ8_0 {
  using Block = BlockQ8_0;
  static constexpr int64_t kWeights = Block::kWeights;
  static Vec load(const Block* block) {
    const auto* values = reinterpret_cast<const __m128i*>(block->values);
    return scaled_slots(_mm_loadu_si128(values), _mm_loadu_si128(values + 1), fp16_scale(block->scale));
  }
};

struct RowQ4_0 {
  using Block = BlockQ4_0;
  static constexpr int64_t kWeights = Block::kWeights;
  static Vec load(const Block* block) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block->values));
    const __m128i low = _mm_and_si128(raw, _mm_set1_epi8(15));
    const __m128i high = _mm_and_si128(_mm_srli_epi16(raw, 4), _mm_set1_epi8(15));
    const __m128i bias = _mm_set1_epi8(8);
    return scaled_slots(_mm_sub_epi8(low, bias), _mm_sub_epi8(high, bias), fp16_scale(block->scale));
  }
};

struct RowQ4_1 {
  using Block = BlockQ4_1;
  static constexpr int64_t kWeights = Block::kWeights;
  static Vec load(const Block* block) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block->values));
    const __m512 low = integers(_mm_and_si128(raw, _mm_set1_epi8(15)));
    const __m512 high = integers(_mm_and_si128(_mm_srli_epi16(raw, 4), _mm_set1_epi8(15)));
    const __m512 scale = fp16_scale(block->scale), minimum = fp16_scale(block->minimum);
    return reinterpret_cast<Vec>(to_bf16(reinterpret_cast<Vec>(low * scale + minimum),
                                         reinterpret_cast<Vec>(high * scale + minimum)));
  }
};

struct RowQ5_0 {
  using Block = BlockQ5_0;
  static constexpr int64_t kWeights = Block::kWeights;
  static Vec load(const Block* block) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block->values));
    const uint32_t high = fifth_bits(*block);
    // Those without the fifth bit are less by 16.
    const auto number = [&](__m128i half, uint32_t bits) {
      const __m128i low = _mm_and_si128(half, _mm_set1_epi8(15));
      return _mm_mask_sub_epi8(low, static_cast<__mmask16>(~bits), low, _mm_set1_epi8(16));
    };
    return scaled_slots(number(raw, high), number(_mm_srli_epi16(raw, 4), high >> 16), fp16_scale(block->scale));
  }
};

struct RowBf16 {
  using Block = bf16;
  static constexpr int64_t kWeights = 1;
  static Vec load(const Block* values) { return kernels::RF_ISA::load(reinterpret_cast<const float*>(values)); }
};

/// The bitmap form of S4 and S8.
template <SparseBits kBits>
struct BitmapFormat {
  BitmapCodec<kBits> codec;
  const std::byte* blocks;
  int64_t groups;

  void widen(int64_t row, int64_t count, int64_t begin, int64_t end, Slot* out) const {
    const std::byte* block = blocks + (row / kSparseRows * groups + begin / kSparseInputs) * codec.block_bytes();
    for (int64_t i = begin; i < end; i += kSparseInputs, block += codec.block_bytes()) {
      alignas(64) int8_t rows[kSparseRows][kSparseInputs] = {};
      for (int64_t r = 0; r < count; ++r) codec.expand(block, r, rows[r]);
      float scales[kSparseRows] = {};
      if (count > 0) codec.scales(block, scales);
      for (int64_t half = 0; half < kSparseInputs; half += 32, out += kPanelSlots * kWideRows) {
        Vec square[kLanes];
#pragma GCC unroll 16
        for (int r = 0; r < kLanes; ++r) {
          const auto* values = reinterpret_cast<const __m128i*>(rows[r] + half);
          square[r] = scaled_slots(values[0], values[1], (__m512)broadcast(scales[r]));
        }
        transpose(square);
#pragma GCC unroll 16
        for (int pair = 0; pair < kLanes; ++pair) store(out + pair * kWideRows, square[pair]);
      }
    }
  }
};

/// What S4 and S8 have in common in the index form: entries of 16 rows, four to a lane, each going to a place of its own.
template <int N, typename Codec>
struct SparseFormatOf {
  using Block = typename Codec::Block;
  Codec codec;
  const Block* blocks;
  int64_t groups;

  void widen(int64_t row, int64_t count, int64_t begin, int64_t end, Slot* out) const {
    const int64_t first = row / kSparseRows * groups;
    for (int64_t i = begin; i < end; i += kSparseInputs, out += kSparseInputs / 2 * kWideRows) {
      for (int64_t pair = 0; pair < kSparseInputs / 2; ++pair) store(out + pair * kWideRows, Vec{});
      if (count > 0) widen_block(blocks[first + i / kSparseInputs], reinterpret_cast<uint16_t*>(out));
    }
  }

 private:
  /// An entry's place in `numbers` is (input / 2) * 2 * kWideRows + 2 * row + input % 2. Or-ing leaves an entry of value
  /// zero that names the input of another without effect.
  [[gnu::always_inline]] void widen_block(const Block& block, uint16_t* numbers) const {
    const __m512 scales = reinterpret_cast<__m512>(codec.scale(block, 0));
    const __m512i rows = _mm512_slli_epi32((__m512i)iota(), 1);
    for (int step = 0; step < N / 4; ++step) {
      const auto inputs = (__m512i)codec.index(block, 0, step), values = (__m512i)codec.weight(block, 0, step);
      alignas(64) uint16_t places[4][kSparseRows], found[4][kSparseRows];
#pragma GCC unroll 4
      for (int n = 0; n < 4; ++n) {
        const __m512i input = _mm512_and_si512(_mm512_srli_epi32(inputs, 8 * n), _mm512_set1_epi32(63));
        const __m512i pair = _mm512_slli_epi32(_mm512_srli_epi32(input, 1), 6);
        const __m512i place = _mm512_add_epi32(_mm512_or_si512(pair, _mm512_and_si512(input, _mm512_set1_epi32(1))), rows);
        const __m512i integer = _mm512_srai_epi32(_mm512_slli_epi32(values, 24 - 8 * n), 24);
        const __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(integer), scales);
        _mm256_store_si256(reinterpret_cast<__m256i*>(places[n]), _mm512_cvtepi32_epi16(place));
        _mm256_store_si256(reinterpret_cast<__m256i*>(found[n]), (__m256i)_mm512_cvtneps_pbh(value));
      }
      static_assert(2 * kWideRows == 64);  // the shift by 6
      for (int n = 0; n < 4; ++n) {
#pragma GCC unroll 16
        for (int r = 0; r < kSparseRows; ++r) numbers[places[n][r]] |= found[n][r];
      }
    }
  }
};

}  // namespace ringflash::kernels::RF_ISA
