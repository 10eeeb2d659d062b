// Products with S4 and S8 weights. Nothing is expanded: a weight's index looks its activation up among the group's 64,
// which are one vector or a few. A lane is an output row, so sums need no operation across lanes.
//
// A row's products of one group are summed exactly; groups are added in turn, each times the scale of its weights and
// its activations. So a result depends on nothing but its row and its token.
#pragma once

#include "format/block_s4.h"
#include "format/block_s8.h"
#include "kernels/kernels.h"
#include "kernels/simd/bytes-inl.h"
#include "kernels/simd/scratch-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Vectors to the 16 rows of a superblock.
inline constexpr int kRowParts = kSparseRows / kLanes;

/// Tokens multiplied with a superblock while their sums are in registers.
inline constexpr int kSparseTokens = RF_LANES == 16 ? 16 : RF_LANES == 8 ? 2 : 4;
/// Up to this many, superblocks are decoded as they are used; more share what was decoded once.
inline constexpr int kDirectTokens = 4;

// How far ahead of their use superblocks are asked for.
inline constexpr int64_t kSparsePrefetch = 4096;

/// A superblock as the products read it.
template <int N>
struct Decoded {
  static constexpr int kSteps = N / 4;
  Bytes index[kRowParts][kSteps], weights[kRowParts][kSteps];
  VecI start[kRowParts];
  Vec scale[kRowParts];
};

template <int N>
struct CodecS4 {
  using Block = BlockS4<N>;
  VecI base;  ///< added to the scale codes' bits
  explicit CodecS4(const SparseFormat& format) : base(VecI{} + ((format.base + 127) << 23)) {}

  static Bytes index(const Block& block, int part, int step) {
    return load_bytes(&block.entries[step][part * kLanes][0]);
  }
  /// 16 times the value: its bits are the upper half of a byte, and the lower one is zero.
  static Bytes weight(const Block& block, int part, int step) {
    const Bytes low = load_low_bits(block.low_bits[step], part);
    return select_bits(static_cast<int8_t>(0xc0), index(block, part, step), low, static_cast<int8_t>(0xf0));
  }
  Vec scale(const Block& block, int part) const {
    return from_bits((load_u8(block.scales + part * kLanes) << 19) + base) * 0x1p-4f;
  }
};

template <int N>
struct CodecS8 {
  using Block = BlockS8<N>;
  explicit CodecS8(const SparseFormat&) {}

  static Bytes index(const Block& block, int part, int step) {
    return load_bytes(&block.inputs[step][part * kLanes][0]);
  }
  static Bytes weight(const Block& block, int part, int step) {
    return load_bytes(&block.values[step][part * kLanes][0]);
  }
  static Vec scale(const Block& block, int part) { return load(block.scales + part * kLanes); }
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

/// What a block of 16 rows writes: `count` of them exist.
struct SparseOutput {
  float* y;
  int64_t stride, count;

  void store_rows(int64_t token, const Vec* sums) const {
    float* to = y + token * stride;
    float rows[kSparseRows];
    const bool whole = count == kSparseRows;
    for (int part = 0; part < kRowParts; ++part) store((whole ? to : rows) + part * kLanes, sums[part]);
    for (int64_t r = 0; !whole && r < count; ++r) to[r] = rows[r];
  }
};

/// Tokens [first, first + kTokens) times 16 rows, whose decoded superblocks weights(group) returns.
template <int N, int kTokens, typename Weights>
[[gnu::always_inline]] inline void sparse_tile(const Int8Tokens& x, int64_t first, const Weights& weights,
                                               const SparseOutput& out) {
  static_assert(kInt8Tile % kTokens == 0);  // all of them in one tile of x
  const int64_t start = x.place(0, first), step = x.place(1, first) - start;
  Vec sums[kTokens][kRowParts] = {};
  for (int64_t group = 0; group < x.groups(); ++group) {
    const int64_t at = start + group * step;
    decltype(auto) w = weights(group);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      multiply_group<N>(w, x.values + (at + t) * kInt8Group, x.scales[at + t], sums[t]);
    }
  }
  for (int t = 0; t < kTokens; ++t) out.store_rows(first + t, sums[t]);
}

/// All tokens from `first` on, in tiles of kTokens and less.
template <int N, int kTokens, typename Weights>
[[gnu::noinline]] inline void sparse_tiles(const Int8Tokens& x, int64_t first, const Weights& weights, const SparseOutput& out) {
  for (; first + kTokens <= x.tokens; first += kTokens) sparse_tile<N, kTokens>(x, first, weights, out);
  if constexpr (kTokens > 1) sparse_tiles<N, kTokens / 2>(x, first, weights, out);
}

template <typename Block>
[[gnu::always_inline]] inline void prefetch(const Block* block) {
  for (size_t line = 0; line < sizeof(Block); line += 64) {
    __builtin_prefetch(reinterpret_cast<const char*>(block) + line);
  }
}

template <int N, typename Codec>
inline void multiply_row_block(const Int8Tokens& x, const Codec& codec, const typename Codec::Block* blocks,
                               Decoded<N>* scratch, const SparseOutput& out) {
  const auto decode_next = [&](int64_t group, Decoded<N>& w) __attribute__((always_inline)) {
    prefetch(reinterpret_cast<const typename Codec::Block*>(reinterpret_cast<const char*>(blocks + group) +
                                                            kSparsePrefetch));
    decode<N>(codec, blocks[group], w);
  };
  if (scratch == nullptr) {
    return sparse_tiles<N, kDirectTokens>(
        x, 0,
        [&](int64_t group) __attribute__((always_inline)) {
          Decoded<N> w;
          decode_next(group, w);
          return w;
        },
        out);
  }
  for (int64_t group = 0; group < x.groups(); ++group) decode_next(group, scratch[group]);
  const auto decoded = [&](int64_t group) __attribute__((always_inline)) -> const Decoded<N>& {
    prefetch(blocks + x.groups() + group);  // the next 16 rows'
    return scratch[group];
  };
  sparse_tiles<N, kSparseTokens>(x, 0, decoded, out);
}

template <int N, typename Codec>
inline void matmul_blocks(const Int8Tokens& x, const SparseFormat& format, const std::byte* blocks, float* y,
                          int64_t y_stride, RowBlocks rows) {
  const Codec codec(format);
  const bool decode_once = x.tokens > kDirectTokens;
  Scratch memory(decode_once ? x.groups() * static_cast<int64_t>(sizeof(Decoded<N>) / sizeof(float)) : 0);
  auto* scratch = reinterpret_cast<Decoded<N>*>(
      memory.take(x.groups() * static_cast<int64_t>(sizeof(Decoded<N>) / sizeof(float))));
  const auto* first = reinterpret_cast<const typename Codec::Block*>(blocks);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t left = format.shape.rows - row * kSparseRows;
    const SparseOutput out{y + row * kSparseRows, y_stride, left < kSparseRows ? left : kSparseRows};
    multiply_row_block<N>(x, codec, first + row * x.groups(), decode_once ? scratch : nullptr, out);
  }
}

inline void matmul_sparse(const Int8Tokens& x, const SparseFormat& format, const std::byte* blocks, float* y,
                          int64_t y_stride, RowBlocks rows) {
  const auto run = [&]<int N>() {
    return format.bits == SparseBits::k4 ? matmul_blocks<N, CodecS4<N>>(x, format, blocks, y, y_stride, rows)
                                         : matmul_blocks<N, CodecS8<N>>(x, format, blocks, y, y_stride, rows);
  };
  switch (format.shape.nonzeros) {
    case 4:
      return run.template operator()<4>();
    case 8:
      return run.template operator()<8>();
    case 12:
      return run.template operator()<12>();
    default:
      return run.template operator()<16>();
  }
}

}  // namespace ringflash::kernels::RF_ISA
