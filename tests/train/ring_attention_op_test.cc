// The kernels as torch operator against the composition of plain torch ops in double, forward and gradients.
#include "train/ops/ring_attention.h"

#include <algorithm>
#include <map>

#include "kernels/kernels.h"
#include "torch_support.h"

namespace ringflash {
namespace {

using torch::Tensor;

struct Case {
  const char* name;
  AttentionOptions options;
  int64_t heads, key_value_heads, head_dim;
  std::vector<int64_t> bounds;

  int64_t tokens() const { return bounds.back(); }
  bool routed() const { return options.kind == AttentionKind::kRing && options.ring.page_tokens() > 0; }
};

AttentionOptions ring(double ratio, int64_t sinks, bool global_rope) {
  return {.kind = AttentionKind::kRing,
          .ring = {.window = 16, .stride = 8, .global_ratio = ratio, .sink_tokens = sinks, .global_rope = global_rope}};
}

/// One page per doubling, so that a few chunks make the choice hard.
AttentionOptions top_pages(int64_t run, int64_t sinks, bool global_rope) {
  AttentionOptions options = ring(0.25, sinks, global_rope);
  options.ring.select = GlobalSelect::kTopPages;
  options.ring.top_pages_factor = 1;
  options.ring.top_pages_run = run;
  return options;
}

AttentionOptions as_full(AttentionOptions options) {
  options.kind = AttentionKind::kFull;
  return options;
}

AttentionOptions both_ways(AttentionOptions options) {
  options.mode = AttentionMode::kBidirectional;
  return options;
}

AttentionOptions sliding(int64_t window) {
  return {.kind = AttentionKind::kSliding, .ring = {}, .sliding_window = window};
}

AttentionOptions stretched(AttentionOptions options) {
  options.rope.scaling = {.type = RopeScalingType::kYarn, .factor = 4, .original_positions = 16, .attention_factor = 0.9};
  return options;
}

const Case kCases[] = {
    {"full", as_full(ring(0.25, 2, false)), 4, 2, 16, {0, 50}},
    {"ring", ring(0.25, 2, false), 4, 2, 16, {0, 97}},
    {"rotated globals", ring(0.25, 2, true), 4, 1, 8, {0, 80}},
    {"no sinks", ring(0.5, 0, false), 2, 2, 32, {0, 64}},
    {"window only", ring(0.0, 0, false), 2, 1, 16, {0, 70}},
    {"sinks without router", ring(0.0, 3, false), 2, 1, 16, {0, 70}},
    {"packed documents", ring(0.25, 2, false), 4, 2, 16, {0, 1, 33, 41, 130}},
    {"top pages", top_pages(4, 2, false), 4, 2, 16, {0, 301}},
    {"rotated top pages", top_pages(4, 2, true), 4, 1, 8, {0, 200}},
    {"each query by itself", top_pages(1, 0, false), 2, 1, 16, {0, 203}},
    {"runs that do not divide a chunk", top_pages(3, 8, false), 2, 2, 16, {0, 10, 190, 350}},
    {"full both ways", both_ways(as_full(ring(0.25, 2, false))), 4, 2, 16, {0, 50}},
    {"both ways", both_ways(ring(0.25, 2, false)), 4, 2, 16, {0, 97}},
    {"rotated both ways", both_ways(ring(0.25, 2, true)), 4, 1, 8, {0, 80}},
    {"window both ways", both_ways(ring(0.0, 2, false)), 2, 1, 16, {0, 70}},
    {"both ways, packed", both_ways(ring(0.5, 0, false)), 4, 2, 16, {0, 1, 33, 41, 130}},
    {"top pages mean nothing both ways", both_ways(top_pages(4, 2, false)), 2, 1, 16, {0, 88}},
    {"sliding", sliding(20), 4, 2, 16, {0, 1, 33, 130}},
    {"sliding by two", sliding(2), 2, 1, 8, {0, 40}},
    {"stretched", stretched(ring(0.25, 2, true)), 4, 2, 16, {0, 97}},
};

const Case& find_case(const std::string& name) {
  return *std::find_if(std::begin(kCases), std::end(kCases), [&](const Case& c) { return c.name == name; });
}

const Case& kRing = kCases[1];

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
  return {make(testing::random_tensor({c.tokens(), c.heads, c.head_dim}, 1)),
          make(testing::random_tensor({c.tokens(), c.key_value_heads, c.head_dim}, 2)),
          make(testing::random_tensor({c.tokens(), c.key_value_heads, c.head_dim}, 3)),
          c.routed() ? make(testing::random_tensor({c.tokens(), c.key_value_heads}, 4)) : Tensor()};
}

Tensor attend(const Case& c, const Leaves& x) {
  return ring_attention(x.q, x.k, x.v, x.router, c.bounds, c.options);
}

Tensor attend_composed(const Case& c, const Leaves& x) {
  return ring_attention_composed(x.q, x.k, x.v, x.router, c.bounds, c.options);
}

/// `roundings`: how many to bf16 come together in a number where a table has such inputs. Each has a deviation of
/// 2^-8 / sqrt(3) of its number at most; they are independent, so the whole tensor is off by their root.
void expect_matches(const Tensor& actual, const Tensor& expected, testing::Tolerance fp32, int roundings,
                    const std::string& what) {
  if (kernels::table().key_type == kernels::KeyType::kF32) return testing::expect_close(actual, expected, fp32, what);
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  const double error = ((actual.to(torch::kFloat64) - expected).norm() / expected.norm()).item<double>();
  EXPECT_LT(error, std::sqrt(roundings / 3.0) * 0x1p-8) << what;
}

TEST(RingAttentionOp, MatchesTheCompositionForwardAndBackward) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    const Leaves actual = make_leaves(c, testing::float_leaf), expected = make_leaves(c, testing::double_leaf);
    const Tensor weights = testing::random_tensor({c.tokens(), c.heads, c.head_dim}, 5);
    const Tensor out = attend(c, actual), want = attend_composed(c, expected);
    (out * weights.to(torch::kFloat32)).sum().backward();
    (want * weights).sum().backward();

    // Outputs average values of order 1 over logits of order sqrt(head_dim) <= 6: fp32 leaves them good to some
    // eps * 64. Gradients sum up to 350 such terms. In bf16 an output has the roundings of q, k, the weight and v; a
    // gradient's terms have those, and of dout, out, dlogit and what dlogit is multiplied with.
    expect_matches(out, want, {.absolute = 1e-5, .relative = 1e-5}, 4, "out");
    const std::vector<Tensor> ours = actual.all(), theirs = expected.all();
    const char* names[] = {"dq", "dk", "dv", "drouter"};
    for (size_t i = 0; i < ours.size(); ++i) {
      expect_matches(ours[i].grad(), theirs[i].grad(), {.absolute = 5e-5, .relative = 5e-5}, 8, names[i]);
    }
  }
}

TEST(RingAttentionOp, TheRouterGetsAGradient) {
  const Leaves leaves = make_leaves(kRing, testing::float_leaf);
  attend(kRing, leaves).square().sum().backward();
  EXPECT_GT(leaves.router.grad().abs().max().item<double>(), 1e-4);
}

TEST(RingAttentionOp, TakesBf16) {
  const Leaves leaves = make_leaves(kRing, testing::float_leaf);
  const auto low = [](const Tensor& x) { return x.to(torch::kBFloat16); };
  const Leaves x = {low(leaves.q), low(leaves.k), low(leaves.v), leaves.router};
  const Tensor out = attend(kRing, x);
  EXPECT_EQ(out.scalar_type(), torch::kBFloat16);
  const auto wide = [](const Tensor& t) { return t.to(torch::kFloat64); };
  const Tensor want = attend_composed(kRing, {wide(x.q), wide(x.k), wide(x.v), wide(x.router)});
  // In fp32 from the same rounded inputs only the result is rounded, to 8 bits. In bf16 the rotated q and k and the
  // weights are, too.
  expect_matches(out, want, {.absolute = 2e-5, .relative = 1.0 / 256 + 1e-5}, 4, "out");
  out.to(torch::kFloat32).sum().backward();
  EXPECT_TRUE(leaves.q.grad().isfinite().all().item<bool>());
}

TEST(RingAttentionOp, IsRegisteredForPython) {
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("ringflash::ring_attention", "");
  for (Case c : {find_case("top pages"), find_case("both ways"), find_case("full")}) {
    SCOPED_TRACE(c.name);
    const Leaves x = make_leaves(c, testing::float_leaf);
    c.options.rope.theta = 500;
    const RingGeometry& ring = c.options.ring;
    torch::jit::Stack stack = {x.q,
                               x.k,
                               x.v,
                               x.router.defined() ? c10::IValue(x.router) : c10::IValue(),
                               c.bounds,
                               c.options.kind == AttentionKind::kRing,
                               ring.window,
                               ring.stride,
                               ring.global_ratio,
                               ring.sink_tokens,
                               ring.global_rope,
                               c.options.rope.theta,
                               ring.select == GlobalSelect::kTopPages,
                               ring.top_pages_factor,
                               ring.top_pages_run,
                               c.options.mode == AttentionMode::kBidirectional};
    op.callBoxed(&stack);
    EXPECT_TRUE(torch::equal(stack.at(0).toTensor(), attend(c, x)));
  }
}

TEST(RingAttentionOp, TheSchemasDefaultsAreOurs) {
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("ringflash::ring_attention", "");
  const AttentionOptions ours;
  std::map<std::string, c10::IValue> defaults;
  for (const auto& argument : op.schema().arguments()) {
    if (argument.default_value().has_value()) defaults[argument.name()] = *argument.default_value();
  }
  EXPECT_EQ(defaults.size(), 11u);  // all but q, k, v, router and bounds
  EXPECT_TRUE(defaults.at("ring").toBool());
  EXPECT_EQ(defaults.at("window").toInt(), ours.ring.window);
  EXPECT_EQ(defaults.at("stride").toInt(), ours.ring.stride);
  EXPECT_EQ(defaults.at("global_ratio").toDouble(), ours.ring.global_ratio);
  EXPECT_EQ(defaults.at("sink_tokens").toInt(), ours.ring.sink_tokens);
  EXPECT_EQ(defaults.at("global_rope").toBool(), ours.ring.global_rope);
  EXPECT_EQ(defaults.at("rope_theta").toDouble(), ours.rope.theta);
  EXPECT_FALSE(defaults.at("top_pages").toBool());
  EXPECT_EQ(defaults.at("top_pages_factor").toInt(), ours.ring.top_pages_factor);
  EXPECT_EQ(defaults.at("top_pages_run").toInt(), ours.ring.top_pages_run);
  EXPECT_FALSE(defaults.at("bidirectional").toBool());
}

TEST(RingAttentionOp, RefusesWhatDoesNotFit) {
  const Case& c = kRing;
  const Leaves x = make_leaves(c, testing::float_leaf);
  EXPECT_THROW((void)ring_attention(x.q, x.k, x.v, Tensor(), c.bounds, c.options), c10::Error);
  EXPECT_THROW((void)ring_attention(x.q, x.k, x.v, x.router, {0, 5}, c.options), c10::Error);
  EXPECT_THROW((void)ring_attention(x.q, x.k, x.v, x.router, {0, 40, 40, 97}, c.options), c10::Error);
  EXPECT_THROW((void)ring_attention(x.q, x.k.slice(1, 0, 1), x.v, x.router, c.bounds, c.options), c10::Error);
  const auto expect_refusal = [&](const auto& spoil) {
    AttentionOptions bad = c.options;
    spoil(bad.ring);
    EXPECT_THROW((void)ring_attention(x.q, x.k, x.v, x.router, c.bounds, bad), c10::Error);
  };
  expect_refusal([](RingGeometry& ring) { ring.global_ratio = 1.5; });
  expect_refusal([](RingGeometry& ring) { ring.window = 15; });
  expect_refusal([](RingGeometry& ring) { ring.top_pages_factor = 0; });
  expect_refusal([](RingGeometry& ring) { ring.top_pages_run = 0; });
}

}  // namespace
}  // namespace ringflash
