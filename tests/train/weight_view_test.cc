#include "train/ops/weight_view.h"

#include "format/quantize_sparse.h"
#include "torch_support.h"
#include "train/masks.h"

namespace ringflash {
namespace {

using torch::Tensor;

/// The masked weights as the exporter rounds them, all at once.
Tensor rounded(const Tensor& masked, int64_t bits, int64_t nonzeros) {
  SparseFormat format{.bits = bits == 4 ? SparseBits::k4 : SparseBits::k8,
                      .shape = {masked.size(0), masked.size(1), static_cast<int>(nonzeros)}};
  if (bits == 4) format.base = s4_base_exponent(masked.abs().max().item<float>());
  Tensor values = torch::full_like(masked, NAN);
  fake_quantize(format, masked.data_ptr<float>(), {0, format.shape.row_blocks()}, values.data_ptr<float>()).value();
  return values;
}

TEST(SeenWeight, IsMaskedAndAsTheFileWillHoldIt) {
  for (const int64_t rows : {1, 16, 37, 96}) {
    for (const int64_t bits : {16, 8, 4}) {
      const int64_t columns = bits == 16 ? 100 : 128, nonzeros = 12;
      const Tensor weight = testing::random_tensor({rows, columns}, 1).to(torch::kFloat32);
      const Tensor mask = magnitude_mask(weight, {SparsePattern::kFine, nonzeros});
      const Tensor masked = torch::where(mask, weight, 0.0).to(torch::kFloat32);
      const Tensor want = bits == 16 ? masked : rounded(masked, bits, nonzeros);
      const WeightView view{.mask = mask, .bits = bits, .nonzeros = nonzeros};
      for (const auto type : {torch::kFloat32, torch::kBFloat16}) {
        EXPECT_TRUE(torch::equal(seen_weight(weight, view, type), want.to(type))) << rows << " rows, " << bits << " bits";
      }
      if (bits < 16) {
        EXPECT_TRUE(torch::equal(quantized_weight(masked, bits, nonzeros), want));
      }
    }
  }
}

TEST(SeenWeight, GradientsPassStraightThrough) {
  const Tensor weight = testing::float_leaf(testing::random_tensor({20, 64}, 1));
  const WeightView view{.mask = magnitude_mask(weight.detach(), {SparsePattern::kFine, 12}), .bits = 4, .nonzeros = 12};
  const Tensor gradient = testing::random_tensor({20, 64}, 2).to(torch::kFloat32);
  seen_weight(weight, view, torch::kFloat32).backward(gradient);
  EXPECT_TRUE(torch::equal(weight.grad(), gradient));
}

}  // namespace
}  // namespace ringflash
