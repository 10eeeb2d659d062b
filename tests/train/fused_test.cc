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

}  // namespace
}  // namespace ringflash
