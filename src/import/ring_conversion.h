// Full attention replaced by ring attention in a model that was trained without it (DESIGN section 3).
#pragma once

#include <cstdint>
#include <vector>

#include "import/imported_model.h"

namespace ringflash {

struct RingConversion {
  RingGeometry ring;               ///< global_rope is always on: the model's q and k want their angles
  std::vector<int64_t> keep_full;  ///< layers that stay as they are
};

/// Makes ring layers of the full ones, except those to keep; sliding ones stay. A router begins with zeros: it keeps
/// the first tokens of a chunk and gives global keys half their weight until training teaches it better. Nothing else
/// changes. The error names a layer to keep that is not full or not there, or the key of a geometry that does not fit.
Status convert_to_ring(ImportedModel& model, const RingConversion& conversion);

}  // namespace ringflash
