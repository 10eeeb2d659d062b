// `rope_scaling` of config.json, as Hugging Face writes it.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "model/rope_scaling.h"

namespace ringflash {

/// Null and the type "default" stand for none. The type is `rope_type`, or `type` in older files. An unknown type and a
/// key that the type does not have are errors: they would change the angles. `rope_theta` beside them is left to the
/// caller. Yarn's attention_factor is computed where it is not given.
Result<RopeScaling> rope_scaling_from_json(const nlohmann::json& value);

/// Null for none, else an object with the keys that the type reads.
nlohmann::ordered_json rope_scaling_to_json(const RopeScaling& scaling);

}  // namespace ringflash
