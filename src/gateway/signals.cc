#include "gateway/signals.h"

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>

namespace postern::gateway {
namespace {

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGHUP, SIGTERM, SIGINT, SIGUSR1}) sigaddset(&set, signal);
  return set;
}

}  // namespace

Signals::Signals(Loop& loop, Callback callback) : loop_(loop), callback_(std::move(callback)) {
  const sigset_t set = handled_signals();
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT: a closed connection is an errno, not the end of the process
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  fd_ = ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd_ < 0 || !loop_.add_fd(fd_, EPOLLIN, *this))
    throw std::system_error(errno, std::generic_category(), "signalfd");
}

Signals::~Signals() {
  loop_.remove_fd(fd_);
  ::close(fd_);
  const sigset_t set = handled_signals();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void Signals::on_events(std::uint32_t /*events*/) {
  signalfd_siginfo info{};
  while (::read(fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    callback_(static_cast<int>(info.ssi_signo));
  }
}

}  // namespace postern::gateway
