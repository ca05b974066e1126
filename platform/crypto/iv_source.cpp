// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/crypto/iv_source.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>

#include "platform/base/result.h"
#include "platform/crypto/secret.h"
#include "platform/crypto/src/evp_context.h"

namespace simplon::crypto {

struct IvSource::Stream {
  CipherContext context{::EVP_CIPHER_CTX_new()};
};

IvSource::IvSource() : stream_(std::make_unique<Stream>()), used_(ready_.size()) {
  std::array<std::uint8_t, 32> key;
  const std::array<std::uint8_t, 16> counter{};
  SIMPLON_CHECK(::RAND_priv_bytes(key.data(), static_cast<int>(key.size())) == 1);
  SIMPLON_CHECK(stream_->context != nullptr &&
                ::EVP_EncryptInit_ex(stream_->context.get(), ::EVP_aes_256_ctr(), nullptr, key.data(),
                                     counter.data()) == 1);
  wipe(key.data(), key.size());
}

IvSource::~IvSource() { wipe(ready_.data(), ready_.size()); }

void IvSource::write(std::uint8_t* to, std::size_t bytes) noexcept {
  SIMPLON_ASSERT(bytes <= 16);
  if (ready_.size() - used_ < bytes) refill();
  std::copy_n(ready_.data() + used_, bytes, to);
  used_ += bytes;
}

void IvSource::refill() noexcept {
  ready_.fill(0);
  int length = 0;
  SIMPLON_CHECK(::EVP_EncryptUpdate(stream_->context.get(), ready_.data(), &length, ready_.data(),
                                    static_cast<int>(ready_.size())) == 1);
  used_ = 0;
}

}  // namespace simplon::crypto
