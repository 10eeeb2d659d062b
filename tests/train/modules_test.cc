#include "train/causal_lm.h"

#include <map>
#include <utility>

#include "model/tensors.h"
#include "torch_support.h"
#include "train/masks.h"

namespace ringflash {
namespace {

using testing::small_config;
using torch::Tensor;

std::map<std::string, std::vector<int64_t>> inventory_of(const ModelConfig& config) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const TensorSpec& spec : tensor_inventory(config)) shapes[spec.name] = spec.shape;
  return shapes;
}

TEST(CausalLm, ParametersAreTheInventory) {
  ModelConfig tied = small_config(), untied = small_config(), full = small_config(), shared = small_config();
  untied.tie_word_embeddings = false;
  full.attention.assign(full.num_hidden_layers, AttentionKind::kFull);
  shared.sharing = {.group_size = 2, .kinds = {"k_proj", "down_proj"}, .rank = 3};
  for (const ModelConfig& config : {tied, untied, full, shared}) {
    CausalLm model(config, 1);
    std::map<std::string, std::vector<int64_t>> shapes;
    for (const auto& item : model->named_parameters()) shapes[item.key()] = item.value().sizes().vec();
    EXPECT_EQ(shapes, inventory_of(config));
  }
}

TEST(CausalLm, SeedDecidesTheWeights) {
  const auto weight = [](uint64_t seed) { return CausalLm(small_config(), seed)->parameters()[0].detach(); };
  EXPECT_TRUE(torch::equal(weight(1), weight(1)));
  EXPECT_FALSE(torch::equal(weight(1), weight(2)));
}

TEST(CausalLm, LossIsTheLogitsCrossEntropyAndReachesEveryParameter) {
  const ModelConfig config = small_config();
  CausalLm model(config, 3);
  const int64_t tokens = 90;
  const Tensor ids = torch::arange(tokens) * 7 % config.vocab_size;
  const Tensor targets = torch::arange(tokens) * 13 % config.vocab_size;
  const std::vector<int64_t> bounds = {0, 60, 90};
  const Tensor loss = model->loss_sum(ids, targets, bounds, torch::kFloat32);
  const Tensor logp = torch::log_softmax(model->logits(ids, bounds, torch::kFloat32).to(torch::kFloat64), 1);
  const Tensor want = -logp.gather(1, targets.unsqueeze(1)).sum();
  testing::expect_close(loss.reshape({1}), want.reshape({1}), {.relative = 1e-6}, "loss");
  loss.backward();
  for (const auto& item : model->named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_GT(item.value().grad().abs().max().item<double>(), 0) << item.key();
  }
}

TEST(CausalLm, WhatLayersReturnIsComparedTokenByToken) {
  const ModelConfig config = small_config();
  CausalLm student(config, 3), teacher(config, 4);
  const Tensor ids = torch::arange(90) * 7 % config.vocab_size;
  Tensor targets = torch::arange(90) * 13 % config.vocab_size;
  targets.index_put_({torch::tensor({0, 17})}, -100);
  const std::vector<int64_t> bounds = {0, 60, 90};
  const auto loss = [&](CausalLm& of, double states) {
    return student->distillation_sum(*of, {.opinion = 0.5, .states = states}, ids, targets, bounds, torch::kFloat32);
  };
  std::vector<Tensor> own, its;
  student->hidden_states(ids, bounds, torch::kFloat32, &own);
  teacher->hidden_states(ids, bounds, torch::kFloat32, &its);
  ASSERT_EQ(std::ssize(own), config.num_hidden_layers);
  double sum = 0;
  for (size_t l = 0; l < own.size(); ++l) {
    const Tensor x = own[l].detach().to(torch::kFloat64), y = its[l].detach().to(torch::kFloat64);
    sum += ((x - y).square().sum(1) / y.square().sum(1) * targets.ge(0)).sum().item<double>() / static_cast<double>(own.size());
  }
  const Tensor added = (loss(teacher, 3) - loss(teacher, 0)).reshape({1});
  // Both losses are sums of a few hundred, in fp32.
  testing::expect_close(added, torch::tensor({3 * sum}, torch::kFloat64), {.absolute = 1e-4, .relative = 1e-5}, "added");
  testing::expect_close(loss(student, 3).reshape({1}), loss(student, 0).reshape({1}), {.relative = 1e-7}, "of itself");
  loss(teacher, 3).backward();
  for (const auto& item : teacher->named_parameters()) EXPECT_FALSE(item.value().grad().defined()) << item.key();
}

// A model whose layers skip inactive tiles is the same as one that multiplies with a masked weight.
TEST(CausalLm, SkipsInactiveTiles) {
  const ModelConfig config = small_config();
  CausalLm dense(config, 3), sparse(config, 3);
  uint64_t seed = 0;
  const auto mask_layer = [&](Linear one, Linear other) {
    one->view().mask = other->view().mask = random_mask(one->weight, {SparsePattern::kBlock, 20}, ++seed);
    other->view().tiles = block_tiles(other->view().mask);
  };
  for (size_t i = 0; i < dense->layers().size(); ++i) {
    const Attention &a = dense->layers()[i]->self_attn, &b = sparse->layers()[i]->self_attn;
    mask_layer(a->q_proj, b->q_proj);
    mask_layer(a->k_proj, b->k_proj);
    if (i > 0) mask_layer(a->v_proj, b->v_proj);
    mask_layer(a->o_proj, b->o_proj);
    const Mlp &c = dense->layers()[i]->mlp, &d = sparse->layers()[i]->mlp;
    mask_layer(c->gate_proj, d->gate_proj);
    mask_layer(c->up_proj, d->up_proj);
    if (i > 0) mask_layer(c->down_proj, d->down_proj);
  }
  const Tensor ids = torch::arange(90) * 7 % config.vocab_size, targets = torch::arange(90) * 13 % config.vocab_size;
  const auto loss = [&](CausalLm& model) { return model->loss_sum(ids, targets, {0, 60, 90}, packed_type()) / 90; };
  const Tensor want = loss(dense), got = loss(sparse);
  // bf16 rounds each layer's result by 2^-9, in another order of summation.
  testing::expect_close(got.reshape({1}), want.reshape({1}), {.relative = 0x1p-8}, "loss");
  want.backward();
  got.backward();
  for (size_t i = 0; i < dense->layers().size(); ++i) {
    const Linear &a = dense->layers()[i]->mlp->gate_proj, &b = sparse->layers()[i]->mlp->gate_proj;
    const Tensor active = a->weight.grad() * a->view().mask;
    const double largest = active.abs().max().item<double>();
    testing::expect_close(b->weight.grad(), active, {.absolute = largest / 16}, "gradient");
  }
}

/// The logits of 200 tokens, and of the same with all from `changed` on replaced.
std::pair<Tensor, Tensor> logits_of_two_endings(const ModelConfig& config, int64_t changed, torch::ScalarType compute) {
  CausalLm model(config, 3);
  torch::NoGradGuard no_grad;
  const Tensor ids = torch::arange(200) * 7 % config.vocab_size;
  Tensor other = ids.clone();
  other.slice(0, changed).fill_(5);
  return {model->logits(ids, {0, 200}, compute), model->logits(other, {0, 200}, compute)};
}

// Not a bit of what was there changes with what comes after.
TEST(CausalLm, NeverLooksAhead) {
  ModelConfig all = small_config(), top_pages = small_config(), rotated = small_config();
  for (ModelConfig* config : {&top_pages, &rotated}) {
    config->ring.select = GlobalSelect::kTopPages;
    config->ring.top_pages_factor = 1;
    config->ring.top_pages_run = 4;
  }
  rotated.ring.global_rope = true;
  for (const ModelConfig& config : {all, top_pages, rotated}) {
    for (const auto compute : {torch::kFloat32, torch::kBFloat16}) {
      for (const int64_t edge : {1, 50, 120, 127, 128, 195}) {  // within runs, chunks and pages, and between them
        SCOPED_TRACE(to_string(config.ring.select) + ", edge " + std::to_string(edge));
        const auto [before, after] = logits_of_two_endings(config, edge, compute);
        EXPECT_TRUE(torch::equal(before.slice(0, 0, edge), after.slice(0, 0, edge)));
        EXPECT_FALSE(torch::equal(before.slice(0, edge), after.slice(0, edge)));
      }
    }
  }
}

TEST(CausalLm, BothWaysTheBeginningSeesTheEnd) {
  ModelConfig config = small_config();
  config.attention_mode = AttentionMode::kBidirectional;
  const auto [before, after] = logits_of_two_endings(config, 195, torch::kFloat32);
  for (const int64_t t : {0, 100, 194}) {  // the ring's neighbour, by way of a page, within the band
    EXPECT_FALSE(torch::equal(before[t], after[t])) << t;
  }
  CausalLm model(config, 3);
  model->logits(torch::arange(200) * 7 % config.vocab_size, {0, 60, 200}, torch::kFloat32).square().sum().backward();
  for (const auto& item : model->named_parameters()) {
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_GT(item.value().grad().abs().max().item<double>(), 0) << item.key();
  }
}

TEST(CausalLm, PackedDocumentsAreAlone) {
  const ModelConfig config = small_config();
  CausalLm model(config, 3);
  torch::NoGradGuard no_grad;
  const Tensor ids = torch::arange(80) * 7 % config.vocab_size;
  const Tensor packed = model->logits(ids, {0, 33, 80}, torch::kFloat32);
  const Tensor second = model->logits(ids.slice(0, 33), {0, 47}, torch::kFloat32);
  // Same arithmetic on other rows of a matrix product: only its blocking may differ.
  testing::expect_close(packed.slice(0, 33), second.to(torch::kFloat64), {.absolute = 2e-5}, "second document");
}

}  // namespace
}  // namespace ringflash
