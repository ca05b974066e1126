// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <openssl/evp.h>

#include <memory>

namespace simplon::crypto {

struct CipherContextDeleter {
  void operator()(EVP_CIPHER_CTX* context) const noexcept { ::EVP_CIPHER_CTX_free(context); }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, CipherContextDeleter>;

}  // namespace simplon::crypto
