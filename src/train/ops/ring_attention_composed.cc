// Ring attention from plain torch ops, written from the definition: who sees whom is one boolean matrix.
#include "train/ops/ring_attention.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;
using torch::indexing::Slice;

/// x [tokens, heads, head_dim] rotated by its row number, half-split layout; angles in double.
Tensor rotate(const Tensor& x, double theta) {
  const int64_t half = x.size(2) / 2;
  const auto wide = torch::TensorOptions().dtype(torch::kFloat64).device(x.device());
  const Tensor frequency = torch::pow(theta, -torch::arange(half, wide) / static_cast<double>(half));
  const Tensor angle = torch::arange(x.size(0), wide).unsqueeze(1) * frequency;
  const Tensor cosine = angle.cos().to(x.scalar_type()).unsqueeze(1);
  const Tensor sine = angle.sin().to(x.scalar_type()).unsqueeze(1);
  const Tensor first = x.index({Slice(), Slice(), Slice(0, half)});
  const Tensor second = x.index({Slice(), Slice(), Slice(half)});
  return torch::cat({first * cosine - second * sine, second * cosine + first * sine}, 2);
}

/// [key_value_heads, tokens]: the tokens that their chunk's page keeps.
Tensor page_members(const Tensor& router, const RingGeometry& ring) {
  const int64_t tokens = router.size(0), complete = tokens / ring.stride;
  Tensor member = torch::zeros({router.size(1), tokens}, router.options().dtype(torch::kBool));
  if (complete == 0 || ring.page_tokens() == 0) return member;
  const Tensor scores = router.detach().slice(0, 0, complete * ring.stride).t().reshape({-1, complete, ring.stride});
  // A stable descending sort breaks ties towards the earlier position.
  const Tensor order = std::get<1>(torch::sort(scores, /*stable=*/true, /*dim=*/-1, /*descending=*/true));
  Tensor kept = torch::zeros_like(scores, scores.options().dtype(torch::kBool));
  kept.scatter_(-1, order.slice(-1, 0, ring.page_tokens()), true);
  member.slice(1, 0, complete * ring.stride).copy_(kept.reshape({router.size(1), -1}));
  return member;
}

struct Visibility {
  Tensor local;   ///< [tokens, tokens]
  Tensor global;  ///< [key_value_heads, tokens, tokens], disjoint from local
};

Visibility visibility(const Tensor& router, int64_t tokens, int64_t key_value_heads, torch::Device device,
                      const AttentionOptions& options) {
  const Tensor position = torch::arange(tokens, torch::TensorOptions().dtype(torch::kInt64).device(device));
  const Tensor causal = position.unsqueeze(0) <= position.unsqueeze(1);
  if (options.kind == AttentionKind::kFull) {
    return {causal, torch::zeros({key_value_heads, tokens, tokens}, causal.options())};
  }
  const RingGeometry& ring = options.ring;
  const Tensor chunk = torch::div(position, ring.stride, "floor");
  const Tensor local = causal & (chunk.unsqueeze(0) >= chunk.unsqueeze(1) - ring.band_chunks());
  Tensor candidate = (position < ring.sink_tokens).unsqueeze(0).expand({key_value_heads, tokens});
  if (router.defined()) candidate = candidate | page_members(router, ring);
  return {local, candidate.unsqueeze(1) & (causal & ~local).unsqueeze(0)};
}

Tensor attend_document(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& router,
                       const AttentionOptions& options) {
  const int64_t tokens = q.size(0), heads = q.size(1), groups = k.size(1), dim = q.size(2);
  const Tensor q_rotated = rotate(q, options.rope_theta), k_rotated = rotate(k, options.rope_theta);
  const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
  // [groups, heads / groups, tokens, tokens]
  const auto logits = [&](const Tensor& queries, const Tensor& keys) {
    const Tensor grouped = queries.reshape({tokens, groups, heads / groups, dim}).permute({1, 2, 0, 3});
    return torch::matmul(grouped, keys.permute({1, 2, 0}).unsqueeze(1)) * scale;
  };
  const Visibility sees = visibility(router, tokens, groups, q.device(), options);
  Tensor far = options.ring.global_rope ? logits(q_rotated, k_rotated) : logits(q, k);
  if (router.defined()) far = far + torch::log_sigmoid(router).to(q.scalar_type()).t().reshape({groups, 1, 1, tokens});
  const Tensor global = sees.global.unsqueeze(1);
  const Tensor hidden = torch::full({}, -std::numeric_limits<double>::infinity(), far.options());
  const Tensor all = torch::where(sees.local, logits(q_rotated, k_rotated), torch::where(global, far, hidden));
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
