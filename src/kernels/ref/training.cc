#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/ref/ref.h"

namespace ringflash::kernels::ref {
namespace {

std::vector<double> log_softmax(const bf16* logits, int64_t count) {
  double top = to_float(logits[0]), total = 0;
  for (int64_t i = 0; i < count; ++i) top = std::max(top, static_cast<double>(to_float(logits[i])));
  for (int64_t i = 0; i < count; ++i) total += std::exp(to_float(logits[i]) - top);
  std::vector<double> log_p;
  for (int64_t i = 0; i < count; ++i) log_p.push_back(to_float(logits[i]) - top - std::log(total));
  return log_p;
}

}  // namespace

void rms_norm_backward(const float* x, const float* gain, const float* dy, float* dx, float* dgain,
                       int64_t rows, int64_t width, float eps) {
  for (int64_t row = 0; row < rows; ++row, x += width, dy += width, dx += width) {
    double square = 0, product = 0;
    for (int64_t i = 0; i < width; ++i) {
      square += static_cast<double>(x[i]) * x[i];
      product += static_cast<double>(x[i]) * gain[i] * dy[i];
    }
    const double n = static_cast<double>(width);
    const double scale = 1.0 / std::sqrt(square / n + static_cast<double>(eps));
    const double pull = product * scale * scale / n;
    for (int64_t i = 0; i < width; ++i) {
      dgain[i] = static_cast<float>(dgain[i] + static_cast<double>(dy[i]) * x[i] * scale);
      dx[i] = static_cast<float>((static_cast<double>(dy[i]) * gain[i] - x[i] * pull) * scale);
    }
  }
}

void swiglu_bf16(const bf16* gate, const bf16* up, bf16* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const double g = to_float(gate[i]);
    y[i] = to_bf16(static_cast<float>(g / (1.0 + std::exp(-g)) * static_cast<double>(to_float(up[i]))));
  }
}

void swiglu_backward_bf16(const bf16* gate, const bf16* up, const bf16* dy, bf16* dgate, bf16* dup,
                          int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const double g = to_float(gate[i]), u = to_float(up[i]), d = to_float(dy[i]);
    const double sigmoid = 1.0 / (1.0 + std::exp(-g));
    dgate[i] = to_bf16(static_cast<float>(d * u * sigmoid * (1.0 + g * (1.0 - sigmoid))));
    dup[i] = to_bf16(static_cast<float>(d * g * sigmoid));
  }
}

void cross_entropy_bf16(bf16* logits, const int64_t* targets, float* loss, int64_t rows, int64_t vocab) {
  distillation_bf16(logits, /*opinion=*/logits, targets, /*weight=*/0, loss, rows, vocab);
}

void distillation_bf16(bf16* logits, const bf16* opinion, const int64_t* targets, float weight, float* loss,
                       int64_t rows, int64_t vocab) {
  for (int64_t row = 0; row < rows; ++row, logits += vocab, opinion += vocab) {
    const int64_t target = targets[row];
    const std::vector<double> own = log_softmax(logits, vocab), teacher = log_softmax(opinion, vocab);
    double sum = 0;
    for (int64_t i = 0; i < vocab; ++i) {
      const double wanted = weight * std::exp(teacher[i]) + (i == target ? 1.0 - weight : 0.0);
      if (wanted != 0) sum -= wanted * own[i];  // -infinity may be a logit
      logits[i] = target < 0 ? bf16{0} : to_bf16(static_cast<float>(std::exp(own[i]) - wanted));
    }
    loss[row] = target < 0 ? 0.0f : static_cast<float>(sum);
  }
}

void adamw(float* w, const float* gradient, float* m, float* v, const uint8_t* mask, int64_t count,
           const AdamWStep& s) {
  for (int64_t i = 0; i < count; ++i) {
    const double g = static_cast<double>(gradient[i]) * s.grad_scale;
    const double mean = s.beta1 * static_cast<double>(m[i]) + (1.0 - s.beta1) * g;
    const double square = s.beta2 * static_cast<double>(v[i]) + (1.0 - s.beta2) * g * g;
    const double change = s.rate * mean / (std::sqrt(square) * s.root_correction + s.epsilon);
    const double scale = mask == nullptr || mask[i] != 0 ? 1.0 : s.pruned_scale;
    const double moved = w[i] - scale * (s.decay * static_cast<double>(w[i]) + change);
    w[i] = static_cast<float>(std::copysign(std::max(std::abs(moved) - scale * s.shrink, 0.0), moved));
    m[i] = static_cast<float>(mean);
    v[i] = static_cast<float>(square);
  }
}

namespace {

uint8_t nearest_code(const DynamicMap& map, float x) {
  const auto above = std::lower_bound(std::begin(map.values), std::end(map.values), x);
  if (above == std::begin(map.values)) return 0;
  if (above == std::end(map.values)) return 255;
  const bool lower = x - above[-1] < *above - x;
  return static_cast<uint8_t>(above - map.values - (lower ? 1 : 0));
}

float encode(const std::vector<float>& x, const DynamicMap& map, uint8_t* codes) {
  float scale = 0;
  for (const float value : x) scale = std::max(scale, std::abs(value));
  if (scale < kLeastMomentScale) scale = 0;
  const bool with_sign = map.values[0] < 0;
  for (size_t i = 0; i < x.size(); ++i) {
    codes[i] = nearest_code(map, scale > 0 ? x[i] / scale : 0.0f);
    if (!with_sign && x[i] > 0) codes[i] = std::max<uint8_t>(codes[i], 1);
  }
  return scale;
}

std::vector<float> decode(const uint8_t* codes, float scale, const DynamicMap& map, int64_t count) {
  std::vector<float> x;
  for (int64_t i = 0; i < count; ++i) x.push_back(map.values[codes[i]] * scale);
  return x;
}

}  // namespace

void adamw8(float* w, const float* gradient, const Moments8& moments, const uint8_t* mask, int64_t count,
            const AdamWStep& s) {
  for (int64_t begin = 0, block = 0; begin < count; begin += kMomentBlock, ++block) {
    const int64_t size = std::min(kMomentBlock, count - begin);
    std::vector<float> m = decode(moments.m + begin, moments.m_scale[block], kSignedMap, size);
    std::vector<float> v = decode(moments.v + begin, moments.v_scale[block], kUnsignedMap, size);
    adamw(w + begin, gradient + begin, m.data(), v.data(), mask != nullptr ? mask + begin : nullptr, size, s);
    moments.m_scale[block] = encode(m, kSignedMap, moments.m + begin);
    moments.v_scale[block] = encode(v, kUnsignedMap, moments.v + begin);
  }
}

}  // namespace ringflash::kernels::ref
