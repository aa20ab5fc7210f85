// The list of the issuer's keys, as it lies in a directory that others may have written to. Invariants: a list that is
// taken has at most nine keys, each of a kid that is safe as a file's name; it is written and read again the same; for
// every time and every algorithm of the list somebody signs, and what signs is published; errors say why in one short
// line without the content.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "check.h"
#include "issuer/key_directory.h"

namespace {

using namespace postern;
using namespace postern::fuzz;
using namespace postern::issuer;

void check_error(std::string_view detail) {
  check(!detail.empty() && detail.size() < 200, "an error is short", detail);
  check(std::ranges::all_of(detail, [](char c) { return c >= ' ' && c < '\x7f'; }), "an error is one line", detail);
}

void check_ring(const KeyRing& ring, WallTime now) {
  const RotationTimes times;
  for (const KeyRing::Entry& entry : ring.entries()) {
    const KeyRing::Entry* const signing = ring.signing(entry.algorithm, now);
    check(signing && signing->algorithm == entry.algorithm, "somebody signs", entry.kid);
    check(ring.role(*signing, now, times) == KeyRing::Role::signing, "what signs is published", signing->kid);
  }
  const auto next = ring.next_change(now, times);
  check(!next || *next > now, "a change lies ahead");
  KeyRing left = ring;
  static_cast<void>(left.remove_gone(now, times));
  for (const KeyRing::Entry& entry : ring.entries()) {
    const KeyRing::Entry* const signing = left.signing(entry.algorithm, now);
    check(signing && *signing == *ring.signing(entry.algorithm, now), "what signs is never removed", entry.kid);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = view(data, size);
  const auto ring = parse_key_list(input);
  if (!ring) {
    check_error(ring.error().detail());
    return 0;
  }
  check(ring->entries().size() <= KeyRing::kMaxKeys, "not too many keys");
  for (const KeyRing::Entry& entry : ring->entries()) {
    check(entry.kid.size() == 43 && entry.kid.find_first_of("/.") == std::string::npos, "a kid is a name", entry.kid);
    check_ring(*ring, entry.published);
    check_ring(*ring, entry.signs_from);
  }
  check_ring(*ring, WallTime());
  const std::string written = to_key_list(*ring);
  const auto again = parse_key_list(written);
  check(again && *again == *ring, "what is written is read", written);
  check_equal(to_key_list(*again), written, "a list is written the same again");
  return 0;
}
