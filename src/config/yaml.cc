#include "config/yaml.h"

#include <yaml.h>

#include <algorithm>
#include <boost/json/parser.hpp>
#include <charconv>
#include <functional>
#include <unordered_set>

#include "base/strings.h"

namespace postern::config {

namespace {

struct ScopedParser {
  ScopedParser() noexcept : initialized(yaml_parser_initialize(&parser) != 0) {}
  ScopedParser(const ScopedParser&) = delete;
  ScopedParser& operator=(const ScopedParser&) = delete;
  ~ScopedParser() {
    if (initialized) yaml_parser_delete(&parser);
  }
  yaml_parser_t parser{};
  bool initialized;
};

struct ScopedEvent {
  ScopedEvent() = default;
  ScopedEvent(const ScopedEvent&) = delete;
  ScopedEvent& operator=(const ScopedEvent&) = delete;
  ~ScopedEvent() { yaml_event_delete(&event); }
  yaml_event_t event{};
};

Position to_position(const yaml_mark_t& mark) noexcept {
  return {static_cast<std::uint32_t>(mark.line + 1), static_cast<std::uint32_t>(mark.column + 1)};
}

std::string_view to_view(const yaml_char_t* text, std::size_t size) noexcept {
  return {reinterpret_cast<const char*>(text), size};
}

Position position_at(std::string_view text, std::size_t offset) noexcept {
  Position position{1, 1};
  for (const char c : text.substr(0, offset)) {
    if (c == '\n') {
      ++position.line;
      position.column = 1;
    } else if ((static_cast<unsigned char>(c) & 0xc0U) != 0x80U) {
      ++position.column;
    }
  }
  return position;
}

// Offset of the first byte that does not belong to well-formed UTF-8 (RFC 3629), or npos.
std::size_t find_bad_utf8(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  for (std::size_t i = 0; i < text.size();) {
    const unsigned lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    std::size_t length = 0;
    unsigned low = 0x80;
    unsigned high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
      length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      length = 3;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      length = 4;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    } else {
      return i;
    }
    if (byte(i + 1) < low || byte(i + 1) > high) return i;
    for (std::size_t k = 2; k < length; ++k) {
      if (byte(i + k) < 0x80 || byte(i + k) > 0xbf) return i;
    }
    i += length;
  }
  return std::string_view::npos;
}

// -?(0|[1-9][0-9]*) and, for real, a fraction or exponent as in JSON. Everything that some reader takes for octal, hex,
// infinity or a time is text.
Kind number_kind(std::string_view text) noexcept {
  std::size_t i = text.starts_with('-') ? 1 : 0;
  const auto digits = [&] {
    const std::size_t start = i;
    while (i < text.size() && is_digit(text[i])) ++i;
    return i - start;
  };
  const std::size_t first = i;
  const std::size_t whole = digits();
  if (whole == 0 || (whole > 1 && text[first] == '0')) return Kind::string;
  if (i == text.size()) return Kind::integer;
  if (text[i] == '.') {
    ++i;
    if (digits() == 0) return Kind::string;
  }
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (digits() == 0) return Kind::string;
  }
  return i == text.size() ? Kind::real : Kind::string;
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) noexcept {
  return std::find(words.begin(), words.end(), text) != words.end();
}

}  // namespace

class TreeBuilder {
 public:
  TreeBuilder(Document& document, Diagnostics& diagnostics) : document_(document), diagnostics_(diagnostics) {}

  enum class Step : std::uint8_t { more, done, failed };

  Step take(const yaml_event_t& event) {
    const Position at = to_position(event.start_mark);
    switch (event.type) {
      case YAML_DOCUMENT_START_EVENT: return start_document(event);
      case YAML_SCALAR_EVENT: {
        const auto& scalar = event.data.scalar;
        check_decoration(scalar.anchor, scalar.tag, at);
        return add_scalar(to_view(scalar.value, scalar.length),
                          scalar.style == YAML_PLAIN_SCALAR_STYLE ? Style::plain : Style::quoted, at);
      }
      case YAML_ALIAS_EVENT:
        diagnostics_.error(Problem::alias, at, "aliases (*name) are not allowed", "write the value out");
        if (expects_key()) return Step::failed;
        return attach(Node(Kind::null, at));
      case YAML_SEQUENCE_START_EVENT:
        check_decoration(event.data.sequence_start.anchor, event.data.sequence_start.tag, at);
        return open(Kind::sequence, at);
      case YAML_MAPPING_START_EVENT:
        check_decoration(event.data.mapping_start.anchor, event.data.mapping_start.tag, at);
        return open(Kind::mapping, at);
      case YAML_SEQUENCE_END_EVENT:
      case YAML_MAPPING_END_EVENT: return close();
      case YAML_STREAM_END_EVENT: return Step::done;
      case YAML_NO_EVENT:
      case YAML_STREAM_START_EVENT:
      case YAML_DOCUMENT_END_EVENT: break;
    }
    return Step::more;
  }

  [[nodiscard]] bool has_root() const noexcept { return has_root_; }

 private:
  struct Frame {
    Node node;
    std::string_view key;
    Position key_position;
    bool has_key = false;
    // Only for mappings with many keys; smaller ones are searched.
    std::unordered_set<std::string_view> keys;
  };
  static constexpr std::size_t kSearched = 16;

  Step start_document(const yaml_event_t& event) {
    const Position at = to_position(event.start_mark);
    const auto& start = event.data.document_start;
    if (documents_++ != 0) {
      diagnostics_.error(Problem::syntax, at, "a second document starts here", "keep one document in the file");
      return Step::failed;
    }
    if (start.version_directive && (start.version_directive->major != 1 || start.version_directive->minor != 2)) {
      diagnostics_.error(Problem::syntax, at, "only YAML 1.2 is read", "remove the %YAML line");
    }
    return Step::more;
  }

  void check_decoration(const yaml_char_t* anchor, const yaml_char_t* tag, Position at) {
    if (anchor) diagnostics_.error(Problem::alias, at, "anchors (&name) are not allowed", "remove the anchor");
    if (tag) {
      diagnostics_.error(Problem::alias, at, "tags (!name) are not allowed",
                         "remove the tag; put text that looks like a number in quotes");
    }
  }

  [[nodiscard]] bool expects_key() const noexcept {
    return !stack_.empty() && stack_.back().node.is(Kind::mapping) && !stack_.back().has_key;
  }

  Step add_scalar(std::string_view text, Style style, Position at) {
    if (expects_key()) return add_key(text, style, at);
    Node node(Kind::string, at);
    node.style_ = style;
    node.text_ = document_.keep(text);
    if (style == Style::plain) classify(node);
    return attach(std::move(node));
  }

  static void classify(Node& node) noexcept {
    const std::string_view text = node.text_;
    if (is_one_of(text, {"", "~", "null", "Null", "NULL"})) {
      node.kind_ = Kind::null;
    } else if (is_one_of(text, {"true", "True", "TRUE"})) {
      node.kind_ = Kind::boolean;
      node.integer_ = 1;
    } else if (is_one_of(text, {"false", "False", "FALSE"})) {
      node.kind_ = Kind::boolean;
    } else {
      node.kind_ = number_kind(text);
      if (node.kind_ == Kind::integer) {
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), node.integer_);
        if (error != std::errc()) node.kind_ = Kind::string;  // beyond 64 bits: no number we could mean
      }
    }
  }

  Step add_key(std::string_view text, Style style, Position at) {
    Frame& frame = stack_.back();
    if (style == Style::plain && text == "<<") {
      diagnostics_.error(Problem::alias, at, "merge keys (<<) are not allowed", "write the keys out");
    } else if (text.empty()) {
      diagnostics_.error(Problem::syntax, at, "a key is empty");
    }
    frame.key = document_.keep(text);
    frame.key_position = at;
    frame.has_key = true;
    report_duplicate(frame);
    return Step::more;
  }

  void report_duplicate(Frame& frame) {
    const auto& entries = frame.node.entries_;
    bool duplicate = false;
    if (entries.size() < kSearched) {
      duplicate = frame.node.find_entry(frame.key) != nullptr;
    } else {
      if (frame.keys.empty()) {
        for (const Entry& entry : entries) frame.keys.insert(entry.key);
      }
      duplicate = !frame.keys.insert(frame.key).second;
    }
    if (!duplicate) return;
    const Entry* const first = diagnostics_.full() ? nullptr : frame.node.find_entry(frame.key);
    std::string what = "key " + printable(frame.key) + " is given twice";
    if (first) what += ", first in line " + std::to_string(first->key_position.line);
    diagnostics_.error(Problem::duplicate_key, frame.key_position, std::move(what), "keep one of them");
  }

  Step open(Kind kind, Position at) {
    if (expects_key()) {
      diagnostics_.error(Problem::syntax, at, "a key must be text, not a list or a mapping",
                         "put text that starts with { or [ in quotes");
      return Step::failed;
    }
    if (stack_.size() >= kMaxDepth) {
      diagnostics_.error(Problem::too_large, at, "nested deeper than " + std::to_string(kMaxDepth) + " levels");
      return Step::failed;
    }
    stack_.push_back({Node(kind, at), {}, {}, false, {}});
    return Step::more;
  }

  Step close() {
    Node node = std::move(stack_.back().node);
    stack_.pop_back();
    return attach(std::move(node));
  }

  Step attach(Node node) {
    if (++nodes_ > kMaxNodes) {
      diagnostics_.error(Problem::too_large, node.position(), "more than " + std::to_string(kMaxNodes) + " values");
      return Step::failed;
    }
    if (stack_.empty()) {
      document_.root_ = std::move(node);
      has_root_ = true;
      return Step::more;
    }
    Frame& frame = stack_.back();
    if (frame.node.is(Kind::sequence)) {
      frame.node.items_.push_back(std::move(node));
    } else {
      frame.node.entries_.push_back({frame.key, frame.key_position, std::move(node)});
      frame.has_key = false;
    }
    return Step::more;
  }

  Document& document_;
  Diagnostics& diagnostics_;
  std::vector<Frame> stack_;
  std::size_t nodes_ = 0;
  int documents_ = 0;
  bool has_root_ = false;
};

namespace {

void report_parser_error(const yaml_parser_t& parser, std::string_view text, Diagnostics& diagnostics) {
  const std::string problem = parser.problem ? parser.problem : "not YAML";
  if (parser.error == YAML_READER_ERROR) {
    diagnostics.error(Problem::encoding, position_at(text, parser.problem_offset), problem,
                      "save the file as UTF-8 text without control characters");
    return;
  }
  std::string what = problem;
  if (parser.context) what.append(" ").append(parser.context);
  std::string fix;
  const std::size_t at = parser.problem_mark.index;
  // The mark counts characters; in a file of ASCII, which configuration mostly is, that is the byte.
  if (at < text.size() && text[at] == '\t') fix = "indent with spaces, not with tabs";
  if (at < text.size() && (text[at] == '`' || text[at] == '@' || text[at] == '%')) fix = "put the value in quotes";
  if (problem.starts_with("mapping values are not allowed")) fix = "put a value that contains `: ` in quotes";
  diagnostics.error(Problem::syntax, to_position(parser.problem_mark), std::move(what), std::move(fix));
}

// Offset of a line that starts with %TAG, or npos. Tags are refused in any case; these lines are found first, because
// libyaml compares each with all before it (2 MB of them: 23 s).
std::size_t find_tag_directive(std::string_view text) noexcept {
  constexpr std::string_view kDirective = "%TAG";
  constexpr std::string_view kLastBytesOfBreaks = "\n\r\x85\xa8\xa9";  // LF, CR, NEL, LS, PS
  std::size_t at = text.find(kDirective);
  while (at != std::string_view::npos && at != 0 && kLastBytesOfBreaks.find(text[at - 1]) == std::string_view::npos) {
    at = text.find(kDirective, at + kDirective.size());
  }
  return at;
}

bool check_json(std::string_view text, Diagnostics& diagnostics) {
  boost::json::parse_options options;
  options.max_depth = kMaxDepth;
  boost::json::parser parser({}, options);
  boost::system::error_code error;
  const std::size_t used = parser.write(text.data(), text.size(), error);
  if (!error) return true;
  const Problem problem = error == boost::json::error::too_deep ? Problem::too_large : Problem::syntax;
  diagnostics.error(problem, position_at(text, used), "not JSON: " + error.message(),
                    "correct it, or name the file .yaml if it is YAML");
  return false;
}

bool parse_events(std::string_view text, Document& document, Diagnostics& diagnostics) {
  ScopedParser scoped_parser;
  if (!scoped_parser.initialized) {
    diagnostics.error(Problem::unreadable, Position{}, "out of memory");
    return false;
  }
  yaml_parser_t* const parser = &scoped_parser.parser;
  yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(parser, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  TreeBuilder builder(document, diagnostics);
  for (;;) {
    ScopedEvent scoped;
    if (!yaml_parser_parse(parser, &scoped.event)) {
      report_parser_error(*parser, text, diagnostics);
      return false;
    }
    const TreeBuilder::Step step = builder.take(scoped.event);
    if (step == TreeBuilder::Step::failed) return false;
    if (step == TreeBuilder::Step::done) break;
  }
  if (builder.has_root()) return true;
  diagnostics.error(Problem::syntax, Position{1, 1}, "the file is empty", "start it with `version: 1`");
  return false;
}

}  // namespace

std::shared_ptr<Document> read_document(std::string file, std::string_view text, Diagnostics& diagnostics) {
  if (text.size() > kMaxFileBytes) {
    diagnostics.error(Problem::too_large, Position{}, "larger than " + std::to_string(kMaxFileBytes >> 20) + " MiB");
    return nullptr;
  }
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (const std::size_t bad = find_bad_utf8(text); bad != std::string_view::npos) {
    diagnostics.error(Problem::encoding, position_at(text, bad), "a byte here is not UTF-8",
                      "save the file as UTF-8 text");
    return nullptr;
  }
  if (const std::size_t tag = find_tag_directive(text); tag != std::string_view::npos) {
    diagnostics.error(Problem::alias, position_at(text, tag), "%TAG directives are not allowed",
                      "remove the %TAG line");
    return nullptr;
  }
  if (file.ends_with(".json") && !check_json(text, diagnostics)) return nullptr;
  const std::size_t errors_before = diagnostics.errors();
  auto document = std::make_shared<Document>(std::move(file));
  if (!parse_events(text, *document, diagnostics)) return nullptr;
  return diagnostics.errors() == errors_before ? document : nullptr;
}

}  // namespace postern::config
