#include "train/interrupt.h"

#include <csignal>

namespace ringflash {
namespace {

volatile std::sig_atomic_t requested_flag = 0;

void install(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void on_signal(int) {
  requested_flag = 1;
  install(SIG_DFL);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  requested_flag = 0;
  install(on_signal);
}

InterruptGuard::~InterruptGuard() { install(SIG_DFL); }

bool InterruptGuard::requested() const { return requested_flag != 0; }

}  // namespace ringflash
