#include "bench/torch_peer.h"

#include <charconv>
#include <cstdlib>

namespace ringflash::bench {
namespace {

// Every answer is one line: "ok ..." or "error ...".
constexpr const char* kScript = R"(
import sys, time
try:
    import torch
    from torch.nn.functional import scaled_dot_product_attention
    torch.set_num_threads(int(sys.argv[1]))
    print("ok", torch.__version__, flush=True)
except Exception as error:
    print("error", str(error).replace("\n", " "), flush=True)
    sys.exit()

def prepare(tokens, heads, key_value_heads, head_dim):
    global q, k, v, dout
    draw = lambda h: torch.randn(1, h, tokens, head_dim, dtype=torch.bfloat16)
    q, k, v, dout = draw(heads), draw(key_value_heads), draw(key_value_heads), draw(heads)

def attend():
    return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

def forward():
    with torch.no_grad():
        start = time.perf_counter()
        attend()
        return time.perf_counter() - start

def forward_backward():
    for x in (q, k, v):
        x.requires_grad_(True)
        x.grad = None
    start = time.perf_counter()
    attend().backward(dout)
    return time.perf_counter() - start

for line in sys.stdin:
    command, *numbers = line.split()
    try:
        print("ok", globals()[command](*map(int, numbers)), flush=True)
    except Exception as error:
        print("error", str(error).replace("\n", " "), flush=True)
)";

}  // namespace

Result<std::string> TorchPeer::answer(LineProcess& process) {
  RF_TRY(const std::string line, process.read_line());
  if (line.starts_with("ok ")) return line.substr(3);
  return Error{"torch: " + (line.starts_with("error ") ? line.substr(6) : line)};
}

Result<TorchPeer> TorchPeer::start(int threads) {
  // Its threads wait in a spin, which would take turns with ours too.
  ::setenv("GOMP_SPINCOUNT", "10000", /*overwrite=*/0);
  const char* python = std::getenv("RINGFLASH_PYTHON");
  RF_TRY(LineProcess process, LineProcess::start(python != nullptr && *python != '\0' ? python : "python3",
                                                 {"-c", kScript, std::to_string(threads)}));
  RF_TRY(std::string version, answer(process));
  return TorchPeer(std::move(process), std::move(version));
}

Status TorchPeer::prepare(int64_t tokens, const AttentionCase& attention) {
  RF_TRY_VOID(process_.write_line("prepare " + std::to_string(tokens) + " " + std::to_string(attention.heads) + " " +
                                  std::to_string(attention.key_value_heads) + " " +
                                  std::to_string(attention.head_dim)));
  RF_TRY_VOID(answer(process_));
  return {};
}

Result<double> TorchPeer::run(bool backward) {
  RF_TRY_VOID(process_.write_line(backward ? "forward_backward" : "forward"));
  RF_TRY(const std::string text, answer(process_));
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc() && end == text.data() + text.size() && seconds > 0) return seconds;
  return Error{"torch: expected seconds, found '" + text + "'"};
}

int64_t TorchPeer::cache_bytes(int64_t tokens, const AttentionCase& attention) const {
  return tokens * attention.key_value_heads * attention.head_dim * 2 * 2;
}

}  // namespace ringflash::bench
