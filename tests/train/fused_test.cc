// Fused operators against compositions in double, forward and gradients, over odd sizes.
#include "train/ops/fused.h"

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

TEST(Swiglu, MatchesTheFormula) {
  for (const auto type : {torch::kFloat32, torch::kBFloat16}) {
    const Tensor gate0 = testing::random_tensor({37, 19}, 1) * 4, up0 = testing::random_tensor({37, 19}, 2);
    const auto rounded = [&](const Tensor& t) { return t.to(type).to(torch::kFloat64); };
    const Tensor gate = testing::float_leaf(rounded(gate0)), up = testing::float_leaf(rounded(up0));
    const Tensor gate_d = testing::double_leaf(rounded(gate0)), up_d = testing::double_leaf(rounded(up0));
    const Tensor y = swiglu(gate.to(type), up.to(type));
    EXPECT_EQ(y.scalar_type(), type);
    const Tensor want = gate_d * torch::sigmoid(gate_d) * up_d;
    y.to(torch::kFloat32).sum().backward();
    want.sum().backward();
    // bf16 rounds the result once (2^-9); a composition of two ops may round twice.
    const double unit = type == torch::kBFloat16 ? 1.0 / 128 : 1e-5;
    testing::expect_close(y, want, {.absolute = unit / 8, .relative = unit}, "y");
    testing::expect_close(gate.grad(), gate_d.grad(), {.absolute = unit, .relative = unit}, "dgate");
    testing::expect_close(up.grad(), up_d.grad(), {.absolute = unit, .relative = unit}, "dup");
  }
}

Tensor reference_loss(const Tensor& hidden, const Tensor& weight, const Tensor& targets) {
  const Tensor logp = torch::log_softmax(torch::matmul(hidden, weight.t()), 1);
  const Tensor keep = targets.ge(0);
  return -(logp.gather(1, targets.clamp_min(0).unsqueeze(1)).squeeze(1) * keep).sum();
}

TEST(LinearCrossEntropy, MatchesTheFormulaAndSkipsIgnoredTargets) {
  const int64_t rows = 29, width = 12, vocab = 41;
  const Tensor h0 = testing::random_tensor({rows, width}, 1), w0 = testing::random_tensor({vocab, width}, 2);
  Tensor targets = torch::arange(rows) % vocab;
  targets.index_put_({torch::tensor({3, 17, 28})}, -100);
  const Tensor h = testing::float_leaf(h0), w = testing::float_leaf(w0);
  const Tensor hd = testing::double_leaf(h0), wd = testing::double_leaf(w0);
  const Tensor loss = linear_cross_entropy(h, w, targets, torch::kFloat32);
  const Tensor want = reference_loss(hd, wd, targets);
  (loss * 0.5).backward();
  (want * 0.5).backward();
  testing::expect_close(loss.reshape({1}), want.reshape({1}), {.absolute = 1e-4, .relative = 1e-6}, "loss");
  testing::expect_close(h.grad(), hd.grad(), {.absolute = 1e-5, .relative = 1e-5}, "dhidden");
  testing::expect_close(w.grad(), wd.grad(), {.absolute = 1e-5, .relative = 1e-5}, "dweight");
  EXPECT_EQ(h.grad()[17].abs().sum().item<float>(), 0);
}

TEST(LinearCrossEntropy, Bf16ProductsRoundButDoNotMore) {
  const int64_t rows = 70, width = 32, vocab = 100;
  const Tensor h0 = testing::random_tensor({rows, width}, 1).to(torch::kBFloat16).to(torch::kFloat64);
  const Tensor w0 = (testing::random_tensor({vocab, width}, 2) / 5).to(torch::kBFloat16).to(torch::kFloat64);
  const Tensor targets = torch::arange(rows) * 7 % vocab;
  const Tensor h = testing::float_leaf(h0), w = testing::float_leaf(w0);
  const Tensor hd = testing::double_leaf(h0), wd = testing::double_leaf(w0);
  const Tensor loss = linear_cross_entropy(h, w, targets, torch::kBFloat16);
  const Tensor want = reference_loss(hd, wd, targets);
  loss.backward();
  want.backward();
  // Logits of size up to 4 are rounded to 2^-9 of themselves: 70 rows err by 0.008 each at most, in both directions.
  testing::expect_close(loss.reshape({1}), want.reshape({1}), {.absolute = 70 * 0.008}, "loss");
  // Probabilities are off by 0.8 % from the logits and 0.4 % from their own rounding, summed over the vocabulary
  // (weights of size 0.2, up to 0.8) or over the rows.
  testing::expect_close(h.grad(), hd.grad(), {.absolute = 0.012, .relative = 0.012}, "dhidden");
  testing::expect_close(w.grad(), wd.grad(), {.absolute = 0.03, .relative = 0.012}, "dweight");
}

TEST(LinearCrossEntropy, SlicesAgreeWithTheWhole) {
  // 4 Mi logits are one slice: a vocabulary of 70000 makes slices of 59 rows.
  const int64_t rows = 130, width = 4, vocab = 70000;
  const Tensor h0 = testing::random_tensor({rows, width}, 1), w0 = testing::random_tensor({vocab, width}, 2);
  const Tensor targets = torch::arange(rows) * 531 % vocab;
  const Tensor h = testing::float_leaf(h0), w = testing::float_leaf(w0);
  const Tensor hd = testing::double_leaf(h0), wd = testing::double_leaf(w0);
  const Tensor loss = linear_cross_entropy(h, w, targets, torch::kFloat32);
  const Tensor want = reference_loss(hd, wd, targets);
  loss.backward();
  want.backward();
  testing::expect_close(loss.reshape({1}), want.reshape({1}), {.relative = 1e-6}, "loss");
  // A sum over the vocabulary of weights up to 4.5 times probabilities that sum to 1: each of its 70000 additions
  // rounds by 2^-24 of a total below 4.5, in a random walk, and every probability is off by a few 1e-6 of itself.
  testing::expect_close(h.grad(), hd.grad(), {.absolute = 4.5 * (265 * 0x1p-24 + 4e-6)}, "dhidden");
  testing::expect_close(w.grad(), wd.grad(), {.absolute = 1e-5, .relative = 1e-5}, "dweight");
}

TEST(LinearCrossEntropy, WithoutGradientsGivesTheLossAlone) {
  torch::NoGradGuard no_grad;
  const Tensor h = testing::float_leaf(testing::random_tensor({5, 3}, 1));
  const Tensor w = testing::float_leaf(testing::random_tensor({9, 3}, 2));
  const Tensor targets = torch::tensor({0, 8, 4, -100, 2});
  const Tensor loss = linear_cross_entropy(h, w, targets, torch::kFloat32);
  EXPECT_FALSE(loss.requires_grad());
  testing::expect_close(loss.reshape({1}),
                        reference_loss(h.to(torch::kFloat64), w.to(torch::kFloat64), targets).reshape({1}),
                        {.relative = 1e-6}, "loss");
}

}  // namespace
}  // namespace ringflash
