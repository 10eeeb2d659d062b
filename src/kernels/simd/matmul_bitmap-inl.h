// Products with S4 and S8 weights in the bitmap form. Rows are expanded to all of a group's inputs and multiplied as
// those of other formats are; a result depends on nothing but its row and its token.
#pragma once

#include "kernels/simd/bitmap_codec-inl.h"
#include "kernels/simd/matmul_int8-inl.h"
#include "kernels/simd/scratch-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Blocks of 16 rows that are read by turns, and how many groups of each.
inline constexpr int kBitmapStreams = 4;
inline constexpr int64_t kBitmapRun = 2;

/// 32 expanded weights; two of a group have the same scale.
struct ExpandedBlock {
  static constexpr int kWeights = 32;
  int8_t values[kWeights];
  float scale;
};

#if RF_LANES == 16
struct FormatExpanded : UnsignedFormat<128> {
#else
struct FormatExpanded : SignedFormat {
#endif
  using Block = ExpandedBlock;
#if RF_LANES == 8
  static Bytes values(const Block& block) { return load_bytes(block.values); }
#else
  static GroupWeights load(const Block* block, int) {
    GroupWeights w{};
#if RF_LANES == 16
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block[0].values));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block[1].values));
    w.values[0] = (Bytes)_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1) ^ static_cast<int8_t>(-128);
#else
    constexpr int kBlockVecs = kGroupVecs / 2;
    for (int v = 0; v < kGroupVecs; ++v) w.values[v] = load_bytes(block[v / kBlockVecs].values + v % kBlockVecs * kBytes);
#endif
    for (Vec& scale : w.scales) scale = broadcast(block[0].scale);
    return w;
  }
#endif
};

template <SparseBits kBits>
struct BitmapProduct {
  const Int8Tokens& x;
  const BitmapCodec<kBits> codec;
  const std::byte* blocks;
  int64_t rows;
  float* y;
  int64_t y_stride;

  const std::byte* superblock(int64_t row_block, int64_t group) const {
    return blocks + (row_block * x.groups() + group) * codec.block_bytes();
  }
  int64_t rows_of(int64_t row_block) const {
    const int64_t left = rows - row_block * kSparseRows;
    return left < kSparseRows ? left : kSparseRows;
  }

#if RF_LANES == 16
  /// Adds one token's products with a superblock, expanded in registers, to the sums of its 16 rows.
  [[gnu::always_inline]] void add_group(int64_t row_block, int64_t group, Vec* sums) const {
    const std::byte* block = superblock(row_block, group);
    for (int64_t line = 0; line < codec.block_bytes(); line += 64) __builtin_prefetch(block + kInt8Prefetch + line);
    const int64_t at = x.place(group, 0);
    const Bytes q = load_signed(x.values + at * kInt8Group);
    const VecI offset = -dot_unsigned(VecI{}, Bytes{} + static_cast<int8_t>(BitmapCodec<kBits>::kBias), q);
    alignas(64) float scales[kSparseRows];
    codec.scales(block, scales);
    store(scales, load(scales) * broadcast(x.scales[at]));
    asm("" : "+m"(scales));  // read from memory: shuffles would take the port that expansion needs
#pragma GCC unroll 16
    for (int r = 0; r < kSparseRows; ++r) {
      const VecI dot = dot_unsigned(offset, (Bytes)codec.expand_unsigned(block, r), q);
      sums[r] += __builtin_convertvector(dot, Vec) * broadcast(scales[r]);
    }
  }

  /// One token times kStreams blocks of 16 rows, by turns a few groups of each: memory is read in as many places, which
  /// keeps its pipeline full.
  template <int kStreams>
  void multiply_token(int64_t row_block) const {
    Vec sums[kStreams][kSparseRows] = {};
    for (int64_t begin = 0; begin < x.groups(); begin += kBitmapRun) {
      const int64_t end = begin + kBitmapRun < x.groups() ? begin + kBitmapRun : x.groups();
      for (int s = 0; s < kStreams; ++s) {
        Vec some[kSparseRows];
        __builtin_memcpy(some, sums[s], sizeof some);
        for (int64_t group = begin; group < end; ++group) add_group(row_block + s, group, some);
        __builtin_memcpy(sums[s], some, sizeof some);
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      float totals[kSparseRows];
      sum_each<kSparseRows>(sums[s], totals);
      const int64_t first = (row_block + s) * kSparseRows;
      for (int64_t r = 0; r < rows_of(row_block + s); ++r) y[first + r] = totals[r];
    }
  }

  void multiply_one_token(RowBlocks range) const {
    int64_t row_block = range.begin;
    for (; row_block + kBitmapStreams <= range.end; row_block += kBitmapStreams) {
      multiply_token<kBitmapStreams>(row_block);
    }
    for (; row_block < range.end; ++row_block) multiply_token<1>(row_block);
  }
#endif

  /// All tokens times 16 rows, which are expanded to `expanded`, a row after the other.
  void multiply_expanded(int64_t row_block, ExpandedBlock* expanded) const {
    const int64_t count = rows_of(row_block);
    for (int64_t group = 0; group < x.groups(); ++group) {
      const std::byte* block = superblock(row_block, group);
      float scales[kSparseRows];
      codec.scales(block, scales);
      for (int64_t r = 0; r < count; ++r) {
        int8_t values[kSparseInputs];
        codec.expand(block, r, values);
        ExpandedBlock* to = expanded + (r * x.groups() + group) * 2;
        for (int half = 0; half < 2; ++half) {
          __builtin_memcpy(to[half].values, values + half * ExpandedBlock::kWeights, sizeof to[half].values);
          to[half].scale = scales[r];
        }
      }
    }
    float* out = y + row_block * kSparseRows;
    int64_t t = 0;
    for (; t + kInt8Tokens <= x.tokens; t += kInt8Tokens) {
      int8_rows<FormatExpanded, kInt8Tokens>(x, t, expanded, out, y_stride, 0, count);
    }
    for (; t < x.tokens; ++t) int8_rows<FormatExpanded, 1>(x, t, expanded, out, y_stride, 0, count);
  }

  void multiply(RowBlocks range) const {
#if RF_LANES == 16
    if (x.tokens == 1) return multiply_one_token(range);
#endif
#if RF_LANES != 4
    if (x.tokens >= kLeastPanelTokens) {
      const int64_t end = range.end * kSparseRows < rows ? range.end * kSparseRows : rows;
      return multiply_panels(x, BitmapRows<kBits>{codec, blocks, x.groups()}, y, y_stride, range.begin * kSparseRows, end);
    }
#endif
    const auto floats = kSparseRows * x.groups() * 2 * static_cast<int64_t>(sizeof(ExpandedBlock) / sizeof(float));
    Scratch scratch(floats);
    auto* expanded = reinterpret_cast<ExpandedBlock*>(scratch.take(floats));
    for (int64_t row_block = range.begin; row_block < range.end; ++row_block) multiply_expanded(row_block, expanded);
  }
};

inline void matmul_bitmap(const Int8Tokens& x, const SparseFormat& format, const std::byte* blocks, float* y,
                          int64_t y_stride, RowBlocks rows) {
  const auto multiply = [&]<SparseBits kBits>() {
    const BitmapCodec<kBits> codec(format);
    BitmapProduct<kBits>{x, codec, blocks, format.shape.rows, y, y_stride}.multiply(rows);
  };
  if (format.bits == SparseBits::k4) return multiply.template operator()<SparseBits::k4>();
  multiply.template operator()<SparseBits::k8>();
}

}  // namespace ringflash::kernels::RF_ISA
