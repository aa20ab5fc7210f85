// IdentityMethod: how an origin knows that a request comes from the gateway. One folder per method; the object is built
// once from configuration, immutable, shared by all loops, and applied afresh to every attempt.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/error.h"
#include "http/headers.h"
#include "http/message.h"
#include "platform/loop.h"
#include "platform/task.h"
#include "tokens/token.h"

namespace postern::identity {

// What was signed for one attempt, in the words of its standard, for a person to compare with what the origin computes.
// Holds values of the request; never a secret.
struct Explanation {
  std::string_view title;  // "signature base (RFC 9421 2.5)"; a constant text
  std::string text;        // of several lines
};

// One attempt to send a request, as far as identity is concerned.
struct Attempt {
  const http::RequestHead& request;  // client copies of all identity headers are already gone
  std::string_view scheme;           // "https" or "http"
  std::string_view host;             // Host as it will be sent
  std::string_view path_and_query;   // as it will be sent
  WallTime now;
  Loop& loop;            // this runs on it
  MonoTime deadline;     // for a method that has to wait
  http::Headers& added;  // fields that go out after the client's; an identity method appends to it
  Arena& arena;          // lives as long as the exchange
  // Credentials that this attempt carries and secrets() does not know; a method appends to it what it made. They live
  // in `arena`, or as long.
  std::vector<std::string_view>& sensitive;
  // All of it if IdentityMethod::whole_body() asks for it; else what is said here means nothing. Empty for a request
  // without a body. Trailers are not part of it.
  std::string_view body = {};
  // As it will be sent, where that is not request.method_text; else "".
  std::string_view method = {};
  // Not nullptr: a method that sends a kept token says which, so that one which the origin refuses can be renewed.
  std::vector<tokens::TokenUse>* tokens = nullptr;
  // What the attempt before this one sent and the origin answered with 401; nullptr: nothing. A method sends another
  // one, if there is one.
  const std::vector<tokens::TokenUse>* refused = nullptr;
  // Not nullptr: somebody wants to see what is signed (`postern origin test`).
  std::vector<Explanation>* explanations = nullptr;
};

// Fields that must not come to an origin although nobody sets them: they would change what the identity says.
class FieldFilter {
 public:
  // `name` as it came, in any case.
  [[nodiscard]] virtual bool forbids(std::string_view name) const noexcept = 0;

 protected:
  ~FieldFilter() = default;
};

class IdentityMethod {
 public:
  IdentityMethod() = default;
  IdentityMethod(const IdentityMethod&) = delete;
  IdentityMethod& operator=(const IdentityMethod&) = delete;
  virtual ~IdentityMethod() = default;

  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  // Field names that it sets: removed from the client's request in every alias, forbidden to policies.
  [[nodiscard]] virtual std::vector<std::string_view> headers() const = 0;
  // How many bytes of a body it is ready to look at before the head of the request goes out; nullopt: it does not look
  // at bodies. A request with a longer one is refused (body_not_signable), and so is a stream that does not end before
  // it is answered (stream_not_signable).
  [[nodiscard]] virtual std::optional<std::uint64_t> whole_body() const noexcept { return std::nullopt; }
  // Taken off requests and their trailers on the way to this origin only, beside headers(). nullptr: nothing; else it
  // lives as long as the method.
  [[nodiscard]] virtual const FieldFilter* filter() const noexcept { return nullptr; }
  // An error keeps the request from being sent at all: there is no fallback to a request without identity.
  [[nodiscard]] virtual Task<Result<void>> apply(Attempt& attempt) const = 0;
  // Texts that must never come back in a response: the reflection guard looks for them, and for Attempt::sensitive.
  [[nodiscard]] virtual std::vector<std::string_view> secrets() const = 0;
};

}  // namespace postern::identity
