// For tests of this room and the gateway: name servers in the hands of the test.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "origins/resolver.h"
#include "platform/test_support.h"

namespace postern::origins {

class FakeResolver final : public Resolver {
 public:
  void resolve(const std::string& host, Callback callback) override {
    ++asked;
    if (silent) {
      pending.emplace_back(host, std::move(callback));
      return;
    }
    answer(host, callback);
  }
  // Answers what was asked while it was silent.
  void speak() {
    silent = false;
    for (auto& [host, callback] : std::exchange(pending, {})) answer(host, callback);
  }

  std::map<std::string, std::vector<std::string>> answers;
  Duration ttl = 30s;
  int asked = 0;
  bool silent = false;
  std::vector<std::pair<std::string, Callback>> pending;

 private:
  void answer(const std::string& host, const Callback& callback) {
    const auto found = answers.find(host);
    if (found == answers.end()) {
      callback(fail(Code::origin_unresolved, Side::origin, "no such name"));
      return;
    }
    Resolution resolution{{}, ttl};
    for (const std::string& text : found->second) resolution.addresses.push_back(IpAddress::parse(text).value());
    callback(std::move(resolution));
  }
};

}  // namespace postern::origins
