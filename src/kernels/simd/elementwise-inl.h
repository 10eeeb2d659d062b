// RMSNorm, SwiGLU, rotary embedding and the residual sum.
#pragma once

#include "kernels/simd/vec.h"

namespace ringflash::kernels::RF_ISA {

inline void rms_norm_row(const float* x, const float* gain, float* y, int64_t width, float eps) {
  Vec squares{};
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    const Vec v = load(x + i);
    squares += v * v;
  }
  const Vec tail = load_partial(x + i, width - i);
  squares += tail * tail;
  const float scale = 1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(width) + eps);
  for (i = 0; i + kLanes <= width; i += kLanes) store(y + i, load(x + i) * scale * load(gain + i));
  for (; i < width; ++i) y[i] = x[i] * scale * gain[i];
}

inline void rms_norm(const float* x, const float* gain, float* y, int64_t rows, int64_t width, float eps) {
  for (int64_t row = 0; row < rows; ++row) rms_norm_row(x + row * width, gain, y + row * width, width, eps);
}

/// x / (1 + e^-x), written with e^-|x| so that it neither overflows nor loses digits on either side.
inline Vec silu(Vec x) {
  const Vec z = exp(x < 0.0f ? x : -x);
  return x * (x < 0.0f ? z : broadcast(1.0f)) / (1.0f + z);
}

inline void swiglu(const float* gate, const float* up, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, silu(load(gate + i)) * load(up + i));
  if (i == count) return;
  const Vec tail = silu(load_partial(gate + i, count - i)) * load_partial(up + i, count - i);
  for (int lane = 0; i + lane < count; ++lane) y[i + lane] = tail[lane];
}

inline void rope(const float* x, float* y, const float* cosine, const float* sine, int64_t half, float sign) {
  int64_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const Vec first = load(x + i), second = load(x + half + i), c = load(cosine + i), s = load(sine + i) * sign;
    store(y + i, first * c - second * s);
    store(y + half + i, second * c + first * s);
  }
  for (; i < half; ++i) {
    const float first = x[i], second = x[half + i], s = sine[i] * sign;
    y[i] = first * cosine[i] - second * s;
    y[half + i] = second * cosine[i] + first * s;
  }
}

inline void add(const float* x, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, load(y + i) + load(x + i));
  for (; i < count; ++i) y[i] += x[i];
}

}  // namespace ringflash::kernels::RF_ISA
