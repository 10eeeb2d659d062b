// Loss scaling: small gradients survive fp16 because the loss is multiplied before they are computed.
#pragma once

#include <cstdint>

namespace ringflash {

/// The factor, by the rules of torch.cuda.amp.GradScaler (Micikevicius et al. 2018): half as much after gradients that
/// are not finite, whose step is skipped; twice as much after `growth_steps` good ones in a row. All its state is these
/// numbers: a checkpoint holds them.
struct LossScaler {
  double scale = 65536;
  int64_t good_in_row = 0;

  void update(bool finite, int64_t growth_steps) {
    if (!finite) {
      scale *= 0.5;
      good_in_row = 0;
    } else if (++good_in_row == growth_steps) {
      scale *= 2;
      good_in_row = 0;
    }
  }
};

}  // namespace ringflash
