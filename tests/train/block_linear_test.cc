// Block-sparse linear layers against torch's autograd on the masked dense product in double.
#include "train/ops/block_linear.h"

#include "torch_support.h"
#include "train/masks.h"
#include "train/ops/fused.h"

namespace ringflash {
namespace {

using torch::Tensor;

constexpr double kBf16Unit = 0x1p-8;

/// Numbers that bf16 holds exactly, so that only results are rounded.
Tensor bf16_tensor(at::IntArrayRef shape, uint64_t seed, double scale = 1) {
  return (testing::random_tensor(shape, seed) * scale).to(torch::kBFloat16).to(torch::kFloat64);
}

Tensor block_mask(int64_t out, int64_t in, uint64_t seed) {
  return random_mask(torch::zeros({out, in}), {SparsePattern::kBlock, 12}, seed);
}

double output_unit() { return packed_type() == torch::kBFloat16 ? kBf16Unit : 0x1p-24; }

/// Of sums of `count` products of normal numbers in fp32, rounded to packed_type(): each partial sum is rounded once.
testing::Tolerance sum_tolerance(double count) { return {.absolute = 6 * count * 0x1p-24, .relative = output_unit()}; }

/// Of results of several layers: `size` numbers' worth of roundings to packed_type(), or of fp32 sums.
testing::Tolerance chain_tolerance(double size) {
  const double unit = packed_type() == torch::kBFloat16 ? kBf16Unit : 1e-5;
  return {.absolute = size * unit, .relative = unit};
}

TEST(BlockLinear, MatchesTheMaskedDenseProduct) {
  for (const int64_t tokens : {1, 63, 64, 65, 1000}) {
    SCOPED_TRACE(tokens);
    const Tensor mask = block_mask(96, 128, 1);
    const Tensor x0 = bf16_tensor({tokens, 128}, 2), w0 = bf16_tensor({96, 128}, 3);
    const Tensor dy = bf16_tensor({tokens, 96}, 4);
    const Tensor x = testing::float_leaf(x0), w = testing::float_leaf(w0);
    const Tensor xd = testing::double_leaf(x0), wd = testing::double_leaf(w0);
    const Tensor y = block_linear(x, w, block_tiles(mask), TileGradient::kActive);
    const Tensor want = torch::linear(xd, wd * mask);
    (y * dy.to(torch::kFloat32)).sum().backward();
    (want * dy).sum().backward();
    testing::expect_close(y, want, sum_tolerance(128), "y");
    testing::expect_close(x.grad(), xd.grad(), sum_tolerance(96), "dx");
    testing::expect_close(w.grad(), wd.grad(), {.absolute = 6 * 0x1p-24 * static_cast<double>(tokens)}, "dweight");
  }
}

TEST(BlockLinear, GivesTheDenseGradientWhenAsked) {
  const Tensor mask = block_mask(64, 96, 5);
  const Tensor x = bf16_tensor({70, 96}, 6).to(torch::kFloat32), dy = bf16_tensor({70, 64}, 7).to(torch::kFloat32);
  const Tensor w = testing::float_leaf(bf16_tensor({64, 96}, 8));
  (block_linear(x, w, block_tiles(mask), TileGradient::kDense) * dy).sum().backward();
  // libtorch's product of bf16 is rounded to bf16.
  testing::expect_close(w.grad(), torch::matmul(dy.t(), x).to(torch::kFloat64), chain_tolerance(1), "dweight");
}

TEST(BlockLinear, KeepsAChainOfLayersPacked) {
  constexpr int64_t kTokens = 77, kWidth = 64, kInner = 160;
  const Tensor masks[] = {block_mask(kInner, kWidth, 1), block_mask(kInner, kWidth, 2), block_mask(kWidth, kInner, 3)};
  const Tensor x0 = bf16_tensor({kTokens, kWidth}, 4), dy = bf16_tensor({kTokens, kWidth}, 5);
  const Tensor w0[] = {bf16_tensor({kInner, kWidth}, 6, 0.3), bf16_tensor({kInner, kWidth}, 7, 0.3),
                       bf16_tensor({kWidth, kInner}, 8, 0.2)};
  std::vector<Tensor> w, wd;
  for (const Tensor& values : w0) {
    w.push_back(testing::float_leaf(values));
    wd.push_back(testing::double_leaf(values));
  }
  const Tensor x = testing::float_leaf(x0), xd = testing::double_leaf(x0);
  const auto layer = [&](const Tensor& input, int i) {
    return block_linear_packed(input, w[i], block_tiles(masks[i]), TileGradient::kActive);
  };
  const Tensor packed = pack_tokens(x);
  const Tensor inner = swiglu(layer(packed, 0), layer(packed, 1));
  const Tensor y = block_linear_unpacked(inner, kTokens, w[2], block_tiles(masks[2]), TileGradient::kActive);
  const auto dense = [&](const Tensor& input, int i) { return torch::linear(input, wd[i] * masks[i]); };
  const Tensor gate = dense(xd, 0);
  const Tensor want = dense(gate * torch::sigmoid(gate) * dense(xd, 1), 2);
  (y * dy.to(y.scalar_type())).sum().backward();
  (want * dy).sum().backward();
  // Four roundings of numbers up to about 8 on the way, at random: well below their sum.
  testing::expect_close(y, want, chain_tolerance(8), "y");
  testing::expect_close(x.grad(), xd.grad(), chain_tolerance(16), "dx");
  for (int i = 0; i < 3; ++i) {
    testing::expect_close(w[i].grad(), wd[i].grad(), chain_tolerance(64), "dweight " + std::to_string(i));
  }
}

TEST(BlockLinear, TakesExpandedGradientsAndWeightsThatAreFrozen) {
  const Tensor mask = block_mask(32, 48, 1), w = bf16_tensor({32, 48}, 2).to(torch::kFloat32), x0 = bf16_tensor({33, 48}, 3);
  const Tensor x = testing::float_leaf(x0), xd = testing::double_leaf(x0);
  block_linear(x, w, block_tiles(mask), TileGradient::kActive).sum().backward();  // dy is one number, expanded
  torch::linear(xd, w.to(torch::kFloat64) * mask).sum().backward();
  testing::expect_close(x.grad(), xd.grad(), chain_tolerance(16), "dx");
  EXPECT_FALSE(w.grad().defined());
}

TEST(BlockLinear, TilesOfAMask) {
  EXPECT_FALSE(block_tiles(torch::ones({24, 32}, torch::kBool)));
  Tensor mask = torch::zeros({32, 32}, torch::kBool);
  mask[17][5] = true;
  const BlockTilesPtr tiles = block_tiles(mask);
  ASSERT_TRUE(tiles);
  EXPECT_EQ(tiles->pattern.active(), 1);
  EXPECT_EQ(tiles->pattern.index().row_count[1], 1);
  EXPECT_EQ(tiles->pattern.index().entry_column[tiles->pattern.index().row_begin[1]], 2);
}

TEST(BlockLinear, RefusesOtherShapes) {
  const BlockTilesPtr tiles = block_tiles(torch::ones({32, 48}, torch::kBool));
  const Tensor weight = torch::zeros({32, 32});
  EXPECT_THROW(block_linear(torch::zeros({3, 48}), weight, tiles, TileGradient::kActive), c10::Error);
  EXPECT_THROW(pack_tokens(torch::zeros({3, 24})), c10::Error);
}

}  // namespace
}  // namespace ringflash
