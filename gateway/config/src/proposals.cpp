// SPDX-License-Identifier: GPL-2.0-or-later
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/config/validate.h"

// A curated list instead of everything charon can do: what is on it is safe to negotiate, and for ESP it is exactly
// what the forwarder implements. RFC 8247 and RFC 8221 give the state of each algorithm.

namespace simplon::config {
namespace {

constexpr const char* kIkeExample = "aes256gcm16-prfsha384-ecp384";
constexpr const char* kEspExample = "aes256gcm16-ecp384";

constexpr std::array<std::string_view, 4> kAead = {"aes128gcm16", "aes192gcm16", "aes256gcm16", "chacha20poly1305"};
constexpr std::array<std::string_view, 3> kCbc = {"aes128", "aes192", "aes256"};
constexpr std::array<std::string_view, 4> kIntegrity = {"sha1", "sha256", "sha384", "sha512"};
constexpr std::array<std::string_view, 4> kPrf = {"prfsha1", "prfsha256", "prfsha384", "prfsha512"};
constexpr std::array<std::string_view, 10> kGroups = {"modp2048", "modp3072", "modp4096", "modp6144",   "modp8192",
                                                      "ecp256",   "ecp384",   "ecp521",   "curve25519", "x25519"};
constexpr std::array<std::string_view, 3> kEspIntegrity = {"sha256", "sha384", "sha512"};
constexpr std::array<std::string_view, 2> kEsn = {"esn", "noesn"};

// What some peers leave no choice about: permitted by allow-weak.
constexpr std::array<std::string_view, 1> kWeakIkeCipher = {"3des"};
constexpr std::array<std::string_view, 1> kWeakEspCipher = {"null"};
constexpr std::array<std::string_view, 2> kWeakGroups = {"modp1024", "modp1536"};

struct Refused {
  std::string_view word;
  std::string_view why;
};
constexpr std::array<Refused, 15> kRefused = {{
    {"des", "DES is broken"},
    {"3des", "3DES has 64-bit blocks and is broken"},
    {"null", "it does not encrypt"},
    {"blowfish128", "Blowfish has 64-bit blocks"},
    {"cast128", "CAST-128 has 64-bit blocks"},
    {"md5", "MD5 is broken"},
    {"prfmd5", "MD5 is broken"},
    {"md5_128", "MD5 is broken"},
    {"modp768", "DH group 1 (768 bits) is broken"},
    {"modp1024", "DH group 2 (1024 bits) is too weak"},
    {"modp1536", "DH group 5 (1536 bits) is too weak"},
    {"modp1024s160", "DH group 22 is too weak"},
    {"modp2048s224", "DH group 23 is of doubtful origin"},
    {"modp2048s256", "DH group 24 is of doubtful origin"},
    {"ecp192", "ECP-192 is too weak"},
}};

template <std::size_t N>
bool is_one_of(const std::array<std::string_view, N>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> words;
  for (;;) {
    const auto dash = text.find('-');
    words.push_back(text.substr(0, dash));
    if (dash == std::string_view::npos) return words;
    text.remove_prefix(dash + 1);
  }
}

std::string quote(std::string_view word) { return "'" + std::string(word) + "'"; }

Unexpected refuse(std::string_view proposal, std::string what, const std::string& hint) {
  return fail(ErrorCode::kInvalidConfig, "proposal " + quote(proposal) + ": " + std::move(what), hint);
}

Unexpected refuse_word(std::string_view proposal, std::string_view word, const std::vector<std::string>& known,
                       const std::string& example, bool weak) {
  for (const auto& refused : kRefused) {
    if (refused.word == word) {
      return refuse(proposal, quote(word) + " is refused, " + std::string(refused.why),
                    "use " + example + (weak ? ", or set allow-weak of the tunnel if the peer can do nothing better" : ""));
    }
  }
  const std::string guess = closest_match(word, known);
  return refuse(proposal, "unknown algorithm " + quote(word),
                guess.empty() ? "write it like " + example : "did you mean " + quote(guess) + "?");
}

template <std::size_t... N>
std::vector<std::string> words_of(const std::array<std::string_view, N>&... lists) {
  std::vector<std::string> all;
  (all.insert(all.end(), lists.begin(), lists.end()), ...);
  return all;
}

}  // namespace

Result<void> check_ike_proposal(std::string_view proposal, bool allow_weak) {
  int aead = 0, cbc = 0, integrity = 0, prf = 0, groups = 0;
  for (const auto word : split(proposal)) {
    const bool weak_cipher = is_one_of(kWeakIkeCipher, word), weak_group = is_one_of(kWeakGroups, word);
    if (is_one_of(kAead, word))
      ++aead;
    else if (is_one_of(kCbc, word) || (allow_weak && weak_cipher))
      ++cbc;
    else if (is_one_of(kIntegrity, word))
      ++integrity;
    else if (is_one_of(kPrf, word))
      ++prf;
    else if (is_one_of(kGroups, word) || (allow_weak && weak_group))
      ++groups;
    else
      return refuse_word(proposal, word, words_of(kAead, kCbc, kIntegrity, kPrf, kGroups), kIkeExample,
                         weak_cipher || weak_group);
  }
  const std::string hint = std::string("write it like ") + kIkeExample;
  if (aead + cbc == 0) return refuse(proposal, "there is no cipher", hint);
  if (aead > 0 && cbc > 0)
    return refuse(proposal, "AEAD and CBC ciphers cannot be in one proposal", "make two proposals of it");
  if (cbc > 0 && integrity == 0) return refuse(proposal, "a CBC cipher needs an integrity algorithm", "add sha256");
  if (aead > 0 && integrity > 0)
    return refuse(proposal, "an AEAD cipher takes no integrity algorithm", "write prfsha256 instead of sha256");
  if (aead > 0 && prf == 0)
    return refuse(proposal, "an AEAD cipher needs a pseudo-random function", "add prfsha256 or prfsha384");
  if (groups == 0) return refuse(proposal, "there is no Diffie-Hellman group", "add ecp384 or modp3072");
  return {};
}

Result<void> check_esp_proposal(std::string_view proposal, bool allow_weak) {
  int aead = 0, cbc = 0, null = 0, integrity = 0;
  for (const auto word : split(proposal)) {
    const bool weak_cipher = is_one_of(kWeakEspCipher, word), weak_group = is_one_of(kWeakGroups, word);
    if (is_one_of(kAead, word))
      ++aead;
    else if (is_one_of(kCbc, word))
      ++cbc;
    else if (allow_weak && weak_cipher)
      ++null;
    else if (is_one_of(kEspIntegrity, word))
      ++integrity;
    else if (is_one_of(kIntegrity, word))
      return refuse(proposal, "the forwarder does not implement " + quote(word) + " for ESP", "use sha256");
    else if (!is_one_of(kGroups, word) && !is_one_of(kEsn, word) && !(allow_weak && weak_group))
      return refuse_word(proposal, word, words_of(kAead, kCbc, kEspIntegrity, kGroups, kEsn), kEspExample,
                         weak_cipher || weak_group);
  }
  if (aead + cbc + null == 0)
    return refuse(proposal, "there is no cipher", std::string("write it like ") + kEspExample);
  if (aead > 0 && cbc + null > 0)
    return refuse(proposal, "AEAD and other ciphers cannot be in one proposal", "make two proposals of it");
  if (aead > 0 && integrity > 0)
    return refuse(proposal, "an AEAD cipher takes no integrity algorithm", "remove sha256, sha384 and sha512");
  if (cbc + null > 0 && integrity == 0)
    return refuse(proposal, std::string(cbc > 0 ? "a CBC cipher" : "null") + " needs an integrity algorithm",
                  "add sha256");
  return {};
}

}  // namespace simplon::config
