// The losses: a row of logits becomes its gradient.
#pragma once

#include <type_traits>

#include "kernels/simd/training-inl.h"

namespace ringflash::kernels::RF_ISA {

/// What follows a row's last logit in a vector: adds nothing to a softmax, and gives 0 when multiplied by 0.
inline constexpr bf16 kNoLogit{0xf149};  // -1e30

/// Logits [i, vocab), of which there are less than a vector.
struct PaddedLogits {
  bf16 lanes[kLanes];

  PaddedLogits(const bf16* logits, int64_t i, int64_t vocab) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = i + lane < vocab ? logits[i + lane] : kNoLogit;
  }
};

/// body(pointer to a vector, index of its first logit) for all of a row; what it stores there goes back.
template <typename Logit, typename Body>
[[gnu::always_inline]] inline void for_logits(Logit* logits, int64_t vocab, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= vocab; i += kLanes) body(logits + i, i);
  if (i == vocab) return;
  PaddedLogits padded(logits, i, vocab);
  body(padded.lanes, i);
  if constexpr (!std::is_const_v<Logit>) {
    for (int lane = 0; i + lane < vocab; ++lane) logits[i + lane] = padded.lanes[lane];
  }
}

inline Vec load_logits(const bf16* logits, int64_t i, int64_t vocab) {
  return i + kLanes <= vocab ? load(logits + i) : load(PaddedLogits(logits, i, vocab).lanes);
}

/// A logit x has the probability exp(x - top) / total.
struct Softmax {
  float top, total;

  Softmax(const bf16* logits, int64_t vocab) {
    Vec tops = broadcast(-__builtin_inff()), totals{};
    for_logits(logits, vocab, [&](const bf16* p, int64_t) { tops = max(tops, load(p)); });
    top = tops[0];
    for (int lane = 1; lane < kLanes; ++lane) top = tops[lane] > top ? tops[lane] : top;
    const Vec shift = broadcast(top);
    for_logits(logits, vocab, [&](const bf16* p, int64_t) { totals += exp(load(p) - shift); });
    total = sum(totals);
  }
};

/// One logit of a row.
struct Picked {
  float below;  ///< logit - top
  float probability;

  Picked(const Softmax& softmax, const bf16* logit)
      : below(load_partial(logit, 1)[0] - softmax.top), probability(exp(broadcast(below))[0] / softmax.total) {}
};

inline void store_one(bf16* p, float value) {
  bf16 lanes[kLanes];
  store(lanes, broadcast(value));
  *p = lanes[0];
}

inline float cross_entropy_row(bf16* logits, int64_t target, int64_t vocab) {
  const Softmax softmax(logits, vocab);
  const Picked picked(softmax, logits + target);
  const Vec shift = broadcast(softmax.top), inverse = broadcast(1.0f / softmax.total);
  for_logits(logits, vocab, [&](bf16* p, int64_t) { store(p, exp(load(p) - shift) * inverse); });
  store_one(logits + target, picked.probability - 1.0f);
  return __builtin_logf(softmax.total) - picked.below;
}

inline float distillation_row(bf16* logits, const bf16* opinion, int64_t target, float weight, int64_t vocab) {
  const Softmax softmax(logits, vocab), teacher(opinion, vocab);
  const Picked picked(softmax, logits + target), held(teacher, opinion + target);
  const Vec shift = broadcast(softmax.top), inverse = broadcast(1.0f / softmax.total);
  const Vec teacher_shift = broadcast(teacher.top), share = broadcast(weight / teacher.total);
  Vec agreement{};
  for_logits(logits, vocab, [&](bf16* p, int64_t i) {
    const Vec below = load(p) - shift, wanted = exp(load_logits(opinion, i, vocab) - teacher_shift) * share;
    agreement += wanted * below;
    store(p, exp(below) * inverse - wanted);
  });
  store_one(logits + target, picked.probability - weight * held.probability - (1.0f - weight));
  return __builtin_logf(softmax.total) - (1.0f - weight) * picked.below - sum(agreement);
}

/// Logits become gradients and loss[row] = row_loss(row, its logits); rows without a target have neither.
template <typename RowLoss>
inline void for_targets(bf16* logits, const int64_t* targets, float* loss, int64_t rows, int64_t vocab,
                        RowLoss row_loss) {
  for (int64_t row = 0; row < rows; ++row, logits += vocab) {
    if (targets[row] >= 0) {
      loss[row] = row_loss(row, logits);
      continue;
    }
    loss[row] = 0;
    for (int64_t i = 0; i < vocab; ++i) logits[i] = bf16{0};
  }
}

inline void cross_entropy_bf16(bf16* logits, const int64_t* targets, float* loss, int64_t rows, int64_t vocab) {
  for_targets(logits, targets, loss, rows, vocab,
              [&](int64_t row, bf16* x) { return cross_entropy_row(x, targets[row], vocab); });
}

inline void distillation_bf16(bf16* logits, const bf16* opinion, const int64_t* targets, float weight, float* loss,
                              int64_t rows, int64_t vocab) {
  for_targets(logits, targets, loss, rows, vocab, [&](int64_t row, bf16* x) {
    return distillation_row(x, opinion + row * vocab, targets[row], weight, vocab);
  });
}

}  // namespace ringflash::kernels::RF_ISA
