#include "http/headers.h"

#include <array>
#include <cstdint>
#include <cstring>

#include "base/strings.h"

namespace postern::http {
namespace {

struct KnownName {
  std::string_view text;
  HeaderName id;
};

constexpr std::array kKnown = {
#define POSTERN_HEADER(name, text) KnownName{text, HeaderName::name},
#include "http/header_names.inc"
#undef POSTERN_HEADER
};

// Open addressing over (length, first, last, middle letter); built at compile time, so a lookup is one probe or two.
constexpr std::size_t kSlots = 256;

constexpr std::size_t slot_of(std::string_view name) noexcept {
  const auto letter = [&](std::size_t i) {
    return static_cast<std::size_t>(static_cast<unsigned char>(name[i]) | 0x20);
  };
  return (name.size() * 7 + letter(0) * 13 + letter(name.size() - 1) * 31 + letter(name.size() / 2) * 57) % kSlots;
}

constexpr auto kTable = [] {
  std::array<std::uint8_t, kSlots> table{};
  for (std::size_t i = 0; i < kKnown.size(); ++i) {
    std::size_t slot = slot_of(kKnown[i].text);
    while (table[slot] != 0) slot = (slot + 1) % kSlots;
    table[slot] = static_cast<std::uint8_t>(i + 1);
  }
  return table;
}();

constexpr std::size_t kMaxKnownSize = 32;

// A known name for comparing eight bytes at a time: a letter is folded by setting the bit where `fold` has it, any
// other byte must be equal as it is.
struct FoldedName {
  std::array<char, kMaxKnownSize> text{};
  std::array<char, kMaxKnownSize> fold{};
  std::size_t size = 0;

  [[nodiscard]] bool equals(std::string_view name) const noexcept {
    if (name.size() != size) return false;
    std::size_t at = 0;
    for (; at + kWord <= size; at += kWord) {
      if (!same_word(name, at)) return false;
    }
    // What is left: together with bytes that were compared already, or byte by byte in a short name.
    if (size >= kWord) return at == size || same_word(name, size - kWord);
    for (; at < size; ++at) {
      if (static_cast<char>(name[at] | fold[at]) != text[at]) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kWord = sizeof(std::uint64_t);
  [[nodiscard]] bool same_word(std::string_view name, std::size_t at) const noexcept {
    std::uint64_t theirs = 0;
    std::uint64_t ours = 0;
    std::uint64_t mask = 0;
    std::memcpy(&theirs, name.data() + at, kWord);
    std::memcpy(&ours, text.data() + at, kWord);
    std::memcpy(&mask, fold.data() + at, kWord);
    return (theirs | mask) == ours;
  }
};

constexpr auto kFolded = [] {
  std::array<FoldedName, kKnown.size()> names{};
  for (std::size_t i = 0; i < kKnown.size(); ++i) {
    names[i].size = kKnown[i].text.size();  // a name over kMaxKnownSize does not compile
    for (std::size_t j = 0; j < names[i].size; ++j) {
      names[i].text[j] = kKnown[i].text[j];
      names[i].fold[j] = is_alpha(kKnown[i].text[j]) ? 0x20 : 0;
    }
  }
  return names;
}();

}  // namespace

bool is_forbidden_trailer(HeaderName name) noexcept {
  switch (name) {
    case HeaderName::content_length:
    case HeaderName::transfer_encoding:
    case HeaderName::host:
    case HeaderName::trailer:
    case HeaderName::connection:
    case HeaderName::keep_alive:
    case HeaderName::proxy_connection:
    case HeaderName::upgrade:
    case HeaderName::http2_settings:
    case HeaderName::te:
    case HeaderName::expect:
    case HeaderName::authorization:
    case HeaderName::proxy_authenticate:
    case HeaderName::proxy_authorization:
    case HeaderName::www_authenticate:
    case HeaderName::cookie:
    case HeaderName::set_cookie:
    case HeaderName::content_type:
    case HeaderName::cache_control:
    case HeaderName::location:
    case HeaderName::forwarded:
    case HeaderName::via:
    case HeaderName::x_forwarded_for:
    case HeaderName::x_forwarded_host:
    case HeaderName::x_forwarded_port:
    case HeaderName::x_forwarded_proto: return true;
    default: return false;
  }
}

HeaderName lookup_header_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > kMaxKnownSize) return HeaderName::other;
  for (std::size_t slot = slot_of(name); kTable[slot] != 0; slot = (slot + 1) % kSlots) {
    if (kFolded[kTable[slot] - 1u].equals(name)) return kKnown[kTable[slot] - 1u].id;
  }
  return HeaderName::other;
}

std::string_view header_text(HeaderName name) noexcept {
  return name == HeaderName::other ? std::string_view() : kKnown[static_cast<std::size_t>(name) - 1].text;
}

bool is_alias_of_same_size(std::string_view candidate, std::string_view name) noexcept {
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (fold_name_byte(candidate[i]) != fold_name_byte(name[i])) return false;
  }
  return true;
}

void Headers::append(std::string_view name, std::string_view value, HeaderName id) {
  if (size_ == capacity_) grow();
  data()[size_++] = Field{name, value, id};
}

void Headers::grow() {
  auto bigger = std::make_unique<Field[]>(capacity_ * 2);
  for (std::size_t i = 0; i < size_; ++i) bigger[i] = data()[i];
  heap_ = std::move(bigger);
  capacity_ *= 2;
}

const Field* Headers::find(HeaderName id) const noexcept {
  for (const Field& field : *this) {
    if (field.id == id) return &field;
  }
  return nullptr;
}

const Field* Headers::find(std::string_view name) const noexcept {
  for (const Field& field : *this) {
    if (iequals(field.name, name)) return &field;
  }
  return nullptr;
}

std::size_t Headers::count(HeaderName id) const noexcept {
  std::size_t n = 0;
  for (const Field& field : *this) n += field.id == id;
  return n;
}

std::size_t Headers::count(std::string_view name) const noexcept {
  std::size_t n = 0;
  for (const Field& field : *this) n += iequals(field.name, name);
  return n;
}

std::string_view Headers::value(HeaderName id) const noexcept {
  const Field* const field = find(id);
  return field ? field->value : std::string_view();
}

std::size_t Headers::remove(HeaderName id) noexcept {
  return remove_if([id](const Field& field) { return field.id == id; });
}

std::size_t Headers::remove(std::string_view name) noexcept {
  return remove_if([name](const Field& field) { return iequals(field.name, name); });
}

std::size_t Headers::remove_aliases_of(std::string_view name) noexcept {
  return remove_if([name](const Field& field) { return is_alias_of(field.name, name); });
}

void Headers::set(std::string_view name, std::string_view value) {
  remove(name);
  append(name, value);
}

}  // namespace postern::http
