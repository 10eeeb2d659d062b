// Products with S4 and S8 weights. Nothing is expanded: a weight's index looks its activation up among the group's 64,
// which are one vector or a few. A lane is an output row, so sums need no operation across lanes.
//
// A row's products of one group are summed exactly; groups are added in turn, each times the scale of its weights and
// its activations. So a result depends on nothing but its row and its token.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd/matmul_bitmap-inl.h"
#include "kernels/simd/scratch-inl.h"
#include "kernels/simd/sparse_codec-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Tokens multiplied with a superblock while their sums are in registers.
inline constexpr int kSparseTokens = RF_LANES == 16 ? 16 : RF_LANES == 8 ? 2 : 4;
/// Up to this many, superblocks are decoded as they are used; more share what was decoded once.
inline constexpr int kDirectTokens = 4;

/// Blocks of 16 rows that are decoded together: a tile of tokens meets them all while it is in the L1 cache.
inline constexpr int kDecodedBlocks = 4;

/// Blocks of 16 rows that are read side by side where they are decoded as they are used.
inline constexpr int kSparseStreams = RF_LANES == 4 ? 1 : 4;

// How many bytes ahead of their use superblocks are asked for.
inline constexpr int64_t kSparsePrefetch = 1024;

/// A superblock as the products read it.
template <int N>
struct Decoded {
  static constexpr int kSteps = N / 4;
  Bytes index[kRowParts][kSteps], weights[kRowParts][kSteps];
  VecI start[kRowParts];
  Vec scale[kRowParts];
};

template <int N, typename Codec>
[[gnu::always_inline]] inline void decode(const Codec& codec, const typename Codec::Block& block, Decoded<N>& out) {
#pragma GCC unroll 4
  for (int part = 0; part < kRowParts; ++part) {
    VecI start{};
#pragma GCC unroll 4
    for (int step = 0; step < N / 4; ++step) {
      out.index[part][step] = codec.index(block, part, step);
      out.weights[part][step] = codec.weight(block, part, step);
      start = start_gathered(start, out.weights[part][step]);
    }
    out.start[part] = start;
    out.scale[part] = codec.scale(block, part);
  }
}

/// sums (+)= the products of one token's group and a superblock.
template <int N>
[[gnu::always_inline]] inline void multiply_group(const Decoded<N>& w, const uint8_t* values, float scale, Vec* sums) {
  const Lookup table = load_lookup(values);
#pragma GCC unroll 4
  for (int part = 0; part < kRowParts; ++part) {
    VecI dot = w.start[part];
#pragma GCC unroll 4
    for (int step = 0; step < N / 4; ++step) {
      dot = dot_gathered(dot, gather(table, w.index[part][step]), w.weights[part][step]);
    }
    sums[part] += __builtin_convertvector(dot, Vec) * (w.scale[part] * broadcast(scale));
  }
}

/// Where results go.
struct SparseOutput {
  float* y;
  int64_t stride, rows;

  /// A token's sums of 16 rows, of which the last may not exist.
  void store_rows(int64_t row_block, int64_t token, const Vec* sums) const {
    const int64_t row = row_block * kSparseRows, count = rows - row;
    float* to = y + token * stride + row;
    float padded[kSparseRows];
    const bool whole = count >= kSparseRows;
    for (int part = 0; part < kRowParts; ++part) store((whole ? to : padded) + part * kLanes, sums[part]);
    for (int64_t r = 0; !whole && r < count; ++r) to[r] = padded[r];
  }
};

template <typename Block>
[[gnu::always_inline]] inline void prefetch(const Block* block, int64_t ahead) {
  const char* bytes = reinterpret_cast<const char*>(block) + ahead;
  for (size_t line = 0; line < sizeof(Block); line += 64) __builtin_prefetch(bytes + line);
}

/// The superblocks of a matrix and what multiplies them.
template <int N, typename Codec>
struct SparseProduct {
  using Block = typename Codec::Block;
  const Int8Tokens& x;
  const Codec codec;
  const Block* blocks;
  const SparseOutput out;

  const Block& block(int64_t row_block, int64_t group) const { return blocks[row_block * x.groups() + group]; }

  /// Tokens [first, first + kTokens) times kStreams blocks of 16 rows, whose superblocks are decoded as they are used.
  /// Memory is read in as many places at once, which is what keeps its pipeline full.
  template <int kTokens, int kStreams>
  [[gnu::always_inline]] void direct_tile(int64_t row_block, int64_t first) const {
    static_assert(kInt8Tile % kTokens == 0);  // all of them in one tile of x
    const int64_t start = x.place(0, first), step = x.place(1, first) - start;
    Vec sums[kStreams][kTokens][kRowParts] = {};
    for (int64_t group = 0; group < x.groups(); ++group) {
      const int64_t at = start + group * step;
#pragma GCC unroll 4
      for (int s = 0; s < kStreams; ++s) {
        Decoded<N> w;
        prefetch(&block(row_block + s, group), kSparsePrefetch);
        decode<N>(codec, block(row_block + s, group), w);
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
          multiply_group<N>(w, x.values + (at + t) * kInt8Group, x.scales[at + t], sums[s][t]);
        }
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      for (int t = 0; t < kTokens; ++t) out.store_rows(row_block + s, first + t, sums[s][t]);
    }
  }

  /// All tokens from `first` on, in tiles of kTokens and less.
  template <int kTokens, int kStreams>
  [[gnu::noinline]] void direct_tiles(int64_t row_block, int64_t first) const {
    for (; first + kTokens <= x.tokens; first += kTokens) direct_tile<kTokens, kStreams>(row_block, first);
    if constexpr (kTokens > 1) direct_tiles<kTokens / 2, kStreams>(row_block, first);
  }

  /// The same with 16 rows that were decoded, while others that will be are asked for.
  template <int kTokens>
  [[gnu::always_inline]] void decoded_tile(int64_t row_block, int64_t first, const Decoded<N>* decoded) const {
    static_assert(kInt8Tile % kTokens == 0);
    const int64_t start = x.place(0, first), step = x.place(1, first) - start;
    Vec sums[kTokens][kRowParts] = {};
    for (int64_t group = 0; group < x.groups(); ++group) {
      const int64_t at = start + group * step;
      prefetch(&block(row_block + kDecodedBlocks, group), 0);
#pragma GCC unroll 16
      for (int t = 0; t < kTokens; ++t) {
        multiply_group<N>(decoded[group], x.values + (at + t) * kInt8Group, x.scales[at + t], sums[t]);
      }
    }
    for (int t = 0; t < kTokens; ++t) out.store_rows(row_block, first + t, sums[t]);
  }

  template <int kTokens>
  [[gnu::noinline]] void decoded_tiles(RowBlocks rows, int64_t first, const Decoded<N>* decoded) const {
    for (; first + kTokens <= x.tokens; first += kTokens) {
      for (int64_t row_block = rows.begin; row_block < rows.end; ++row_block) {
        decoded_tile<kTokens>(row_block, first, decoded + (row_block - rows.begin) * x.groups());
      }
    }
    if constexpr (kTokens > 1) decoded_tiles<kTokens / 2>(rows, first, decoded);
  }

  void multiply_direct(RowBlocks rows) const {
    int64_t row_block = rows.begin;
    for (; row_block + kSparseStreams <= rows.end; row_block += kSparseStreams) {
      direct_tiles<kDirectTokens, kSparseStreams>(row_block, 0);
    }
    for (; row_block < rows.end; ++row_block) direct_tiles<kDirectTokens, 1>(row_block, 0);
  }

  void multiply_decoded(RowBlocks rows) const {
    const auto floats = kDecodedBlocks * x.groups() * static_cast<int64_t>(sizeof(Decoded<N>) / sizeof(float));
    Scratch memory(floats);
    auto* decoded = reinterpret_cast<Decoded<N>*>(memory.take(floats));
    for (int64_t begin = rows.begin; begin < rows.end; begin += kDecodedBlocks) {
      const int64_t end = begin + kDecodedBlocks < rows.end ? begin + kDecodedBlocks : rows.end;
      for (int64_t i = 0; i < (end - begin) * x.groups(); ++i) decode<N>(codec, (&block(begin, 0))[i], decoded[i]);
      decoded_tiles<kSparseTokens>({begin, end}, 0, decoded);
    }
  }
};

template <int N, typename Codec>
inline void multiply_sparse(const Int8Tokens& x, const SparseFormat& format, const std::byte* blocks, float* y,
                            int64_t y_stride, RowBlocks rows) {
  const SparseProduct<N, Codec> product{x, Codec(format), reinterpret_cast<const typename Codec::Block*>(blocks),
                                        {y, y_stride, format.shape.rows}};
  if (x.tokens <= kDirectTokens) {
    product.multiply_direct(rows);
  } else {
    product.multiply_decoded(rows);
  }
}

inline void matmul_sparse(const Int8Tokens& x, const SparseFormat& format, const std::byte* blocks, float* y,
                          int64_t y_stride, RowBlocks rows) {
  if (is_bitmap_form(format.shape.nonzeros)) return matmul_bitmap(x, format, blocks, y, y_stride, rows);
  with_form(format.shape.nonzeros, [&]<int N>() {
    return format.bits == SparseBits::k4 ? multiply_sparse<N, CodecS4<N>>(x, format, blocks, y, y_stride, rows)
                                         : multiply_sparse<N, CodecS8<N>>(x, format, blocks, y, y_stride, rows);
  });
}

}  // namespace ringflash::kernels::RF_ISA
