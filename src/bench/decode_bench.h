// Attention over a cache that holds n tokens: what one more token costs in one layer.
#pragma once

#include <map>
#include <vector>

#include "base/executor.h"
#include "bench/attention_case.h"
#include "runtime/kv_cache.h"

namespace ringflash::bench {

class DecodeBench {
 public:
  /// Fills a cache of each variant with the inputs' keys and values. All must outlive this.
  DecodeBench(const AttentionCase& attention, int64_t n, const AttentionInputs& inputs, Executor& executor);

  /// Checks position n - 1 against the reference.
  Status check(Variant variant);

  /// Seconds in which the query at position n - 1 attends, all its heads, in one layer: the mean over many tokens on
  /// several copies of the cache in turn, as the layers of a model have it, which do not stay in the processor's.
  /// With top_pages every run of tokens chooses its pages once, which is part of it.
  double run(Variant variant);

  /// What one layer's cache has allocated.
  int64_t cache_bytes(Variant variant) const;

 private:
  using LayerCache = std::vector<HeadCache>;  ///< [KV head]
  LayerCache fill(const ModelConfig& config) const;
  void append(const ModelConfig& config, int64_t head, int64_t first, int64_t end, HeadCache& cache) const;
  void choose_pages(LayerCache& cache) const;
  void attend(const LayerCache& cache);

  const AttentionCase& attention_;
  int64_t n_;
  const AttentionInputs& inputs_;
  Executor& executor_;
  int64_t run_begin_;                     ///< of the run of tokens that ends with n - 1
  AlignedVector<float> q_rotated_;        ///< [n - run_begin, heads, head_dim]
  AlignedVector<float> out_;              ///< of position n - 1, [heads, head_dim]
  std::map<Variant, LayerCache> caches_;
};

}  // namespace ringflash::bench
