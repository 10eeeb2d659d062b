// Attention of single queries straight from the definition (DESIGN section 3), one key after the other, in double: what
// fast results are checked against. Shares with the kernels the rotation of a vector and the rules that choose keys
// (select_page, PageIndex), which have tests of their own; which keys a query sees, and what it makes of them, is
// written anew. Causal attention over one document.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "bench/attention_case.h"
#include "kernels/page_index.h"
#include "kernels/rope.h"

namespace ringflash::bench {

/// What one query of one head gets, [head_dim] each, and how large errors of roundings are: a relative error u of
/// random sign in each term of the sum gives an error of about u * spread (2-norm).
struct ReferenceRow {
  std::vector<double> out, dq;
  double out_spread, dq_spread;
};

class AttentionReference {
 public:
  /// `inputs` must outlive the reference. `round_to_bf16`: as kernels do whose keys are bf16, vectors are rounded
  /// after their rotation.
  AttentionReference(const kernels::AttentionShape& shape, const AttentionInputs& inputs, bool round_to_bf16);

  /// The query at `position` of query head `head`.
  ReferenceRow row(int64_t position, int64_t head) const;

 private:
  struct Key {
    int64_t position;
    bool global;  ///< has the router's bias, and is not rotated unless global_rope
  };
  /// The pages of one KV head: positions that each complete chunk keeps, and the index that chooses among them.
  struct Pages {
    std::vector<std::vector<int64_t>> positions;
    kernels::PageIndex index;
  };
  Pages select_pages(int64_t key_value_head) const;
  /// Of pages [0, pages), those that the query at `position` reads.
  std::vector<int32_t> chosen_pages(int64_t position, int64_t key_value_head, int64_t pages) const;

  int64_t group(int64_t head) const { return head / (shape_.heads / shape_.key_value_heads); }
  int64_t query_offset(int64_t position, int64_t head) const {
    return (position * shape_.heads + head) * shape_.head_dim;
  }
  int64_t key_offset(const Key& key, int64_t head) const {
    return (key.position * shape_.key_value_heads + group(head)) * shape_.head_dim;
  }
  bool is_rotated(const Key& key) const { return !key.global || shape_.ring.global_rope; }

  std::vector<Key> visible(int64_t position, int64_t key_value_head) const;
  /// The head vector at `source`, rotated to `position` or as it is.
  std::vector<float> turn(const float* source, int64_t position, bool rotated) const;
  /// The same as kernels multiply it.
  std::vector<float> load(const float* source, int64_t position, bool rotated) const;
  std::vector<float> key(const Key& key, int64_t head) const;
  std::vector<float> value(const Key& key, int64_t head) const;
  std::vector<double> probabilities(int64_t position, int64_t head, const std::vector<Key>& keys) const;
  void add_dq(int64_t position, int64_t head, const std::vector<Key>& keys, const std::vector<double>& p,
              ReferenceRow& row) const;

  kernels::AttentionShape shape_;
  const AttentionInputs& inputs_;
  bool round_;
  std::shared_ptr<const kernels::RopeTable> rope_;
  std::vector<Pages> pages_;  ///< [KV head]
};

}  // namespace ringflash::bench
