#include "train/one_shot.h"

#include "torch_support.h"
#include "train/ops/weight_view.h"

namespace ringflash {
namespace {

using torch::Tensor;

constexpr OneShotMethod kMethods[] = {OneShotMethod::kMagnitude, OneShotMethod::kWanda, OneShotMethod::kObs};

Tensor floats(at::IntArrayRef shape, uint64_t seed) {
  return testing::random_tensor(shape, seed).to(torch::kFloat32);
}

/// Inputs of unequal size that depend on each other, as a network's do.
Tensor correlated_inputs(int64_t rows, int64_t in) {
  const Tensor mixing = floats({in, in}, 11) / 8 + torch::diag(torch::linspace(0.1, 8, in));
  return torch::matmul(floats({rows, in}, 12), mixing);
}

double output_error(const Tensor& x, const Tensor& weight, const Tensor& compressed) {
  return torch::matmul(x, (weight - compressed).t()).square().mean().item<double>();
}

TEST(OneShot, KeepsAsManyAsTheTargetSays) {
  const Tensor weight = floats({20, 128}, 1), x = correlated_inputs(300, 128), gram = torch::matmul(x.t(), x);
  for (const OneShotMethod method : kMethods) {
    for (const SparsePattern pattern : {SparsePattern::kFine, SparsePattern::kBlock}) {
      const Tensor left = compress_matrix(weight, gram, {.shape = {pattern, 12}}, method);
      const int64_t want = magnitude_mask(weight, {pattern, 12}).sum().item<int64_t>();
      EXPECT_EQ(left.ne(0).sum().item<int64_t>(), want) << to_string(method) << " " << to_string(pattern);
    }
  }
}

TEST(OneShot, ObsKeepsWholeTilesAndTakesRowsOfAnyWidth) {
  for (const int64_t in : {48, 80, 192}) {
    const Tensor weight = floats({32, in}, 3), x = correlated_inputs(300, in), gram = torch::matmul(x.t(), x);
    const auto kept = [&](SparsePattern pattern) {
      return compress_matrix(weight, gram, {.shape = {pattern, 12}}, OneShotMethod::kObs).ne(0);
    };
    const Tensor tiles = kept(SparsePattern::kBlock).reshape({2, kBlockRows, in / kBlockColumns, kBlockColumns});
    EXPECT_TRUE(tiles.all(3).all(1).eq(tiles.any(3).any(1)).all().item<bool>()) << in;
    for (int64_t begin = 0; begin < in; begin += kSparseGroup) {
      const int64_t end = std::min(begin + kSparseGroup, in), keep = std::min<int64_t>(12, end - begin);
      EXPECT_TRUE(kept(SparsePattern::kFine).slice(1, begin, end).sum(1).eq(keep).all().item<bool>()) << in << ", from " << begin;
    }
  }
}

TEST(OneShot, ObsDoesNotDependOnWhichGroupComesFirst) {
  const Tensor x = correlated_inputs(600, 128), weight = floats({32, 128}, 24);
  const auto swapped = [](const Tensor& t) { return torch::cat({t.slice(1, 64), t.slice(1, 0, 64)}, 1); };
  const auto left = [](const Tensor& w, const Tensor& inputs) {
    return compress_matrix(w, torch::matmul(inputs.t(), inputs), {.shape = {SparsePattern::kFine, 32}}, OneShotMethod::kObs);
  };
  // The same numbers in another order of summing: rounding may choose another of two weights that are as good.
  const Tensor straight = left(weight, x), turned = swapped(left(swapped(weight), swapped(x)));
  EXPECT_LT(straight.ne(0).ne(turned.ne(0)).sum().item<int64_t>(), 8);
  EXPECT_NEAR(output_error(x, weight, turned) / output_error(x, weight, straight), 1, 0.01);
}

TEST(OneShot, TheMoreAMethodKnowsTheLessTheOutputChanges) {
  const Tensor weight = floats({48, 192}, 2), x = correlated_inputs(1000, 192),
               gram = torch::matmul(x.t(), x);
  for (const int64_t bits : {16, 8, 4}) {
    double before = 1e30;
    for (const OneShotMethod method : kMethods) {
      const OneShotTarget target{.shape = {SparsePattern::kFine, 16}, .bits = bits};
      const double error = output_error(x, weight, compress_matrix(weight, gram, target, method));
      EXPECT_LT(error, before) << to_string(method) << " at " << bits << " bits";
      before = error;
    }
  }
}

TEST(OneShot, QuantisedWeightsAreWhatTheFileHolds) {
  const Tensor weight = floats({20, 128}, 3), x = correlated_inputs(300, 128), gram = torch::matmul(x.t(), x);
  for (const OneShotMethod method : kMethods) {
    for (const int64_t keep : {8, 32, 64}) {
      for (const int64_t bits : {4, 8}) {
        const Tensor left =
            compress_matrix(weight, gram, {.shape = {SparsePattern::kFine, keep}, .bits = bits}, method);
        EXPECT_TRUE(torch::equal(quantized_weight(left, bits, keep), left))
            << to_string(method) << " keeps " << keep << " of " << bits << " bits";
      }
    }
  }
}

TEST(OneShot, IndependentInputsLeaveNothingToMakeUpFor) {
  const Tensor weight = floats({16, 64}, 4);
  const OneShotTarget target{.shape = {SparsePattern::kFine, 12}};
  const Tensor by_obs = compress_matrix(weight, torch::eye(64) * 5, target, OneShotMethod::kObs);
  const Tensor by_size = compress_matrix(weight, torch::eye(64), target, OneShotMethod::kMagnitude);
  testing::expect_close(by_obs, by_size, {.absolute = 1e-6}, "weights");
}

TEST(OneShot, InputsThatNeverOccurDoNoHarm) {
  const Tensor weight = floats({16, 64}, 5);
  for (const OneShotMethod method : kMethods) {
    const Tensor left =
        compress_matrix(weight, torch::zeros({64, 64}), {.shape = {SparsePattern::kFine, 12}}, method);
    EXPECT_TRUE(torch::isfinite(left).all().item<bool>()) << to_string(method);
  }
}

TEST(OneShot, DriftOfTheInputsIsMadeUpFor) {
  const Tensor weight = floats({20, 48}, 6), dense = correlated_inputs(400, 48);
  const Tensor x = dense + floats({400, 48}, 7) + 0.2 * torch::matmul(dense, floats({48, 48}, 8));
  const Tensor gram = torch::matmul(x.t(), x), drift = torch::matmul((dense - x).t(), x);
  const auto error = [&](const Tensor& w) { return (torch::matmul(x, w.t()) - torch::matmul(dense, weight.t())).square().mean().item<double>(); };
  const auto at = [&](double strength) { return made_up_for_drift(weight, gram, drift, strength); };
  EXPECT_TRUE(torch::equal(at(0), weight));
  EXPECT_LT(error(at(0.5)), error(weight));
  EXPECT_LT(error(at(1)), error(at(0.5)));
  // All of it solves the normal equations, damped by a hundredth of the mean input energy.
  const Tensor damped = (gram + 0.01 * gram.diagonal().mean() * torch::eye(48)).to(torch::kFloat64);
  const Tensor moved = torch::matmul((at(1) - weight).to(torch::kFloat64), damped);
  const Tensor want = torch::matmul(weight, drift).to(torch::kFloat64);
  // The fp32 result is rounded to 2^-24 of weights of up to 4 and multiplied with sums whose largest is the bound's factor.
  const double allowed = 0x1p-24 * 4 * 48 * damped.abs().max().item<double>() + 1e-6 * want.abs().max().item<double>();
  testing::expect_close(moved, want, {.absolute = allowed}, "moved");
}

TEST(OneShot, MethodsAreNamed) {
  for (const OneShotMethod method : kMethods)
    EXPECT_EQ(parse_one_shot_method(to_string(method)).value(), method);
  EXPECT_EQ(parse_one_shot_method("gptq").error().message,
            "the method must be magnitude, wanda or obs, found 'gptq'");
}

}  // namespace
}  // namespace ringflash
