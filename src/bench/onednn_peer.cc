#include "bench/onednn_peer.h"

#include <charconv>
#include <cstdlib>

namespace ringflash::bench {

Result<OneDnnPeer> OneDnnPeer::start(const std::string& type, int64_t tokens, int64_t in, int64_t out, int threads,
                                     int64_t copies) {
  // Its threads wait in a spin, which would take turns with ours too.
  ::setenv("GOMP_SPINCOUNT", "10000", /*overwrite=*/0);
  ::setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), /*overwrite=*/1);
  RF_TRY(const std::filesystem::path program, sibling_program("ringflash-onednn"));
  RF_TRY(LineProcess process,
         LineProcess::start(program, {type, std::to_string(tokens), std::to_string(in), std::to_string(out),
                                      std::to_string(copies)}));
  RF_TRY(std::string implementation, process.read_line());
  return OneDnnPeer(std::move(process), std::move(implementation));
}

Result<double> OneDnnPeer::run() {
  RF_TRY_VOID(process_.write_line("run"));
  RF_TRY(const std::string text, process_.read_line());
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc() && end == text.data() + text.size() && seconds > 0) return seconds;
  return Error{"oneDNN: expected seconds, found '" + text + "'"};
}

}  // namespace ringflash::bench
