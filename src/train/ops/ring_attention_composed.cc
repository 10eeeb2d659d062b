// Ring attention from plain torch ops, written from the definition: who sees whom is one boolean matrix.
#include "base/ceil_div.h"
#include "base/check.h"
#include "kernels/page_index.h"
#include "kernels/rope.h"
#include "train/ops/ring_attention.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;
using torch::indexing::Slice;

/// x [tokens, heads, head_dim] rotated by its row number, half-split layout; angles in double.
Tensor rotate(const Tensor& x, const RopeParameters& rope) {
  const int64_t half = x.size(2) / 2;
  const auto wide = torch::TensorOptions().dtype(torch::kFloat64).device(x.device());
  const Tensor frequency = torch::tensor(kernels::rope_frequencies(x.size(2), rope), wide);
  const double size = rope.scaling.attention_factor;
  const Tensor angle = torch::arange(x.size(0), wide).unsqueeze(1) * frequency;
  const Tensor cosine = (size * angle.cos()).to(x.scalar_type()).unsqueeze(1);
  const Tensor sine = (size * angle.sin()).to(x.scalar_type()).unsqueeze(1);
  const Tensor first = x.index({Slice(), Slice(), Slice(0, half)});
  const Tensor second = x.index({Slice(), Slice(), Slice(half)});
  return torch::cat({first * cosine - second * sine, second * cosine + first * sine}, 2);
}

/// Marks the `count` best along the last axis, ties to the earlier one.
Tensor best_of(const Tensor& scores, int64_t count) {
  const Tensor order = torch::argsort(scores, /*stable=*/true, /*dim=*/-1, /*descending=*/true);
  const Tensor none = torch::zeros_like(scores, scores.options().dtype(torch::kBool));
  return none.scatter(-1, order.slice(-1, 0, count), true);
}

/// [groups, tokens]: the tokens that their chunk's page keeps.
Tensor page_members(const Tensor& router, const RingGeometry& ring) {
  const int64_t tokens = router.size(0), complete = tokens / ring.stride;
  Tensor member = torch::zeros({router.size(1), tokens}, router.options().dtype(torch::kBool));
  if (complete == 0) return member;
  const Tensor scores = router.detach().slice(0, 0, complete * ring.stride).t().reshape({-1, complete, ring.stride});
  member.slice(1, 0, complete * ring.stride).copy_(best_of(scores, ring.page_tokens()).flatten(1));
  return member;
}

/// The rule of kernels::PageIndex: the `budget` best pages by query . mean key among those of the groups that are
/// best by the mean of their means, and those of the group that is not complete.
///   queries [groups, runs, dim], means [groups, pages, dim] -> [groups, runs, pages]
Tensor choose_pages(const Tensor& queries, const Tensor& means, int64_t budget) {
  constexpr int64_t kGroup = kernels::PageIndex::kGroup;
  const int64_t pages = means.size(1), complete = pages / kGroup;
  const Tensor group_pages = means.slice(1, 0, complete * kGroup).unflatten(1, {complete, kGroup});
  const Tensor group_means = group_pages.mean(2).to(torch::kBFloat16).to(means.scalar_type());
  const Tensor best_groups = best_of(torch::matmul(queries, group_means.mT()), ceil_div(2 * budget, kGroup));
  Tensor candidate = torch::ones({queries.size(0), queries.size(1), pages}, best_groups.options());
  candidate.slice(2, 0, complete * kGroup).copy_(best_groups.repeat_interleave(kGroup, -1));
  const Tensor scores = torch::matmul(queries, means.mT());
  const double hidden = -std::numeric_limits<double>::infinity();
  return best_of(scores.masked_fill(~candidate, hidden), budget) & candidate;
}

/// [groups, tokens, chunks]: whose pages each query of a causal layer reads with top_pages.
///   q, k [tokens, heads or groups, dim], as global logits have them; member as page_members() gives it.
Tensor chosen_pages(const Tensor& q, const Tensor& k, const Tensor& member, const RingGeometry& ring) {
  const int64_t groups = k.size(1), tokens = k.size(0), dim = k.size(2);
  const auto exact = torch::promote_types(q.scalar_type(), torch::kFloat32);
  const Tensor queries =
      q.detach().to(exact).reshape({tokens, groups, -1, dim}).sum(2).transpose(0, 1);  // [groups, tokens, dim]
  const Tensor paged_keys = k.detach().to(exact).transpose(0, 1).masked_select(member.unsqueeze(2));
  const Tensor pages = paged_keys.reshape({groups, tokens / ring.stride, ring.page_tokens(), dim});
  const Tensor means = pages.mean(2).to(torch::kBFloat16).to(exact);
  Tensor chosen = torch::zeros({groups, tokens, ring.chunk(tokens - 1) + 1}, member.options());
  for (int64_t begin = (ring.band_chunks() + 1) * ring.stride; begin < tokens; begin += ring.stride) {
    const int64_t end = std::min(tokens, begin + ring.stride), behind = ring.chunk(begin) - ring.band_chunks();
    // The first query of every run chooses for the run.
    const Tensor choice = choose_pages(queries.slice(1, begin, end, ring.top_pages_run), means.slice(1, 0, behind),
                                       ring.page_budget(ring.chunk(begin) + 1));
    chosen.slice(1, begin, end).slice(2, 0, behind).copy_(
        choice.repeat_interleave(ring.top_pages_run, 1).slice(1, 0, end - begin));
  }
  return chosen;
}

/// Who sees whom: local logits are rotated and bare; far ones are rotated with global_rope alone and carry the bias
/// of a router's score.
struct Visibility {
  Tensor local;  ///< [tokens, tokens]
  Tensor far;    ///< [groups, tokens, tokens], disjoint from local
  Tensor asks;   ///< [groups, tokens]: queries whose far logits carry their own bias instead of the keys'
};

/// q and k as global logits have them.
Visibility visibility(const Tensor& q, const Tensor& k, const Tensor& router, const AttentionOptions& options) {
  const RingGeometry& ring = options.ring;
  const int64_t tokens = k.size(0), groups = k.size(1);
  const Tensor position = torch::arange(tokens, torch::TensorOptions().dtype(torch::kInt64).device(k.device()));
  const Tensor chunk = torch::div(position, ring.stride, "floor");
  const Tensor none = torch::zeros({groups, tokens}, position.options().dtype(torch::kBool));
  const Tensor member = router.defined() ? page_members(router, ring) : none;
  const bool ringed = options.kind == AttentionKind::kRing;
  switch (options.mode) {
    case AttentionMode::kCausal: {
      const Tensor past = position.unsqueeze(0) <= position.unsqueeze(1);
      const Tensor near = chunk.unsqueeze(0) >= chunk.unsqueeze(1) - ring.band_chunks();
      const Tensor recent = options.kind == AttentionKind::kSliding
                                ? past & (position.unsqueeze(0) > position.unsqueeze(1) - options.sliding_window)
                                : past;
      if (!ringed) return {recent, none.unsqueeze(1).expand({-1, tokens, -1}), none};
      Tensor paged = member.unsqueeze(1);
      if (router.defined() && ring.select == GlobalSelect::kTopPages) {
        paged = paged & chosen_pages(q, k, member, ring).index_select(2, chunk);
      }
      return {past & near, (paged | (position < ring.sink_tokens)) & past & ~near, none};
    }
    case AttentionMode::kBidirectional: {
      const int64_t chunks = ceil_div(tokens, ring.stride);
      const Tensor apart = (chunk.unsqueeze(0) - chunk.unsqueeze(1)).abs();
      const Tensor near = torch::minimum(apart, chunks - apart) <= ring.band_chunks();
      const Tensor seen = member.unsqueeze(1) | member.unsqueeze(2);
      return {ringed ? near : torch::ones_like(near), seen & ~near, member};
    }
  }
  RF_UNREACHABLE();
}

Tensor attend_document(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& router,
                       const AttentionOptions& options) {
  const int64_t tokens = q.size(0), heads = q.size(1), groups = k.size(1), dim = q.size(2);
  const Tensor q_rotated = rotate(q, options.rope), k_rotated = rotate(k, options.rope);
  const Tensor& q_far = options.ring.global_rope ? q_rotated : q;
  const Tensor& k_far = options.ring.global_rope ? k_rotated : k;
  const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
  // [groups, heads / groups, tokens, tokens]
  const auto logits = [&](const Tensor& queries, const Tensor& keys) {
    const Tensor grouped = queries.reshape({tokens, groups, heads / groups, dim}).permute({1, 2, 0, 3});
    return torch::matmul(grouped, keys.permute({1, 2, 0}).unsqueeze(1)) * scale;
  };
  const Visibility sees = visibility(q_far, k_far, router, options);
  Tensor far = logits(q_far, k_far);
  if (router.defined()) {
    const Tensor bias = torch::log_sigmoid(router).to(q.scalar_type()).t();  // [groups, tokens]
    far = far + torch::where(sees.asks.unsqueeze(2), bias.unsqueeze(2), bias.unsqueeze(1)).unsqueeze(1);
  }
  const Tensor hidden = torch::full({}, -std::numeric_limits<double>::infinity(), far.options());
  const Tensor all =
      torch::where(sees.local, logits(q_rotated, k_rotated), torch::where(sees.far.unsqueeze(1), far, hidden));
  const Tensor out = torch::matmul(torch::softmax(all, -1), v.permute({1, 0, 2}).unsqueeze(1));
  return out.permute({2, 0, 1, 3}).reshape({tokens, heads, dim});
}

}  // namespace

Tensor ring_attention_composed(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& router,
                               const std::vector<int64_t>& bounds, const AttentionOptions& options) {
  std::vector<Tensor> documents;
  for (size_t d = 0; d + 1 < bounds.size(); ++d) {
    const auto part = [&](const Tensor& x) { return x.defined() ? x.slice(0, bounds[d], bounds[d + 1]) : x; };
    documents.push_back(attend_document(part(q), part(k), part(v), part(router), options));
  }
  return torch::cat(documents, 0);
}

}  // namespace ringflash
