#include <cmath>

#include "kernels/ref/ref.h"

namespace ringflash::kernels::ref {

void rms_norm(const float* x, const float* gain, float* y, int64_t rows, int64_t width, float eps) {
  for (int64_t row = 0; row < rows; ++row, x += width, y += width) {
    double squares = 0;
    for (int64_t i = 0; i < width; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(width) + static_cast<double>(eps));
    for (int64_t i = 0; i < width; ++i) {
      y[i] = static_cast<float>(static_cast<double>(x[i]) * scale * static_cast<double>(gain[i]));
    }
  }
}

void swiglu(const float* gate, const float* up, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const auto g = static_cast<double>(gate[i]);
    y[i] = static_cast<float>(g / (1.0 + std::exp(-g)) * static_cast<double>(up[i]));
  }
}

void geglu(const float* gate, const float* up, float* y, int64_t count) {
  constexpr double kRoot = 0.79788456080286535588;  // sqrt(2 / pi)
  for (int64_t i = 0; i < count; ++i) {
    const auto g = static_cast<double>(gate[i]);
    const double gelu = g * (1 + std::tanh(kRoot * (g + 0.044715 * g * g * g))) / 2;
    y[i] = static_cast<float>(gelu * static_cast<double>(up[i]));
  }
}

void rope(const float* x, float* y, const float* cosine, const float* sine, int64_t half, float sign) {
  for (int64_t i = 0; i < half; ++i) {
    const auto first = static_cast<double>(x[i]), second = static_cast<double>(x[i + half]);
    const auto c = static_cast<double>(cosine[i]), s = static_cast<double>(sine[i]) * static_cast<double>(sign);
    y[i] = static_cast<float>(first * c - second * s);
    y[i + half] = static_cast<float>(second * c + first * s);
  }
}

void add(const float* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] += x[i];
}

void add_scaled(float factor, const float* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = static_cast<float>(y[i] + double{factor} * x[i]);
}

}  // namespace ringflash::kernels::ref
