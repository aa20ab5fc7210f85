#include "config/node.h"

#include <charconv>
#include <cstring>

namespace postern::config {
namespace {

constexpr std::size_t kBlockBytes = 64 * 1024;

bool is_plain_key(std::string_view key) {
  if (key.empty()) return false;
  for (const char c : key) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    if (!plain) return false;
  }
  return true;
}

void append_key(std::string& path, std::string_view key) {
  if (!path.empty()) path.push_back('.');
  if (is_plain_key(key)) {
    path.append(key);
    return;
  }
  // A key from a hostile file may hold anything: keep the path one printable line.
  path.push_back('"');
  for (const char c : key.substr(0, 64)) path.push_back(c > 0x20 && c < 0x7f && c != '"' ? c : '?');
  path.push_back('"');
}

bool find_path(const Node& at, const Node& node, std::string& path) {
  if (&at == &node) return true;
  const std::size_t length = path.size();
  for (std::size_t i = 0; i < at.items().size(); ++i) {
    path.append("[").append(std::to_string(i)).append("]");
    if (find_path(at.items()[i], node, path)) return true;
    path.resize(length);
  }
  for (const Entry& entry : at.entries()) {
    append_key(path, entry.key);
    if (find_path(entry.value, node, path)) return true;
    path.resize(length);
  }
  return false;
}

}  // namespace

std::string_view to_string(Kind kind) noexcept {
  switch (kind) {
    case Kind::null: return "nothing";
    case Kind::boolean: return "true or false";
    case Kind::integer: return "a whole number";
    case Kind::real: return "a number";
    case Kind::string: return "text";
    case Kind::sequence: return "a list";
    case Kind::mapping: return "a mapping";
  }
  return "";
}

double Node::as_double() const noexcept {
  if (kind_ == Kind::integer) return static_cast<double>(integer_);
  double value = 0;
  std::from_chars(text_.data(), text_.data() + text_.size(), value);
  return value;
}

const Entry* Node::find_entry(std::string_view key) const noexcept {
  for (const Entry& entry : entries_) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

const Node* Node::find(std::string_view key) const noexcept {
  const Entry* const entry = find_entry(key);
  return entry ? &entry->value : nullptr;
}

std::string_view Document::keep(std::string_view text) {
  if (text.empty()) return {};
  if (block_size_ - block_used_ < text.size()) {
    block_size_ = text.size() > kBlockBytes ? text.size() : kBlockBytes;
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(block_size_));
    block_used_ = 0;
  }
  char* const out = blocks_.back().get() + block_used_;
  std::memcpy(out, text.data(), text.size());
  block_used_ += text.size();
  return {out, text.size()};
}

std::string path_of(const Node& root, const Node& node) {
  std::string path;
  if (!find_path(root, node, path)) path.clear();
  return path;
}

}  // namespace postern::config
