#include "kernels/ref/ref.h"

namespace ringflash::kernels::ref {
namespace {

/// y[t, o] = sum_i x[t, i] * weight(o, i), for any way of reading a weight.
template <typename Weight>
void matmul(const float* x, float* y, int64_t tokens, int64_t in, int64_t y_stride, int64_t out_begin,
            int64_t out_end, Weight weight) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t o = out_begin; o < out_end; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < in; ++i) {
        sum += static_cast<double>(x[t * in + i]) * static_cast<double>(weight(o, i));
      }
      y[t * y_stride + o] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void matmul_f32(const float* x, const float* w, float* y, int64_t tokens, int64_t in, int64_t y_stride,
                int64_t out_begin, int64_t out_end) {
  matmul(x, y, tokens, in, y_stride, out_begin, out_end, [&](int64_t o, int64_t i) { return w[o * in + i]; });
}

void matmul_bf16(const float* x, const bf16* w, float* y, int64_t tokens, int64_t in, int64_t y_stride,
                 int64_t out_begin, int64_t out_end) {
  matmul(x, y, tokens, in, y_stride, out_begin, out_end,
         [&](int64_t o, int64_t i) { return to_float(w[o * in + i]); });
}

}  // namespace ringflash::kernels::ref
