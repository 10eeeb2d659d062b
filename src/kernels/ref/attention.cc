#include "kernels/ref/ref.h"
namespace ringflash::kernels::ref {
void attend(const QueryBlock&, std::span<const KeySpan>, const AttentionOutput&) { RF_UNREACHABLE(); }
void attend_backward(const QueryBlock&, std::span<const KeySpan>, const AttentionGradInput&, const QueryGrad&, std::span<const KeySpanGrad>) { RF_UNREACHABLE(); }
}
