#include "http/headers.h"

#include <gtest/gtest.h>

#include <cctype>
#include <random>
#include <string>
#include <vector>

#include "http/h1/test_support.h"

namespace postern::http {
namespace {

struct Known {
  std::string_view text;
  HeaderName id;
};
constexpr Known kKnown[] = {
#define POSTERN_HEADER(name, text) {text, HeaderName::name},
#include "http/header_names.inc"
#undef POSTERN_HEADER
};

// Out of a block of exactly its size: the comparison goes by whole words.
HeaderName lookup(std::string_view name) { return lookup_header_name(h1::ExactBytes(name).view()); }

bool same_letters(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
         });
}

TEST(Headers, EveryKnownNameIsFoundInAnyCase) {
  std::minstd_rand random(1);
  for (const Known& known : kKnown) {
    EXPECT_EQ(lookup(known.text), known.id);
    EXPECT_EQ(header_text(known.id), known.text);
    for (int i = 0; i < 500; ++i) {
      std::string mixed(known.text);
      for (char& c : mixed) {
        if (random() % 2 == 0) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      }
      ASSERT_EQ(lookup(mixed), known.id) << mixed;
    }
  }
}

TEST(Headers, NoOtherNameIsTakenForAKnownOne) {
  EXPECT_EQ(lookup(""), HeaderName::other);
  EXPECT_EQ(header_text(HeaderName::other), "");
  EXPECT_EQ(lookup(std::string(300, 'a')), HeaderName::other);
  const auto known_as = [](std::string_view name) {
    for (const Known& known : kKnown) {
      if (same_letters(name, known.text)) return known.id;
    }
    return HeaderName::other;
  };
  for (const Known& known : kKnown) {
    for (std::size_t i = 0; i < known.text.size(); ++i) {
      std::string changed(known.text);
      for (int byte = 0; byte < 256; ++byte) {
        changed[i] = static_cast<char>(byte);
        ASSERT_EQ(lookup(changed), known_as(changed)) << changed;
      }
      std::string shorter(known.text);
      shorter.erase(i, 1);
      ASSERT_EQ(lookup(shorter), known_as(shorter)) << shorter;
      std::string longer(known.text);
      longer.insert(i, "x");
      ASSERT_EQ(lookup(longer), known_as(longer)) << longer;
    }
  }
}

// CVE-2025-64484: X_Forwarded_User was another field for the proxy and the same for the application behind it.
TEST(Headers, AliasesAreWhatAnOriginCouldReadAsTheName) {
  for (const char* alias : {"X-Secret-Key", "x-secret-key", "X_Secret_Key", "X.Secret.Key", "x_SECRET.key",
                            "X-Secret_Key", "X~Secret~Key", "X+Secret!Key", "X|Secret^key"}) {
    EXPECT_TRUE(is_alias_of(alias, "X-Secret-Key")) << alias;
    EXPECT_TRUE(is_alias_of("X-Secret-Key", alias)) << alias;
  }
  for (const char* other :
       {"", "X-Secret-Ke", "X-Secret-Keyy", "XSecretKey", "X--Secret-Key", "X-Secret-K\xc5", "X0Secret0Key"}) {
    EXPECT_FALSE(is_alias_of(other, "X-Secret-Key")) << other;
  }
}

std::string names(const Headers& headers) {
  std::string out;
  for (const Field& field : headers) out.append(field.name).append(" ");
  return out;
}

TEST(Headers, FindsCountsAndRemovesInAnyCaseAndKeepsTheOrder) {
  Headers headers;
  headers.append("Cookie", "1");
  headers.append("X-A", "2");
  headers.append("cookie", "3");
  headers.append("x-a", "4");
  headers.append("Via", "5");
  EXPECT_EQ(headers.find(HeaderName::cookie)->value, "1");
  EXPECT_EQ(headers.find("x-A")->value, "2");
  EXPECT_EQ(headers.find("X-B"), nullptr);
  EXPECT_EQ(headers.find(HeaderName::host), nullptr);
  EXPECT_EQ(headers.count(HeaderName::cookie), 2u);
  EXPECT_EQ(headers.count("X-a"), 2u);
  EXPECT_EQ(headers.value(HeaderName::via), "5");
  EXPECT_EQ(headers.value(HeaderName::host), "");
  EXPECT_EQ(headers.remove(HeaderName::cookie), 2u);
  EXPECT_EQ(names(headers), "X-A x-a Via ");
  EXPECT_EQ(headers.remove("X-A"), 2u);
  EXPECT_EQ(headers.remove("X-A"), 0u);
  headers.set("Via", "6");
  EXPECT_EQ(h1::text_of(headers), "[Via|6]");
  headers.append(HeaderName::x_forwarded_for, "7");
  EXPECT_EQ(headers.find("X-Forwarded-For")->id, HeaderName::x_forwarded_for);
  headers.clear();
  EXPECT_TRUE(headers.empty());
}

TEST(Headers, SetReplacesEveryCopyByOneAtTheEnd) {
  Headers headers;
  for (const char* name : {"a", "B", "A", "c"}) headers.append(name, "old");
  headers.set("a", "new");
  EXPECT_EQ(h1::text_of(headers), "[B|old][c|old][a|new]");
}

TEST(Headers, RemovesAliases) {
  Headers headers;
  for (const char* name : {"X_Secret", "X-Other", "x.secret", "X-Secret", "X-Secrets"}) headers.append(name, "v");
  EXPECT_EQ(headers.remove_aliases_of("X-Secret"), 3u);
  EXPECT_EQ(names(headers), "X-Other X-Secrets ");
}

TEST(Headers, HoldsAnyNumberOfFields) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < 1000; ++i) texts.push_back("X-" + std::to_string(i));
  for (const std::size_t size : {Headers::kInline - 1, Headers::kInline, Headers::kInline + 1, std::size_t{1000}}) {
    Headers headers;
    for (std::size_t i = 0; i < size; ++i) headers.append(texts[i], texts[i]);
    ASSERT_EQ(headers.size(), size);
    for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(headers[i].name, texts[i]);
    // Every second one, in place.
    std::size_t seen = 0;
    EXPECT_EQ(headers.remove_if([&](const Field&) { return seen++ % 2 == 1; }), size / 2);
    EXPECT_EQ(seen, size);
    for (std::size_t i = 0; i < headers.size(); ++i) ASSERT_EQ(headers[i].name, texts[2 * i]);
    EXPECT_EQ(headers.remove_if([](const Field&) { return true; }), size - size / 2);
    EXPECT_TRUE(headers.empty());
    headers.append("again", "x");
    EXPECT_EQ(h1::text_of(headers), "[again|x]");
  }
}

}  // namespace
}  // namespace postern::http
