// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/audit/src/signature.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "platform/base/hex.h"
#include "platform/sys/file.h"

namespace simplon::audit {
namespace {

constexpr std::size_t kSignatureBytes = 64;
constexpr std::string_view kBeforeSignature = ",\"sig\":\"";
constexpr std::string_view kAfterSignature = "\"}";

struct BioDeleter {
  void operator()(BIO* bio) const noexcept { BIO_free_all(bio); }
};
struct ContextDeleter {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};
using Bio = std::unique_ptr<BIO, BioDeleter>;
using Context = std::unique_ptr<EVP_MD_CTX, ContextDeleter>;

std::string message_of(std::string_view context, std::string_view body) {
  std::string message(context);
  message += body;
  return message;
}

const unsigned char* bytes_of(const std::string& text) noexcept {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string drain(BIO* bio) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<std::size_t>(length));
}

}  // namespace

struct Key::Held {
  explicit Held(EVP_PKEY* owned) : key(owned) {}
  ~Held() { EVP_PKEY_free(key); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  EVP_PKEY* key;
};

Key Key::generate() {
  EVP_PKEY* key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  SIMPLON_CHECK(key != nullptr);
  return Key(std::make_shared<Held>(key));
}

Result<Key> Key::load_private(const std::string& path) {
  auto pem = sys::read_secret_file(path);
  if (!pem) return Unexpected(pem.error());
  const Bio bio(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr);
  sys::wipe(*pem);
  if (key == nullptr || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
    EVP_PKEY_free(key);
    return fail(ErrorCode::kInvalidConfig, path + " is not an Ed25519 private key",
                "restore it from a backup, or move it away: then a new one is made and the log says so");
  }
  return Key(std::make_shared<Held>(key));
}

Result<Key> Key::load_public(const std::string& path) {
  const auto pem = sys::read_file(path, 16384);
  if (!pem) return Unexpected(pem.error());
  const Bio bio(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())));
  EVP_PKEY* key = PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr);
  if (key == nullptr || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
    EVP_PKEY_free(key);
    return fail(ErrorCode::kInvalidConfig, path + " is not an Ed25519 public key",
                "audit.pub of the gateway is one, see /var/lib/simplon");
  }
  return Key(std::make_shared<Held>(key));
}

std::string Key::private_pem() const {
  const Bio bio(BIO_new(BIO_s_secmem()));
  SIMPLON_CHECK(PEM_write_bio_PKCS8PrivateKey(bio.get(), held_->key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return drain(bio.get());
}

std::string Key::public_pem() const {
  const Bio bio(BIO_new(BIO_s_mem()));
  SIMPLON_CHECK(PEM_write_bio_PUBKEY(bio.get(), held_->key) == 1);
  return drain(bio.get());
}

std::string Key::seal(std::string_view context, std::string_view body) const {
  const std::string message = message_of(context, body);
  std::array<unsigned char, kSignatureBytes> signature{};
  std::size_t length = signature.size();
  const Context digest(EVP_MD_CTX_new());
  SIMPLON_CHECK(EVP_DigestSignInit(digest.get(), nullptr, nullptr, nullptr, held_->key) == 1);
  SIMPLON_CHECK(EVP_DigestSign(digest.get(), signature.data(), &length, bytes_of(message), message.size()) == 1);
  std::string sealed(body);
  sealed += kBeforeSignature;
  sealed += to_hex(signature);
  sealed += kAfterSignature;
  return sealed;
}

std::optional<std::string_view> Key::open(std::string_view context, std::string_view sealed) const {
  constexpr std::size_t kTail = kBeforeSignature.size() + 2 * kSignatureBytes + kAfterSignature.size();
  if (sealed.size() <= kTail || !sealed.ends_with(kAfterSignature)) return std::nullopt;
  const std::string_view body = sealed.substr(0, sealed.size() - kTail);
  std::string_view rest = sealed.substr(body.size());
  if (!rest.starts_with(kBeforeSignature)) return std::nullopt;
  rest = rest.substr(kBeforeSignature.size(), 2 * kSignatureBytes);
  const auto signature = from_hex<std::vector<unsigned char>>(rest);
  if (!signature) return std::nullopt;
  const std::string message = message_of(context, body);
  const Context digest(EVP_MD_CTX_new());
  SIMPLON_CHECK(EVP_DigestVerifyInit(digest.get(), nullptr, nullptr, nullptr, held_->key) == 1);
  const int valid =
      EVP_DigestVerify(digest.get(), signature->data(), signature->size(), bytes_of(message), message.size());
  if (valid != 1) return std::nullopt;
  return body;
}

std::vector<std::string> files_of(const std::string& log) {
  namespace fs = std::filesystem;
  const fs::path path(log);
  const std::string prefix = path.filename().string() + ".";
  std::vector<std::pair<unsigned, std::string>> rotated;
  std::error_code error;
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(prefix)) continue;
    unsigned number = 0;
    const char* last = name.data() + name.size();
    const auto [at, bad] = std::from_chars(name.data() + prefix.size(), last, number);
    if (bad == std::errc{} && at == last) rotated.emplace_back(number, entry->path().string());
  }
  std::sort(rotated.rbegin(), rotated.rend());
  std::vector<std::string> files;
  for (auto& [number, file] : rotated) files.push_back(std::move(file));
  if (fs::exists(path, error)) files.push_back(log);
  return files;
}

}  // namespace simplon::audit
