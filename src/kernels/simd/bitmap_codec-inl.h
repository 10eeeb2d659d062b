// Rows of the bitmap form of S4 and S8, expanded to their 64 inputs: what lies under the bits, zeros elsewhere.
#pragma once

#include "format/block_bitmap.h"
#include "kernels/kernels.h"
#include "kernels/simd/sparse_codec-inl.h"

namespace ringflash::kernels::RF_ISA {

template <SparseBits kBits>
class BitmapCodec {
 public:
  /// What expand_unsigned() adds to weights.
  static constexpr int kBias = kBits == SparseBits::k4 ? 8 : 128;

  explicit BitmapCodec(const SparseFormat& format)
      : parts_(kBits, format.shape.nonzeros), base_(format.base + 127) {}

  int64_t block_bytes() const { return parts_.bytes; }

  /// The scales of the 16 rows.
  [[gnu::always_inline]] void scales(const std::byte* block, float* out) const {
    const std::byte* at = block + parts_.scales;
    for (int part = 0; part < kRowParts; ++part, out += kLanes) {
      if constexpr (kBits == SparseBits::k4) {
        const VecI codes = load_u8(reinterpret_cast<const uint8_t*>(at) + part * kLanes);
        store(out, from_bits((codes << 19) + (VecI{} + (base_ << 23))));
      } else {
        store(out, load(reinterpret_cast<const fp16*>(at) + part * kLanes));
      }
    }
  }

#if RF_LANES == 16
  /// The weights of row r plus kBias.
  [[gnu::always_inline]] __m512i expand_unsigned(const std::byte* block, int64_t r) const {
    __m512i values = _mm512_loadu_si512(block + parts_.values(kBits, r));
    if constexpr (kBits == SparseBits::k4) {
      if (r % 2 != 0) values = _mm512_srli_epi32(values, 4);
      values = _mm512_and_si512(values, _mm512_set1_epi8(15));
    } else {
      values = _mm512_xor_si512(values, _mm512_set1_epi8(-128));
    }
    if (!parts_.has_bitmaps()) return values;
    uint64_t bits;
    __builtin_memcpy(&bits, block + parts_.bitmaps + r * 8, sizeof bits);
    return _mm512_mask_expand_epi8(_mm512_set1_epi8(static_cast<char>(kBias)), bits, values);
  }

  /// The 64 weights of row r.
  void expand(const std::byte* block, int64_t r, int8_t* out) const {
    _mm512_storeu_si512(out, _mm512_sub_epi8(expand_unsigned(block, r), _mm512_set1_epi8(static_cast<char>(kBias))));
  }
#elif RF_LANES == 8
  /// The 64 weights of row r. Values are read where they lie: what has just been stored elsewhere could not be read from the
  /// middle at once.
  void expand(const std::byte* block, int64_t r, int8_t* out) const {
    const std::byte* next = block + parts_.values(kBits, r);
    uint64_t bits = ~uint64_t{0};
    if (parts_.has_bitmaps()) __builtin_memcpy(&bits, block + parts_.bitmaps + r * 8, sizeof bits);
#pragma GCC unroll 4
    for (int i = 0; i < kSparseInputs; i += 16, bits >>= 16) {
      const auto first = static_cast<uint8_t>(bits), second = static_cast<uint8_t>(bits >> 8);
      const __m128i low = spread_eight(next, first);
      next += __builtin_popcount(first);
      const __m128i high = spread_eight(next, second);
      next += __builtin_popcount(second);
      const __m128i values = _mm_unpacklo_epi64(low, high);
      const __m128i places = _mm_unpacklo_epi64(spread_places(first), spread_places(second));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), weights_of(values, places, r));
    }
  }
#else
  /// The 64 weights of row r.
  void expand(const std::byte* block, int64_t r, int8_t* out) const {
    int8_t values[kSparseInputs + 16];  // eight at a time are read as sixteen
    __builtin_memcpy(values, block + parts_.values(kBits, r), kSparseInputs);
    if constexpr (kBits == SparseBits::k4) {
      const int shift = r % 2 * 4;
      for (int i = 0; i < kSparseInputs; ++i) values[i] = static_cast<int8_t>((values[i] >> shift & 15) - 8);
    }
    if (!parts_.has_bitmaps()) {
      __builtin_memcpy(out, values, kSparseInputs);
      return;
    }
    __builtin_memset(values + kSparseInputs, 0, 16);
    uint64_t bits;
    __builtin_memcpy(&bits, block + parts_.bitmaps + r * 8, sizeof bits);
    const int8_t* next = values;
    for (int64_t i = 0; i < kSparseInputs; i += 8, bits >>= 8) {
      spread_eight(next, static_cast<uint8_t>(bits), out + i);
      next += __builtin_popcount(static_cast<unsigned>(bits & 255));
    }
  }
#endif

 private:
#if RF_LANES == 8
  /// What row r has in values that were spread to `places`.
  static __m128i weights_of(__m128i values, __m128i places, int64_t r) {
    if constexpr (kBits == SparseBits::k8) return values;
    const __m128i halves = r % 2 != 0 ? _mm_srli_epi16(values, 4) : values;
    const __m128i is_there = _mm_cmpgt_epi8(places, _mm_set1_epi8(-1));
    return _mm_sub_epi8(_mm_and_si128(halves, _mm_and_si128(is_there, _mm_set1_epi8(15))),
                        _mm_and_si128(is_there, _mm_set1_epi8(static_cast<char>(kBias))));
  }
#endif

  BitmapBlock parts_;
  int base_;
};

}  // namespace ringflash::kernels::RF_ISA
