// The strict reader of JSON, and Boost.JSON as its oracle. Invariants: what is taken, Boost takes, with the same kinds
// of values, the same texts and the same numbers; what Boost takes and we do not is refused for a reason that we have
// and Boost has not (the same name twice, a limit, half a surrogate pair, a number out of range); and the offset of a
// fault lies in the text.
#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include "check.h"
#include "jose/json.h"

namespace {

using namespace postern::fuzz;
using postern::jose::Json;
namespace oracle = boost::json;

std::string_view view_of(oracle::string_view text) { return {text.data(), text.size()}; }

// Boost multiplies by powers of ten, so its last digits are not exact, and 0e999 is not a number to it.
bool close(double ours, double theirs) {
  return std::isfinite(ours) &&
         (!std::isfinite(theirs) || ours == theirs || std::abs(ours - theirs) <= 1e-12 * std::abs(ours));
}

void compare(const Json& ours, const oracle::value& theirs) {
  switch (theirs.kind()) {
    case oracle::kind::null: return check(ours.is_null(), "null is null");
    case oracle::kind::bool_: return check(ours.if_bool() == theirs.get_bool(), "a truth is the same");
    case oracle::kind::int64: return check(ours.if_int64() == theirs.get_int64(), "an integer is the same");
    case oracle::kind::uint64: return check(ours.if_uint64() == theirs.get_uint64(), "a large integer is the same");
    case oracle::kind::double_:
      return check(ours.is_number() && close(*ours.if_double(), theirs.get_double()), "a number is the same");
    case oracle::kind::string:
      check(ours.if_string() != nullptr, "a text is a text");
      return check_equal(*ours.if_string(), view_of(theirs.get_string()), "a text is the same");
    case oracle::kind::array: {
      const oracle::array& items = theirs.get_array();
      check(ours.if_array() && ours.if_array()->size() == items.size(), "a list is as long");
      for (std::size_t i = 0; i < items.size(); ++i) compare((*ours.if_array())[i], items[i]);
      return;
    }
    case oracle::kind::object: {
      const oracle::object& members = theirs.get_object();
      check(ours.if_object() && ours.if_object()->size() == members.size(), "an object has as many members");
      for (const auto& [name, value] : members) {
        const Json* const mine = ours.find(view_of(name));
        check(mine != nullptr, "a member is there");
        compare(*mine, value);
      }
      return;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = view(data, size);
  auto ours = Json::parse(text);
  boost::system::error_code error;
  oracle::parse_options options;
  options.max_depth = 17;
  const oracle::value theirs = oracle::parse(oracle::string_view(text.data(), text.size()), error, {}, options);
  if (ours) {
    // To Boost an exponent is an int, whatever it is applied to: 0e2147483648 is nothing else than 0 here.
    if (error == oracle::error::exponent_overflow) return 0;
    check(!error, "what is taken, Boost takes", text);
    compare(*ours, theirs);
    ours->wipe();
    return 0;
  }
  check(ours.error().at <= text.size(), "a fault lies in the text", text);
  constexpr std::array<std::string_view, 5> kOurs = {"an object with the same name twice", "the text is too long",
                                                     "too many values", "nested too deep", "a number out of range"};
  check(error || std::ranges::find(kOurs, ours.error().what) != kOurs.end(), ours.error().what, text);
  return 0;
}
