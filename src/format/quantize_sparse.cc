// Built with -O3 and without contraction: the loops over 16 rows are vectors, and the same bits everywhere.
#include "format/quantize_sparse.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "format/block_s4.h"
#include "format/block_s8.h"

namespace ringflash {
namespace {

/// One value for each row of a superblock.
template <typename T>
using PerRow = T[kSparseRows];

/// A superblock taken apart: entry n of row r; entries past a row's last have weight 0.
template <int N>
struct Entries {
  PerRow<float> weights[N];  ///< in the codec's unit
  PerRow<int32_t> values[N];
  PerRow<uint8_t> inputs[N];
};

/// x rounded to nearest even, for |x| < 2^22.
inline float rounded(float x) {
  constexpr float kShift = 0x1.8p23f;
  return x + kShift - kShift;
}

/// The value of Codec's that is nearest to w / scale, given 1 / scale.
template <typename Codec>
inline float nearest_value(float w, float inverse) {
  const float quotient = rounded(w * inverse);
  const float low = quotient < Codec::kLeast ? Codec::kLeast : quotient;
  return low > Codec::kMost ? Codec::kMost : low;
}

inline float inverse_of(float scale) {
  return scale > 0 ? 1.0f / scale : 0.0f;
}

struct CodecS4 {
  template <int N>
  using Block = BlockS4<N>;
  static constexpr float kLeast = -8, kMost = 7;
  static constexpr int kCandidates = 29;  // 29 / 16 octaves
  int base;

  /// Weights are taken in units of 2^base: squares of their errors then neither overflow nor vanish.
  float unit() const { return std::ldexp(1.0f, base); }
  static int first_code(float largest) {
    return (static_cast<int>(std::bit_cast<uint32_t>(0.087f * largest)) >> 19) - (127 << 4);
  }
  static int clamp_code(int code) { return std::clamp(code, 0, 255); }
  static float scale(int code) { return decode_s4_scale(static_cast<uint8_t>(code), 0); }

  template <int N>
  static void store_scale(Block<N>& block, int64_t r, int code) {
    block.scales[r] = static_cast<uint8_t>(code);
  }
  template <int N>
  float load_scale(const Block<N>& block, int64_t r) const {
    return decode_s4_scale(block.scales[r], base);
  }
  /// The block is zero before.
  template <int N>
  static void store_entry(Block<N>& block, int n, int64_t r, uint8_t input, int value) {
    const int64_t byte = r * 4 + n % 4;
    block.entries[n / 4][r][n % 4] = static_cast<uint8_t>(input | (value >> 2 & 3) << 6);
    block.low_bits[n / 4][byte % 16] |= static_cast<uint8_t>((value & 3) << (2 * (byte / 16)));
  }
  template <int N>
  static int load_input(const Block<N>& block, int n, int64_t r) {
    return block.entries[n / 4][r][n % 4] & 63;
  }
  template <int N>
  static int load_value(const Block<N>& block, int n, int64_t r) {
    return s4_value(block, n, r);
  }
};

struct CodecS8 {
  template <int N>
  using Block = BlockS8<N>;
  static constexpr float kLeast = -127, kMost = 127;
  static constexpr int kCandidates = 8, kBelow = 6;
  static constexpr int kLargestCode = 0x7bff;  // 65504

  static float unit() { return 1; }
  /// Up to six steps below 1/127: each clips another 2^-11 to 2^-10 of the largest, half a step being 2^-8.
  static int first_code(float largest) { return to_fp16(largest / 127.0f).bits - kBelow; }
  static int clamp_code(int code) { return std::clamp(code, 0, kLargestCode); }
  static float scale(int code) { return to_float(fp16{static_cast<uint16_t>(code)}); }

  template <int N>
  static void store_scale(Block<N>& block, int64_t r, int code) {
    block.scales[r] = fp16{static_cast<uint16_t>(code)};
  }
  template <int N>
  static float load_scale(const Block<N>& block, int64_t r) {
    return to_float(block.scales[r]);
  }
  template <int N>
  static void store_entry(Block<N>& block, int n, int64_t r, uint8_t input, int value) {
    block.inputs[n / 4][r][n % 4] = input;
    block.values[n / 4][r][n % 4] = static_cast<int8_t>(value);
  }
  template <int N>
  static int load_input(const Block<N>& block, int n, int64_t r) {
    return block.inputs[n / 4][r][n % 4] & 63;
  }
  template <int N>
  static int load_value(const Block<N>& block, int n, int64_t r) {
    return block.values[n / 4][r][n % 4];
  }
};

template <typename Body>
decltype(auto) with_codec(const SparseFormat& format, Body&& body) {
  return with_nonzeros(format.shape.nonzeros, [&]<int N>() {
    switch (format.bits) {
      case SparseBits::k4:
        return body.template operator()<N>(CodecS4{format.base});
      case SparseBits::k8:
        return body.template operator()<N>(CodecS8{});
    }
    RF_UNREACHABLE();
  });
}

/// Which 16 x 64 weights: their first row and group.
struct Place {
  int64_t row, group, rows;  ///< rows: how many of the 16 there are
};

Place place_of(const SparseShape& shape, int64_t row_block, int64_t group) {
  const int64_t row = row_block * kSparseRows;
  return {row, group, std::min(kSparseRows, shape.rows - row)};
}

Error in_group(const Place& place, int64_t r, const std::string& what) {
  return Error{"row " + std::to_string(place.row + r) + ", group " + std::to_string(place.group) + ": " + what};
}

/// Picks the N or fewer weights of a row's group that are not zero.
template <int N>
Status collect_row(const float* weights, float per_unit, float limit, const Place& place, int64_t r,
                   Entries<N>& entries) {
  float found[kSparseInputs + 1];
  uint8_t inputs[kSparseInputs + 1];
  int count = 0;
  for (int i = 0; i < kSparseInputs; ++i) {
    found[count] = weights[i];
    inputs[count] = static_cast<uint8_t>(i);
    count += (std::bit_cast<uint32_t>(weights[i]) & 0x7fffffffu) >= 0x00800000u;
  }
  if (count > N) {
    return in_group(place, r, "expected at most " + std::to_string(N) + " weights that are not zero, found " +
                                  std::to_string(count));
  }
  for (int n = 0; n < N; ++n) {
    const bool used = n < count;
    entries.weights[n][r] = used ? found[n] * per_unit : 0.0f;
    entries.inputs[n][r] = used ? inputs[n] : uint8_t{0};
    if (used && !(std::abs(found[n]) <= limit)) {
      return in_group(place, r, "input " + std::to_string(inputs[n]) + " must be a number of magnitude " +
                                    std::to_string(limit) + " or less, found " + std::to_string(found[n]));
    }
  }
  return {};
}

/// Each row's scale code of least squared error, the least of them where several are as good.
template <int N, typename Codec>
void choose_scales(const Codec& codec, const Entries<N>& entries, PerRow<int32_t>& codes) {
  PerRow<float> best;
  PerRow<int32_t> first;
  for (int64_t r = 0; r < kSparseRows; ++r) {
    float largest = 0;
    for (int n = 0; n < N; ++n) largest = std::max(largest, std::abs(entries.weights[n][r]));
    first[r] = codec.first_code(largest);
    best[r] = FLT_MAX;
    codes[r] = 0;
  }
  for (int candidate = 0; candidate < Codec::kCandidates; ++candidate) {
    PerRow<int32_t> code;
    PerRow<float> scale, inverse, error = {};
    for (int64_t r = 0; r < kSparseRows; ++r) {
      code[r] = codec.clamp_code(first[r] + candidate);
      scale[r] = codec.scale(code[r]);
      inverse[r] = inverse_of(scale[r]);
    }
    for (int n = 0; n < N; ++n) {
      for (int64_t r = 0; r < kSparseRows; ++r) {
        const float w = entries.weights[n][r];
        const float off = w - nearest_value<Codec>(w, inverse[r]) * scale[r];
        error[r] += off * off;
      }
    }
    for (int64_t r = 0; r < kSparseRows; ++r) {
      codes[r] = error[r] < best[r] ? code[r] : codes[r];
      best[r] = error[r] < best[r] ? error[r] : best[r];
    }
  }
}

/// Reads 16 x 64 weights and rounds them: fills `entries` and each row's scale code.
template <int N, typename Codec>
Status quantize_superblock(const Codec& codec, const SparseFormat& format, const float* weights, const Place& place,
                           Entries<N>& entries, PerRow<int32_t>& codes) {
  const float per_unit = 1.0f / codec.unit();
  const float limit = largest_sparse_weight(format.bits);
  for (int64_t r = 0; r < place.rows; ++r) {
    const float* row = weights + (place.row + r) * format.shape.columns + place.group * kSparseInputs;
    RF_TRY_VOID(collect_row<N>(row, per_unit, limit, place, r, entries));
  }
  for (int64_t r = place.rows; r < kSparseRows; ++r) {
    for (int n = 0; n < N; ++n) entries.weights[n][r] = 0, entries.inputs[n][r] = 0;
  }
  choose_scales<N>(codec, entries, codes);
  PerRow<float> inverse;
  for (int64_t r = 0; r < kSparseRows; ++r) inverse[r] = inverse_of(codec.scale(codes[r]));
  for (int n = 0; n < N; ++n) {
    for (int64_t r = 0; r < kSparseRows; ++r) {
      entries.values[n][r] = static_cast<int32_t>(nearest_value<Codec>(entries.weights[n][r], inverse[r]));
    }
  }
  return {};
}

/// Calls store(place, entries, codes) for each superblock of the rows.
template <int N, typename Codec, typename Store>
Status quantize_rows(const Codec& codec, const SparseFormat& format, const float* weights, RowBlocks rows,
                     Store store) {
  RF_CHECK(format.shape.columns % kSparseInputs == 0);
  Entries<N> entries;
  PerRow<int32_t> codes;
  for (int64_t row_block = rows.begin; row_block < rows.end; ++row_block) {
    for (int64_t group = 0; group < format.shape.groups(); ++group) {
      const Place place = place_of(format.shape, row_block, group);
      RF_TRY_VOID(quantize_superblock<N>(codec, format, weights, place, entries, codes));
      store(place, entries, codes);
    }
  }
  return {};
}

}  // namespace

int64_t SparseFormat::superblock_bytes() const {
  return with_codec(*this, []<int N, typename Codec>(const Codec&) {
    return static_cast<int64_t>(sizeof(typename Codec::template Block<N>));
  });
}

float largest_sparse_weight(SparseBits bits) {
  switch (bits) {
    case SparseBits::k4:
      return 0x1p100f;
    case SparseBits::k8:
      return 127.0f * 65504.0f;
  }
  RF_UNREACHABLE();
}

int s4_base_exponent(float largest) {
  if (!(largest > 0) || !std::isfinite(largest)) return kMinS4Base;
  return std::clamp(std::ilogb(largest) - 17, kMinS4Base, kMaxS4Base);
}

Status quantize(const SparseFormat& format, const float* weights, RowBlocks rows, std::byte* out) {
  return with_codec(format, [&]<int N, typename Codec>(const Codec& codec) -> Status {
    using Block = typename Codec::template Block<N>;
    const auto store = [&](const Place& place, const Entries<N>& entries, const PerRow<int32_t>& codes) {
      Block block{};
      for (int64_t r = 0; r < kSparseRows; ++r) {
        codec.store_scale(block, r, codes[r]);
        for (int n = 0; n < N; ++n) codec.store_entry(block, n, r, entries.inputs[n][r], entries.values[n][r]);
      }
      const int64_t index = place.row / kSparseRows * format.shape.groups() + place.group;
      std::memcpy(out + index * static_cast<int64_t>(sizeof block), &block, sizeof block);
    };
    return quantize_rows<N>(codec, format, weights, rows, store);
  });
}

Status fake_quantize(const SparseFormat& format, const float* weights, RowBlocks rows, float* out) {
  return with_codec(format, [&]<int N, typename Codec>(const Codec& codec) -> Status {
    const float unit = codec.unit();
    const auto store = [&](const Place& place, const Entries<N>& entries, const PerRow<int32_t>& codes) {
      for (int64_t r = 0; r < place.rows; ++r) {
        float* row = out + (place.row + r) * format.shape.columns + place.group * kSparseInputs;
        const float scale = codec.scale(codes[r]) * unit;
        std::memset(row, 0, kSparseInputs * sizeof(float));
        for (int n = 0; n < N; ++n) row[entries.inputs[n][r]] += static_cast<float>(entries.values[n][r]) * scale;
      }
    };
    return quantize_rows<N>(codec, format, weights, rows, store);
  });
}

void dequantize(const SparseFormat& format, const std::byte* blocks, RowBlocks rows, float* out) {
  with_codec(format, [&]<int N, typename Codec>(const Codec& codec) {
    for (int64_t index = rows.begin * format.shape.groups(); index < rows.end * format.shape.groups(); ++index) {
      typename Codec::template Block<N> block;
      std::memcpy(&block, blocks + index * static_cast<int64_t>(sizeof block), sizeof block);
      const Place place = place_of(format.shape, index / format.shape.groups(), index % format.shape.groups());
      for (int64_t r = 0; r < place.rows; ++r) {
        float* row = out + (place.row + r) * format.shape.columns + place.group * kSparseInputs;
        const float scale = codec.load_scale(block, r);
        std::memset(row, 0, kSparseInputs * sizeof(float));
        for (int n = 0; n < N; ++n) {
          row[codec.load_input(block, n, r)] += static_cast<float>(codec.load_value(block, n, r)) * scale;
        }
      }
    }
  });
}

}  // namespace ringflash
