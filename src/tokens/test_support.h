// For tests of this room and those above: sources and fetchers that do as they are told.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "platform/event.h"
#include "tokens/source.h"

namespace postern::tokens {

// Answers in turn; the last answer stays.
class ScriptedFetcher final : public Fetcher {
 public:
  [[nodiscard]] Task<Result<FetchResponse>> fetch(FetchRequest request) override {
    requests.push_back(std::move(request));
    if (answers.empty()) return fail(Code::token_unavailable, Side::gateway, "no answer in the script", Retry::yes);
    const Answer answer = answers.front();
    if (answers.size() > 1) answers.pop_front();
    FetchResponse response;
    response.status = answer.status;
    response.fields = answer.fields;
    response.body = config::Secret(answer.body);
    return Result<FetchResponse>(std::move(response));
  }
  struct Answer {
    int status = 200;
    std::string body;
    std::vector<std::pair<std::string, std::string>> fields = {};
  };
  std::deque<Answer> answers;
  std::vector<FetchRequest> requests;
};

// The same bytes each time: everything random is as small as it can be.
class ConstantEntropy final : public Entropy {
 public:
  explicit ConstantEntropy(unsigned char byte = 0) : byte_(byte) {}
  void fill(std::span<unsigned char> out) const noexcept override {
    for (unsigned char& byte : out) byte = byte_;
  }

 private:
  unsigned char byte_;
};

}  // namespace postern::tokens
