// Diagnostics: everything that is wrong with a configuration, collected so that one run of `check` shows all of it.
//
//   postern.yaml:41:9 origins.orders.timeouts.connect: `5` has no unit
//     a number alone could mean seconds or milliseconds (PST-C012)
//     fix: write 5s or 5ms
//
// Not thread-safe. Never put a secret into `what` or `fix`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/node.h"

namespace postern::config {

// What is wrong, in classes that stay stable; the text of each row in problems.inc says why it matters.
enum class Problem : std::uint8_t {
#define POSTERN_PROBLEM(name, id, why) name,
#include "config/problems.inc"
#undef POSTERN_PROBLEM
};

struct ProblemInfo {
  std::string_view id;   // "PST-C012"
  std::string_view why;  // one sentence
};
[[nodiscard]] const ProblemInfo& info(Problem problem) noexcept;

enum class Severity : std::uint8_t { error, warning };

struct Diagnostic {
  Severity severity = Severity::error;
  Problem problem{};
  std::string file;
  Position position;
  std::string path;  // "origins.orders.trust.ca"; "" for the whole file
  std::string what;
  std::string fix;  // may be ""
};

// `text` from the file, made fit for a terminal: between backquotes, control characters and non-ASCII bytes as \xNN,
// long text cut. Only for text that cannot be a secret.
[[nodiscard]] std::string printable(std::string_view text);

// The candidate nearest to a mistyped `word`; "" if none is near enough to be meant.
[[nodiscard]] std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

class Diagnostics {
 public:
  // Later ones are counted, not kept: a hostile file does not fill the memory.
  static constexpr std::size_t kMaxKept = 100;

  explicit Diagnostics(std::string file) : file_(std::move(file)) {}

  // From here on, paths are found by looking a node up under `root`, which must outlive the reporting.
  void set_root(const Node* root) noexcept { root_ = root; }

  void error(Problem problem, const Node& at, std::string what, std::string fix = {});
  // About the key rather than its value.
  void error(Problem problem, const Entry& at, std::string what, std::string fix = {});
  // Where there is no tree (yet).
  void error(Problem problem, Position at, std::string what, std::string fix = {});
  void warning(Problem problem, const Node& at, std::string what, std::string fix = {});

  // Errors behind the first `count` of all() become warnings: something else takes the place of what they are about.
  // Not once full().
  void excuse_after(std::size_t count) noexcept;

  // Those of another file, after those of this one.
  void append(const Diagnostics& other);

  // True once nothing more is kept: expensive hints are not worth computing.
  [[nodiscard]] bool full() const noexcept { return kept_.size() >= kMaxKept; }
  [[nodiscard]] bool has_errors() const noexcept { return errors_ != 0; }
  [[nodiscard]] std::size_t errors() const noexcept { return errors_; }
  [[nodiscard]] std::size_t warnings() const noexcept { return warnings_; }
  // In the order of the file; other files follow.
  [[nodiscard]] std::vector<Diagnostic> sorted() const;
  [[nodiscard]] std::span<const Diagnostic> all() const noexcept { return kept_; }

  enum class Show : std::uint8_t { all, errors };
  [[nodiscard]] std::string to_text(Show show = Show::all) const;
  // {"errors": n, "warnings": n, "diagnostics": [{severity, code, file, line, column, path, what, why, fix}]}
  [[nodiscard]] std::string to_json() const;

 private:
  void add(Severity severity, Problem problem, Position at, const Node* node, std::string what, std::string fix);

  std::string file_;
  const Node* root_ = nullptr;
  std::vector<Diagnostic> kept_;
  std::size_t errors_ = 0;
  std::size_t warnings_ = 0;
};

}  // namespace postern::config
