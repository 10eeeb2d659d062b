#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "expect_close.h"
#include "kernels/kernels.h"

namespace ringflash::kernels {
namespace {

using testing::expect_close;
using testing::kPoison;

constexpr double kUnit = 0x1p-24;  // the largest relative error of one rounding
const int64_t kWidths[] = {1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 100, 257};

std::vector<float> random_values(int64_t count, uint64_t seed, double scale = 1) {
  Rng rng(seed);
  std::vector<float> values(count);
  for (float& v : values) v = static_cast<float>(scale * rng.normal());
  return values;
}

TEST(RmsNorm, MatchesTheFormula) {
  constexpr float kEps = 1e-5f;
  for (const Table* table : available_tables()) {
    for (const int64_t width : kWidths) {
      SCOPED_TRACE(std::string(table->isa) + " width " + std::to_string(width));
      constexpr int64_t kRows = 3;
      const std::vector<float> x = random_values(kRows * width, 1), gain = random_values(width, 2);
      std::vector<float> y(kRows * width + 1, kPoison);
      table->rms_norm(x.data(), gain.data(), y.data(), kRows, width, kEps);
      ASSERT_TRUE(std::isnan(y.back())) << "wrote past the end";
      y.pop_back();
      std::vector<double> expected(kRows * width);
      for (int64_t row = 0; row < kRows; ++row) {
        double squares = 0;
        for (int64_t i = 0; i < width; ++i) squares += std::pow(double{x[row * width + i]}, 2);
        const double rms = std::sqrt(squares / static_cast<double>(width) + double{kEps});
        for (int64_t i = 0; i < width; ++i) expected[row * width + i] = x[row * width + i] / rms * gain[i];
      }
      // The sum has only positive terms in at least four lanes; its error halves in the root; six roundings
      // follow.
      expect_close(y, expected, {.relative = (static_cast<double>(width) / 8 + 8) * kUnit});
    }
  }
}

TEST(RmsNorm, EpsKeepsAZeroRowZero) {
  for (const Table* table : available_tables()) {
    const std::vector<float> x(20, 0.0f), gain(20, 1.0f);
    std::vector<float> y(20, kPoison);
    table->rms_norm(x.data(), gain.data(), y.data(), 1, 20, 1e-5f);
    EXPECT_EQ(y, x) << table->isa;
  }
}

std::vector<double> naive_geglu(const std::vector<float>& gate, const std::vector<float>& up) {
  std::vector<double> expected(gate.size());
  for (size_t i = 0; i < gate.size(); ++i) {
    const double g = gate[i];
    expected[i] = 0.5 * g * (1 + std::tanh(std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g))) * double{up[i]};
  }
  return expected;
}

std::vector<double> naive_swiglu(const std::vector<float>& gate, const std::vector<float>& up) {
  std::vector<double> expected(gate.size());
  for (size_t i = 0; i < gate.size(); ++i) {
    expected[i] = double{gate[i]} / (1 + std::exp(-double{gate[i]})) * double{up[i]};
  }
  return expected;
}

// exp is good to 3e-7, five roundings follow; below e^-87 the result may be flushed to zero.
constexpr testing::Tolerance kSwigluTolerance = {.absolute = 1e-34, .relative = 3e-7 + 5 * kUnit};

TEST(Swiglu, MatchesTheFormulaAlsoInPlace) {
  for (const Table* table : available_tables()) {
    for (const int64_t count : kWidths) {
      SCOPED_TRACE(std::string(table->isa) + " count " + std::to_string(count));
      const std::vector<float> gate = random_values(count, 3, 8), up = random_values(count, 4);
      std::vector<float> y(count + 1, kPoison);
      table->swiglu(gate.data(), up.data(), y.data(), count);
      ASSERT_TRUE(std::isnan(y.back())) << "wrote past the end";
      y.pop_back();
      expect_close(y, naive_swiglu(gate, up), kSwigluTolerance);

      std::vector<float> over_gate = gate, over_up = up;
      table->swiglu(over_gate.data(), up.data(), over_gate.data(), count);
      table->swiglu(gate.data(), over_up.data(), over_up.data(), count);
      EXPECT_EQ(over_gate, y);
      EXPECT_EQ(over_up, y);
    }
  }
}

TEST(Swiglu, SurvivesExtremeGates) {
  const std::vector<float> gate = {-1e30f, -1000, -104, -90, -88, -87,  -86,  0,
                                   86,     87,    88,   89,  104, 1000, 1e30f};
  const std::vector<float> up(gate.size(), 1.5f);
  for (const Table* table : available_tables()) {
    SCOPED_TRACE(table->isa);
    std::vector<float> y(gate.size(), kPoison);
    table->swiglu(gate.data(), up.data(), y.data(), static_cast<int64_t>(gate.size()));
    expect_close(y, naive_swiglu(gate, up), kSwigluTolerance);
  }
}

// The exponent of e is up to 2u = 60 where the result is not yet negligible beside it, so that its own four roundings
// weigh as much as 60 of the result's; below e^-87 the result may be flushed to zero. The formula of the expectation
// itself, 1 + tanh, loses all digits below 1e-16 of the gate.
constexpr testing::Tolerance kGegluTolerance = {.absolute = 1e-13, .relative = 3e-7 + 4 * 60 * kUnit};

TEST(Geglu, MatchesTheFormulaAlsoInPlace) {
  for (const Table* table : available_tables()) {
    for (const int64_t count : kWidths) {
      SCOPED_TRACE(std::string(table->isa) + " count " + std::to_string(count));
      std::vector<float> gate = random_values(count, 3, 4);
      const std::vector<float> up = random_values(count, 4);
      std::vector<float> y(count + 1, kPoison);
      table->geglu(gate.data(), up.data(), y.data(), count);
      ASSERT_TRUE(std::isnan(y.back())) << "wrote past the end";
      y.pop_back();
      expect_close(y, naive_geglu(gate, up), kGegluTolerance);
      table->geglu(gate.data(), up.data(), gate.data(), count);
      EXPECT_EQ(gate, y);
    }
  }
}

TEST(Geglu, SurvivesExtremeGates) {
  const std::vector<float> gate = {-3e38f, -1e30f, -1e13f, -1000, -12, 0, 12, 1000, 1e13f, 1e30f, 3e38f};
  const std::vector<float> up(gate.size(), 0.5f);
  for (const Table* table : available_tables()) {
    SCOPED_TRACE(table->isa);
    std::vector<float> y(gate.size(), kPoison);
    table->geglu(gate.data(), up.data(), y.data(), static_cast<int64_t>(gate.size()));
    expect_close(y, naive_geglu(gate, up), kGegluTolerance);
  }
}

TEST(Add, AddsExactly) {
  for (const Table* table : available_tables()) {
    for (const int64_t count : kWidths) {
      const std::vector<float> x = random_values(count, 5);
      std::vector<float> y = random_values(count, 6), expected = y;
      y.push_back(7);
      for (int64_t i = 0; i < count; ++i) expected[i] += x[i];
      expected.push_back(7);
      table->add(x.data(), y.data(), count);
      EXPECT_EQ(y, expected) << table->isa << " count " << count;
    }
  }
}

TEST(AddScaled, MatchesTheFormula) {
  for (const Table* table : available_tables()) {
    for (const int64_t count : kWidths) {
      SCOPED_TRACE(std::string(table->isa) + " count " + std::to_string(count));
      const std::vector<float> x = random_values(count, 5);
      std::vector<float> y = random_values(count, 6);
      std::vector<double> expected(y.begin(), y.end());
      for (int64_t i = 0; i < count; ++i) expected[i] += double{-1.7f} * x[i];
      y.push_back(7);
      table->add_scaled(-1.7f, x.data(), y.data(), count);
      ASSERT_EQ(y.back(), 7) << "wrote past the end";
      y.pop_back();
      // The product rounds, then the sum; normal numbers stay below 6.
      expect_close(y, expected, {.absolute = 12 * kUnit, .relative = kUnit});
    }
  }
}

}  // namespace
}  // namespace ringflash::kernels
