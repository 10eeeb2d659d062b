// Fused operators against compositions in double, forward and gradients, over odd sizes.
#include "train/ops/fused.h"

#include "torch_support.h"

namespace ringflash {
namespace {

using torch::Tensor;

TEST(ResidualSum, AddsWhatProductsGive) {
  for (const auto type : {torch::kFloat32, torch::kBFloat16}) {
    const Tensor x = testing::float_leaf(testing::random_tensor({37, 19}, 1));
    const Tensor y = testing::random_tensor({37, 19}, 2).to(type).requires_grad_();
    const Tensor weights = testing::random_tensor({37, 19}, 3).to(torch::kFloat32);
    const Tensor sum = residual_sum(x, y);
    EXPECT_TRUE(sum.equal(x + y.to(torch::kFloat32)));
    (sum * weights).sum().backward();
    EXPECT_TRUE(x.grad().equal(weights));
    EXPECT_TRUE(y.grad().equal(weights.to(type)));
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

}  // namespace
}  // namespace ringflash
