#include "train/processes.h"

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "base/check.h"
#include "base/in_quotes.h"
#include "train/torch_headers.h"

#if defined(RINGFLASH_GLOO)
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#endif
#if defined(RINGFLASH_NCCL)
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

namespace ringflash {
namespace {

constexpr int kMostProcesses = 65536;

/// The first of `names` that is set, as an integer of [least, most]; `missing` where none is.
Result<int> read_integer(const char* (*get)(const char*), std::initializer_list<const char*> names, int least, int most,
                         int missing) {
  for (const char* name : names) {
    const char* text = get(name);
    if (text == nullptr || *text == '\0') continue;
    int value = 0;
    const char* end = text + std::strlen(text);
    const auto [stopped, error] = std::from_chars(text, end, value);
    if (error == std::errc() && stopped == end && value >= least && value <= most) return value;
    return Error{"the environment's " + std::string(name) + " must be an integer from " + std::to_string(least) +
                 " to " + std::to_string(most) + ", found " + in_quotes(text)};
  }
  return missing;
}

}  // namespace

Result<ProcessPlace> process_place(const char* (*get)(const char* name)) {
  ProcessPlace place;
  RF_TRY(place.size, read_integer(get, {"WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}, 1, kMostProcesses, 1));
  RF_TRY(place.rank, read_integer(get, {"RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"}, 0, place.size - 1, 0));
  RF_TRY(place.local_size, read_integer(get, {"LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"}, 1, place.size, place.size));
  // Without a word of it, the processes of a machine are taken to be numbered one after the other.
  RF_TRY(place.local_rank, read_integer(get, {"LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"}, 0, place.local_size - 1,
                                        place.rank % place.local_size));
  RF_TRY(place.port, read_integer(get, {"MASTER_PORT"}, 1, 65535, place.port));
  // torchrun keeps that port for a store of its own, which speaks to its own version of libtorch: the next one is ours.
  const char* taken = get("TORCHELASTIC_USE_AGENT_STORE");
  if (taken != nullptr && std::string_view(taken) == "True") place.port += place.port < 65535 ? 1 : -1;
  if (const char* address = get("MASTER_ADDR"); address != nullptr && *address != '\0') place.address = address;
  return place;
}

Result<ProcessPlace> process_place() {
  return process_place([](const char* name) -> const char* { return std::getenv(name); });
}

bool has_nccl() {
#if defined(RINGFLASH_NCCL)
  // Of another version, the options that are handed over may have another size.
  return c10d::getNcclVersion() ==
         std::to_string(NCCL_MAJOR) + "." + std::to_string(NCCL_MINOR) + "." + std::to_string(NCCL_PATCH);
#else
  return false;
#endif
}

#if defined(RINGFLASH_GLOO)

bool has_processes() {
  return true;
}

struct Processes::Group {
  /// Returns when all have met in the store.
  Group(const c10::intrusive_ptr<c10d::Store>& meeting, int own_rank, int all)
      : store(meeting), rank(own_rank), size(all) {
    const auto options = c10d::ProcessGroupGloo::Options::create();
    options->devices.push_back(c10d::ProcessGroupGloo::createDefaultDevice());
    gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, options);
  }

  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
#if defined(RINGFLASH_NCCL)
  /// What is still under way waits for nobody, and libtorch does not complain of a group left open.
  ~Group() {
    if (nccl) nccl->abort();
  }
#endif

  c10::intrusive_ptr<c10d::Store> store;
  int rank, size;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo;
#if defined(RINGFLASH_NCCL)
  c10::intrusive_ptr<c10d::ProcessGroupNCCL> nccl;  ///< from the first tensor on a GPU on
#endif
  /// Shared or intrusive, whichever this libtorch uses.
  using NodePointer = decltype(torch::autograd::impl::grad_accumulator(std::declval<const torch::Tensor&>()));
  std::vector<NodePointer> accumulators;  ///< hooked, and kept for that
  bool summing = false;
  std::vector<std::vector<torch::Tensor>> sent;  ///< what the works write into
  std::vector<c10::intrusive_ptr<c10d::Work>> works;

  /// Sums the tensors, which are one, over all, with the library for where it lies.
  c10::intrusive_ptr<c10d::Work> begin_sum(std::vector<torch::Tensor>& tensors) {
#if defined(RINGFLASH_NCCL)
    if (tensors[0].is_cuda()) {
      if (!nccl) {
        const auto options = c10d::ProcessGroupNCCL::Options::create();
        options->timeout = gloo->getOptions()->timeout;
        nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(c10::make_intrusive<c10d::PrefixStore>("nccl", store), rank, size, options);
      }
      return nccl->allreduce(tensors);
    }
#endif
    return gloo->allreduce(tensors);
  }

  void send(torch::Tensor gradient) {
    sent.push_back({std::move(gradient)});
    works.push_back(begin_sum(sent.back()));
  }
};

namespace {

/// libtorch adds a backtrace.
std::string first_line(const std::exception& error) {
  const std::string what = error.what();
  return what.substr(0, what.find('\n'));
}

void wait_for(c10d::Work& work) {
  try {
    work.wait();
  } catch (const std::exception& error) {
    throw std::runtime_error("another of the processes has ended or cannot be reached; its own message says why (" +
                             first_line(error) + ")");
  }
}

}  // namespace

Result<Processes> Processes::part(int size) const {
  RF_CHECK(size > 0 && size_ % size == 0);
  if (size == 1) return Processes(0, 1, nullptr);
  const int first = rank_ / size * size;
  try {
    const auto store = c10::make_intrusive<c10d::PrefixStore>("from " + std::to_string(first), group_->store);
    return Processes(rank_ - first, size, std::make_unique<Group>(store, rank_ - first, size));
  } catch (const std::exception& error) {
    return Error{"processes cannot form groups of " + std::to_string(size) + ": " + first_line(error)};
  }
}

Result<Processes> Processes::join(const ProcessPlace& place) {
  if (place.size == 1) return Processes(0, 1, nullptr);
  const std::string where = place.address + ":" + std::to_string(place.port);
  // Gloo may still be writing to a process that has just ended: that shall be an error, not the end of this one too.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(place.port);
    options.isServer = place.rank == 0;
    options.numWorkers = static_cast<size_t>(place.size);
    const auto store = c10::make_intrusive<c10d::TCPStore>(place.address, options);
    return Processes(place.rank, place.size, std::make_unique<Group>(store, place.rank, place.size));
  } catch (const std::exception& error) {
    return Error{"process " + std::to_string(place.rank) + " of " + std::to_string(place.size) +
                 " cannot meet the others at " + where + ": " + first_line(error)};
  }
}

void Processes::sum(torch::Tensor& tensor) {
  if (size_ == 1) return;
  std::vector<torch::Tensor> tensors = {tensor};
  wait_for(*group_->begin_sum(tensors));
}

std::vector<torch::Tensor> Processes::gather(const torch::Tensor& own) {
  if (size_ == 1) return {own};
  std::vector<torch::Tensor> given = {own};
  std::vector<std::vector<torch::Tensor>> all(1);
  for (int rank = 0; rank < size_; ++rank) all[0].push_back(torch::empty_like(own));
  wait_for(*group_->gloo->allgather(all, given));
  return all[0];
}

torch::Tensor Processes::shift(const torch::Tensor& own, int step) {
  constexpr int kTag = 0;
  const int to = rank_ + step, from = rank_ - step;
  const auto exists = [&](int rank) { return rank >= 0 && rank < size_; };
  std::vector<torch::Tensor> given = {own}, received = {torch::zeros_like(own)};
  c10::intrusive_ptr<c10d::Work> sending, receiving;
  if (exists(to)) sending = group_->gloo->send(given, to, kTag);
  if (exists(from)) receiving = group_->gloo->recv(received, from, kTag);
  if (receiving) wait_for(*receiving);
  if (sending) wait_for(*sending);
  return received[0];
}

void Processes::wait_for_all() {
  if (size_ > 1) wait_for(*group_->gloo->barrier());
}

void Processes::begin_summing(const std::vector<torch::Tensor>& parameters) {
  if (size_ == 1) return;
  Group& group = *group_;
  group.summing = true;
  if (!group.accumulators.empty()) return;
  for (const torch::Tensor& parameter : parameters) {
    if (!parameter.requires_grad()) continue;
    auto accumulator = torch::autograd::impl::grad_accumulator(parameter);
    accumulator->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
        [&group, parameter](const torch::autograd::variable_list& outputs, const torch::autograd::variable_list&) {
          if (group.summing) group.send(parameter.grad());
          return outputs;
        }));
    group.accumulators.push_back(std::move(accumulator));
  }
}

void Processes::finish_summing() {
  if (size_ == 1) return;
  group_->summing = false;
  for (const auto& work : group_->works) wait_for(*work);
  group_->works.clear();
  group_->sent.clear();
}

#else

bool has_processes() {
  return false;
}

struct Processes::Group {};

Result<Processes> Processes::join(const ProcessPlace& place) {
  if (place.size == 1) return Processes(0, 1, nullptr);
  return Error{"this build cannot train in several processes: it found no gloo (install libgloo-dev and build again)"};
}
Result<Processes> Processes::part(int) const { return Processes(0, 1, nullptr); }
void Processes::sum(torch::Tensor&) {}
std::vector<torch::Tensor> Processes::gather(const torch::Tensor& own) { return {own}; }
torch::Tensor Processes::shift(const torch::Tensor& own, int) { return torch::zeros_like(own); }
void Processes::wait_for_all() {}
void Processes::begin_summing(const std::vector<torch::Tensor>&) {}
void Processes::finish_summing() {}

#endif

Processes::Processes(int rank, int size, std::unique_ptr<Group> group)
    : rank_(rank), size_(size), group_(std::move(group)) {}
Processes::Processes(Processes&&) noexcept = default;
Processes& Processes::operator=(Processes&&) noexcept = default;
Processes::~Processes() = default;

}  // namespace ringflash
