#include "train/sequence_slice.h"

#include <numeric>

#include "base/check.h"
#include "kernels/ring_attention.h"
#include "train/torch_headers.h"

namespace ringflash {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

/// Which keys all processes have to know: [tokens, heads], by the scores [tokens, heads] of the whole row.
Tensor needed_by_all(const Tensor& scores, int64_t tokens, int64_t heads, const std::vector<int64_t>& bounds,
                     const AttentionOptions& options) {
  if (options.kind != AttentionKind::kRing) return torch::ones({tokens, heads}, torch::kBool);
  const RingGeometry& ring = options.ring;
  Tensor needed = torch::zeros({tokens, heads}, torch::kBool);
  bool* flags = needed.data_ptr<bool>();
  std::vector<int32_t> page(static_cast<size_t>(ring.page_tokens()));
  for (size_t d = 0; d + 1 < bounds.size(); ++d) {
    const int64_t begin = bounds[d], length = bounds[d + 1] - begin;
    needed.slice(0, begin, begin + std::min(ring.sink_tokens, length)).fill_(true);
    const int64_t pages = page.empty() ? 0 : std::max<int64_t>(0, ring.chunk(length - 1) - ring.band_chunks());
    for (int64_t j = 0; j < pages; ++j) {
      for (int64_t head = 0; head < heads; ++head) {
        const int64_t chunk = (begin + j * ring.stride) * heads + head;
        kernels::select_page(scores.data_ptr<float>() + chunk, heads, ring, page);
        for (const int32_t offset : page) flags[chunk + offset * heads] = true;
      }
    }
  }
  return needed;
}

/// How one layer's keys travel; the same in every process but for `first`, `last`.
struct Exchange : torch::CustomClassHolder {
  std::vector<Tensor> paged;  ///< of each process's slice: places among its [slice * heads] keys that all need
  int64_t halo = 0;           ///< keys that come from the left neighbour alone
};

Tensor as_bytes(const Tensor& t) { return t.contiguous().view(torch::kUInt8); }

}  // namespace

/// k, v [slice, heads, dim] and router [slice, heads] to rows [0, last); an empty router stays so.
class GatherKeys : public torch::autograd::Function<GatherKeys> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& k, const Tensor& v, const Tensor& router,
                               const SequenceSlice* slice, const std::vector<int64_t>& bounds,
                               const AttentionOptions& options) {
    Processes& group = slice->group_;
    const int64_t rows = k.size(0), heads = k.size(1), dim = k.size(2);
    const bool routed = router.numel() > 0;
    const Tensor scores = routed ? torch::cat(group.gather(router.contiguous()), 0) : router;
    const auto exchange = c10::make_intrusive<Exchange>();
    if (options.kind == AttentionKind::kRing) exchange->halo = options.ring.window + options.ring.stride;
    const Tensor needed = needed_by_all(scores, slice->tokens_, heads, bounds, options);
    for (int64_t begin = 0; begin < slice->tokens_; begin += rows) {
      exchange->paged.push_back(needed.slice(0, begin, begin + rows).flatten().nonzero().squeeze(1));
    }

    const Tensor own = torch::cat({k, v}, 2);  // [slice, heads, 2 dim]
    Tensor all = torch::zeros({slice->last_, heads, 2 * dim}, own.options());
    slice->of(all).copy_(own);
    receive_pages(*slice, *exchange, own, all);
    if (exchange->halo > 0) {
      const Tensor left = group.shift(as_bytes(own.slice(0, rows - exchange->halo)), 1);
      if (slice->first_ > 0) {
        all.slice(0, slice->first_ - exchange->halo, slice->first_)
            .copy_(left.view(own.scalar_type()).view({exchange->halo, heads, 2 * dim}));
      }
    }
    context->saved_data["exchange"] = torch::IValue::make_capsule(exchange);
    context->saved_data["slice"] = reinterpret_cast<int64_t>(slice);
    return {all.slice(2, 0, dim).contiguous(), all.slice(2, dim).contiguous(),
            routed ? scores.slice(0, 0, slice->last_).contiguous() : router};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto& slice = *reinterpret_cast<const SequenceSlice*>(context->saved_data["slice"].toInt());
    const auto capsule = context->saved_data["exchange"].toCapsule();
    const auto& exchange = static_cast<const Exchange&>(*capsule);
    Processes& group = slice.group_;
    const int64_t dim = grads[0].size(2), halo = exchange.halo, rows = slice.last_ - slice.first_;
    const Tensor all = torch::cat({grads[0], grads[1]}, 2).to(torch::kFloat32);
    Tensor own = slice.of(all).clone();
    if (halo > 0) {
      const bool has_left = slice.first_ > 0;
      const Tensor to_left =
          has_left ? all.slice(0, slice.first_ - halo, slice.first_) : torch::zeros_like(own.slice(0, 0, halo));
      own.slice(0, rows - halo).add_(group.shift(to_left.contiguous(), -1));
    }
    return_pages(slice, exchange, all, own);
    Tensor drouter = grads[2];
    if (drouter.numel() > 0) {
      Tensor of_row = torch::constant_pad_nd(drouter, {0, 0, 0, slice.tokens_ - slice.last_});
      group.sum(of_row);
      drouter = slice.of(of_row).contiguous();
    }
    const auto type = grads[0].scalar_type();
    return {own.slice(2, 0, dim).to(type), own.slice(2, dim).to(type), drouter, Tensor(), Tensor(), Tensor()};
  }

 private:
  /// Everybody's page keys; those of earlier slices are put in their places.
  static void receive_pages(const SequenceSlice& slice, const Exchange& exchange, const Tensor& own, Tensor& all) {
    Processes& group = slice.group_;
    int64_t most = 0;
    for (const Tensor& places : exchange.paged) most = std::max(most, places.numel());
    if (most == 0) return;
    const int64_t rows = own.size(0), heads = own.size(1), width = own.size(2);
    Tensor sent = torch::zeros({most, width}, own.options());
    const Tensor& mine = exchange.paged[static_cast<size_t>(group.rank())];
    sent.slice(0, 0, mine.numel()).copy_(own.view({rows * heads, width}).index_select(0, mine));
    const std::vector<Tensor> pages = group.gather(as_bytes(sent));
    for (int rank = 0; rank < group.rank(); ++rank) {
      const Tensor& places = exchange.paged[static_cast<size_t>(rank)];
      const Tensor keys = pages[static_cast<size_t>(rank)].view(own.scalar_type()).view({most, width});
      const Tensor theirs = all.slice(0, rank * rows, (rank + 1) * rows).view({rows * heads, width});
      theirs.index_copy_(0, places, keys.slice(0, 0, places.numel()));
    }
  }

  /// The reverse for gradients: what slices before the halo have in theirs is summed over all processes.
  static void return_pages(const SequenceSlice& slice, const Exchange& exchange, const Tensor& all, Tensor& own) {
    Processes& group = slice.group_;
    const int64_t rows = own.size(0), heads = own.size(1), width = own.size(2);
    Tensor earlier = torch::zeros({slice.tokens_, heads, width}, own.options());
    const int64_t end = std::max<int64_t>(0, slice.first_ - exchange.halo);
    earlier.slice(0, 0, end).copy_(all.slice(0, 0, end));
    std::vector<Tensor> parts;
    int64_t before = 0;
    for (int rank = 0; rank < group.size(); ++rank) {
      const Tensor& places = exchange.paged[static_cast<size_t>(rank)];
      if (rank < group.rank()) before += places.numel();
      const Tensor theirs = earlier.slice(0, rank * rows, (rank + 1) * rows).view({rows * heads, width});
      parts.push_back(theirs.index_select(0, places));
    }
    Tensor sums = torch::cat(parts, 0);
    if (sums.numel() == 0) return;
    group.sum(sums);
    const Tensor& mine = exchange.paged[static_cast<size_t>(group.rank())];
    own.view({rows * heads, width}).index_add_(0, mine, sums.slice(0, before, before + mine.numel()));
  }
};

SequenceSlice::SequenceSlice(Processes& group, int64_t tokens)
    : group_(group),
      tokens_(tokens),
      first_(tokens / group.size() * group.rank()),
      last_(tokens / group.size() * (group.rank() + 1)) {
  RF_CHECK(tokens % group.size() == 0);
}

std::vector<int64_t> SequenceSlice::bounds(std::vector<int64_t> of_row) const {
  std::erase_if(of_row, [&](int64_t bound) { return bound >= last_; });
  of_row.push_back(last_);
  return of_row;
}

SequenceSlice::Keys SequenceSlice::gather(const Tensor& k, const Tensor& v, const Tensor& router,
                                          const std::vector<int64_t>& bounds_of_row,
                                          const AttentionOptions& options) const {
  const Tensor scores = router.defined() ? router : torch::empty({0});
  const variable_list all = GatherKeys::apply(k, v, scores, this, bounds_of_row, options);
  return {all[0], all[1], router.defined() ? all[2] : Tensor()};
}

}  // namespace ringflash
