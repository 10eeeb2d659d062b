// RMSNorm and what takes it against compositions in double, forward and gradients, over odd sizes.
#include "train/ops/norm.h"

#include "torch_support.h"

namespace ringflash {
namespace {

using torch::Tensor;

TEST(RmsNorm, MatchesTheFormula) {
  for (const int64_t width : {1, 7, 16, 64, 100, 257}) {
    SCOPED_TRACE(width);
    const Tensor x0 = testing::random_tensor({13, width}, 1), g0 = testing::random_tensor({width}, 2);
    const Tensor x = testing::float_leaf(x0), g = testing::float_leaf(g0);
    const Tensor xd = testing::double_leaf(x0), gd = testing::double_leaf(g0);
    const Tensor y = rms_norm(x, g, 1e-5);
    const Tensor want = xd / torch::sqrt(xd.square().mean(-1, true) + 1e-5) * gd;
    const Tensor weights = testing::random_tensor({13, width}, 3);
    (y * weights.to(torch::kFloat32)).sum().backward();
    (want * weights).sum().backward();
    const testing::Tolerance fp32{.absolute = 2e-5, .relative = 2e-5};
    testing::expect_close(y, want, fp32, "y");
    // With width 1 the derivative is a difference of numbers near 1/|x|.
    testing::expect_close(x.grad(), xd.grad(), {.absolute = 1e-4, .relative = 2e-5}, "dx");
    testing::expect_close(g.grad(), gd.grad(), fp32, "dgain");
  }
}

enum class Used { kBoth, kRounded, kScores };

/// Which of the outputs are used, by how much each number counts.
Tensor loss_of(const Normed& normed, Used used, const Tensor& of_rounded, const Tensor& of_scores) {
  const Tensor wide = normed.rounded.to(of_rounded.scalar_type());
  Tensor loss = used == Used::kScores ? torch::zeros({}, wide.options().requires_grad(false)) : (wide * of_rounded).sum();
  if (used != Used::kRounded) loss = loss + (normed.scores * of_scores).sum();
  return loss;
}

/// rms_norm_for_products() of random numbers, its gradients, and what doubles give.
void check_normed(int64_t rows, int64_t width, int64_t heads, torch::ScalarType type, Used used) {
  const Tensor x0 = testing::random_tensor({rows, width}, 1), g0 = testing::random_tensor({width}, 2);
  const Tensor w0 = testing::random_tensor({heads, width}, 3);
  const Tensor x = testing::float_leaf(x0), g = testing::float_leaf(g0), w = testing::float_leaf(w0);
  const Tensor xd = testing::double_leaf(x0), gd = testing::double_leaf(g0), wd = testing::double_leaf(w0);
  // Such as bf16 has, so that gradients lose nothing on the way in.
  const Tensor of_rounded = testing::random_tensor({rows, width}, 4).to(torch::kBFloat16).to(torch::kFloat64);
  const Tensor of_scores = testing::random_tensor({rows, heads}, 5);

  const Normed got = rms_norm_for_products(x, g, 1e-5, type, heads > 0 ? w : Tensor());
  EXPECT_EQ(got.rounded.scalar_type(), type);
  EXPECT_EQ(got.scores.defined(), heads > 0);
  const Tensor full = xd / torch::sqrt(xd.square().mean(-1, true) + 1e-5) * gd;
  const Normed want = {full, torch::linear(full, wd)};
  const double unit = type == torch::kBFloat16 ? 0x1p-8 : 2e-5;
  testing::expect_close(got.rounded, want.rounded, {.absolute = 2e-5, .relative = unit}, "rounded");
  if (heads > 0) testing::expect_close(got.scores, want.scores, {.absolute = 2e-4, .relative = 2e-5}, "scores");

  loss_of(got, used, of_rounded.to(torch::kFloat32), of_scores.to(torch::kFloat32)).backward();
  loss_of(want, used, of_rounded, of_scores).backward();
  // Sums over rows and heads of products of normal numbers.
  const testing::Tolerance fp32{.absolute = 5e-4, .relative = 5e-5};
  testing::expect_close(x.grad(), xd.grad(), fp32, "dx");
  testing::expect_close(g.grad(), gd.grad(), fp32, "dgain");
  if (heads > 0 && used != Used::kRounded) testing::expect_close(w.grad(), wd.grad(), fp32, "drouter");
}

TEST(NormForProducts, MatchesTheFormula) {
  for (const auto type : {torch::kFloat32, torch::kBFloat16}) {
    for (const int64_t width : {7, 16, 100, 257}) {
      for (const int64_t rows : {1, 13, 77}) {
        for (const int64_t heads : {0, 1, 3}) {
          SCOPED_TRACE(::testing::Message() << rows << " x " << width << ", " << heads << " heads, " << type);
          check_normed(rows, width, heads, type, heads > 0 ? Used::kBoth : Used::kRounded);
        }
      }
    }
  }
}

TEST(NormForProducts, EitherResultMayGoUnused) {
  for (const auto type : {torch::kFloat32, torch::kBFloat16}) {
    check_normed(21, 33, 2, type, Used::kRounded);
    check_normed(21, 33, 2, type, Used::kScores);
  }
}

}  // namespace
}  // namespace ringflash
