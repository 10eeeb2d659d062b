#include "train/ops/linear_loss.h"

#include "torch_support.h"

namespace ringflash {
namespace {

using torch::Tensor;

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
  // A sum over the vocabulary of weights up to 4.5 times probabilities that sum to 1, and in those another one, that of
  // exponentials: each of the 70000 additions rounds by 2^-24 of a total, in a random walk of 265 such steps; four times
  // that is what libraries that sum in one chain (MKL where processors are not Intel's) are seen to stay within.
  const double walk = 4 * 265 * 0x1p-24;
  testing::expect_close(h.grad(), hd.grad(), {.absolute = 4.5 * 2 * walk}, "dhidden");
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

TEST(LinearDistillation, MatchesTheFormula) {
  const int64_t rows = 21, width = 12, teacher_width = 7, vocab = 41;
  const Tensor h0 = testing::random_tensor({rows, width}, 1), w0 = testing::random_tensor({vocab, width}, 2);
  const Tensor th = testing::random_tensor({rows, teacher_width}, 3), tw = testing::random_tensor({vocab, teacher_width}, 4);
  Tensor targets = torch::arange(rows) * 5 % vocab;
  targets.index_put_({torch::tensor({0, 17})}, -100);
  for (const double weight : {0.0, 0.3, 1.0}) {
    const Tensor h = testing::float_leaf(h0), w = testing::float_leaf(w0);
    const Tensor hd = testing::double_leaf(h0), wd = testing::double_leaf(w0);
    const Teacher teacher{th.to(torch::kFloat32), tw.to(torch::kFloat32), weight};
    const Tensor loss = linear_distillation(h, w, targets, teacher, torch::kFloat32);
    const Tensor logp = torch::log_softmax(torch::matmul(hd, wd.t()), 1);
    const Tensor opinion = torch::softmax(torch::matmul(th, tw.t()), 1);
    const Tensor want = (1 - weight) * reference_loss(hd, wd, targets) -
                        weight * ((opinion * logp).sum(1) * targets.ge(0)).sum();
    loss.backward();
    want.backward();
    testing::expect_close(loss.reshape({1}), want.reshape({1}), {.absolute = 1e-4, .relative = 1e-6}, "loss");
    testing::expect_close(h.grad(), hd.grad(), {.absolute = 1e-5, .relative = 1e-5}, "dhidden");
    testing::expect_close(w.grad(), wd.grad(), {.absolute = 1e-5, .relative = 1e-5}, "dweight");
  }
}

TEST(LinearDistillation, Bf16ProductsRoundButDoNotMore) {
  // A vocabulary of 40000 makes slices of 104 rows, of which threads take four at a time.
  const int64_t rows = 131, width = 6, vocab = 40000;
  const auto rounded = [](const Tensor& x) { return x.to(torch::kBFloat16).to(torch::kFloat64); };
  const Tensor h0 = rounded(testing::random_tensor({rows, width}, 1)), w0 = rounded(testing::random_tensor({vocab, width}, 2));
  const Tensor th = rounded(testing::random_tensor({rows, width}, 3));
  Tensor targets = torch::arange(rows) * 5147 % vocab;
  targets.index_put_({torch::tensor({0, 117})}, -100);
  const Tensor h = testing::float_leaf(h0), w = testing::float_leaf(w0);
  const Tensor hd = testing::double_leaf(h0), wd = testing::double_leaf(w0);
  const Teacher teacher{th.to(torch::kFloat32), w0.to(torch::kFloat32), 0.3};
  const Tensor loss = linear_distillation(h, w, targets, teacher, torch::kBFloat16);
  const Tensor logp = torch::log_softmax(torch::matmul(hd, wd.t()), 1);
  const Tensor opinion = torch::softmax(torch::matmul(th, w0.t()), 1);
  const Tensor want =
      0.7 * reference_loss(hd, wd, targets) - 0.3 * ((opinion * logp).sum(1) * targets.ge(0)).sum();
  loss.backward();
  want.backward();
  // Logits of at most 15 are rounded to 2^-9 of themselves, so that a probability is off by 6 % at most and a row's loss by
  // as much; a gradient is a sum of weights of up to 4 by such probabilities.
  testing::expect_close(loss.reshape({1}), want.reshape({1}), {.absolute = 131 * 0.06}, "loss");
  testing::expect_close(h.grad(), hd.grad(), {.absolute = 0.06 * 4}, "dhidden");
  EXPECT_EQ(h.grad()[117].abs().sum().item<float>(), 0);
}

}  // namespace
}  // namespace ringflash
