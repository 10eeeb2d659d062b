// The losses of every instruction set against their formulas in double, over odd sizes.
#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "base/rng.h"
#include "expect_close.h"
#include "kernels/kernels.h"

namespace ringflash::kernels {
namespace {

using testing::expect_close;
using testing::kPoison;

constexpr double kBf16Unit = 0x1p-8;  // rounding to bf16, with room for a double rounding at a tie

std::vector<bf16> random_logits(int64_t count, uint64_t seed, double scale) {
  Rng rng(seed);
  std::vector<bf16> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(to_bf16(static_cast<float>(scale * rng.normal())));
  return values;
}

std::vector<double> softmax(const bf16* logits, int64_t vocab) {
  std::vector<double> p;
  double total = 0;
  for (int64_t i = 0; i < vocab; ++i) p.push_back(std::exp(double{to_float(logits[i])}));
  for (const double value : p) total += value;
  for (double& value : p) value /= total;
  return p;
}

/// Rows of logits, perhaps a teacher's, and what a kernel is to make of them.
struct Case {
  static constexpr int64_t kRows = 4;
  int64_t vocab;
  std::optional<float> weight;  ///< none: no teacher
  std::vector<bf16> logits = random_logits(kRows * vocab, 1, 6), opinion = random_logits(kRows * vocab, 2, 3);
  std::vector<int64_t> targets = {0, vocab - 1, -100, vocab / 2};
  std::vector<double> loss = std::vector<double>(kRows), gradient = std::vector<double>(kRows * vocab);

  Case(int64_t vocab_size, std::optional<float> teacher_weight) : vocab(vocab_size), weight(teacher_weight) {
    const double share = weight.value_or(0.0f);
    for (int64_t row = 0; row < kRows; ++row) {
      if (targets[row] < 0) continue;
      const std::vector<double> own = softmax(&logits[row * vocab], vocab), other = softmax(&opinion[row * vocab], vocab);
      for (int64_t i = 0; i < vocab; ++i) {
        const double wanted = share * other[i] + (i == targets[row] ? 1 - share : 0);
        loss[row] -= wanted * std::log(own[i]);
        gradient[row * vocab + i] = own[i] - wanted;
      }
    }
  }

  void run(const Table& table, bf16* x, float* losses) const {
    if (weight.has_value()) {
      table.distillation_bf16(x, opinion.data(), targets.data(), *weight, losses, kRows, vocab);
    } else {
      table.cross_entropy_bf16(x, targets.data(), losses, kRows, vocab);
    }
  }
};

TEST(Losses, MatchTheirFormulas) {
  for (const Table* table : available_tables()) {
    for (const std::optional<float> weight : {std::optional<float>(), {0.0f}, {0.3f}, {1.0f}}) {
      for (const int64_t vocab : {1, 2, 7, 15, 16, 17, 33, 64, 100, 257}) {
        SCOPED_TRACE(std::string(table->isa) + " vocab " + std::to_string(vocab) + " weight " +
                     (weight.has_value() ? std::to_string(*weight) : "none"));
        const Case c(vocab, weight);
        auto gradient = c.logits;
        gradient.push_back(to_bf16(kPoison));
        std::vector<float> loss(Case::kRows, kPoison);
        c.run(*table, gradient.data(), loss.data());
        ASSERT_TRUE(std::isnan(to_float(gradient.back()))) << "wrote past the end";
        gradient.pop_back();
        std::vector<float> got;
        for (const bf16 value : gradient) got.push_back(to_float(value));
        // Differences of numbers up to 1 and up to 40, each a few roundings to fp32 off.
        expect_close(loss, c.loss, {.absolute = 1e-5, .relative = 1e-6});
        expect_close(got, c.gradient, {.absolute = 1e-6, .relative = kBf16Unit});
      }
    }
  }
}

TEST(Losses, NanIsNotSwallowed) {
  for (const Table* table : available_tables()) {
    for (const bool in_opinion : {false, true}) {
      for (const int64_t at : {0, 5, 20}) {
        Case c(21, 0.5f);
        (in_opinion ? c.opinion : c.logits)[at] = to_bf16(kPoison);
        float loss[Case::kRows];
        c.run(*table, c.logits.data(), loss);
        EXPECT_TRUE(std::isnan(loss[0])) << table->isa << " at " << at << (in_opinion ? " of the teacher" : "");
        auto logits = random_logits(21, 1, 1);
        logits[at] = to_bf16(kPoison);
        table->cross_entropy_bf16(logits.data(), c.targets.data(), loss, 1, 21);
        EXPECT_TRUE(std::isnan(loss[0])) << table->isa << " at " << at;
      }
    }
  }
}

}  // namespace
}  // namespace ringflash::kernels
