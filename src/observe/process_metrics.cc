#include "observe/process_metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string_view>

#include "base/strings.h"

namespace postern::observe {
namespace {

// The first bytes of a file of /proc; enough for what is read here.
struct ProcText {
  std::array<char, 4096> bytes;
  std::size_t size = 0;
  [[nodiscard]] std::string_view view() const noexcept { return {bytes.data(), size}; }
};

bool read_proc(const char* path, ProcText& text) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const ssize_t got = read(file, text.bytes.data(), text.bytes.size());
  close(file);
  text.size = got > 0 ? static_cast<std::size_t>(got) : 0;
  return got > 0;
}

// The n-th (from 0) field between single spaces.
std::optional<std::uint64_t> number_at(std::string_view text, std::size_t n) {
  for (; n > 0; --n) {
    const std::size_t space = text.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    text.remove_prefix(space + 1);
  }
  return parse_decimal(text.substr(0, text.find_first_of(" \n")));
}

void append(std::string& out, std::string_view name, std::string_view kind, std::string_view help,
            std::string_view value) {
  for (const std::string_view part :
       {std::string_view("# HELP "), name, std::string_view(" "), help, std::string_view("\n# TYPE "), name,
        std::string_view(" "), kind, std::string_view("\n"), name, std::string_view(" "), value}) {
    out += part;
  }
  out += '\n';
}

std::string hundredths(std::uint64_t value) {
  std::string fraction = std::to_string(100 + value % 100);
  return std::to_string(value / 100) + "." + fraction.substr(1);
}

std::optional<std::uint64_t> count_open_files() {
  DIR* const directory = opendir("/proc/self/fd");
  if (directory == nullptr) return std::nullopt;
  std::uint64_t count = 0;
  while (const dirent* const entry = readdir(directory)) {
    if (entry->d_name[0] != '.') ++count;
  }
  closedir(directory);
  return count - 1;  // the directory itself
}

}  // namespace

void append_process_metrics(std::string& out, WallTime started) {
  const auto start = std::chrono::floor<std::chrono::milliseconds>(started).time_since_epoch().count() / 10;
  append(out, "process_start_time_seconds", "gauge", "Start time of the process since the Unix epoch.",
         hundredths(static_cast<std::uint64_t>(start)));
  timespec cpu{};
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0) {
    append(out, "process_cpu_seconds_total", "counter", "CPU time spent, user and system.",
           hundredths(static_cast<std::uint64_t>(cpu.tv_sec) * 100 +
                      static_cast<std::uint64_t>(cpu.tv_nsec) / 10'000'000));
  }
  ProcText text;
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  if (read_proc("/proc/self/statm", text)) {
    if (const auto pages = number_at(text.view(), 0)) {
      append(out, "process_virtual_memory_bytes", "gauge", "Address space.", std::to_string(*pages * page));
    }
    if (const auto pages = number_at(text.view(), 1)) {
      append(out, "process_resident_memory_bytes", "gauge", "Resident memory.", std::to_string(*pages * page));
    }
  }
  if (const auto files = count_open_files()) {
    append(out, "process_open_fds", "gauge", "Open file descriptors.", std::to_string(*files));
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    append(out, "process_max_fds", "gauge", "Limit of open file descriptors.", std::to_string(limit.rlim_cur));
  }
}

}  // namespace postern::observe
