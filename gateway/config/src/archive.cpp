// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/config/archive.h"

#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "gateway/config/document.h"
#include "gateway/config/json.h"
#include "gateway/config/validate.h"
#include "platform/base/hex.h"
#include "platform/base/utc.h"
#include "platform/crypto/sha256.h"
#include "platform/sys/file.h"

namespace simplon::config {
namespace {

using nlohmann::json;

constexpr std::uint64_t kFormat = 1;
/// Interactive use on any machine: 64 MiB, about 0.1 s (RFC 7914 section 2 gives the meaning of N, r, p).
constexpr std::uint64_t kScryptN = 1U << 16;
constexpr std::uint32_t kScryptR = 8;
constexpr std::uint32_t kScryptP = 1;
constexpr std::uint64_t kScryptMemory = 256U << 20;
constexpr std::size_t kSaltBytes = 16;
constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kKeyBytes = 32;
constexpr std::size_t kMaxSecretBytes = 4096;
constexpr std::size_t kMaxSecrets = 30000;
/// Chosen by us: an archive has 3 levels.
constexpr int kMaxDepth = 16;

using Bytes = std::vector<unsigned char>;
using Key = std::array<unsigned char, kKeyBytes>;

struct CipherDeleter {
  void operator()(EVP_CIPHER_CTX* context) const noexcept { EVP_CIPHER_CTX_free(context); }
};

std::string dump(const json& object) { return object.dump(-1, ' ', false, json::error_handler_t::replace); }

Result<Key> derive(const std::string& passphrase, const Bytes& salt, std::uint64_t n, std::uint32_t r, std::uint32_t p) {
  Key key{};
  if (EVP_PBE_scrypt(passphrase.data(), passphrase.size(), salt.data(), salt.size(), n, r, p, kScryptMemory, key.data(),
                     key.size()) != 1) {
    return fail(ErrorCode::kExhausted, "there is not enough memory to make a key of the passphrase", "64 MiB are needed");
  }
  return key;
}

json seal(const std::string& plain, const std::string& bound_to, const Key& key, const Bytes& salt) {
  Bytes nonce(kNonceBytes);
  SIMPLON_CHECK(RAND_bytes(nonce.data(), static_cast<int>(nonce.size())) == 1);
  Bytes data(plain.size());
  Bytes tag(kTagBytes);
  const std::unique_ptr<EVP_CIPHER_CTX, CipherDeleter> context(EVP_CIPHER_CTX_new());
  int length = 0;
  const auto* text = reinterpret_cast<const unsigned char*>(plain.data());
  const auto* bound = reinterpret_cast<const unsigned char*>(bound_to.data());
  SIMPLON_CHECK(EVP_EncryptInit_ex2(context.get(), EVP_aes_256_gcm(), key.data(), nonce.data(), nullptr) == 1);
  SIMPLON_CHECK(EVP_EncryptUpdate(context.get(), nullptr, &length, bound, static_cast<int>(bound_to.size())) == 1);
  SIMPLON_CHECK(EVP_EncryptUpdate(context.get(), data.data(), &length, text, static_cast<int>(plain.size())) == 1);
  std::array<unsigned char, 16> rest{};
  SIMPLON_CHECK(EVP_EncryptFinal_ex(context.get(), rest.data(), &length) == 1);
  SIMPLON_CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, tag.data()) == 1);
  return {{"cipher", "aes-256-gcm"}, {"kdf", "scrypt"},         {"n", kScryptN},
          {"r", kScryptR},           {"p", kScryptP},           {"salt", to_hex(salt)},
          {"nonce", to_hex(nonce)},  {"data", to_hex(data)},    {"tag", to_hex(tag)}};
}

json body_of(const Archive& archive) {
  json history = json::array();
  for (const auto& [version, text] : archive.history) {
    json one = to_json(version);
    one["document"] = text;
    one["reverts"] = version.reverts;
    one["reason"] = version.reason;
    history.push_back(std::move(one));
  }
  return {{"simplon_archive", kFormat},
          {"created", archive.created},
          {"software", archive.software},
          {"gateway", archive.gateway},
          {"version", archive.version},
          {"document", archive.document},
          {"ids",
           {{"domains", archive.ids.domains},
            {"tunnels", archive.ids.tunnels},
            {"circuits", archive.ids.circuits},
            {"next_domain", archive.ids.next_domain},
            {"next_tunnel", archive.ids.next_tunnel},
            {"next_circuit", archive.ids.next_circuit}}},
          {"history", std::move(history)}};
}

std::string finish(json body) {
  body["sha256"] = crypto::sha256_hex(dump(body));
  return body.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Unexpected damaged(const std::string& why) {
  return fail(ErrorCode::kInvalidConfig, "the archive is damaged: " + why, "nothing was changed; export it again");
}

/// nlohmann parses in a loop, but writes what it has parsed by recursion: what is deeper than kMaxDepth is left out.
json parse_flat(std::string_view text, bool& ret_too_deep) {
  const auto keep = [&](int depth, json::parse_event_t event, const json&) {
    const bool opens = event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    const bool fits = !opens || depth < kMaxDepth;
    ret_too_deep |= !fits;
    return fits;
  };
  return json::parse(text, keep, false);
}

// Members of the right type, or nothing.

std::optional<std::string> text_at(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

std::optional<std::uint64_t> number_at(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint64_t>();
}

template <class Map>
bool read_ids(const json& object, const char* key, Map& ids, std::uint32_t next) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_object()) return false;
  std::set<std::uint64_t> used;
  for (const auto& [name, number] : found->items()) {
    if (!is_valid_name(name) || !number.is_number_unsigned()) return false;
    const auto id = number.template get<std::uint64_t>();
    if (id == 0 || id >= next || !used.insert(id).second) return false;
    ids.emplace(name, static_cast<std::uint32_t>(id));
  }
  return true;
}

bool read_snapshot(const json& object, IdRegistry::Snapshot& ids) {
  constexpr std::uint64_t kLargest = 1'000'000'000;
  const auto next_domain = number_at(object, "next_domain");
  const auto next_tunnel = number_at(object, "next_tunnel");
  if (!next_domain || !next_tunnel || *next_domain == 0 || *next_tunnel == 0 || *next_domain > kLargest ||
      *next_tunnel > kLargest)
    return false;
  ids.next_domain = static_cast<std::uint32_t>(*next_domain);
  ids.next_tunnel = static_cast<std::uint32_t>(*next_tunnel);
  if (!read_ids(object, "domains", ids.domains, ids.next_domain) || !read_ids(object, "tunnels", ids.tunnels, ids.next_tunnel)) {
    return false;
  }
  // Archives of releases without circuits have none.
  if (!object.contains("circuits")) return true;
  const auto next_circuit = number_at(object, "next_circuit");
  if (!next_circuit || *next_circuit == 0 || *next_circuit > kLargest) return false;
  ids.next_circuit = static_cast<std::uint32_t>(*next_circuit);
  return read_ids(object, "circuits", ids.circuits, ids.next_circuit);
}

bool read_version(const json& object, StoredDocument& stored) {
  const auto when = text_at(object, "when");
  const auto text = text_at(object, "document");
  const auto hash = text_at(object, "hash");
  const auto time = when ? parse_utc(*when) : std::nullopt;
  if (!time || !text || !hash || crypto::sha256_hex(*text) != *hash) return false;
  stored.text = *text;
  stored.version.when = *time;
  stored.version.who = text_at(object, "who").value_or("");
  stored.version.comment = text_at(object, "comment").value_or("");
  stored.version.hash = *hash;
  if (const auto uid = number_at(object, "uid"); uid && *uid <= UINT32_MAX) {
    stored.version.uid = static_cast<std::uint32_t>(*uid);
  }
  stored.version.reverts = number_at(object, "reverts").value_or(0);
  stored.version.reason = text_at(object, "reason").value_or("");
  return true;
}

/// Keys need not be text: hexadecimal.
json secrets_json(const std::map<std::string, std::string>& secrets) {
  json object = json::object();
  for (const auto& [path, content] : secrets) object[path] = to_hex(content);
  return object;
}

bool read_secrets(const json& object, std::map<std::string, std::string>& secrets) {
  if (!object.is_object() || object.size() > kMaxSecrets) return false;
  for (const auto& [path, content] : object.items()) {
    if (!content.is_string()) return false;
    auto bytes = from_hex<std::string>(content.get_ref<const std::string&>());
    if (!bytes || bytes->empty() || bytes->size() > kMaxSecretBytes) return false;
    secrets[path] = *std::move(bytes);
  }
  return true;
}

}  // namespace

Archive::~Archive() {
  for (auto& [path, content] : secrets) sys::wipe(content);
}

Result<std::string> format_archive(const Archive& archive, const std::string& passphrase) {
  json body = body_of(archive);
  if (!archive.secrets.empty()) {
    Bytes salt(kSaltBytes);
    SIMPLON_CHECK(RAND_bytes(salt.data(), static_cast<int>(salt.size())) == 1);
    auto key = derive(passphrase, salt, kScryptN, kScryptR, kScryptP);
    if (!key) return Unexpected(key.error());
    std::string plain = dump(secrets_json(archive.secrets));
    body["secrets"] = seal(plain, crypto::sha256_hex(archive.document), *key, salt);
    sys::wipe(plain);
    OPENSSL_cleanse(key->data(), key->size());
  }
  return finish(std::move(body));
}

std::string format_open_archive(const Archive& archive) {
  json body = body_of(archive);
  if (!archive.secrets.empty()) body["secrets"] = {{"open", secrets_json(archive.secrets)}};
  return finish(std::move(body));
}

Result<Archive> read_archive(std::string_view text) {
  bool too_deep = false;
  json body = parse_flat(text, too_deep);
  if (too_deep) return damaged("it is nested more than " + std::to_string(kMaxDepth) + " levels deep");
  if (!body.is_object() || !number_at(body, "simplon_archive")) {
    return fail(ErrorCode::kInvalidConfig, "this is not an archive of `simplon config export`, or it is damaged",
                "a configuration document is applied with: simplon apply FILE");
  }
  if (number_at(body, "simplon_archive") != kFormat) {
    return fail(ErrorCode::kInvalidConfig,
                "the archive has format " + dump(body["simplon_archive"]) + ", this release reads " + std::to_string(kFormat),
                "import it with the release that exported it, or a later one");
  }
  const auto hash = text_at(body, "sha256");
  if (!hash) return damaged("its checksum is missing");
  body.erase("sha256");
  if (crypto::sha256_hex(dump(body)) != *hash) return damaged("its checksum is wrong");

  Archive archive;
  archive.created = text_at(body, "created").value_or("");
  archive.software = text_at(body, "software").value_or("");
  archive.gateway = text_at(body, "gateway").value_or("");
  archive.version = number_at(body, "version").value_or(0);
  const auto document = text_at(body, "document");
  if (!document || document->size() > kMaxDocumentBytes) return damaged("it has no document");
  archive.document = *document;
  const auto ids = body.find("ids");
  if (ids == body.end() || !ids->is_object() || !read_snapshot(*ids, archive.ids)) return damaged("its ids make no sense");
  if (const auto history = body.find("history"); history != body.end()) {
    if (!history->is_array() || history->size() > 1000) return damaged("its history makes no sense");
    for (const auto& one : *history) {
      if (!one.is_object() || !read_version(one, archive.history.emplace_back())) {
        return damaged("a version of its history does not match its hash");
      }
    }
  }
  if (const auto secrets = body.find("secrets"); secrets != body.end()) {
    if (!secrets->is_object()) return damaged("its secrets make no sense");
    if (const auto open = secrets->find("open"); open != secrets->end()) {
      if (!read_secrets(*open, archive.secrets)) return damaged("its secrets make no sense");
    } else {
      archive.sealed = dump(*secrets);
    }
  }
  return archive;
}

Result<void> open_secrets(Archive& archive, const std::string& passphrase) {
  if (archive.sealed.empty()) return {};
  const json sealed = json::parse(archive.sealed, nullptr, false);
  const auto bytes = [&](const char* key) -> std::optional<Bytes> {
    const auto text = text_at(sealed, key);
    return text ? from_hex<Bytes>(*text) : std::nullopt;
  };
  const auto salt = bytes("salt");
  const auto nonce = bytes("nonce");
  auto data = bytes("data");
  auto tag = bytes("tag");
  const auto n = number_at(sealed, "n");
  const auto r = number_at(sealed, "r");
  const auto p = number_at(sealed, "p");
  // Bounds: a hostile archive must not make us compute for hours.
  const bool sane = salt && nonce && nonce->size() == kNonceBytes && data && tag && tag->size() == kTagBytes && n && r &&
                    p && *n >= 2 && *n <= (1U << 20) && (*n & (*n - 1)) == 0 && *r >= 1 && *r <= 16 && *p >= 1 &&
                    *p <= 4 && text_at(sealed, "kdf") == "scrypt" && text_at(sealed, "cipher") == "aes-256-gcm";
  if (!sane) return damaged("its secrets make no sense");
  auto key = derive(passphrase, *salt, *n, static_cast<std::uint32_t>(*r), static_cast<std::uint32_t>(*p));
  if (!key) return Unexpected(key.error());

  const std::string bound_to = crypto::sha256_hex(archive.document);
  std::string plain(data->size(), '\0');
  const std::unique_ptr<EVP_CIPHER_CTX, CipherDeleter> context(EVP_CIPHER_CTX_new());
  int length = 0;
  auto* out = reinterpret_cast<unsigned char*>(plain.data());
  const auto* bound = reinterpret_cast<const unsigned char*>(bound_to.data());
  bool good = EVP_DecryptInit_ex2(context.get(), EVP_aes_256_gcm(), key->data(), nonce->data(), nullptr) == 1 &&
              EVP_DecryptUpdate(context.get(), nullptr, &length, bound, static_cast<int>(bound_to.size())) == 1 &&
              EVP_DecryptUpdate(context.get(), out, &length, data->data(), static_cast<int>(data->size())) == 1 &&
              EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag->data()) == 1;
  std::array<unsigned char, 16> rest{};
  good = good && EVP_DecryptFinal_ex(context.get(), rest.data(), &length) == 1;
  OPENSSL_cleanse(key->data(), key->size());
  if (!good) {
    sys::wipe(plain);
    return fail(ErrorCode::kInvalidConfig, "the passphrase is wrong, or the secrets of the archive were changed",
                "nothing was changed");
  }
  const json opened = json::parse(plain, nullptr, false);
  sys::wipe(plain);
  if (!read_secrets(opened, archive.secrets)) return damaged("its secrets make no sense");
  archive.sealed.clear();
  return {};
}

std::vector<std::string> secret_files(const GatewayConfig& config) {
  std::set<std::string> paths;
  for (const auto& tunnel : config.tunnels) paths.insert(tunnel.psk_file);
  for (const auto& domain : config.domains) {
    if (!domain.bgp) continue;
    for (const auto& neighbor : domain.bgp->neighbors) {
      if (neighbor.password_file) paths.insert(*neighbor.password_file);
    }
  }
  return {paths.begin(), paths.end()};
}

}  // namespace simplon::config
