#include "config/diagnostics.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "base/strings.h"

namespace postern::config {
namespace {

constexpr std::array kProblems = {
#define POSTERN_PROBLEM(name, id, why) ProblemInfo{id, why},
#include "config/problems.inc"
#undef POSTERN_PROBLEM
};

constexpr std::string_view kHex = "0123456789abcdef";

void append_json(std::string& out, std::string_view text) {
  out.push_back('"');
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20 || byte == 0x7f) {
      out.append("\\u00");
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
  append_json(out, name);
  out.append(": ");
  append_json(out, value);
}

// Optimal string alignment: insert, delete, replace, swap of neighbours cost 1 each.
std::size_t distance(std::string_view a, std::string_view b) {
  constexpr std::size_t kMax = 48;
  if (a.size() > kMax || b.size() > kMax) return kMax;
  std::array<std::array<std::size_t, kMax + 1>, 3> rows{};
  for (std::size_t j = 0; j <= b.size(); ++j) rows[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto& now = rows[i % 3];
    const auto& last = rows[(i - 1) % 3];
    const auto& before = rows[(i + 1) % 3];
    now[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = last[j - 1] + (ascii_lower(a[i - 1]) == ascii_lower(b[j - 1]) ? 0U : 1U);
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) now[j] = std::min(now[j], before[j - 2] + 1);
    }
  }
  return rows[a.size() % 3][b.size()];
}

}  // namespace

const ProblemInfo& info(Problem problem) noexcept { return kProblems[static_cast<std::size_t>(problem)]; }

std::string printable(std::string_view text) {
  constexpr std::size_t kMax = 80;
  std::string out = "`";
  for (const char c : text.substr(0, kMax)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      out.push_back(c);
    } else {
      out.append("\\x");
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    }
  }
  if (text.size() > kMax) out.append("...");
  out.push_back('`');
  return out;
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
  std::size_t best = std::max<std::size_t>(2, word.size() / 3) + 1;
  std::string_view found;
  for (const std::string_view candidate : candidates) {
    const std::size_t d = distance(word, candidate);
    if (d < best && d < candidate.size()) {
      best = d;
      found = candidate;
    }
  }
  return found;
}

void Diagnostics::error(Problem problem, const Node& at, std::string what, std::string fix) {
  add(Severity::error, problem, at.position(), &at, std::move(what), std::move(fix));
}

void Diagnostics::error(Problem problem, const Entry& at, std::string what, std::string fix) {
  add(Severity::error, problem, at.key_position, &at.value, std::move(what), std::move(fix));
}

void Diagnostics::error(Problem problem, Position at, std::string what, std::string fix) {
  add(Severity::error, problem, at, nullptr, std::move(what), std::move(fix));
}

void Diagnostics::warning(Problem problem, const Node& at, std::string what, std::string fix) {
  add(Severity::warning, problem, at.position(), &at, std::move(what), std::move(fix));
}

void Diagnostics::excuse_after(std::size_t count) noexcept {
  for (std::size_t i = count; i < kept_.size(); ++i) {
    if (kept_[i].severity != Severity::error) continue;
    kept_[i].severity = Severity::warning;
    --errors_;
    ++warnings_;
  }
}

void Diagnostics::add(Severity severity, Problem problem, Position at, const Node* node, std::string what,
                      std::string fix) {
  severity == Severity::error ? ++errors_ : ++warnings_;
  if (full()) return;
  std::string path = root_ && node ? path_of(*root_, *node) : std::string();
  kept_.push_back({severity, problem, file_, at, std::move(path), std::move(what), std::move(fix)});
}

void Diagnostics::append(const Diagnostics& other) {
  errors_ += other.errors_;
  warnings_ += other.warnings_;
  for (const Diagnostic& diagnostic : other.sorted()) {
    if (full()) return;
    kept_.push_back(diagnostic);
  }
}

std::vector<Diagnostic> Diagnostics::sorted() const {
  std::vector<std::size_t> order(kept_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
    const bool other_a = kept_[a].file != file_;
    const bool other_b = kept_[b].file != file_;
    if (other_a || other_b) return std::pair(other_a, a) < std::pair(other_b, b);
    return std::pair(kept_[a].position, a) < std::pair(kept_[b].position, b);
  });
  std::vector<Diagnostic> out;
  out.reserve(order.size());
  for (const std::size_t i : order) out.push_back(kept_[i]);
  return out;
}

std::string Diagnostics::to_text(Show show) const {
  std::string out;
  for (const Diagnostic& d : sorted()) {
    if (show == Show::errors && d.severity != Severity::error) continue;
    out.append(visible(d.file));
    if (d.position.line != 0) {
      out.append(":").append(std::to_string(d.position.line)).append(":").append(std::to_string(d.position.column));
    }
    if (d.severity == Severity::warning) out.append(" warning");
    if (!d.path.empty()) out.append(" ").append(d.path);
    out.append(": ").append(d.what);
    out.append("\n  ").append(info(d.problem).why).append(" (").append(info(d.problem).id).append(")\n");
    if (!d.fix.empty()) out.append("  fix: ").append(d.fix).append("\n");
  }
  const std::size_t total = errors_ + warnings_;
  if (total > kept_.size()) out.append("and ").append(std::to_string(total - kept_.size())).append(" more\n");
  return out;
}

std::string Diagnostics::to_json() const {
  std::string out = "{\"errors\": " + std::to_string(errors_) + ", \"warnings\": " + std::to_string(warnings_);
  out.append(", \"diagnostics\": [");
  bool first = true;
  for (const Diagnostic& d : sorted()) {
    out.append(first ? "\n  {" : ",\n  {");
    first = false;
    append_member(out, "severity", d.severity == Severity::error ? "error" : "warning");
    out.append(", ");
    append_member(out, "code", info(d.problem).id);
    out.append(", ");
    append_member(out, "file", d.file);
    out.append(", \"line\": ").append(std::to_string(d.position.line));
    out.append(", \"column\": ").append(std::to_string(d.position.column)).append(", ");
    append_member(out, "path", d.path);
    out.append(", ");
    append_member(out, "what", d.what);
    out.append(", ");
    append_member(out, "why", info(d.problem).why);
    out.append(", ");
    append_member(out, "fix", d.fix);
    out.push_back('}');
  }
  out.append(first ? "]}\n" : "\n]}\n");
  return out;
}

}  // namespace postern::config
