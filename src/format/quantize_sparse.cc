// Built with -O3 and without contraction: the loops over 16 rows are vectors, and the same bits everywhere.
#include "format/quantize_sparse.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "base/wider_copies.h"
#include "format/sparse_layout.h"

namespace ringflash {
namespace {

/// One value for each row of a superblock.
template <typename T>
using PerRow = T[kSparseRows];

/// A superblock taken apart: entry n of row r; entries past a row's last have weight 0.
struct Entries {
  int most;  ///< N
  PerRow<float> weights[kSparseInputs];  ///< in the codec's unit
  PerRow<int32_t> values[kSparseInputs];
  PerRow<uint8_t> inputs[kSparseInputs];
  PerRow<int32_t> count;  ///< of a row
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
  static constexpr SparseBits kBits = SparseBits::k4;
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
  float stored_scale(int code) const { return decode_s4_scale(static_cast<uint8_t>(code), base); }
};

struct CodecS8 {
  static constexpr SparseBits kBits = SparseBits::k8;
  static constexpr float kLeast = -127, kMost = 127;
  static constexpr int kCandidates = 8, kBelow = 6;
  static constexpr int kLargestCode = 0x7bff;  // 65504

  static float unit() { return 1; }
  /// Up to six steps below 1/127: each clips another 2^-11 to 2^-10 of the largest, half a step being 2^-8.
  static int first_code(float largest) { return to_fp16(largest / 127.0f).bits - kBelow; }
  static int clamp_code(int code) { return std::clamp(code, 0, kLargestCode); }
  static float scale(int code) { return to_float(fp16{static_cast<uint16_t>(code)}); }
  static float stored_scale(int code) { return scale(code); }
};

/// Calls body(codec, layout) with those of the format.
template <typename Body>
decltype(auto) with_codec(const SparseFormat& format, Body&& body) {
  const auto with = [&](const auto& codec) {
    return with_layout<std::decay_t<decltype(codec)>::kBits>(format.shape.nonzeros,
                                                             [&](const auto& layout) { return body(codec, layout); });
  };
  switch (format.bits) {
    case SparseBits::k4:
      return with(CodecS4{format.base});
    case SparseBits::k8:
      return with(CodecS8{});
  }
  RF_UNREACHABLE();
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
Status collect_row(const float* weights, float per_unit, float limit, const Place& place, int64_t r,
                   Entries& entries) {
  float found[kSparseInputs + 1];
  uint8_t inputs[kSparseInputs + 1];
  int count = 0;
  for (int i = 0; i < kSparseInputs; ++i) {
    found[count] = weights[i];
    inputs[count] = static_cast<uint8_t>(i);
    count += (std::bit_cast<uint32_t>(weights[i]) & 0x7fffffffu) >= 0x00800000u;
  }
  if (count > entries.most) {
    return in_group(place, r, "expected at most " + std::to_string(entries.most) +
                                  " weights that are not zero, found " + std::to_string(count));
  }
  entries.count[r] = count;
  for (int n = 0; n < entries.most; ++n) {
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
template <typename Codec>
[[gnu::always_inline]] inline void best_codes(const Codec& codec, const Entries& entries, PerRow<int32_t>& codes) {
  PerRow<float> best;
  PerRow<int32_t> first;
  for (int64_t r = 0; r < kSparseRows; ++r) {
    float largest = 0;
    for (int n = 0; n < entries.most; ++n) largest = std::max(largest, std::abs(entries.weights[n][r]));
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
    for (int n = 0; n < entries.most; ++n) {
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

RF_WIDER_COPIES void choose_codes(const CodecS4& codec, const Entries& entries, PerRow<int32_t>& codes) {
  best_codes(codec, entries, codes);
}
RF_WIDER_COPIES void choose_codes(const CodecS8& codec, const Entries& entries, PerRow<int32_t>& codes) {
  best_codes(codec, entries, codes);
}

/// Reads 16 x 64 weights and rounds them: fills `entries` and each row's scale code.
template <typename Codec>
Status quantize_superblock(const Codec& codec, const SparseFormat& format, const float* weights, const Place& place,
                           Entries& entries, PerRow<int32_t>& codes) {
  const float per_unit = 1.0f / codec.unit();
  const float limit = largest_sparse_weight(format.bits);
  for (int64_t r = 0; r < place.rows; ++r) {
    const float* row = weights + (place.row + r) * format.shape.columns + place.group * kSparseInputs;
    RF_TRY_VOID(collect_row(row, per_unit, limit, place, r, entries));
  }
  for (int64_t r = place.rows; r < kSparseRows; ++r) {
    entries.count[r] = 0;
    for (int n = 0; n < entries.most; ++n) entries.weights[n][r] = 0, entries.inputs[n][r] = 0;
  }
  choose_codes(codec, entries, codes);
  PerRow<float> inverse;
  for (int64_t r = 0; r < kSparseRows; ++r) inverse[r] = inverse_of(codec.scale(codes[r]));
  for (int n = 0; n < entries.most; ++n) {
    for (int64_t r = 0; r < kSparseRows; ++r) {
      entries.values[n][r] = static_cast<int32_t>(nearest_value<Codec>(entries.weights[n][r], inverse[r]));
    }
  }
  return {};
}

/// Calls store(place, entries, codes) for each superblock of the rows.
template <typename Codec, typename Store>
Status quantize_rows(const Codec& codec, const SparseFormat& format, const float* weights, RowBlocks rows,
                     Store store) {
  RF_CHECK(format.shape.columns % kSparseInputs == 0);
  Entries entries;
  entries.most = format.shape.nonzeros;
  PerRow<int32_t> codes;
  for (int64_t row_block = rows.begin; row_block < rows.end; ++row_block) {
    for (int64_t group = 0; group < format.shape.groups(); ++group) {
      const Place place = place_of(format.shape, row_block, group);
      RF_TRY_VOID(quantize_superblock(codec, format, weights, place, entries, codes));
      store(place, entries, codes);
    }
  }
  return {};
}

}  // namespace

int64_t SparseFormat::superblock_bytes() const {
  return with_codec(*this, [](const auto&, const auto& layout) -> int64_t { return layout.bytes(); });
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
  return with_codec(format, [&](const auto& codec, const auto& layout) {
    const auto store = [&](const Place& place, const Entries& entries, const PerRow<int32_t>& codes) {
      std::byte* block = out + (place.row / kSparseRows * format.shape.groups() + place.group) * layout.bytes();
      layout.clear(block);
      for (int64_t r = 0; r < kSparseRows; ++r) {
        layout.store_scale(block, r, codes[r]);
        for (int n = 0; n < entries.count[r]; ++n) {
          layout.store_entry(block, n, r, entries.inputs[n][r], entries.values[n][r]);
        }
      }
    };
    return quantize_rows(codec, format, weights, rows, store);
  });
}

Status fake_quantize(const SparseFormat& format, const float* weights, RowBlocks rows, float* out) {
  return with_codec(format, [&](const auto& codec, const auto&) {
    const auto store = [&](const Place& place, const Entries& entries, const PerRow<int32_t>& codes) {
      for (int64_t r = 0; r < place.rows; ++r) {
        float* row = out + (place.row + r) * format.shape.columns + place.group * kSparseInputs;
        const float scale = codec.stored_scale(codes[r]);
        std::memset(row, 0, kSparseInputs * sizeof(float));
        for (int n = 0; n < entries.count[r]; ++n) {
          row[entries.inputs[n][r]] = static_cast<float>(entries.values[n][r]) * scale;
        }
      }
    };
    return quantize_rows(codec, format, weights, rows, store);
  });
}

Status choose_scales(const SparseFormat& format, const float* weights, RowBlocks rows, float* scales) {
  return with_codec(format, [&](const auto& codec, const auto&) {
    const auto store = [&](const Place& place, const Entries&, const PerRow<int32_t>& codes) {
      for (int64_t r = 0; r < place.rows; ++r) {
        scales[(place.row + r) * format.shape.groups() + place.group] = codec.stored_scale(codes[r]);
      }
    };
    return quantize_rows(codec, format, weights, rows, store);
  });
}

void dequantize(const SparseFormat& format, const std::byte* blocks, RowBlocks rows, float* out) {
  with_codec(format, [&](const auto& codec, const auto& layout) {
    for (int64_t index = rows.begin * format.shape.groups(); index < rows.end * format.shape.groups(); ++index) {
      const std::byte* block = blocks + index * layout.bytes();
      const Place place = place_of(format.shape, index / format.shape.groups(), index % format.shape.groups());
      for (int64_t r = 0; r < place.rows; ++r) {
        float* row = out + (place.row + r) * format.shape.columns + place.group * kSparseInputs;
        const float scale = codec.stored_scale(layout.load_scale(block, r));
        std::memset(row, 0, kSparseInputs * sizeof(float));
        layout.each_entry(block, r, [&](int input, int value) { row[input] += static_cast<float>(value) * scale; });
      }
    }
  });
}

}  // namespace ringflash
