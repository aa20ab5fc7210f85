// What the gateway knows about one API key, whichever source it came from (key_database.h, key_file.h). Values.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/clock.h"
#include "store/api_key.h"

namespace postern::store {

struct Metadata {
  std::string name;
  std::string value;
  friend bool operator==(const Metadata&, const Metadata&) = default;
};

// An API client. Its id is stable, unique, and travels to the origin.
struct Consumer {
  std::string id;
  std::string name;                // for people; the id if nothing better is known
  std::vector<Metadata> metadata;  // names unique, sorted
  friend bool operator==(const Consumer&, const Consumer&) = default;
};

struct KeyRecord {
  std::string key_id;  // "pst_4XbQ9sLm"
  KeyHash hash{};
  Consumer consumer;
  WallTime created{};
  std::optional<WallTime> expires;  // valid before this moment
  std::optional<WallTime> revoked;  // set: refused, whatever the moment
};

inline constexpr std::size_t kMaxConsumerId = 128;
inline constexpr std::size_t kMaxConsumerName = 256;
inline constexpr std::size_t kMaxMetadata = 32;
inline constexpr std::size_t kMaxMetadataName = 64;
inline constexpr std::size_t kMaxMetadataValue = 1024;

// 1 to kMaxConsumerId of A-Z a-z 0-9 . _ ~ @ : + -
[[nodiscard]] bool is_consumer_id(std::string_view text) noexcept;
// Text for people: 1 to kMaxConsumerName bytes of UTF-8 without control characters.
[[nodiscard]] bool is_consumer_name(std::string_view text) noexcept;
// 1 to kMaxMetadataName of A-Z a-z 0-9 . _ -
[[nodiscard]] bool is_metadata_name(std::string_view text) noexcept;
// As is_consumer_name, but up to kMaxMetadataValue, and may be empty.
[[nodiscard]] bool is_metadata_value(std::string_view text) noexcept;

// Sorts the metadata and puts the id where the name is missing; then what is wrong with the consumer, "" if nothing.
[[nodiscard]] std::string normalise(Consumer& consumer);

}  // namespace postern::store
