// Layers that share weights: what they compute, what learns, what is masked and exported.
#include <map>

#include "format/block_s4.h"
#include "format/quantize_sparse.h"
#include "model/tensors.h"
#include "torch_support.h"
#include "train/checkpointing.h"
#include "train/causal_lm.h"
#include "train/sparsifier.h"

namespace ringflash {
namespace {

using testing::small_config;
using torch::Tensor;

constexpr int64_t kTokens = 90;

ModelConfig shared_config(std::vector<std::string> kinds = SharingConfig().kinds) {
  ModelConfig config = small_config();
  config.num_hidden_layers = 3;  // the last one shares with none
  config.attention.assign(3, AttentionKind::kRing);
  config.sharing = {.group_size = 2, .kinds = std::move(kinds), .rank = 3};
  return config;
}

std::map<std::string, Tensor> named(const CausalLm& model) {
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, value] : parameters_of(model)) tensors[name] = value;
  return tensors;
}

/// Pairs that do something.
void draw_deltas(CausalLm& model) {
  torch::NoGradGuard no_grad;
  for (auto& [name, value] : named(model)) {
    if (name.ends_with("delta_a")) value.copy_(testing::random_tensor(value.sizes(), value.numel()) / 2);
  }
}

void take_gradients(CausalLm& model) {
  const Tensor ids = torch::arange(kTokens) * 7 % model->config().vocab_size;
  model->loss_sum(ids, torch::roll(ids, -1), {0, 60, kTokens}, torch::kFloat32).backward();
}

const std::string kGate = "model.layers.0.mlp.gate_proj.", kNextGate = "model.layers.1.mlp.gate_proj.";

TEST(SharedLayers, BeginAlike) {
  CausalLm model(shared_config(), 3);
  const auto tensors = named(model);
  EXPECT_EQ(tensors.at(kGate + "delta_a").abs().max().item<float>(), 0);
  EXPECT_GT(tensors.at(kGate + "delta_b").abs().min().item<float>(), 0);
  EXPECT_FALSE(torch::equal(tensors.at(kGate + "delta_b"), tensors.at(kNextGate + "delta_b")));
}

// Products y = x (W + A B)^T of two that share W, against the same in double. Sums of at most 24 terms in fp32.
TEST(SharedLayers, MultiplyWithTheComposedMatrix) {
  Linear owner(LinearShape{.in = 24, .out = 16, .rank = 3});
  Linear borrower(LinearShape{.in = 24, .out = 16, .borrows = true, .rank = 3});
  borrower->borrow(*owner);
  EXPECT_EQ(borrower->parameters().size(), 2u);
  EXPECT_EQ(used_parameters(*borrower).size(), 3u);
  uint64_t seed = 0;
  const auto draw = [&](Tensor parameter) {
    torch::NoGradGuard no_grad;
    parameter.copy_(testing::random_tensor(parameter.sizes(), ++seed));
    return testing::double_leaf(parameter);
  };
  const Tensor w = draw(owner->weight);
  Tensor loss = torch::zeros({}), want_loss = torch::zeros({}, torch::kFloat64);
  std::vector<std::pair<Tensor, Tensor>> leaves = {{owner->weight, w}};
  for (Linear linear : {owner, borrower}) {
    const Tensor a = draw(linear->delta_a), b = draw(linear->delta_b), values = testing::random_tensor({10, 24}, ++seed);
    const Tensor x = testing::float_leaf(values), want_x = testing::double_leaf(values);
    leaves.insert(leaves.end(), {{linear->delta_a, a}, {linear->delta_b, b}, {x, want_x}});
    const Tensor y = linear(x), want = torch::linear(want_x, w + a.mm(b));
    testing::expect_close(y, want, {.absolute = 1e-4}, "product");
    loss = loss + y.square().mean();
    want_loss = want_loss + want.square().mean();
  }
  loss.backward();
  want_loss.backward();
  for (const auto& [got, want] : leaves) testing::expect_close(got.grad(), want.grad(), {.absolute = 1e-4}, "gradient");
}

// The whole model against one with W + A B in each layer: by the chain rule dW is the sum of its layers' gradients G,
// dA = G B^T and dB = A^T G. The tolerance is wide for machines whose attention rounds to bf16; a gradient of another
// layer would be all wrong.
TEST(SharedLayers, LearnWhatTheComposedMatricesDo) {
  CausalLm model(shared_config(), 3);
  draw_deltas(model);
  ModelConfig plain = model->config();
  plain.sharing = {};
  CausalLm composed(plain, 4);
  const auto shared = named(model), whole = named(composed);
  {
    torch::NoGradGuard no_grad;
    for (auto [name, value] : whole) {
      const bool borrowed = !shared.contains(name);
      std::string owner = name;
      if (borrowed) owner.replace(owner.find(".1."), 3, ".0.");
      value.copy_(shared.at(owner));
      const std::string place = name.substr(0, name.rfind("weight"));
      if (shared.contains(place + "delta_a")) value.add_(shared.at(place + "delta_a").mm(shared.at(place + "delta_b")));
    }
  }
  take_gradients(model);
  take_gradients(composed);
  for (const auto& [name, value] : shared) {
    SCOPED_TRACE(name);
    const auto gradient = [&](const std::string& of) { return whole.at(of).grad().to(torch::kFloat64); };
    const std::string place = name.substr(0, name.rfind('.') + 1);
    Tensor want;
    if (name.ends_with("delta_a")) {
      want = gradient(place + "weight").mm(shared.at(place + "delta_b").detach().to(torch::kFloat64).t());
    } else if (name.ends_with("delta_b")) {
      want = shared.at(place + "delta_a").detach().to(torch::kFloat64).t().mm(gradient(place + "weight"));
    } else {
      want = gradient(name);
      if (shared.contains(place + "delta_a")) want = want + gradient("model.layers.1." + place.substr(15) + "weight");
    }
    testing::expect_close(value.grad(), want, {.absolute = want.abs().max().item<double>() / 16}, "gradient");
  }
}

/// A shared, sparse, quantised model after some steps on invented gradients.
struct Trained {
  Trained() {
    recipe.max_steps = 10;
    recipe.mask_interval = 1;
    ModelConfig config = shared_config();
    config.sparsity = {.pattern = SparsePattern::kFine, .weight_bits = 4};
    model = CausalLm(config, 1);
    draw_deltas(model);
    optimizer.emplace(parameters_of(model), recipe);
    sparsifier.emplace(model, *optimizer, recipe, /*fresh=*/true);
    for (int64_t n = 1; n <= 8; ++n) {
      optimizer->zero_grad();
      take_gradients(model);
      optimizer->step(0.01, 1.0);
      sparsifier->after_step(n);
    }
  }
  TrainConfig recipe;
  CausalLm model{nullptr};
  std::optional<AdamW> optimizer;
  std::optional<Sparsifier> sparsifier;
};

TEST(SharedLayers, HaveOneMaskForTheWeightAndNoneForTheirPairs) {
  Trained trained;
  std::map<std::string, Tensor> masks;
  for (const auto& [name, value] : trained.sparsifier->tensors()) {
    if (value.scalar_type() == torch::kBool) masks[name] = value;
  }
  EXPECT_EQ(masks.size(), 2u * 7);  // of layers 0 and 2
  EXPECT_FALSE(masks.contains(kNextGate + "weight.mask"));
  const std::vector<DecoderLayer>& layers = trained.model->layers();
  EXPECT_TRUE(layers[1]->mlp->gate_proj->view().mask.is_same(layers[0]->mlp->gate_proj->view().mask));
  EXPECT_EQ(layers[1]->mlp->gate_proj->view().bits, 4);
}

TEST(SharedLayers, MultiplyWithWhatTheFileHoldsAndTheirPair) {
  Trained trained;
  const auto tensors = named(trained.model);
  const Linear& owner = trained.model->layers()[0]->mlp->gate_proj;
  const Tensor saved = (owner->weight * owner->view().mask).detach().contiguous();
  SparseFormat format{.bits = SparseBits::k4, .shape = {saved.size(0), saved.size(1), 12}};
  format.base = s4_base_exponent(saved.abs().max().item<float>());
  std::vector<std::byte> blocks(static_cast<size_t>(format.bytes()));
  const RowBlocks all{0, format.shape.row_blocks()};
  ASSERT_TRUE(quantize(format, saved.data_ptr<float>(), all, blocks.data()));
  const Tensor decoded = torch::empty_like(saved), x = torch::eye(saved.size(1));
  dequantize(format, blocks.data(), all, decoded.data_ptr<float>());
  for (int64_t l = 0; l < 2; ++l) {
    Linear linear = trained.model->layers()[static_cast<size_t>(l)]->mlp->gate_proj;
    const std::string place = l == 0 ? kGate : kNextGate;
    const Tensor &a = tensors.at(place + "delta_a"), &b = tensors.at(place + "delta_b");
    const Tensor want = torch::addmm(torch::linear(x, decoded), torch::linear(x, b), a.t());
    EXPECT_TRUE(torch::equal(linear(x), want)) << l;
  }
}

}  // namespace
}  // namespace ringflash
