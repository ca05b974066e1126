// SPDX-License-Identifier: GPL-2.0-or-later
//
// AES-GCM and ChaCha20-Poly1305 through ipsec-mb's direct calls (aes_gcm_enc/dec with precomputed key data,
// chacha20_poly1305_init/update/finalize): synchronous, in packet order, any mixture of keys. For AES-GCM they are faster
// than the job interface; for ChaCha20-Poly1305 a job is 15 to 40 % faster, but needs a manager of the thread. These calls keep nothing in the manager,
// which only holds the function pointers that fit the processor; so one read-only manager serves all threads. Opening
// computes the tag and does not look at the received one: comparing is ours.
#include "platform/crypto/src/aead_backends.h"

#ifdef SIMPLON_HAVE_IPSEC_MB

#include <intel-ipsec-mb.h>

#include <algorithm>
#include <cstddef>
#include <new>

#include "platform/crypto/secret.h"
#include "platform/crypto/src/imb_dispatch.h"
#include "platform/crypto/src/locked_memory.h"

namespace simplon::crypto {

const IMB_MGR* imb_dispatch() noexcept {
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

namespace {

/// Objects with the key in them, in memory of which nobody else learns; one look fetches both.
struct InLockedBlock {
  static void* operator new(std::size_t, std::align_val_t) { return allocate_locked_block(); }
  static void operator delete(void* block, std::align_val_t) noexcept { release_locked_block(block); }
};

class GcmKey final : public AeadKey, public InLockedBlock {
 public:
  GcmKey(AeadSuite suite, std::span<const std::uint8_t> key, const IMB_MGR& manager)
      : AeadKey(suite, {&seal_packet, &open_packet}, hot_bytes(manager)) {
    switch (suite) {
      case AeadSuite::kAes128Gcm16:
        encrypt_ = manager.gcm128_enc;
        decrypt_ = manager.gcm128_dec;
        manager.gcm128_pre(key.data(), &data_);
        break;
      case AeadSuite::kAes192Gcm16:
        encrypt_ = manager.gcm192_enc;
        decrypt_ = manager.gcm192_dec;
        manager.gcm192_pre(key.data(), &data_);
        break;
      default:
        encrypt_ = manager.gcm256_enc;
        decrypt_ = manager.gcm256_dec;
        manager.gcm256_pre(key.data(), &data_);
        break;
    }
  }

 private:
  /// Depends on the processor. With vector AES, of the 48 powers of the hash key as many as the packet has blocks, from the end on,
  /// where the first power is (tried out with ipsec-mb 1.3: a change of any other leaves the tag as it is); else all eight.
  [[nodiscard]] static Hot hot_bytes(const IMB_MGR& manager) noexcept;

  static void seal_packet(const AeadKey& base, const std::uint8_t* nonce, std::span<const std::uint8_t> associated,
                          std::span<std::uint8_t> data, std::uint8_t* tag) noexcept {
    const auto& key = static_cast<const GcmKey&>(base);
    gcm_context_data context;
    key.encrypt_(&key.data_, &context, data.data(), data.data(), data.size(), nonce, associated.data(),
                 associated.size(), tag, kAeadTagBytes);
  }
  static bool open_packet(const AeadKey& base, const std::uint8_t* nonce, std::span<const std::uint8_t> associated,
                          std::span<std::uint8_t> data, const std::uint8_t* tag) noexcept {
    const auto& key = static_cast<const GcmKey&>(base);
    gcm_context_data context;
    std::uint8_t computed[kAeadTagBytes];
    key.decrypt_(&key.data_, &context, data.data(), data.data(), data.size(), nonce, associated.data(),
                 associated.size(), computed, kAeadTagBytes);
    return equal_in_constant_time(computed, tag, kAeadTagBytes);
  }

  aes_gcm_enc_dec_t encrypt_ = nullptr;
  aes_gcm_enc_dec_t decrypt_ = nullptr;
  alignas(64) gcm_key_data data_;
};

AeadKey::Hot GcmKey::hot_bytes(const IMB_MGR& manager) noexcept {
  constexpr std::size_t kFront = sizeof(GcmKey) - sizeof(gcm_key_data) + sizeof(gcm_key_data::expanded_keys);
  using Powers = decltype(gcm_key_data::ghash_keys);
  if (manager.used_arch >= IMB_ARCH_AVX512 && (manager.features & IMB_FEATURE_VAES) != 0) {
    return {kFront, kFront + sizeof(Powers::vaes_avx512), sizeof(Powers::vaes_avx512)};
  }
  const std::size_t powers = manager.used_arch >= IMB_ARCH_AVX2 ? sizeof(Powers::avx2_avx512) : sizeof(Powers::sse_avx);
  return {static_cast<std::uint16_t>(kFront + powers), 0, 0};
}

class alignas(64) ChaChaKey final : public AeadKey, public InLockedBlock {
 public:
  ChaChaKey(std::span<const std::uint8_t> key, const IMB_MGR& manager)
      : AeadKey(AeadSuite::kChaCha20Poly1305, {&seal_packet, &open_packet}, {sizeof(ChaChaKey), 0, 0}),
        manager_(manager) {
    std::copy_n(key.data(), kKeyBytes, key_);
  }

 private:
  static constexpr std::size_t kKeyBytes = 32;

  static void seal_packet(const AeadKey& base, const std::uint8_t* nonce, std::span<const std::uint8_t> associated,
                          std::span<std::uint8_t> data, std::uint8_t* tag) noexcept {
    const auto& self = static_cast<const ChaChaKey&>(base);
    chacha20_poly1305_context_data context;
    self.manager_.chacha20_poly1305_init(self.key_, &context, nonce, associated.data(), associated.size());
    self.manager_.chacha20_poly1305_enc_update(self.key_, &context, data.data(), data.data(), data.size());
    self.manager_.chacha20_poly1305_finalize(&context, tag, kAeadTagBytes);
  }
  static bool open_packet(const AeadKey& base, const std::uint8_t* nonce, std::span<const std::uint8_t> associated,
                          std::span<std::uint8_t> data, const std::uint8_t* tag) noexcept {
    const auto& self = static_cast<const ChaChaKey&>(base);
    chacha20_poly1305_context_data context;
    std::uint8_t computed[kAeadTagBytes];
    self.manager_.chacha20_poly1305_init(self.key_, &context, nonce, associated.data(), associated.size());
    self.manager_.chacha20_poly1305_dec_update(self.key_, &context, data.data(), data.data(), data.size());
    self.manager_.chacha20_poly1305_finalize(&context, computed, kAeadTagBytes);
    return equal_in_constant_time(computed, tag, kAeadTagBytes);
  }

  const IMB_MGR& manager_;
  std::uint8_t key_[kKeyBytes];
};

static_assert(sizeof(GcmKey) <= kLockedBlockBytes && sizeof(ChaChaKey) <= kLockedBlockBytes && kLockedBlockBytes % 64 == 0);

}  // namespace

bool ipsec_mb_available() noexcept { return imb_dispatch() != nullptr; }

std::unique_ptr<AeadKey> make_ipsec_mb_key(AeadSuite suite, std::span<const std::uint8_t> key) {
  const IMB_MGR* manager = imb_dispatch();
  if (manager == nullptr) return nullptr;
  if (suite == AeadSuite::kChaCha20Poly1305) {
    return std::make_unique<ChaChaKey>(key, *manager);
  }
  return std::make_unique<GcmKey>(suite, key, *manager);
}

}  // namespace simplon::crypto

#else

namespace simplon::crypto {

bool ipsec_mb_available() noexcept { return false; }
std::unique_ptr<AeadKey> make_ipsec_mb_key(AeadSuite, std::span<const std::uint8_t>) { return nullptr; }

}  // namespace simplon::crypto

#endif
