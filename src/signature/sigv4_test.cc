// SigV4 against two authorities that are not ours: published signatures of the vendor's test suite, and those of an
// independent implementation for requests that are easily canonicalised in another way.
#include "signature/sigv4.h"

#include <gtest/gtest.h>

#include <utility>

namespace postern::signature {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kKeyId = "AKIDEXAMPLE";
constexpr std::string_view kSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
constexpr WallTime kNow{1'440'938'160s};  // 2015-08-30T12:36:00Z

using Fields = std::vector<std::pair<const char*, const char*>>;

http::Headers& fill(http::Headers& headers, const Fields& fields) {
  for (const auto& [name, value] : fields) headers.append(name, value);
  return headers;
}

// What both tables are requests of; `headers` holds its fields.
SigV4Request request_of(const auto& row, http::Headers& headers, std::span<const std::string> also_signed) {
  SigV4Request request;
  request.method = row.method;
  request.path = row.path;
  request.query = row.query;
  request.host = "example.amazonaws.com";
  request.fields = &fill(headers, row.fields);
  request.also_signed = also_signed;
  return request;
}

SigV4Key key_for(std::string_view service, WallTime now = kNow) {
  return SigV4Key::derive(kSecret, now, "us-east-1", service).value();
}

std::string signature_in(const SigV4Signature& signature) {
  const std::string_view text = signature.authorization;
  return std::string(text.substr(text.rfind('=') + 1));
}

TEST(SigV4, AgreesWithTheVendorsSuite) {
  const struct {
    const char* name;
    const char* method;
    const char* path;
    const char* query;
    Fields fields;
    const char* token;
    PathRule path_rule;
    const char* signature;
  } rows[] = {
      // name, method, path, query, fields, token, path rule, signature
      {"get-vanilla",
       "GET",
       "/",
       "",
       {},
       "",
       PathRule::normalize_and_encode,
       "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
      {"get-vanilla-empty-query-key",
       "GET",
       "/",
       "Param1=value1",
       {},
       "",
       PathRule::normalize_and_encode,
       "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
      {"get-vanilla-query-order-key-case",
       "GET",
       "/",
       "Param2=value2&Param1=value1",
       {},
       "",
       PathRule::normalize_and_encode,
       "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
      {"get-vanilla-query-order-encoded",
       "GET",
       "/",
       "Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
       {},
       "",
       PathRule::normalize_and_encode,
       "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"},
      {"get-vanilla-query-unreserved",
       "GET",
       "/",
       "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~"
       "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
       {},
       "",
       PathRule::normalize_and_encode,
       "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
      {"get-vanilla-utf8-query",
       "GET",
       "/",
       "\xe1\x88\xb4=bar",
       {},
       "",
       PathRule::normalize_and_encode,
       "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
      {"get-vanilla-with-session-token",
       "GET",
       "/",
       "",
       {},
       "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
       PathRule::normalize_and_encode,
       "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"},
      {"get-header-key-duplicate",
       "GET",
       "/",
       "",
       {{"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}},
       "",
       PathRule::normalize_and_encode,
       "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
      {"get-header-value-order",
       "GET",
       "/",
       "",
       {{"My-Header1", "value4"}, {"My-Header1", "value1"}, {"My-Header1", "value3"}, {"My-Header1", "value2"}},
       "",
       PathRule::normalize_and_encode,
       "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
      // The suite takes a folded line for one more value.
      {"get-header-value-multiline",
       "GET",
       "/",
       "",
       {{"My-Header1", "value1"}, {"My-Header1", "  value2"}, {"My-Header1", "     value3"}},
       "",
       PathRule::normalize_and_encode,
       "ba17b383a53190154eb5fa66a1b836cc297cc0a3d70a5d00705980573d8ff790"},
      {"get-header-value-trim",
       "GET",
       "/",
       "",
       {{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}},
       "",
       PathRule::normalize_and_encode,
       "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
      {"get-relative-normalized",
       "GET",
       "/example/..",
       "",
       {},
       "",
       PathRule::normalize_and_encode,
       "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
      {"get-relative-relative-normalized",
       "GET",
       "/example1/example2/../..",
       "",
       {},
       "",
       PathRule::normalize_and_encode,
       "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
      {"get-relative-relative-unnormalized",
       "GET",
       "/example1/example2/../..",
       "",
       {},
       "",
       PathRule::encode,
       "dc33e0856fd4baca4d7aa2146c38958283844764f38c74252a333df5e613003b"},
      {"get-slash-dot-slash-unnormalized",
       "GET",
       "/./",
       "",
       {},
       "",
       PathRule::encode,
       "68714168e6557f8f2de0ef956fc24dc2593a4bd2961f8df51898d8a134695145"},
      {"get-slash-pointless-dot-normalized",
       "GET",
       "/./example",
       "",
       {},
       "",
       PathRule::normalize_and_encode,
       "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"},
      {"get-slashes-normalized",
       "GET",
       "//example//",
       "",
       {},
       "",
       PathRule::normalize_and_encode,
       "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"},
      {"get-slashes-unnormalized",
       "GET",
       "//example//",
       "",
       {},
       "",
       PathRule::encode,
       "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5"},
      {"get-space-normalized",
       "GET",
       "/example space/",
       "",
       {},
       "",
       PathRule::normalize_and_encode,
       "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
      {"get-unreserved",
       "GET",
       "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
       "",
       {},
       "",
       PathRule::normalize_and_encode,
       "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
      {"get-utf8",
       "GET",
       "/\xe1\x88\xb4",
       "",
       {},
       "",
       PathRule::normalize_and_encode,
       "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
      {"post-header-key-sort",
       "POST",
       "/",
       "",
       {{"My-Header1", "value1"}},
       "",
       PathRule::normalize_and_encode,
       "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
      {"post-header-value-case",
       "POST",
       "/",
       "",
       {{"My-Header1", "VALUE1"}},
       "",
       PathRule::normalize_and_encode,
       "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
      {"post-sts-header-before",
       "POST",
       "/",
       "",
       {},
       "AQoDYXdzEPT//////////"
       "wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/"
       "kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+"
       "xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
       PathRule::normalize_and_encode,
       "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"},
      {"post-vanilla-query",
       "POST",
       "/",
       "Param1=value1",
       {},
       "",
       PathRule::normalize_and_encode,
       "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},

  };
  const SigV4Key key = key_for("service");
  const std::vector<std::string> also_signed = {"my-header1", "MY-HEADER2"};
  for (const auto& row : rows) {
    http::Headers headers;
    SigV4Request request = request_of(row, headers, also_signed);
    request.path_rule = row.path_rule;
    const auto signature = sign_v4(request, kKeyId, row.token, key, kNow);
    ASSERT_TRUE(signature) << row.name;
    EXPECT_EQ(signature_in(*signature), row.signature) << row.name << '\n' << signature->canonical_request;
  }
}

TEST(SigV4, AFormIsSignedWithItsHash) {
  const SigV4Key key = key_for("service");
  const std::vector<std::string> also_signed = {"content-length"};
  for (const auto& [type, expected] : {std::pair{"application/x-www-form-urlencoded",
                                                 "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"},
                                       std::pair{"application/x-www-form-urlencoded; charset=utf-8",
                                                 "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422"}}) {
    http::Headers headers;
    headers.append("Content-Type", type);
    headers.append("Content-Length", "13");
    const std::string hash = payload_hash_of("Param1=value1");
    SigV4Request request;
    request.method = "POST";
    request.host = "example.amazonaws.com";
    request.fields = &headers;
    request.payload_hash = hash;
    request.also_signed = also_signed;
    request.hash_header = HashHeader::always;
    const auto signature = sign_v4(request, kKeyId, "", key, kNow);
    ASSERT_TRUE(signature);
    EXPECT_EQ(signature->authorization,
              "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
              "SignedHeaders=content-length;content-type;host;x-amz-content-sha256;x-amz-date, Signature=" +
                  std::string(expected));
    EXPECT_EQ(signature->content_sha256, "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e");
  }
}

TEST(SigV4, AgreesWithAnIndependentImplementation) {
  const struct {
    const char* name;
    const char* service;
    const char* method;
    const char* path;
    const char* query;
    Fields fields;
    const char* body;  // nullptr: unsigned
    const char* token;
    const char* signature;
  } rows[] = {
      {"plus stays a plus",
       "execute-api",
       "GET",
       "/",
       "q=a+b&q=a%20b&q=a%2Bb",
       {},
       "",
       "",
       "08118f2ecae728263a32f0029997a0cc145bd223b7b6df49a76662c9c870b9f3"},
      {"names that begin alike",
       "execute-api",
       "GET",
       "/",
       "a-=1&a=2&a.=3&a%3D=4",
       {},
       "",
       "",
       "5b7fc46d38720586f877b00b4f9bd58292941c92345a6c52b691ca0e4fa2cae5"},
      {"names sorted as they are encoded",
       "execute-api",
       "GET",
       "/",
       "~=1&%C3%A9=2&A=3&a=4&%20=5",
       {},
       "",
       "",
       "8062f85ccf5d393b0659a9e13d723c0f3e1370f0a22944db36f06aacbb5153e4"},
      {"values sorted as they are encoded",
       "execute-api",
       "GET",
       "/",
       "k=~&k=%7f&k=&k=Z&k=a",
       {},
       "",
       "",
       "b8296a42befe980cf9f0a84eb572c2cf9aab54561a0726795a6123d1fad0d7d7"},
      {"a name alone",
       "execute-api",
       "GET",
       "/",
       "acl&a&b=",
       {},
       "",
       "",
       "69c997bdead595ecd9563dfea77cf128e6ec3908c1fac39db278217510cf2a42"},
      {"a value with an equals sign",
       "execute-api",
       "GET",
       "/",
       "k=a=b==",
       {},
       "",
       "",
       "f09fe6f523c25ad58d63e2387dc1cc74d7fa2b288e28075bee2eb03f7504e69b"},
      {"needless triplets in the query",
       "execute-api",
       "GET",
       "/",
       "%6b=%41%2d%5F%2e%7E",
       {},
       "",
       "",
       "d20784d0dca88254ac8b05eb43d7e93a3ee4b9cad37b4537c0590bdaa541b3e7"},
      {"delimiters in the query",
       "execute-api",
       "GET",
       "/",
       "k=!*'():@$,;/?",
       {},
       "",
       "",
       "34206c934682a86214201d69289c98885ea64dde06dc65c2a408db4ac3ea7450"},
      {"a percent sign in the query",
       "execute-api",
       "GET",
       "/",
       "k=100%25",
       {},
       "",
       "",
       "22f85c1cfd298774b9cec6083ba20638236fdbeef386f65f0ba762bb6764f9e5"},
      {"a path that is encoded twice",
       "execute-api",
       "GET",
       "/a%20b/c%2Fd",
       "",
       {},
       "",
       "",
       "e593c15b96a9a38e84fa5f116e194fef0c414e2b88f7cc661fd9e2697531a038"},
      {"delimiters in a path",
       "execute-api",
       "GET",
       "/a:b@c/!$&'()*+,;=",
       "",
       {},
       "",
       "",
       "2990bb6c846d183e2a702b724e1db2f0cd31938d13358758d9cb90e96daf01f4"},
      {"dots and slashes",
       "lambda",
       "GET",
       "/../a/./b//../c/..",
       "",
       {},
       "",
       "",
       "c33e9dd4ca14c6fc8e79683fe6e71a564d4114705eb97cf5d95bd67722e9d100"},
      {"a slash at the end",
       "lambda",
       "GET",
       "/a/b/",
       "",
       {},
       "",
       "",
       "eb2d3b5448059041e43d292fd55ab760d71553e21769963bc53c5db898aaa098"},
      {"an object key with dots and slashes",
       "s3",
       "GET",
       "/a//./../b",
       "",
       {},
       "",
       "",
       "813a4c6999e3c3f9ae07dcbea678039bf1dd42a7b774795352842a671c033785"},
      {"an object key that is encoded once",
       "s3",
       "PUT",
       "/a%20b/c%2Bd/%C3%A9",
       "",
       {},
       "x",
       "",
       "81c11b314724799198c3387104685dcbfd5cfddbfe06d6b7d38518dfde55effb"},
      {"an object key with delimiters",
       "s3",
       "GET",
       "/a(b)'*!+=@",
       "versionId=1&acl",
       {},
       "",
       "",
       "5cd9f0e4104dbc6b5a99dee044f9048817dbf122ffb3216e9f7f9b2c1e3c7867"},
      {"white space in values",
       "execute-api",
       "POST",
       "/",
       "",
       {{"X-Amz-Meta-A", "  a \t  b  "}, {"x-amz-meta-a", "\"c   d\""}},
       "body",
       "",
       "807e2c1baf317a35e1fee443046ee12535ffc2b2a6e790cbb85a3c5c353634d2"},
      {"an empty value",
       "execute-api",
       "POST",
       "/",
       "",
       {{"X-Amz-Meta-A", ""}, {"Content-Type", "application/json"}},
       "{}",
       "",
       "07d309fad411400cbbbca300dff8029a02e34caf5c05490fa732da7be435b6db"},
      {"names that begin alike in fields",
       "execute-api",
       "GET",
       "/",
       "",
       {{"x-amz-meta-a-b", "1"}, {"x-amz-meta-a", "2"}, {"x-amz-meta-a1", "3"}, {"User-Agent", "not signed"}},
       "",
       "",
       "db664641f2a9a7197449b41467505fe8745aee6aa88e570bd99d7e965ddabb03"},
      {"an unsigned payload with a session token",
       "vpc-lattice-svcs",
       "POST",
       "/v1/items",
       "id=7",
       {{"Content-Type", "text/plain"}},
       nullptr,
       "IQoJb3JpZ2luX2VjEXAMPLE+/==",
       "edf56705ad20102d3a49c71ff76973bbffa1ac813122d05a9ef73587a63ee13d"},
      {"a session token for an object",
       "s3",
       "DELETE",
       "/k",
       "",
       {},
       "",
       "IQoJb3JpZ2luX2VjEXAMPLE+/==",
       "9f660d80b0e5ac757099c79f9e52277ea49d640c52bc833a64b4111747d37444"},
  };
  const std::vector<std::string> also_signed = {"X-Amz-Meta-A", "X-Amz-Meta-A-B", "X-Amz-Meta-A1"};
  for (const auto& row : rows) {
    http::Headers headers;
    const std::string hash = row.body ? payload_hash_of(row.body) : std::string(kUnsignedPayload);
    SigV4Request request = request_of(row, headers, also_signed);
    request.payload_hash = hash;
    const auto signature = sign_v4(request, kKeyId, row.token, key_for(row.service), kNow);
    ASSERT_TRUE(signature) << row.name;
    EXPECT_EQ(signature_in(*signature), row.signature) << row.name << '\n' << signature->canonical_request;
  }
}

TEST(SigV4, ShowsWhatItSignedWithoutTheToken) {
  SigV4Request request;
  request.method = "GET";
  request.path = "/a b";
  request.query = "b=2&a=1";
  request.host = "Example.amazonaws.com:8443";
  const auto signature = sign_v4(request, kKeyId, "SESSION-TOKEN-7", key_for("s3"), kNow);
  ASSERT_TRUE(signature);
  EXPECT_EQ(signature->amz_date, "20150830T123600Z");
  EXPECT_EQ(signature->content_sha256, kEmptyPayloadHash);
  EXPECT_EQ(redact_token(signature->canonical_request),
            "GET\n"
            "/a%20b\n"
            "a=1&b=2\n"
            "host:Example.amazonaws.com:8443\n"
            "x-amz-content-sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
            "x-amz-date:20150830T123600Z\n"
            "x-amz-security-token:[redacted]\n"
            "\n"
            "host;x-amz-content-sha256;x-amz-date;x-amz-security-token\n"
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(signature->string_to_sign, "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/s3/aws4_request\n" +
                                           payload_hash_of(signature->canonical_request));
}

// A client's X-Amz-Date would be signed beside ours, joined with a comma, and every request would fail.
TEST(SigV4, AClientsCopiesOfTheSignaturesFieldsAreNotSigned) {
  const SigV4Key key = key_for("s3");
  SigV4Request request;
  request.method = "GET";
  request.host = "example.amazonaws.com";
  const auto without = sign_v4(request, kKeyId, "token", key, kNow);
  http::Headers headers;
  fill(headers, {{"HOST", "evil.example"},
                 {"Authorization", "Bearer x"},
                 {"x-amz-date", "20000101T000000Z"},
                 {"X-Amz-Security-Token", "other"},
                 {"X-AMZ-Content-SHA256", "UNSIGNED-PAYLOAD"},
                 {"X-Amzn-Trace-Id", "Root=1"},
                 {"Via", "1.1 x"}});
  request.fields = &headers;
  const std::vector<std::string> own = {"Authorization", "x-amz-date", "X-Amz-Security-Token", "Host"};
  for (const auto& also_signed : {std::vector<std::string>(), own}) {
    request.also_signed = also_signed;
    const auto with = sign_v4(request, kKeyId, "token", key, kNow);
    ASSERT_TRUE(without && with);
    EXPECT_EQ(with->authorization, without->authorization);
  }
}

// Signed, they would be what the gateway wants: to copy an object that only the gateway may read, for one.
TEST(SigV4, AClientsOrdersAreNotSignedUnlessTheyAreNamed) {
  const SigV4Key key = key_for("s3");
  http::Headers headers;
  fill(headers, {{"X-Amz-Copy-Source", "/other/secret"}, {"x-amz-acl", "public-read"}, {"X-Amz-Meta-A", "1"}});
  SigV4Request request;
  request.method = "PUT";
  request.host = "example.amazonaws.com";
  request.fields = &headers;
  const auto signed_headers = [&] {
    const std::string text = sign_v4(request, kKeyId, "", key, kNow)->authorization;
    const std::size_t begin = text.find("SignedHeaders=") + 14;
    return text.substr(begin, text.find(',', begin) - begin);
  };
  EXPECT_EQ(signed_headers(), "host;x-amz-content-sha256;x-amz-date");
  const std::vector<std::string> named = {"X-AMZ-meta-a"};
  request.also_signed = named;
  EXPECT_EQ(signed_headers(), "host;x-amz-content-sha256;x-amz-date;x-amz-meta-a");

  for (const char* name : {"Authorization", "X-Amz-Date", "x_amz_date", "X-Amz-Security-Token", "X-Amz-Content-Sha256",
                           "X-Amz-Acl", "x_amz_acl", "x.amz-acl", "x_amz_meta_a", "X-Amz-Meta-A2", "x-amz-"}) {
    EXPECT_TRUE(is_taken_off(name, named)) << name;
  }
  for (const char* name : {"x-amz-meta-A", "X-Amzn-Trace-Id", "X-Amz", "Content-Type", "Authorizations", ""}) {
    EXPECT_FALSE(is_taken_off(name, named)) << name;
  }
}

// A path rule that was forgotten would be noticed at the first space in the name of an object.
TEST(SigV4, PathAndHashHeaderAreAsTheServiceHasThem) {
  SigV4Request request;
  request.method = "GET";
  request.path = "/a%20b";
  request.host = "example.amazonaws.com";
  const auto sign = [&](std::string_view service) {
    return sign_v4(request, kKeyId, "", key_for(service), kNow).value();
  };
  EXPECT_TRUE(sign("s3").canonical_request.starts_with("GET\n/a%20b\n"));
  EXPECT_EQ(sign("s3").content_sha256, kEmptyPayloadHash);
  EXPECT_TRUE(sign("lambda").canonical_request.starts_with("GET\n/a%2520b\n"));
  EXPECT_EQ(sign("lambda").content_sha256, "");
  request.path_rule = PathRule::object_key;  // a store that is like S3 and has another name
  EXPECT_TRUE(sign("minio").canonical_request.starts_with("GET\n/a%20b\n"));
  EXPECT_EQ(sign("minio").content_sha256, kEmptyPayloadHash);
}

TEST(SigV4, AKeyIsGoodForOneDay) {
  const WallTime midnight{1'440'979'200s};  // 2015-08-31T00:00:00Z
  const SigV4Key key = key_for("service", midnight - 1ns);
  EXPECT_EQ(key.scope(), "20150830/us-east-1/service/aws4_request");
  EXPECT_TRUE(key.fits(midnight - 1ns));
  EXPECT_TRUE(key.fits(midnight - 24h));
  EXPECT_FALSE(key.fits(midnight));
  EXPECT_FALSE(key.fits(midnight - 24h - 1ns));
  SigV4Request request;
  request.method = "GET";
  request.host = "h";
  const auto late = sign_v4(request, kKeyId, "", key, midnight);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), Code::internal);
}

TEST(SigV4, Dates) {
  EXPECT_EQ(amz_date(kNow), "20150830T123600Z");
  EXPECT_EQ(amz_date(WallTime()), "19700101T000000Z");
  EXPECT_EQ(amz_date(WallTime(-1ns)), "19691231T235959Z");
  EXPECT_EQ(amz_date(WallTime(951'827'696s)), "20000229T123456Z");
}

TEST(SigV4, RefusesWhatNoSignatureCanBeMadeOf) {
  const SigV4Key key = key_for("service");
  SigV4Request request;
  request.method = "OPTIONS";
  request.host = "h";
  ASSERT_TRUE(sign_v4(request, kKeyId, "", key, kNow));
  EXPECT_FALSE(sign_v4(request, "", "", key, kNow));
  EXPECT_TRUE(sign_v4(request, "a+key@store", "", key, kNow));
  EXPECT_TRUE(sign_v4(request, std::string(128, 'A'), "", key, kNow));
  for (const std::string& id : {std::string(129, 'A'), std::string("AKID/x"), std::string("A,B"), std::string("A=B"),
                                std::string("A B"), std::string("A\x7f")}) {
    EXPECT_FALSE(sign_v4(request, id, "", key, kNow)) << id;
  }
  EXPECT_FALSE(sign_v4(request, "AKID\r\nX: y", "", key, kNow));
  EXPECT_TRUE(sign_v4(request, kKeyId, "IQoJb3JpZ2luX2VjEPT//////////wEaCXVz+/=", key, kNow));
  EXPECT_FALSE(sign_v4(request, kKeyId, "token\r\nX: y", key, kNow));
  request.path = "*";
  const auto asterisk = sign_v4(request, kKeyId, "", key, kNow);
  ASSERT_FALSE(asterisk);
  EXPECT_EQ(asterisk.error().code(), Code::bad_target);
  EXPECT_EQ(asterisk.error().side(), Side::client);
  request.path = "/";
  for (const char* hash : {"", "abc", "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", "UNSIGNED"}) {
    request.payload_hash = hash;
    EXPECT_FALSE(sign_v4(request, kKeyId, "", key, kNow)) << hash;
  }
  for (const auto& [region, service] :
       {std::pair{"", "s3"}, std::pair{"us-east-1", ""}, std::pair{"us/east", "s3"}, std::pair{"us-east-1", "s3\n"}}) {
    EXPECT_FALSE(SigV4Key::derive(kSecret, kNow, region, service));
  }
  const auto empty = SigV4Key::derive("", kNow, "us-east-1", "s3");
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().side(), Side::gateway);
}

TEST(SigV4, ValuesHaveNoLineBreak) {
  std::string out;
  append_canonical_value(out, "\r\n a\r\n\tb \v\f c \n");
  EXPECT_EQ(out, "a b c");
  out = "x:";
  append_canonical_value(out, " \t ");
  EXPECT_EQ(out, "x:");
}

TEST(SigV4, BrokenTripletsHaveOneReading) {
  EXPECT_EQ(canonical_query("a=%&b=%4&c=%zz&&d=%2541&="), "=&a=%25&b=%254&c=%25zz&d=%2541");
  EXPECT_EQ(canonical_path("/a%2/%zz%", PathRule::object_key), "/a%252/%25zz%25");
  EXPECT_EQ(canonical_path("/%2f/%2F", PathRule::object_key), "/%2F/%2F");
  EXPECT_EQ(canonical_path("", PathRule::object_key), "/");
}

}  // namespace
}  // namespace postern::signature
