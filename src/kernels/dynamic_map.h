// Numbers in 8 bits whose precision follows their size: the dynamic maps of Dettmers et al., "8-bit Optimizers via
// Block-wise Quantization" (2021). Of a block's numbers, each divided by the block's largest magnitude, the code of
// the nearest value in a map of 256 is kept. Each of seven decades below 1 has twice as many values as the next lower
// one, in the middle of equal bins: decade i = 0 ... 6 covers 10^(i-7) to 10^(i-6).
#pragma once

#include <cstdint>

namespace ringflash::kernels {

/// Numbers that share a scale.
inline constexpr int64_t kMomentBlock = 256;

inline constexpr int kDecades = 7;

/// Values in decade 0: the signed map spends half its codes on the other sign.
inline constexpr int kSignedBins = 1, kUnsignedBins = 2;

/// A map's values at or above zero ascend with the code from here on.
inline constexpr uint8_t kSignedZero = 127, kUnsignedZero = 0;

/// 10^(decade - 6).
constexpr double decade_top(int decade) {
  double top = 1;
  for (int i = decade; i < kDecades - 1; ++i) top /= 10;
  return top;
}

/// The value of bin `bin` of decade `decade`, for a map with `bins` values in decade 0.
constexpr double bin_value(int decade, int bin, int bins) {
  return decade_top(decade) * (0.1 + 0.9 * (bin + 0.5) / (bins << decade));
}

/// The number halfway between the last value below `decade` (0 for decade 0) and its first; for kDecades, the number
/// above which 1 is nearest.
constexpr double decade_edge(int decade, int bins) {
  const double below = decade == 0 ? 0 : bin_value(decade - 1, (bins << (decade - 1)) - 1, bins);
  return (below + (decade == kDecades ? 1 : bin_value(decade, 0, bins))) / 2;
}

struct DynamicMap {
  float values[256];
};

constexpr DynamicMap make_dynamic_map(int bins, int zero) {
  DynamicMap map{};
  int code = zero;
  for (int decade = 0; decade < kDecades; ++decade) {
    for (int bin = 0; bin < bins << decade; ++bin) {
      map.values[++code] = static_cast<float>(bin_value(decade, bin, bins));
      if (zero > 0) map.values[2 * zero - code] = -map.values[code];
    }
  }
  map.values[255] = 1;
  return map;
}

/// What each code stands for, ascending.
inline constexpr DynamicMap kSignedMap = make_dynamic_map(kSignedBins, kSignedZero);
inline constexpr DynamicMap kUnsignedMap = make_dynamic_map(kUnsignedBins, kUnsignedZero);

/// AdamW's moments of `count` weights in 8 bits: m signed and v unsigned, with a scale for each block of kMomentBlock
/// of them. Unlike the paper's, a positive v never becomes 0: an m beside it would be divided by epsilon alone.
struct Moments8 {
  uint8_t* m;
  float* m_scale;
  uint8_t* v;
  float* v_scale;
};

/// Blocks whose largest magnitude is below this are taken for zeros, so that no scale is subnormal.
inline constexpr float kLeastMomentScale = 1e-37f;

}  // namespace ringflash::kernels
