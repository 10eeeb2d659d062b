// Backward passes of the small ops and the optimiser: one pass over memory each.
#pragma once

#include "kernels/simd/elementwise-inl.h"
#include "kernels/simd/vec.h"
#include "kernels/simd/weights-inl.h"

namespace ringflash::kernels::RF_ISA {

/// The low halves of the lanes.
inline void store_u16(void* p, VecI v) {
#if RF_LANES == 16
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_maskz_cvtepi32_epi16(0xffff, (__m512i)v));
#elif RF_LANES == 8
  const __m128i low = _mm256_castsi256_si128((__m256i)v), high = _mm256_extracti128_si256((__m256i)v, 1);
  const __m128i mask = _mm_set1_epi32(0xffff);
  _mm_storeu_si128(static_cast<__m128i*>(p),
                   _mm_packus_epi32(_mm_and_si128(low, mask), _mm_and_si128(high, mask)));
#else
  const uint16x4_t low = vmovn_u32((uint32x4_t)v);
  __builtin_memcpy(p, &low, sizeof low);
#endif
}

/// Rounds to nearest even; NaN stays NaN.
inline void store(bf16* p, Vec v) {
  const VecI u = bits(v), rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  store_u16(p, v == v ? rounded : VecI{} + 0x7fc0);
}

inline void rms_norm_backward_row(const float* x, const float* gain, const float* dy, float* dx, float* dgain,
                                  int64_t width, float eps) {
  Vec squares{}, products{};
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    const Vec v = load(x + i);
    squares += v * v;
    products += v * load(gain + i) * load(dy + i);
  }
  float square = sum(squares), product = sum(products);
  for (; i < width; ++i) {
    square += x[i] * x[i];
    product += x[i] * gain[i] * dy[i];
  }
  const float n = static_cast<float>(width);
  const float scale = 1.0f / __builtin_sqrtf(square / n + eps);
  const float pull = product * scale * scale / n;  // along x
  for (i = 0; i + kLanes <= width; i += kLanes) {
    const Vec v = load(x + i), d = load(dy + i);
    store(dx + i, (d * load(gain + i) - v * pull) * scale);
    store(dgain + i, load(dgain + i) + d * v * scale);
  }
  for (; i < width; ++i) {
    dx[i] = (dy[i] * gain[i] - x[i] * pull) * scale;
    dgain[i] += dy[i] * x[i] * scale;
  }
}

inline void rms_norm_backward(const float* x, const float* gain, const float* dy, float* dx, float* dgain,
                              int64_t rows, int64_t width, float eps) {
  for (int64_t row = 0; row < rows; ++row) {
    rms_norm_backward_row(x + row * width, gain, dy + row * width, dx + row * width, dgain, width, eps);
  }
}

/// Runs body on pointers to kLanes values of each array: in place for whole vectors, on padded copies for the
/// tail.
template <typename Body>
inline void for_lanes(const bf16* const* in, int inputs, bf16* const* out, int outputs, int64_t count,
                      Body body) {
  constexpr int kMost = 3;
  const bf16* from[kMost];
  bf16* to[kMost];
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int k = 0; k < inputs; ++k) from[k] = in[k] + i;
    for (int k = 0; k < outputs; ++k) to[k] = out[k] + i;
    body(from, to);
  }
  if (i == count) return;
  bf16 padded_in[kMost][kLanes] = {}, padded_out[kMost][kLanes];
  for (int k = 0; k < inputs; ++k) {
    for (int64_t j = i; j < count; ++j) padded_in[k][j - i] = in[k][j];
    from[k] = padded_in[k];
  }
  for (int k = 0; k < outputs; ++k) to[k] = padded_out[k];
  body(from, to);
  for (int k = 0; k < outputs; ++k) {
    for (int64_t j = i; j < count; ++j) out[k][j] = padded_out[k][j - i];
  }
}

inline void swiglu_bf16(const bf16* gate, const bf16* up, bf16* y, int64_t count) {
  const bf16* const in[] = {gate, up};
  bf16* const out[] = {y};
  for_lanes(in, 2, out, 1, count, [](const bf16* const* from, bf16* const* to) {
    store(to[0], silu(load(from[0])) * load(from[1]));
  });
}

inline void swiglu_backward_bf16(const bf16* gate, const bf16* up, const bf16* dy, bf16* dgate, bf16* dup,
                                 int64_t count) {
  const bf16* const in[] = {gate, up, dy};
  bf16* const out[] = {dgate, dup};
  for_lanes(in, 3, out, 2, count, [](const bf16* const* from, bf16* const* to) {
    const Vec g = load(from[0]), d = load(from[2]);
    const Vec z = exp(g < 0.0f ? g : -g);
    const Vec sigmoid = (g < 0.0f ? z : broadcast(1.0f)) / (1.0f + z);
    store(to[0], d * load(from[1]) * sigmoid * (1.0f + g * (1.0f - sigmoid)));
    store(to[1], d * g * sigmoid);
  });
}

/// `scale_of(i)`: what weight i's update is multiplied by.
template <typename Scale>
[[gnu::always_inline]] inline void adamw_loop(float* __restrict__ w, const float* __restrict__ gradient,
                                              float* __restrict__ m, float* __restrict__ v, int64_t count,
                                              AdamWStep s, Scale scale_of) {
  // A plain loop: the compiler vectorises it with this ISA's flags, square root included, as long as all that it reads
  // beside the arrays is its own (values, not references).
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * s.grad_scale;
    m[i] = s.beta1 * m[i] + (1.0f - s.beta1) * g;
    v[i] = s.beta2 * v[i] + (1.0f - s.beta2) * g * g;
    const float change =
        s.decay * w[i] + s.rate * m[i] / (__builtin_sqrtf(v[i]) * s.root_correction + s.epsilon);
    const float scale = scale_of(i);
    const float moved = w[i] - scale * change;
    const float rest = __builtin_fabsf(moved) - scale * s.shrink;
    w[i] = __builtin_copysignf(rest > 0.0f ? rest : 0.0f, moved);
  }
}

inline void adamw(float* w, const float* gradient, float* m, float* v, const uint8_t* mask, int64_t count,
                  const AdamWStep& s) {
  if (mask == nullptr) return adamw_loop(w, gradient, m, v, count, s, [](int64_t) { return 1.0f; });
  const float pruned = s.pruned_scale;
  adamw_loop(w, gradient, m, v, count, s, [mask, pruned](int64_t i) { return mask[i] != 0 ? 1.0f : pruned; });
}

}  // namespace ringflash::kernels::RF_ISA
