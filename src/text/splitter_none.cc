#include "text/splitter.h"

// For builds without PCRE2.
namespace ringflash {

struct Splitter::State {};

Result<Splitter> Splitter::create(const std::vector<std::string>&) {
  return Error{"this build has no PCRE2, which byte-level tokenizers need"};
}

Splitter::Splitter(std::unique_ptr<State> state) : state_(std::move(state)) {}
Splitter::Splitter(Splitter&&) noexcept = default;
Splitter& Splitter::operator=(Splitter&&) noexcept = default;
Splitter::~Splitter() = default;

void Splitter::split(std::string_view, std::vector<std::string_view>&) const {
  RF_UNREACHABLE();
}

}  // namespace ringflash
