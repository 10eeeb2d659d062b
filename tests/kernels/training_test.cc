// The training ops of every instruction set against formulas in double, over odd sizes.
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "expect_close.h"
#include "kernels/kernels.h"

namespace ringflash::kernels {
namespace {

using testing::expect_close;
using testing::kPoison;

constexpr double kUnit = 0x1p-24;     // largest relative error of rounding to fp32
constexpr double kBf16Unit = 0x1p-8;  // and to bf16, with room for a double rounding at a tie
const int64_t kSizes[] = {1, 2, 7, 15, 16, 17, 33, 64, 100, 257};

std::vector<float> random_floats(int64_t count, uint64_t seed, double scale = 1) {
  Rng rng(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(scale * rng.normal());
  return values;
}

std::vector<bf16> random_bf16(int64_t count, uint64_t seed, double scale = 1) {
  std::vector<bf16> values;
  for (const float value : random_floats(count, seed, scale)) values.push_back(to_bf16(value));
  return values;
}

std::vector<float> floats(const std::vector<bf16>& values) {
  std::vector<float> out;
  for (const bf16 value : values) out.push_back(to_float(value));
  return out;
}

const std::vector<bf16> poison(int64_t count) {
  return std::vector<bf16>(count, to_bf16(kPoison));
}

TEST(RmsNormBackward, MatchesTheFormula) {
  constexpr float kEps = 1e-5f;
  constexpr int64_t kRows = 3;
  for (const Table* table : available_tables()) {
    for (const int64_t width : kSizes) {
      SCOPED_TRACE(std::string(table->isa) + " width " + std::to_string(width));
      const auto x = random_floats(kRows * width, 1), gain = random_floats(width, 2),
                 dy = random_floats(kRows * width, 3);
      std::vector<float> dx(kRows * width + 1, kPoison), dgain(width, 0.5f);
      table->rms_norm_backward(x.data(), gain.data(), dy.data(), dx.data(), dgain.data(), kRows, width, kEps);
      ASSERT_TRUE(std::isnan(dx.back())) << "wrote past the end";
      dx.pop_back();
      std::vector<double> want_dx(kRows * width), want_dgain(width, 0.5);
      double largest = 0;
      for (int64_t row = 0; row < kRows; ++row) {
        const float* xr = x.data() + row * width;
        const float* dr = dy.data() + row * width;
        double square = 0, product = 0, magnitude = 0;
        for (int64_t i = 0; i < width; ++i) {
          square += double{xr[i]} * xr[i];
          product += double{xr[i]} * gain[i] * dr[i];
          magnitude += std::abs(double{xr[i]} * gain[i] * dr[i]);
        }
        const double scale = 1 / std::sqrt(square / static_cast<double>(width) + kEps);
        for (int64_t i = 0; i < width; ++i) {
          const double pull = xr[i] * scale * scale / static_cast<double>(width);
          want_dx[row * width + i] = (double{dr[i]} * gain[i] - product * pull) * scale;
          want_dgain[i] += dr[i] * xr[i] * scale;
          largest =
              std::max(largest, (std::abs(double{dr[i]} * gain[i]) + magnitude * std::abs(pull)) * scale);
        }
      }
      // dx is a difference of two terms, each known to about width/8 + 8 roundings of its own size.
      const double roundings = static_cast<double>(width) / 8 + 12;
      expect_close(dx, want_dx, {.absolute = largest * roundings * kUnit});
      expect_close(dgain, want_dgain, {.absolute = 20 * roundings * kUnit, .relative = roundings * kUnit});
    }
  }
}

TEST(SwigluBf16, ForwardAndBackwardMatchTheFormula) {
  for (const Table* table : available_tables()) {
    for (const int64_t count : kSizes) {
      SCOPED_TRACE(std::string(table->isa) + " count " + std::to_string(count));
      const auto gate = random_bf16(count, 1, 5), up = random_bf16(count, 2), dy = random_bf16(count, 3);
      auto y = poison(count + 1), dgate = poison(count + 1), dup = poison(count + 1);
      table->swiglu_bf16(gate.data(), up.data(), y.data(), count);
      table->swiglu_backward_bf16(gate.data(), up.data(), dy.data(), dgate.data(), dup.data(), count);
      for (auto* out : {&y, &dgate, &dup}) {
        ASSERT_TRUE(std::isnan(to_float(out->back()))) << "wrote past the end";
        out->pop_back();
      }
      std::vector<double> want_y(count), want_dgate(count), want_dup(count);
      for (int64_t i = 0; i < count; ++i) {
        const double g = to_float(gate[i]), u = to_float(up[i]), d = to_float(dy[i]);
        const double sigmoid = 1 / (1 + std::exp(-g));
        want_y[i] = g * sigmoid * u;
        want_dgate[i] = d * u * sigmoid * (1 + g * (1 - sigmoid));
        want_dup[i] = d * g * sigmoid;
      }
      // 1 + g (1 - s) passes through zero near g = -1.28: an absolute error of a few fp32 roundings there.
      const testing::Tolerance tolerance{.absolute = 1e-5, .relative = kBf16Unit};
      expect_close(floats(y), want_y, tolerance);
      expect_close(floats(dgate), want_dgate, tolerance);
      expect_close(floats(dup), want_dup, tolerance);
    }
  }
}

TEST(SwigluBf16, LargeGatesDoNotOverflow) {
  for (const Table* table : available_tables()) {
    const std::vector<bf16> gate = {to_bf16(-1e30f), to_bf16(1e30f)}, one(2, to_bf16(1));
    auto y = poison(2), dgate = poison(2), dup = poison(2);
    table->swiglu_bf16(gate.data(), one.data(), y.data(), 2);
    table->swiglu_backward_bf16(gate.data(), one.data(), one.data(), dgate.data(), dup.data(), 2);
    expect_close(floats(y), std::vector<double>{0, to_float(gate[1])}, {});
    expect_close(floats(dgate), std::vector<double>{0, 1}, {});
  }
}

std::vector<std::pair<int64_t, bool>> with_and_without_mask() {
  std::vector<std::pair<int64_t, bool>> cases;
  for (const int64_t count : kSizes) {
    for (const bool masked : {false, true}) cases.emplace_back(count, masked);
  }
  return cases;
}

TEST(AdamW, MatchesTheFormula) {
  const AdamWStep s = {.beta1 = 0.9f,
                       .beta2 = 0.95f,
                       .epsilon = 1e-8f,
                       .rate = 0.02f,
                       .root_correction = 1.5f,
                       .decay = 0.001f,
                       .grad_scale = 0.5f,
                       .pruned_scale = 0.1f,
                       .shrink = 0.02f};
  for (const Table* table : available_tables()) {
    for (const auto& [count, masked] : with_and_without_mask()) {
      SCOPED_TRACE(std::string(table->isa) + " count " + std::to_string(count) + (masked ? " masked" : ""));
      const auto w0 = random_floats(count, 1), g = random_floats(count, 2), m0 = random_floats(count, 3);
      auto v0 = random_floats(count, 4);
      for (float& v : v0) v *= v;
      auto w = w0, m = m0, v = v0;
      for (auto* values : {&w, &m, &v}) values->push_back(kPoison);
      std::vector<uint8_t> mask(static_cast<size_t>(count));
      for (int64_t i = 0; i < count; ++i) mask[i] = i % 3 == 1;
      table->adamw(w.data(), g.data(), m.data(), v.data(), masked ? mask.data() : nullptr, count, s);
      std::vector<double> want_w, want_m, want_v;
      for (int64_t i = 0; i < count; ++i) {
        const double grad = 0.5 * g[i];
        want_m.push_back(double{s.beta1} * m0[i] + (1 - double{s.beta1}) * grad);
        want_v.push_back(double{s.beta2} * v0[i] + (1 - double{s.beta2}) * grad * grad);
        const double scale = masked && mask[i] == 0 ? double{s.pruned_scale} : 1.0;
        const double change =
            double{s.rate} * want_m[i] / (std::sqrt(want_v[i]) * s.root_correction + s.epsilon);
        const double moved = w0[i] - scale * (double{s.decay} * w0[i] + change);
        const double rest = std::abs(moved) - scale * double{s.shrink};
        want_w.push_back(rest < 0 ? 0 : std::copysign(rest, moved));
      }
      for (auto* values : {&w, &m, &v}) {
        ASSERT_TRUE(std::isnan(values->back())) << "wrote past the end";
        values->pop_back();
      }
      // Each is a sum of at most three terms of order 1 with a handful of roundings; beta2's complement
      // cancels.
      const testing::Tolerance tolerance{.absolute = 24 * kUnit, .relative = 24 * kUnit};
      expect_close(m, want_m, tolerance);
      expect_close(v, want_v, tolerance);
      expect_close(w, want_w, tolerance);
    }
  }
}

TEST(DynamicMap, HoldsThePapersValues) {
  for (const DynamicMap* map : {&kSignedMap, &kUnsignedMap}) {
    for (int code = 1; code < 256; ++code) EXPECT_LT(map->values[code - 1], map->values[code]) << code;
    EXPECT_EQ(map->values[255], 1);
  }
  EXPECT_EQ(kSignedMap.values[kSignedZero], 0);
  EXPECT_EQ(kUnsignedMap.values[kUnsignedZero], 0);
  // The middles of the last of 64 and of 128 equal bins from 0.1 to 1, and of the first decade's one and first of two.
  EXPECT_FLOAT_EQ(kSignedMap.values[254], 0.99296875f);
  EXPECT_FLOAT_EQ(kSignedMap.values[0], -0.99296875f);
  EXPECT_FLOAT_EQ(kUnsignedMap.values[254], 0.996484375f);
  EXPECT_FLOAT_EQ(kSignedMap.values[128], 5.5e-7f);
  EXPECT_FLOAT_EQ(kUnsignedMap.values[1], 3.25e-7f);
}

/// Moments of a few blocks, and what they stand for.
struct Coded {
  explicit Coded(int64_t count)
      : m(count + 1, kSignedZero), v(count + 1, kUnsignedZero), m_scale(count / kMomentBlock + 1), v_scale(m_scale) {}
  Moments8 moments() { return {m.data(), m_scale.data(), v.data(), v_scale.data()}; }

  double mean(int64_t i) const { return double{kSignedMap.values[m[i]]} * m_scale[i / kMomentBlock]; }
  double square(int64_t i) const { return double{kUnsignedMap.values[v[i]]} * v_scale[i / kMomentBlock]; }

  std::vector<uint8_t> m, v;
  std::vector<float> m_scale, v_scale;
};

/// Where a - b in the codes of a map would be, for the rounding of values that lie halfway.
int64_t distance(uint8_t a, uint8_t b) {
  return std::abs(int64_t{a} - int64_t{b});
}

TEST(AdamW8, EveryTableAgreesWithTheReference) {
  const AdamWStep s = {.beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f, .rate = 0.02f, .root_correction = 1.5f,
                       .decay = 0.001f, .grad_scale = 0.5f, .pruned_scale = 0.1f, .shrink = 0.02f};
  const Table& reference = *available_tables().front();
  for (const Table* table : available_tables()) {
    for (const int64_t count : {1, 17, 255, 256, 257, 1000}) {
      for (const bool masked : {false, true}) {
        SCOPED_TRACE(std::string(table->isa) + " count " + std::to_string(count) + (masked ? " masked" : ""));
        std::vector<uint8_t> mask(count);
        for (int64_t i = 0; i < count; ++i) mask[i] = i % 3 == 1;
        auto w = random_floats(count, 1), want_w = w;
        w.push_back(kPoison);
        Coded got(count), want(count);
        for (int step = 0; step < 5; ++step) {
          auto g = random_floats(count, 10 + step);
          // Over eight orders of magnitude, none at all, and both signs.
          for (int64_t i = 0; i < count; ++i) g[i] *= static_cast<float>(i % 5 == 0 ? 0 : std::pow(10.0, -(i % 9)));
          // From one state, so that a code that fell the other way does not grow into a difference.
          want = got;
          std::copy_n(w.begin(), count, want_w.begin());
          const uint8_t* kept = masked ? mask.data() : nullptr;
          table->adamw8(w.data(), g.data(), got.moments(), kept, count, s);
          reference.adamw8(want_w.data(), g.data(), want.moments(), kept, count, s);
          int64_t different = 0;
          for (int64_t i = 0; i < count; ++i) {
            // Neighbouring codes only where a moment lies halfway between, to within rounding.
            ASSERT_LE(distance(got.m[i], want.m[i]), 1) << i;
            ASSERT_LE(distance(got.v[i], want.v[i]), 1) << i;
            different += got.m[i] != want.m[i] || got.v[i] != want.v[i] ? 1 : 0;
            ASSERT_NEAR(w[i], want_w[i], 64 * kUnit * (1 + std::abs(want_w[i]))) << i;
          }
          EXPECT_LE(different, 1 + count / 100);
          for (size_t block = 0; block * kMomentBlock < static_cast<size_t>(count); ++block) {
            EXPECT_NEAR(got.m_scale[block], want.m_scale[block], 8 * kUnit * want.m_scale[block]);
            EXPECT_NEAR(got.v_scale[block], want.v_scale[block], 8 * kUnit * want.v_scale[block]);
          }
        }
        EXPECT_TRUE(std::isnan(w.back())) << "wrote past the end";
        EXPECT_EQ(got.m.back(), kSignedZero);
        EXPECT_EQ(got.v.back(), kUnsignedZero);
      }
    }
  }
}

TEST(AdamW8, MomentsAreTheNearestOfTheMap) {
  // From zero moments, with betas of 0 and no correction, m = g and v = g^2.
  const AdamWStep s = {.beta1 = 0, .beta2 = 0, .epsilon = 1, .rate = 0, .root_correction = 1, .decay = 0, .grad_scale = 1};
  constexpr int64_t kCount = kMomentBlock;
  for (const Table* table : available_tables()) {
    SCOPED_TRACE(table->isa);
    Rng rng(3);
    std::vector<float> g(kCount), w(kCount);
    for (float& x : g) x = static_cast<float>((rng.uniform() < 0.5 ? -1 : 1) * std::pow(10.0, -8 * rng.uniform()));
    g[0] = 1;
    Coded coded(kCount);
    table->adamw8(w.data(), g.data(), coded.moments(), nullptr, kCount, s);
    for (int64_t i = 0; i < kCount; ++i) {
      const auto off = [&](const DynamicMap& map, double x) {
        double least = 2;
        for (const float value : map.values) least = std::min(least, std::abs(value - x));
        return least;
      };
      const double m = g[i], v = double{g[i]} * g[i];
      EXPECT_LE(std::abs(coded.mean(i) - m), off(kSignedMap, m) + 4 * kUnit * std::abs(m)) << m;
      EXPECT_GT(coded.square(i), 0) << "would divide by epsilon alone";
      if (coded.v[i] == 1) continue;  // rounded up from nearer to zero
      EXPECT_LE(std::abs(coded.square(i) - v), off(kUnsignedMap, v) + 4 * kUnit * v) << v;
    }
  }
}

TEST(AdamW8, NothingStaysNothing) {
  for (const Table* table : available_tables()) {
    SCOPED_TRACE(table->isa);
    std::vector<float> w(300, 0.5f);
    for (const float gradient : {0.0f, 1e-38f, -1e-30f}) {
      const std::vector<float> g(300, gradient);
      Coded coded(300);
      table->adamw8(w.data(), g.data(), coded.moments(), nullptr, 300, {.beta1 = 0.9f, .beta2 = 0.95f, .epsilon = 1e-8f,
                    .rate = 0.01f, .root_correction = 1, .decay = 0, .grad_scale = 1});
      EXPECT_EQ(w, std::vector<float>(300, 0.5f)) << gradient;
      EXPECT_EQ(coded.v, std::vector<uint8_t>(301, kUnsignedZero));
    }
  }
}

}  // namespace
}  // namespace ringflash::kernels
