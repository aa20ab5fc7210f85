#include "store/key_record.h"

#include <algorithm>

#include "base/strings.h"

namespace postern::store {
namespace {

bool all_of_set(std::string_view text, std::string_view symbols) noexcept {
  return std::ranges::all_of(
      text, [symbols](char c) { return is_digit(c) || is_alpha(c) || symbols.find(c) != std::string_view::npos; });
}

// Length of the well-formed UTF-8 sequence that starts `text`, 0 if it is none (overlong, surrogate, truncated).
std::size_t utf8_sequence(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead < 0x80   ? 1
                             : lead < 0xc2 ? 0
                             : lead < 0xe0 ? 2
                             : lead < 0xf0 ? 3
                             : lead < 0xf5 ? 4
                                           : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;
  if (lead == 0xed && byte(1) > 0x9f) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

bool is_printable_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const auto lead = static_cast<unsigned char>(text[0]);
    const std::size_t length = utf8_sequence(text);
    if (length == 0 || lead < 0x20 || lead == 0x7f) return false;
    // U+0080 to U+009F: control characters that some terminals obey.
    if (lead == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace

bool is_consumer_id(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kMaxConsumerId && all_of_set(text, "._~@:+-");
}

bool is_consumer_name(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kMaxConsumerName && is_printable_utf8(text);
}

bool is_metadata_name(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kMaxMetadataName && all_of_set(text, "._-");
}

bool is_metadata_value(std::string_view text) noexcept {
  return text.size() <= kMaxMetadataValue && is_printable_utf8(text);
}

std::string normalise(Consumer& consumer) {
  if (!is_consumer_id(consumer.id)) return "a consumer id is 1 to 128 letters, digits and . _ ~ @ : + -";
  if (consumer.name.empty()) consumer.name = consumer.id;
  if (!is_consumer_name(consumer.name)) {
    return "the name of consumer " + consumer.id + " is not printable UTF-8 of at most 256 bytes";
  }
  if (consumer.metadata.size() > kMaxMetadata) return "consumer " + consumer.id + " has more than 32 metadata entries";
  std::ranges::sort(consumer.metadata, {}, &Metadata::name);
  for (std::size_t i = 0; i < consumer.metadata.size(); ++i) {
    const Metadata& entry = consumer.metadata[i];
    if (!is_metadata_name(entry.name)) {
      return "a metadata name of consumer " + consumer.id + " is not 1 to 64 letters, digits and . _ -";
    }
    if (!is_metadata_value(entry.value)) {
      return "metadata " + entry.name + " of consumer " + consumer.id + " is not printable UTF-8 of at most 1024 bytes";
    }
    if (i > 0 && consumer.metadata[i - 1].name == entry.name) {
      return "metadata " + entry.name + " of consumer " + consumer.id + " appears twice";
    }
  }
  return {};
}

}  // namespace postern::store
