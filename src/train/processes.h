// Several processes that train one model: c10d's collectives, gloo on the CPU and NCCL on GPUs. Started by torchrun's
// environment (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT) or mpirun's (OMPI_COMM_WORLD_RANK, ...).
#pragma once

#include <torch/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace ringflash {

/// Where this process stands among its like, from the environment.
struct ProcessPlace {
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  ///< on this machine
  std::string address = "127.0.0.1";
  int port = 29500;
};

/// Errors name the variable, what was expected and what was found.
Result<ProcessPlace> process_place(const char* (*get)(const char* name));
/// The same of this process's environment.
Result<ProcessPlace> process_place();

/// Whether this build can train in several processes.
bool has_processes();
/// Whether they can do so on a GPU each: libtorch has the NCCL that this was built for.
bool has_nccl();

/// A group of processes; one alone needs no library and no network. All methods are collective: every process calls them,
/// in the same order. Where another process has ended, or says nothing for half an hour, they throw std::exception; on a GPU
/// sums are only ordered before what follows there, and it is the next call on the CPU that throws.
class Processes {
 public:
  static Result<Processes> join(const ProcessPlace& place);
  /// The group of `size` successive processes that this one is in: of all, every `size` are one. `size` divides size().
  Result<Processes> part(int size) const;

  Processes(Processes&&) noexcept;
  Processes& operator=(Processes&&) noexcept;
  ~Processes();

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool first() const { return rank_ == 0; }

  /// Replaces the tensor by the sum over all processes, the same bits in each.
  void sum(torch::Tensor& tensor);
  /// Everybody's tensor, in the order of ranks; all are of one shape and type, and contiguous.
  std::vector<torch::Tensor> gather(const torch::Tensor& own);
  /// Gives a contiguous tensor to the process `step` ranks on, 1 or -1, and returns what the one as far back has given,
  /// of the same shape and type: zeros where there is none.
  torch::Tensor shift(const torch::Tensor& own, int step);
  /// Returns when all have called it.
  void wait_for_all();

  /// From now on each parameter's gradient is summed over all processes as soon as backward has made it, while backward
  /// goes on. Call before the backward that makes it whole.
  void begin_summing(const std::vector<torch::Tensor>& parameters);
  /// Waits for the sums, and ends what begin_summing() began.
  void finish_summing();

 private:
  struct Group;
  Processes(int rank, int size, std::unique_ptr<Group> group);

  int rank_ = 0, size_ = 1;
  std::unique_ptr<Group> group_;
};

}  // namespace ringflash
