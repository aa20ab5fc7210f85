#include "identity/options.h"

#include "config/units.h"

namespace postern::identity {

std::string_view text_of(const config::Node& options, std::string_view key, std::string_view otherwise) noexcept {
  const config::Node* const value = options.find(key);
  return value ? value->text() : otherwise;
}

bool refuse_unused(const config::Node& options, std::span<const std::string_view> keys, std::string_view why,
                   config::Diagnostics& diagnostics) {
  bool none = true;
  for (const std::string_view key : keys) {
    const config::Entry* const entry = options.find_entry(key);
    if (!entry) continue;
    none = false;
    diagnostics.error(config::Problem::policy_option, *entry,
                      "`" + std::string(key) + "` does nothing here: " + std::string(why), "remove it");
  }
  return none;
}

std::optional<std::uint64_t> body_limit_of(const config::Node& options, config::Diagnostics& diagnostics) {
  const config::Node* const given = options.find("max_body");
  const bool without = options.find("unsigned_body") || text_of(options, "payload") == "unsigned";
  if (given && without) {
    diagnostics.error(config::Problem::ambiguous, *given,
                      "`max_body` limits what is signed, but the body is not signed", "remove one of the two");
  }
  if (without) return std::nullopt;
  const std::uint64_t limit = given ? config::parse_size(given->text()).value_or(kDefaultBody) : kDefaultBody;
  if (limit > kMostBody) {
    diagnostics.error(config::Problem::bad_value, *given, "a body is kept in memory until it is signed",
                      "give at most " + config::format_size(kMostBody));
  }
  return limit;
}

SentTarget sent_target(const Attempt& attempt) noexcept {
  const std::string_view target = attempt.path_and_query;
  const std::size_t mark = target.find('?');
  if (mark == std::string_view::npos) return {target, {}, false};
  return {target.substr(0, mark), target.substr(mark + 1), true};
}

std::string_view sent_method(const Attempt& attempt) noexcept {
  return attempt.method.empty() ? attempt.request.method_text : attempt.method;
}

void explain(Attempt& attempt, std::string_view title, std::string_view text) {
  if (attempt.explanations) attempt.explanations->push_back({title, std::string(text)});
}

}  // namespace postern::identity
