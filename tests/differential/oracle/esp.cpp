// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/differential/oracle/esp.h"

#include <openssl/evp.h>

#include <algorithm>

#include "platform/base/result.h"

namespace simplon::oracle {
namespace {

constexpr std::size_t kTag = 16;

int length(std::size_t bytes) { return static_cast<int>(bytes); }

const EVP_CIPHER* cipher_for(std::size_t key_bytes) {
  return key_bytes == 16 ? EVP_aes_128_gcm() : (key_bytes == 24 ? EVP_aes_192_gcm() : EVP_aes_256_gcm());
}

}  // namespace

struct Gcm::Contexts {
  EVP_CIPHER_CTX* seal = EVP_CIPHER_CTX_new();
  EVP_CIPHER_CTX* open = EVP_CIPHER_CTX_new();
  Contexts() = default;
  Contexts(const Contexts&) = delete;
  Contexts& operator=(const Contexts&) = delete;
  ~Contexts() {
    EVP_CIPHER_CTX_free(seal);
    EVP_CIPHER_CTX_free(open);
  }
};

Gcm::Gcm(View key) : contexts_(std::make_unique<Contexts>()), salt_(copy(key.last(4))) {
  const EVP_CIPHER* cipher = cipher_for(key.size() - 4);
  SIMPLON_CHECK(EVP_EncryptInit_ex(contexts_->seal, cipher, nullptr, key.data(), nullptr) == 1);
  SIMPLON_CHECK(EVP_DecryptInit_ex(contexts_->open, cipher, nullptr, key.data(), nullptr) == 1);
}
Gcm::~Gcm() = default;

Bytes Gcm::nonce(View iv) const {
  Bytes nonce = salt_;
  add(nonce, iv);
  return nonce;
}

Bytes Gcm::seal(View iv, View associated, View plain) const {
  Bytes result(plain.size() + kTag);
  int written = 0;
  EVP_CIPHER_CTX* context = contexts_->seal;
  SIMPLON_CHECK(EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce(iv).data()) == 1);
  SIMPLON_CHECK(EVP_EncryptUpdate(context, nullptr, &written, associated.data(), length(associated.size())) == 1);
  SIMPLON_CHECK(EVP_EncryptUpdate(context, result.data(), &written, plain.data(), length(plain.size())) == 1);
  SIMPLON_CHECK(EVP_EncryptFinal_ex(context, result.data() + plain.size(), &written) == 1);
  SIMPLON_CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, kTag, result.data() + plain.size()) == 1);
  return result;
}

std::optional<Bytes> Gcm::open(View iv, View associated, View cipher_and_tag) const {
  const std::size_t bytes = cipher_and_tag.size() - kTag;
  Bytes plain(bytes);
  Bytes tag = copy(cipher_and_tag.last(kTag));
  int written = 0;
  EVP_CIPHER_CTX* context = contexts_->open;
  SIMPLON_CHECK(EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, nonce(iv).data()) == 1);
  SIMPLON_CHECK(EVP_DecryptUpdate(context, nullptr, &written, associated.data(), length(associated.size())) == 1);
  SIMPLON_CHECK(EVP_DecryptUpdate(context, plain.data(), &written, cipher_and_tag.data(), length(bytes)) == 1);
  SIMPLON_CHECK(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, kTag, tag.data()) == 1);
  if (EVP_DecryptFinal_ex(context, plain.data() + bytes, &written) != 1) return std::nullopt;
  return plain;
}

SeenNumbers::SeenNumbers(std::uint32_t window)
    : window_(std::min<std::uint64_t>((std::uint64_t{window} + 63) / 64 * 64, 4096)) {}

bool SeenNumbers::is_new(std::uint64_t number) const {
  if (number == 0) return false;  // a sender starts with 1
  if (window_ == 0 || number > highest_) return true;
  return number + window_ > highest_ && !seen_.contains(number);
}

void SeenNumbers::see(std::uint64_t number) {
  highest_ = std::max(highest_, number);
  seen_.insert(number);
  while (!seen_.empty() && *seen_.begin() + window_ <= highest_) seen_.erase(seen_.begin());
}

std::uint64_t SeenNumbers::whole(std::uint32_t low) const {
  const std::uint64_t width = std::max<std::uint64_t>(window_, 1);
  const std::uint64_t leftmost = highest_ + 1 > width ? highest_ + 1 - width : 0;
  std::uint64_t number = (leftmost & ~std::uint64_t{0xffffffff}) | low;
  if (number < leftmost) number += std::uint64_t{1} << 32;
  return number;
}

Bytes esp_packet(const Gcm& gcm, Spi spi, std::uint64_t sequence, bool esn, View plain) {
  Bytes iv;
  add64(iv, sequence);
  Bytes packet;
  add32(packet, spi.value());
  add32(packet, static_cast<std::uint32_t>(sequence));
  Bytes associated;  // RFC 4106 section 5
  add32(associated, spi.value());
  if (esn) {
    add64(associated, sequence);
  } else {
    add32(associated, static_cast<std::uint32_t>(sequence));
  }
  add(packet, iv);
  add(packet, gcm.seal(iv, associated, plain));
  return packet;
}

Bytes esp_plaintext(View packet) {
  Bytes plain = copy(packet);
  std::size_t padding = 0;
  while ((plain.size() + 2) % 4 != 0) add8(plain, ++padding);
  add8(plain, padding);
  add8(plain, packet[0] >> 4 == 4 ? 4 : 41);
  return plain;
}

std::optional<EspContents> without_padding(View plain) {
  const std::size_t padding = plain[plain.size() - 2];
  if (padding > plain.size() - 2) return std::nullopt;
  const std::size_t end = plain.size() - 2 - padding;
  for (std::size_t i = 0; i < padding; ++i) {
    if (plain[end + i] != i + 1) return std::nullopt;
  }
  return EspContents{plain.back(), copy(plain.first(end))};
}

}  // namespace simplon::oracle
