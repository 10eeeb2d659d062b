// Dynamic sparse training (DESIGN section 5): which weights of a model are there as training goes on.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/masks.h"
#include "train/metrics.h"
#include "train/causal_lm.h"
#include "train/optimizer.h"
#include "train/train_config.h"

namespace ringflash {

/// The schedule, in steps done.
struct MaskSchedule {
  explicit MaskSchedule(const TrainConfig& config);

  int64_t begin, end;  ///< between these steps weights go, following a cubic (Zhu and Gupta 2017)
  int64_t freeze;      ///< the last step at which masks may change
  int64_t interval;
  int64_t quantize;  ///< from here on weights are seen quantised

  /// Of 64 weights, how many stay at `step`, when `keep` stay in the end.
  int64_t keep_at(int64_t step, int64_t keep) const;
  bool due(int64_t step) const;
};

inline constexpr const char* kMaskSuffix = ".mask";

/// Owns the masks of a model's sparse layers and moves them. All its state is in tensors() and the step.
class Sparsifier {
 public:
  /// Sets the optimiser's and the layers' masks: everything is there yet, or for mask methods other than
  /// magnitude what `config.seed` draws. `fresh` weights are then scaled up, so that sums over the fewer that
  /// remain keep their size.
  Sparsifier(CausalLm model, AdamW& optimizer, const TrainConfig& config, bool fresh);

  bool active() const { return !layers_.empty(); }

  /// Whether after `step` weights are as sparse and as coarse as they will be in the end: earlier losses do not
  /// compare with the last ones.
  bool settled(int64_t step) const;

  /// After step `step`, with its gradients still there: moves the masks if they are due, and begins to
  /// quantise when that is. Says what changed if anything could.
  std::optional<MaskMetrics> after_step(int64_t step);

  /// The whole weights "<weight>", fp32, and their masks "<weight>" + kMaskSuffix, bool: what a checkpoint
  /// must hold besides the weights as they are seen. Writing into them and calling resume(step) restores.
  std::vector<AdamW::Parameter> tensors() const;
  void resume(int64_t step);

 private:
  struct Layer {
    std::string name;  ///< of the weight
    Linear linear{nullptr};
    SparsePattern pattern;
  };
  torch::Tensor choose(const Layer& layer, int64_t step) const;
  void apply(Layer& layer, const torch::Tensor& mask);
  /// Tells the optimiser and the layer of its mask.
  void show(Layer& layer);
  void quantize_if_due(int64_t step);
  void settle_gradients(int64_t step);

  AdamW& optimizer_;
  TrainConfig config_;
  SparsityConfig sparsity_;
  MaskSchedule schedule_;
  std::vector<Layer> layers_;
};

}  // namespace ringflash
