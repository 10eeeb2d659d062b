// AdamW with one pass over memory per tensor (Loshchilov and Hutter 2019), and gradient clipping.
#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include "train/train_config.h"

namespace ringflash {

class AdamW {
 public:
  struct Parameter {
    std::string name;
    torch::Tensor value;
  };
  /// Matrices decay, vectors (norms) do not. Moments are fp32, or with optimizer_bits 8 (Dettmers et al. 2021) bytes
  /// where a parameter is a matrix of some size and neither embedding nor head, whose rows learn at their own pace.
  AdamW(std::vector<Parameter> parameters, const TrainConfig& config);

  struct MaskedUpdate {
    double rate_scale = 1;    ///< of AdamW's change of the parameter; decay and L1 stay as they are
    double pruned_scale = 1;  ///< of the update of what is masked, decay and L1 too, against that of the rest
    double l1 = 0;            ///< all of the parameter shrinks by the learning rate times this each step
  };
  /// From here on the parameter is updated so. What `mask` (bool, of its shape) leaves out is masked.
  void set_mask(const std::string& parameter, torch::Tensor mask, const MaskedUpdate& update);

  /// Forgets the moments of the parameter's weights where `where` (bool) is true.
  void reset_moments(const std::string& parameter, const torch::Tensor& where);

  /// One step with the gradients multiplied by `grad_scale`. Parameters without a gradient are left alone.
  void step(double learning_rate, double grad_scale);
  /// From here on steps are made of torch's own ops, as on other devices: to check the kernels by.
  void use_torch_ops() { torch_ops_ = true; }
  void zero_grad();

  /// Root of the summed squares of all gradients, accumulated in double.
  double grad_norm() const;

  /// Tensors "<name>.exp_avg", "<name>.exp_avg_sq" and the number of steps taken: everything there is to save. Writing
  /// into the tensors restores them. They are fp32, or bytes, beside whose names "<name>.exp_avg.scale" and
  /// "<name>.exp_avg_sq.scale", fp32, stand for their blocks' scales (kernels/dynamic_map.h).
  std::vector<Parameter> state() const;
  int64_t state_bytes() const;
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

 private:
  /// fp32 values, or their codes and scales.
  struct Moment {
    torch::Tensor values, scales = {};
    bool coded() const { return scales.defined(); }
  };
  struct Slot {
    Parameter parameter;
    double decay;
    Moment mean, square;
    torch::Tensor mask = {};  ///< undefined where nothing is masked
    MaskedUpdate masked = {};
  };
  Slot& slot_of(const std::string& parameter);
  static Moment zero_moment(const torch::Tensor& parameter, bool coded, uint8_t zero);
  void update(Slot& slot, double learning_rate, double grad_scale) const;
  void update_composed(Slot& slot, double learning_rate, double grad_scale) const;

  std::vector<Slot> slots_;
  double beta1_, beta2_, epsilon_;
  int64_t steps_ = 0;
  bool torch_ops_ = false;
};

}  // namespace ringflash
