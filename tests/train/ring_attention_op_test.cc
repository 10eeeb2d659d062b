// The kernels as torch operator against the composition of plain torch ops in double, forward and gradients.
#include "train/ops/ring_attention.h"

#include "torch_support.h"

namespace ringflash {
namespace {

using torch::Tensor;

struct Case {
  const char* name;
  AttentionKind kind;
  RingGeometry ring;
  int64_t heads, key_value_heads, head_dim;
  std::vector<int64_t> bounds;
};

RingGeometry geometry(double ratio, int64_t sinks, bool global_rope) {
  return {.window = 16, .stride = 8, .global_ratio = ratio, .sink_tokens = sinks, .global_rope = global_rope};
}

const Case kCases[] = {
    {"full", AttentionKind::kFull, geometry(0.25, 2, false), 4, 2, 16, {0, 50}},
    {"ring", AttentionKind::kRing, geometry(0.25, 2, false), 4, 2, 16, {0, 97}},
    {"rotated globals", AttentionKind::kRing, geometry(0.25, 2, true), 4, 1, 8, {0, 80}},
    {"no sinks", AttentionKind::kRing, geometry(0.5, 0, false), 2, 2, 32, {0, 64}},
    {"window only", AttentionKind::kRing, geometry(0.0, 0, false), 2, 1, 16, {0, 70}},
    {"sinks without router", AttentionKind::kRing, geometry(0.0, 3, false), 2, 1, 16, {0, 70}},
    {"packed documents", AttentionKind::kRing, geometry(0.25, 2, false), 4, 2, 16, {0, 1, 33, 41, 130}},
};

struct Leaves {
  Tensor q, k, v, router;
  std::vector<Tensor> all() const {
    std::vector<Tensor> list = {q, k, v};
    if (router.defined()) list.push_back(router);
    return list;
  }
};

template <typename MakeLeaf>
Leaves make_leaves(const Case& c, MakeLeaf make) {
  const int64_t tokens = c.bounds.back();
  const bool routed = c.kind == AttentionKind::kRing && c.ring.page_tokens() > 0;
  return {make(testing::random_tensor({tokens, c.heads, c.head_dim}, 1)),
          make(testing::random_tensor({tokens, c.key_value_heads, c.head_dim}, 2)),
          make(testing::random_tensor({tokens, c.key_value_heads, c.head_dim}, 3)),
          routed ? make(testing::random_tensor({tokens, c.key_value_heads}, 4)) : Tensor()};
}

TEST(RingAttentionOp, MatchesTheCompositionForwardAndBackward) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    const AttentionOptions options{.kind = c.kind, .ring = c.ring, .rope_theta = 10000.0};
    const Leaves actual = make_leaves(c, testing::float_leaf), expected = make_leaves(c, testing::double_leaf);
    const Tensor weights = testing::random_tensor({c.bounds.back(), c.heads, c.head_dim}, 5);
    const Tensor out = ring_attention(actual.q, actual.k, actual.v, actual.router, c.bounds, options);
    const Tensor want =
        ring_attention_composed(expected.q, expected.k, expected.v, expected.router, c.bounds, options);
    (out * weights.to(torch::kFloat32)).sum().backward();
    (want * weights).sum().backward();

    // Outputs average values of order 1 over logits of order sqrt(head_dim) <= 6: fp32 leaves them good to some
    // eps * 64. Gradients sum up to 130 such terms.
    testing::expect_close(out, want, {.absolute = 1e-5, .relative = 1e-5}, "out");
    const std::vector<Tensor> ours = actual.all(), theirs = expected.all();
    const char* names[] = {"dq", "dk", "dv", "drouter"};
    for (size_t i = 0; i < ours.size(); ++i) {
      testing::expect_close(ours[i].grad(), theirs[i].grad(), {.absolute = 5e-5, .relative = 5e-5}, names[i]);
    }
  }
}

TEST(RingAttentionOp, TheRouterGetsAGradient) {
  const Case& c = kCases[1];
  const Leaves leaves = make_leaves(c, testing::float_leaf);
  const AttentionOptions options{.kind = c.kind, .ring = c.ring, .rope_theta = 10000.0};
  ring_attention(leaves.q, leaves.k, leaves.v, leaves.router, c.bounds, options).square().sum().backward();
  EXPECT_GT(leaves.router.grad().abs().max().item<double>(), 1e-4);
}

TEST(RingAttentionOp, TakesBf16) {
  const Case& c = kCases[1];
  const AttentionOptions options{.kind = c.kind, .ring = c.ring, .rope_theta = 10000.0};
  const Leaves leaves = make_leaves(c, testing::float_leaf);
  const auto low = [](const Tensor& x) { return x.to(torch::kBFloat16); };
  const Tensor q = low(leaves.q), k = low(leaves.k), v = low(leaves.v);
  const Tensor out = ring_attention(q, k, v, leaves.router, c.bounds, options);
  EXPECT_EQ(out.scalar_type(), torch::kBFloat16);
  const auto wide = [](const Tensor& x) { return x.to(torch::kFloat64); };
  const Tensor want = ring_attention_composed(wide(q), wide(k), wide(v), wide(leaves.router), c.bounds, options);
  // Computed in fp32 from the same rounded inputs; only the result is rounded to 8 bits.
  testing::expect_close(out, want, {.absolute = 2e-5, .relative = 1.0 / 256 + 1e-5}, "out");
  out.to(torch::kFloat32).sum().backward();
  EXPECT_TRUE(leaves.q.grad().isfinite().all().item<bool>());
}

TEST(RingAttentionOp, IsRegisteredForPython) {
  const Case& c = kCases[1];
  const Leaves leaves = make_leaves(c, testing::float_leaf);
  const AttentionOptions options{.kind = c.kind, .ring = c.ring, .rope_theta = 500.0};
  const Tensor want = ring_attention(leaves.q, leaves.k, leaves.v, leaves.router, c.bounds, options);
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("ringflash::ring_attention", "");
  torch::jit::Stack stack = {leaves.q,          leaves.k,            leaves.v,          leaves.router,
                             c.bounds,          true,                c.ring.window,     c.ring.stride,
                             c.ring.global_ratio, c.ring.sink_tokens, c.ring.global_rope, 500.0};
  op.callBoxed(&stack);
  EXPECT_TRUE(torch::equal(stack.at(0).toTensor(), want));
}

TEST(RingAttentionOp, RefusesWhatDoesNotFit) {
  const Case& c = kCases[1];
  const Leaves x = make_leaves(c, testing::float_leaf);
  const AttentionOptions options{.kind = c.kind, .ring = c.ring, .rope_theta = 10000.0};
  EXPECT_THROW((void)ring_attention(x.q, x.k, x.v, Tensor(), c.bounds, options), c10::Error);
  EXPECT_THROW((void)ring_attention(x.q, x.k, x.v, x.router, {0, 5}, options), c10::Error);
  EXPECT_THROW((void)ring_attention(x.q, x.k, x.v, x.router, {0, 40, 40, 97}, options), c10::Error);
  EXPECT_THROW((void)ring_attention(x.q, x.k.slice(1, 0, 1), x.v, x.router, c.bounds, options), c10::Error);
  AttentionOptions greedy = options;
  greedy.ring.global_ratio = 1.5;
  EXPECT_THROW((void)ring_attention(x.q, x.k, x.v, x.router, c.bounds, greedy), c10::Error);
  AttentionOptions uneven = options;
  uneven.ring.window = 15;
  EXPECT_THROW((void)ring_attention(x.q, x.k, x.v, x.router, c.bounds, uneven), c10::Error);
}

}  // namespace
}  // namespace ringflash
