// Node: one value of a configuration document, with the place it was written at. A Document is the tree of one file.
//
// Immutable once read; every view borrows from the Document, which never moves. Only what YAML 1.2 core and JSON agree
// on is typed: `true`, `12`, `1.5`, `null`. Every other plain scalar (`5s`, `1MiB`, `no`, `010`, `0x10`) is a string
// that keeps its text, so that the schema judges it and nothing is guessed.
//
// Thread rule: none; const after reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace postern::config {

// Both count from 1; a column is a character, not a byte. {0, 0} stands for "no place in the file".
struct Position {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  friend auto operator<=>(const Position&, const Position&) = default;
};

enum class Kind : std::uint8_t { null, boolean, integer, real, string, sequence, mapping };
[[nodiscard]] std::string_view to_string(Kind kind) noexcept;

enum class Style : std::uint8_t { plain, quoted };

struct Entry;

class Node {
 public:
  // Defined below Entry, which holds a Node.
  Node() noexcept;
  Node(Kind kind, Position position) noexcept;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  Node(Node&&) noexcept;
  Node& operator=(Node&&) noexcept;
  ~Node();

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] Position position() const noexcept { return position_; }
  [[nodiscard]] Style style() const noexcept { return style_; }
  [[nodiscard]] bool is(Kind kind) const noexcept { return kind_ == kind; }

  // The scalar as written (quotes and escapes resolved); "" for sequences and mappings.
  [[nodiscard]] std::string_view text() const noexcept { return text_; }
  // REQUIRES: the kind of that name.
  [[nodiscard]] bool as_bool() const noexcept { return integer_ != 0; }
  [[nodiscard]] std::int64_t as_int() const noexcept { return integer_; }
  // REQUIRES: integer or real.
  [[nodiscard]] double as_double() const noexcept;

  // Elements of a sequence; empty for every other kind.
  [[nodiscard]] std::span<const Node> items() const noexcept { return items_; }
  // Keys and values of a mapping in document order, keys unique; empty for every other kind.
  [[nodiscard]] std::span<const Entry> entries() const noexcept;
  // nullptr if this is no mapping or has no such key. Linear: mappings that can be large are walked, not searched.
  [[nodiscard]] const Node* find(std::string_view key) const noexcept;
  [[nodiscard]] const Entry* find_entry(std::string_view key) const noexcept;

 private:
  friend class TreeBuilder;
  Kind kind_ = Kind::null;
  Style style_ = Style::plain;
  Position position_;
  std::string_view text_;
  std::int64_t integer_ = 0;
  std::vector<Node> items_;
  std::vector<Entry> entries_;
};

struct Entry {
  std::string_view key;
  Position key_position;
  Node value;
};

inline Node::Node() noexcept = default;
inline Node::Node(Kind kind, Position position) noexcept : kind_(kind), position_(position) {}
inline Node::Node(Node&&) noexcept = default;
inline Node& Node::operator=(Node&&) noexcept = default;
inline Node::~Node() = default;

inline std::span<const Entry> Node::entries() const noexcept { return entries_; }

// The tree of one file, and the memory behind its views.
class Document {
 public:
  explicit Document(std::string file) : file_(std::move(file)) {}
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;
  ~Document() = default;

  [[nodiscard]] const std::string& file() const noexcept { return file_; }
  [[nodiscard]] const Node& root() const noexcept { return root_; }
  // An empty mapping that lives as long as the document: the options of a policy written as a bare name.
  [[nodiscard]] const Node& add_empty_mapping(Position position) {
    return extra_.emplace_back(Kind::mapping, position);
  }

 private:
  friend class TreeBuilder;
  [[nodiscard]] std::string_view keep(std::string_view text);

  std::string file_;
  std::deque<std::unique_ptr<char[]>> blocks_;
  std::size_t block_used_ = 0;
  std::size_t block_size_ = 0;
  Node root_;
  std::deque<Node> extra_;
};

// "origins.orders.timeouts.connect", "routes[3].match": where `node` stands in the tree under `root`; "" for the root
// itself and for a node that is not in the tree. Walks the tree: for messages only.
[[nodiscard]] std::string path_of(const Node& root, const Node& node);

}  // namespace postern::config
