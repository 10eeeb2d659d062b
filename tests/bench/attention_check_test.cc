// The check that stands before every figure: it takes what each instruction set computes, and nothing else.
#include "bench/attention_check.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ringflash::bench {
namespace {

struct Outputs {
  AlignedVector<float> out, dq;
};

Outputs compute(const AttentionCase& attention, Variant variant, int64_t tokens, const AttentionInputs& inputs,
                const kernels::Table& table) {
  SerialExecutor executor;
  const kernels::AttentionShape shape = attention.shape(variant, tokens);
  const bool routed = variant != Variant::kFull && attention.ring.page_tokens() > 0;
  const float* router = routed ? inputs.router.data() : nullptr;
  const int64_t bounds[] = {0, tokens};
  Outputs outputs{AlignedVector<float>(inputs.q.size()), AlignedVector<float>(inputs.q.size())};
  AlignedVector<float> lse(static_cast<size_t>(tokens * attention.heads)), dk(inputs.k.size()), dv(inputs.v.size()),
      drouter(inputs.router.size());
  kernels::attention_forward(shape, inputs.q.data(), inputs.k.data(), inputs.v.data(), router, bounds,
                             outputs.out.data(), lse.data(), table, executor);
  kernels::attention_backward(shape, inputs.q.data(), inputs.k.data(), inputs.v.data(), router, bounds,
                              outputs.out.data(), lse.data(), inputs.dout.data(), outputs.dq.data(), dk.data(),
                              dv.data(), routed ? drouter.data() : nullptr, table, executor);
  return outputs;
}

Status check(const AttentionCase& attention, Variant variant, int64_t tokens, const AttentionInputs& inputs,
             const Outputs& outputs, const kernels::Table& table) {
  SerialExecutor executor;
  return check_attention(attention.shape(variant, tokens), inputs, {.first = 0, .out = outputs.out, .dq = outputs.dq},
                         table, executor);
}

/// Small enough for the reference, with pages, a budget that leaves some out, and more than one query head a group.
AttentionCase small_case() {
  AttentionCase attention{.heads = 4, .key_value_heads = 2, .head_dim = 32, .ring = {}};
  attention.ring.window = 32;
  attention.ring.stride = 16;
  attention.ring.global_ratio = 0.2;
  attention.ring.top_pages_factor = 1;
  attention.ring.top_pages_run = 6;
  return attention;
}

TEST(CheckAttention, TakesWhatEveryInstructionSetComputes) {
  SerialExecutor executor;
  std::vector<AttentionCase> cases(3, small_case());
  cases[1].ring.global_rope = true;
  cases[2].ring.global_ratio = 0;
  for (const AttentionCase& attention : cases) {
    for (const int64_t tokens : {1, 16, 401}) {
      const AttentionInputs inputs(attention, tokens, 3, executor);
      for (const kernels::Table* table : kernels::available_tables()) {
        for (const Variant variant : kVariants) {
          const Outputs outputs = compute(attention, variant, tokens, inputs, *table);
          const Status status = check(attention, variant, tokens, inputs, outputs, *table);
          EXPECT_TRUE(status) << table->isa << ", " << to_string(variant) << ", " << tokens << " tokens: "
                              << status.error().message;
        }
      }
    }
  }
}

TEST(CheckAttention, RefusesAttentionOverOtherKeys) {
  constexpr int64_t kTokens = 401;
  SerialExecutor executor;
  const AttentionCase attention = small_case();
  const AttentionInputs inputs(attention, kTokens, 3, executor);
  for (const kernels::Table* table : kernels::available_tables()) {
    for (const Variant computed : kVariants) {
      const Outputs outputs = compute(attention, computed, kTokens, inputs, *table);
      for (const Variant wanted : kVariants) {
        if (wanted == computed) continue;
        EXPECT_FALSE(check(attention, wanted, kTokens, inputs, outputs, *table))
            << table->isa << ": " << to_string(computed) << " taken for " << to_string(wanted);
      }
    }
  }
}

TEST(CheckAttention, RefusesOneWrongRowAndNaN) {
  constexpr int64_t kTokens = 12;  // fewer than the samples: every row is looked at
  SerialExecutor executor;
  const AttentionCase attention = small_case();
  const AttentionInputs inputs(attention, kTokens, 3, executor);
  const kernels::Table& table = *kernels::available_tables().front();
  const Outputs right = compute(attention, Variant::kRingAll, kTokens, inputs, table);
  for (const float wrong : {0.5f, -0.5f, std::nanf(""), HUGE_VALF}) {
    for (const bool of_dq : {false, true}) {
      Outputs outputs = right;
      (of_dq ? outputs.dq : outputs.out)[77] += wrong;
      const Status status = check(attention, Variant::kRingAll, kTokens, inputs, outputs, table);
      ASSERT_FALSE(status) << wrong;
      // Number 77 of [tokens, 4 heads, 32].
      const char* place = of_dq ? "dq of position 0, head 2" : "output of position 0, head 2";
      EXPECT_TRUE(status.error().message.starts_with(place)) << status.error().message;
    }
  }
}

TEST(AttentionInputs, DoNotDependOnTheExecutor) {
  struct Backwards final : Executor {
    void for_each(int64_t count, FunctionRef<void(int64_t)> task) override {
      for (int64_t i = count; i-- > 0;) task(i);
    }
    int concurrency() const override { return 1; }
  } backwards;
  SerialExecutor forwards;
  AlignedVector<float> a(200000), b(200000);
  fill_normal(a, 5, forwards);
  fill_normal(b, 5, backwards);
  EXPECT_EQ(a, b);
  double sum = 0, squares = 0;
  for (const float x : a) sum += x, squares += static_cast<double>(x) * x;
  EXPECT_NEAR(sum / 200000, 0, 0.01);      // its standard deviation is 0.0022
  EXPECT_NEAR(squares / 200000, 1, 0.015);  // 0.0032
}

}  // namespace
}  // namespace ringflash::bench
