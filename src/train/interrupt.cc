#include "train/interrupt.h"

#include <csignal>

namespace ringflash {
namespace {

volatile std::sig_atomic_t requested_flag = 0;

void on_signal(int) { requested_flag = 1; }

void install(void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  requested_flag = 0;
  install(on_signal, SA_RESTART | static_cast<int>(SA_RESETHAND));
}

InterruptGuard::~InterruptGuard() { install(SIG_DFL, 0); }

bool InterruptGuard::requested() const { return requested_flag != 0; }

}  // namespace ringflash
