// SPDX-License-Identifier: GPL-2.0-or-later
//
// AES-GCM through ipsec-mb's direct calls (aes_gcm_enc/dec with precomputed key data): synchronous, in packet order, any
// mixture of keys, and faster than the job interface. These calls keep nothing in the manager, which only holds the
// function pointers that fit the processor; so one read-only manager serves all threads. "dec" computes the tag and does
// not look at the received one: comparing is ours.
#include "platform/crypto/src/aead_backends.h"

#ifdef SIMPLON_HAVE_IPSEC_MB

#include <intel-ipsec-mb.h>

#include <new>

#include "platform/crypto/secret.h"
#include "platform/crypto/src/locked_memory.h"

namespace simplon::crypto {
namespace {

const IMB_MGR* dispatch() noexcept {
  static const IMB_MGR* const manager = []() -> const IMB_MGR* {
    IMB_MGR* made = ::alloc_mb_mgr(0);
    if (made == nullptr) return nullptr;
    ::init_mb_mgr_auto(made, nullptr);
    if (::imb_get_errno(made) != 0) {
      ::free_mb_mgr(made);
      return nullptr;
    }
    return made;
  }();
  return manager;
}

class IpsecMbKey final : public AeadKey {
 public:
  IpsecMbKey(AeadSuite suite, std::span<const std::uint8_t> key, const IMB_MGR& manager, void* block)
      : AeadKey(suite, {&seal_packet, &open_packet}, {static_cast<const std::uint8_t*>(block), sizeof(gcm_key_data)}),
        data_(new (block) gcm_key_data) {
    switch (suite) {
      case AeadSuite::kAes128Gcm16:
        encrypt_ = manager.gcm128_enc;
        decrypt_ = manager.gcm128_dec;
        manager.gcm128_pre(key.data(), data_);
        break;
      case AeadSuite::kAes192Gcm16:
        encrypt_ = manager.gcm192_enc;
        decrypt_ = manager.gcm192_dec;
        manager.gcm192_pre(key.data(), data_);
        break;
      case AeadSuite::kAes256Gcm16:
        encrypt_ = manager.gcm256_enc;
        decrypt_ = manager.gcm256_dec;
        manager.gcm256_pre(key.data(), data_);
        break;
    }
  }
  ~IpsecMbKey() override { release_locked_block(data_); }

 private:
  static void seal_packet(const AeadKey& base, const std::uint8_t* nonce, std::span<const std::uint8_t> associated,
                          std::span<std::uint8_t> data, std::uint8_t* tag) noexcept {
    const auto& key = static_cast<const IpsecMbKey&>(base);
    gcm_context_data context;
    key.encrypt_(key.data_, &context, data.data(), data.data(), data.size(), nonce, associated.data(),
                 associated.size(), tag, kAeadTagBytes);
  }
  static bool open_packet(const AeadKey& base, const std::uint8_t* nonce, std::span<const std::uint8_t> associated,
                          std::span<std::uint8_t> data, const std::uint8_t* tag) noexcept {
    const auto& key = static_cast<const IpsecMbKey&>(base);
    gcm_context_data context;
    std::uint8_t computed[kAeadTagBytes];
    key.decrypt_(key.data_, &context, data.data(), data.data(), data.size(), nonce, associated.data(),
                 associated.size(), computed, kAeadTagBytes);
    return equal_in_constant_time(computed, tag, kAeadTagBytes);
  }

  gcm_key_data* data_;
  aes_gcm_enc_dec_t encrypt_ = nullptr;
  aes_gcm_enc_dec_t decrypt_ = nullptr;
};

static_assert(sizeof(gcm_key_data) <= kLockedBlockBytes && kLockedBlockBytes % 64 == 0);

}  // namespace

bool ipsec_mb_available() noexcept { return dispatch() != nullptr; }

std::unique_ptr<AeadKey> make_ipsec_mb_key(AeadSuite suite, std::span<const std::uint8_t> key) {
  const IMB_MGR* manager = dispatch();
  if (manager == nullptr) return nullptr;
  return std::make_unique<IpsecMbKey>(suite, key, *manager, allocate_locked_block());
}

}  // namespace simplon::crypto

#else

namespace simplon::crypto {

bool ipsec_mb_available() noexcept { return false; }
std::unique_ptr<AeadKey> make_ipsec_mb_key(AeadSuite, std::span<const std::uint8_t>) { return nullptr; }

}  // namespace simplon::crypto

#endif
