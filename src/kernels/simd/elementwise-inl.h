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

/// x / (1 + e^-s), written with e^-|s| so that it neither overflows nor loses digits on either side.
inline Vec gated(Vec x, Vec s) {
  const Vec z = exp(s < 0.0f ? s : -s);
  return x * (s < 0.0f ? z : broadcast(1.0f)) / (1.0f + z);
}

inline Vec silu(Vec x) { return gated(x, x); }

/// (1 + tanh u) / 2 = 1 / (1 + e^-2u).
inline Vec gelu(Vec x) {
  constexpr float kTwoRoots = 1.5957691216f;  // 2 sqrt(2 / pi)
  return gated(x, kTwoRoots * (x + 0.044715f * (x * x * x)));
}

template <typename Gate>
inline void gate_each(const float* gate, const float* up, float* y, int64_t count, Gate through) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, through(load(gate + i)) * load(up + i));
  if (i == count) return;
  const Vec tail = through(load_partial(gate + i, count - i)) * load_partial(up + i, count - i);
  for (int lane = 0; i + lane < count; ++lane) y[i + lane] = tail[lane];
}

inline void swiglu(const float* gate, const float* up, float* y, int64_t count) {
  gate_each(gate, up, y, count, [](Vec x) { return silu(x); });
}

inline void geglu(const float* gate, const float* up, float* y, int64_t count) {
  gate_each(gate, up, y, count, [](Vec x) { return gelu(x); });
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

inline void add_scaled(float factor, const float* x, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, load(y + i) + load(x + i) * factor);
  for (; i < count; ++i) y[i] += x[i] * factor;
}

}  // namespace ringflash::kernels::RF_ISA
