// Which pages a query reads with global_select: top_pages (DESIGN section 3).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/float16.h"

namespace ringflash::kernels {

/// What a KV head's group asks the index with: the sum of its query heads, q being [heads, head_dim], rotated
/// as global logits have it.
std::vector<float> sum_heads(std::span<const float> q, int64_t head_dim);

/// The mean keys of one KV head's pages, rounded to bf16, in two levels: pages in order, and groups of kGroup
/// successive pages. A query looks at the groups first and only at the pages of the best ones, so that its
/// choice costs little even where there are many.
class PageIndex {
 public:
  explicit PageIndex(int64_t head_dim) : head_dim_(head_dim) {}

  /// Adds the page that follows; keys are those of its tokens, [tokens, head_dim].
  void add_page(std::span<const float> keys);

  /// The `budget` best of pages [0, pages) for a query [head_dim] in ascending order, all of them if there
  /// are no more. A page's score is query . mean key; candidates are the pages of the ceil(2 budget / kGroup)
  /// complete groups with the best query . mean of page means, and those of the group that is not complete.
  /// Ties go to the earlier page. What is chosen among the first pages does not depend on the pages that
  /// follow.
  void choose(std::span<const float> query, int64_t pages, int64_t budget,
              std::vector<int32_t>& chosen) const;

  static constexpr int64_t kGroup = 8;

  int64_t bytes() const {
    return static_cast<int64_t>((means_.capacity() + group_means_.capacity()) * sizeof(bf16));
  }

 private:
  int64_t head_dim_, pages_ = 0;
  std::vector<bf16> means_;        ///< [pages, head_dim]
  std::vector<bf16> group_means_;  ///< [complete groups, head_dim]
};

}  // namespace ringflash::kernels
