// The message as a signature sees it (RFC 9421 2): what is covered, and the value of each covered component.
//
// Message borrows everything; a CoveredComponents is built once per configuration, or once from what a peer sent, and
// is only read afterwards. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/headers.h"
#include "signature/structured_field.h"

namespace postern::signature {

// A request as it is really sent: after every rewrite, with the Host that the origin will see. Or, with a `status`, a
// response. Views live as long as the call that gets the message.
struct Message {
  std::string_view method;     // case-sensitive, as it is sent
  std::string_view scheme;     // "https"; case is folded
  std::string_view authority;  // Host or :authority; folded, and without the scheme's default port, when it is signed
  std::string_view path;       // before '?', as it is sent; empty means "/"
  std::string_view query;      // behind '?'
  bool has_query = false;      // of an empty one: "/a?" has it, "/a" not; both are signed as "?"
  int status = 0;              // not 0: a response, and only @status and fields can be covered
  const http::Headers* fields = nullptr;  // nullptr: none

  // Who forgets has_query still gets signed what is sent.
  [[nodiscard]] bool queried() const noexcept { return has_query || !query.empty(); }
};

// What happens if a covered field is not in the message.
enum class Presence : std::uint8_t {
  required,    // it is an error
  if_present,  // it is left out of the signature: Content-Type of a request without a body
};

// One component: its identifier as the base shows it, and what the identifier means.
struct Component {
  enum class Kind : std::uint8_t {
    field,
    field_bytes,  // ;bs: every line as a byte sequence (RFC 9421 2.1.3)
    field_key,    // ;key="a": one member of a dictionary (RFC 9421 2.1.2)
    method,
    target_uri,
    authority,
    scheme,
    request_target,
    path,
    query,
    query_parameter,  // ;name="id"
    status,
  };
  Kind kind = Kind::field;
  Presence presence = Presence::required;
  std::string name;        // of the field, lower-case; "@method"
  std::string argument;    // of ;key and ;name
  std::string identifier;  // "\"@query-param\";name=\"id\""
};

class CoveredComponents {
 public:
  // Far more than a request of ours has.
  static constexpr std::size_t kMaxComponents = 64;
  // Of them with a parameter: each reads the whole query or field once more, before a signature has been checked.
  static constexpr std::size_t kMaxWithParameters = 8;

  // `text` is a name ("@method", "Content-Type": any case) or an identifier with parameters
  // ("\"@query-param\";name=\"id\"", quotes and all). Errors: bad_header, Side::gateway: an unknown derived component,
  // a parameter that we do not implement (sf, req, tr, and any other), an identifier that is there already, a name that
  // is none, too many. @signature-params cannot be covered (RFC 9421 2.3).
  [[nodiscard]] Result<void> add(std::string_view text, Presence presence = Presence::required);
  // One item of a received inner list; the same errors, Side::client.
  [[nodiscard]] Result<void> add(const sf::Item& item);

  [[nodiscard]] bool covers(std::string_view name) const noexcept;  // without parameters
  [[nodiscard]] const std::vector<Component>& list() const noexcept { return components_; }

 private:
  [[nodiscard]] Result<void> add(const sf::Item& item, Presence presence, Side side);

  std::vector<Component> components_;
  std::size_t with_parameters_ = 0;  // of them
};

// All lines of one field as a structured field or a signature base sees them (RFC 9421 2.1): each trimmed, obsolete
// line folds made one space, joined with ", ". False if there is none; `out` is appended to.
[[nodiscard]] bool append_field(std::string& out, const http::Headers& fields, std::string_view name);

// Appends the value of the component, without its identifier. The detail of an error names the component. Errors:
//   bad_header, Side::client     what is there cannot be signed: @query-param occurs more than once, ;key is of no
//                                dictionary, bytes that a signature base cannot hold (RFC 9421 2.5: only ASCII, no line
//                                break)
//   internal, Side::gateway      what is not there, or belongs to the other kind of message: who chose what is covered
//                                was wrong. A verifier knows better: there the peer chose.
[[nodiscard]] Result<void> append_component_value(std::string& out, const Component& component, const Message& message);

// False if a component with Presence::if_present is not to be signed for this message.
[[nodiscard]] bool is_signed(const Component& component, const Message& message) noexcept;

// Lower-case, without ":443" of https and ":80" of http (RFC 9421 2.2.3).
void append_normalized_authority(std::string& out, std::string_view scheme, std::string_view authority);

}  // namespace postern::signature
