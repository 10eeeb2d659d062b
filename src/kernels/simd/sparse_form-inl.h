// The number of entries that a group of S4 and S8 has a row, as a constant.
#pragma once

#include "kernels/simd/vec.h"

namespace ringflash::kernels::RF_ISA {

/// Calls body.operator()<N>() for the N of is_index_form() that `nonzeros` is. (format's own is no template of this
/// instruction set's.)
template <typename Body>
inline void with_form(int nonzeros, const Body& body) {
  switch (nonzeros) {
    case 4:
      return body.template operator()<4>();
    case 8:
      return body.template operator()<8>();
    case 12:
      return body.template operator()<12>();
    default:
      return body.template operator()<16>();
  }
}

}  // namespace ringflash::kernels::RF_ISA
