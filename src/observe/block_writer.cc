#include "observe/block_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <new>
#include <system_error>
#include <utility>

#include "observe/log.h"

namespace postern::observe {
namespace {

Result<int> open_path(const std::string& path) {
  // O_NONBLOCK so that a FIFO without reader is an error and not a hang; regular files do not care.
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
  if (fd < 0) {
    return fail(Code::io_failed, Side::gateway, path + ": " + std::generic_category().message(errno));
  }
  return fd;
}

// How much may be written at once after the descriptor polled writable: pipes promise PIPE_BUF (pipe(7)), and nothing
// better is known of sockets and terminals. Files take a whole block.
std::size_t chunk_of(int fd) noexcept {
  struct stat status{};
  const bool may_block =
      fstat(fd, &status) != 0 || S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || isatty(fd) == 1;
  return may_block ? PIPE_BUF : Block::kBytes;
}

}  // namespace

BlockWriter::BlockWriter(const Options& options, Log& log)
    : options_(options), log_(log), free_(options.max_blocks), full_(options.max_blocks) {}

Result<std::unique_ptr<BlockWriter>> BlockWriter::start(const Options& options, Log& log) {
  std::unique_ptr<BlockWriter> writer(new BlockWriter(options, log));
  if (Result<void> opened = writer->open_sink(); !opened) return std::unexpected(std::move(opened.error()));
  writer->wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (writer->wake_fd_ < 0)
    return fail(Code::io_failed, Side::gateway, "eventfd: " + std::generic_category().message(errno));
  // The thread inherits a mask without signals: they are for the main thread, and EPIPE is enough of a message.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  writer->thread_ = std::thread([raw = writer.get()] {
    pthread_setname_np(pthread_self(), "postern-log");
    raw->run();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return writer;
}

Result<void> BlockWriter::open_sink() {
  if (options_.sink == Sink::file) {
    const Result<int> opened = open_path(options_.path);
    if (!opened)
      return std::unexpected(Error(opened.error().code(), Side::gateway, std::string(opened.error().detail())));
    fd_ = *opened;
  } else {
    fd_ = fcntl(options_.sink == Sink::standard_output ? STDOUT_FILENO : STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (fd_ < 0)
      return fail(Code::io_failed, Side::gateway, "standard stream: " + std::generic_category().message(errno));
  }
  chunk_ = chunk_of(fd_);
  return {};
}

BlockWriter::~BlockWriter() {
  if (thread_.joinable()) {
    stop_deadline_ = std::chrono::steady_clock::now() + options_.stop_limit;
    stop_requested_.store(true, std::memory_order_release);
    wake();
    thread_.join();
  }
  while (Block* const block = free_.pop()) delete block;
  if (fd_ >= 0) close(fd_);
  if (wake_fd_ >= 0) close(wake_fd_);
}

std::unique_ptr<Block> BlockWriter::acquire() noexcept {
  if (Block* const block = free_.pop()) return std::unique_ptr<Block>(block);
  if (allocated_.fetch_add(1, std::memory_order_relaxed) >= options_.max_blocks) {
    allocated_.fetch_sub(1, std::memory_order_relaxed);
    return nullptr;
  }
  // Not value-initialised: pages that no line reaches are never touched.
  std::unique_ptr<Block> block(new (std::nothrow) Block);
  if (!block) allocated_.fetch_sub(1, std::memory_order_relaxed);
  return block;
}

void BlockWriter::submit(std::unique_ptr<Block> block) noexcept {
  // Each queue holds all blocks there are, so neither push can find it full.
  if (full_.push(block.get())) static_cast<void>(block.release());
  wake();
}

void BlockWriter::give_back(std::unique_ptr<Block> block) noexcept {
  block->used = 0;
  block->lines = 0;
  if (free_.push(block.get())) static_cast<void>(block.release());
}

void BlockWriter::reopen() noexcept {
  reopen_requested_.store(true, std::memory_order_release);
  wake();
}

void BlockWriter::wake() noexcept {
  const std::uint64_t one = 1;
  // Fails only when the counter is full, and then the thread is awake anyway.
  static_cast<void>(!::write(wake_fd_, &one, sizeof(one)));
}

void BlockWriter::run() noexcept {
  for (;;) {
    // Read before the queue is looked at: what is submitted later wakes the poll below.
    std::uint64_t ignored = 0;
    static_cast<void>(!::read(wake_fd_, &ignored, sizeof(ignored)));
    const bool stopping = stop_requested_.load(std::memory_order_acquire);
    if (reopen_requested_.exchange(false, std::memory_order_acquire)) reopen_now();
    while (Block* const block = full_.pop()) {
      write(*block);
      give_back(std::unique_ptr<Block>(block));
      if (reopen_requested_.exchange(false, std::memory_order_acquire)) reopen_now();
    }
    if (stopping) return;
    pollfd event{.fd = wake_fd_, .events = POLLIN, .revents = 0};
    poll(&event, 1, -1);
  }
}

void BlockWriter::reopen_now() noexcept {
  if (options_.sink != Sink::file) return;
  const Result<int> opened = open_path(options_.path);
  if (!opened) {
    log_.error("access log cannot be reopened; the old file stays in use", {LogField::error(opened.error())});
    return;
  }
  close(fd_);
  fd_ = *opened;
  chunk_ = chunk_of(fd_);
  reopened_.fetch_add(1, std::memory_order_relaxed);
}

void BlockWriter::write(const Block& block) noexcept {
  const int error_number = write_all({block.bytes, block.used});
  if (error_number == 0) {
    if (failing_) log_.info("access log is being written again", {LogField::number("dropped", dropped())});
    failing_ = false;
    return;
  }
  count_dropped(block.lines);
  write_errors_.fetch_add(1, std::memory_order_release);  // who sees the error sees its lines among the dropped
  // Once, not per block: a full disk is one event.
  if (!failing_) log_.error("access log cannot be written; lines are dropped", {LogField::system_error(error_number)});
  failing_ = true;
}

int BlockWriter::write_all(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    if (!wait_writable()) return ETIMEDOUT;
    const ssize_t written = ::write(fd_, bytes.data(), std::min(bytes.size(), chunk_));
    if (written < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return errno;
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

// A reader that stands still holds this thread, not a loop; but not the stop of the process for ever.
bool BlockWriter::wait_writable() noexcept {
  for (;;) {
    pollfd event{.fd = fd_, .events = POLLOUT, .revents = 0};
    if (poll(&event, 1, 100) > 0) return true;
    if (stop_requested_.load(std::memory_order_acquire) && std::chrono::steady_clock::now() > stop_deadline_)
      return false;
  }
}

}  // namespace postern::observe
