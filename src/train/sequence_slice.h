// A row of tokens that several processes share, each of them a slice (DESIGN section 6): what a slice's queries see of
// the slices before it comes from their processes, and the gradients of that go back. Exact: the sums of one process
// in another order.
#pragma once

#include <torch/types.h>

#include <vector>

#include "train/ops/ring_attention.h"
#include "train/processes.h"

namespace ringflash {

class SequenceSlice {
 public:
  /// The slice of this process of a group's rows of `tokens` tokens, which must divide by the group's size. `group` must
  /// outlive this.
  SequenceSlice(Processes& group, int64_t tokens);

  int64_t first() const { return first_; }
  int64_t last() const { return last_; }
  /// The slice of a tensor of the row, [tokens, ...].
  torch::Tensor of(const torch::Tensor& row) const { return row.slice(0, first_, last_); }
  /// Edges of the documents of tokens [0, last()), from those of the row.
  std::vector<int64_t> bounds(std::vector<int64_t> of_row) const;

  /// [1]: the last of the left neighbour's ids. The first process has none: 0. Collective.
  torch::Tensor previous(const torch::Tensor& ids) const { return group_.shift(ids.slice(0, -1).contiguous(), 1); }

  struct Keys {
    torch::Tensor k, v, router;
  };
  /// From k, v [slice, heads, head_dim] and router [slice, heads] fp32, or undefined, what ring_attention() wants with
  /// first_query = first(): rows [0, last()), zeros where no query of the slice sees anything. In a ring layer the
  /// last window + stride keys of the left neighbour come, all scores, and the pages' and sinks' keys of all slices;
  /// in other layers all keys. Collective, as are the gradients of it.
  Keys gather(const torch::Tensor& k, const torch::Tensor& v, const torch::Tensor& router,
              const std::vector<int64_t>& bounds_of_row, const AttentionOptions& options) const;

 private:
  friend class GatherKeys;

  Processes& group_;
  int64_t tokens_, first_, last_;
};

}  // namespace ringflash
