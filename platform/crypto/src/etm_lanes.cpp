// SPDX-License-Identifier: GPL-2.0-or-later
//
// AES-CBC and HMAC-SHA2 through ipsec-mb's jobs. A manager interleaves up to sixteen packets; a submitted job comes back
// when its lane is done, in the order of submission, at the latest from the flush at the end of the batch. Nothing waits
// in a manager between two batches.
//
// With ESN the high half of the sequence number is hashed behind the ciphertext, where the ICV has its place: the
// received ICV is saved, the four bytes take its place, and the computed one goes to memory of ours.
#include "platform/crypto/src/etm_lanes.h"

#include "platform/crypto/src/etm_key.h"
#include "platform/crypto/src/etm_secrets.h"

#ifdef SIMPLON_HAVE_IPSEC_MB

#include <intel-ipsec-mb.h>
#include <sys/mman.h>

#include <cstring>

#include "platform/base/result.h"
#include "platform/crypto/secret.h"
#include "platform/crypto/src/imb_dispatch.h"
#include "platform/wire/esp.h"

namespace simplon::crypto {

/// One manager, in memory that stays out of core dumps and swap: lanes hold what depends on keys.
struct EspBatch::Lanes {
  Lanes() : bytes(::imb_get_mb_mgr_size()) {
    memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SIMPLON_CHECK(memory != MAP_FAILED);
    static_cast<void>(::madvise(memory, bytes, MADV_DONTDUMP));
    static_cast<void>(::mlock(memory, bytes));
    manager = ::imb_set_pointers_mb_mgr(memory, 0, 1);
    SIMPLON_CHECK(manager != nullptr);
    ::init_mb_mgr_auto(manager, nullptr);
  }
  ~Lanes() {
    wipe(memory, bytes);
    ::munmap(memory, bytes);
  }
  Lanes(const Lanes&) = delete;
  Lanes& operator=(const Lanes&) = delete;

  std::size_t bytes;
  void* memory;
  IMB_MGR* manager;
  struct Icv {
    std::uint8_t received[kMaxIcvBytes];
    std::uint8_t computed[kMaxIcvBytes];
  };
  std::array<Icv, EspBatch::kCapacity> icvs;
};

namespace {

IMB_HASH_ALG hash_of(std::size_t integrity_key_bytes) noexcept {
  return integrity_key_bytes == 32   ? IMB_AUTH_HMAC_SHA_256
         : integrity_key_bytes == 48 ? IMB_AUTH_HMAC_SHA_384
                                     : IMB_AUTH_HMAC_SHA_512;
}

/// Runs over the items once; collects jobs as they come back.
class Run {
 public:
  Run(EspBatch::Lanes& lanes, LaneWork work) noexcept : lanes_(lanes), work_(work) {}

  void submit(EspBatch::Item& item, EspBatch::Lanes::Icv& icv) noexcept {
    const EtmKey& key = *item.key->etm();
    const EspSuiteFacts& facts = key.facts();
    const EtmSecrets& secrets = key.secrets();
    const std::size_t clear = sizeof(wire::EspHeader) + facts.layout.iv_bytes;
    std::uint8_t* end = item.esp + clear + item.bytes;
    if (work_ == LaneWork::kOpen) std::memcpy(icv.received, end, facts.layout.icv_bytes);
    if (key.esn()) {
      const Be32 high(static_cast<std::uint32_t>(item.sequence >> 32));
      std::memcpy(end, &high, sizeof high);
    }
    IMB_JOB* job = IMB_GET_NEXT_JOB(lanes_.manager);
    const bool seal = work_ == LaneWork::kSeal;
    job->cipher_direction = seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    job->chain_order = seal ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    job->cipher_mode = facts.cipher_key_bytes == 0 ? IMB_CIPHER_NULL : IMB_CIPHER_CBC;
    job->hash_alg = hash_of(facts.integrity_key_bytes);
    job->src = item.esp;
    job->dst = item.esp + clear;
    job->cipher_start_src_offset_in_bytes = clear;
    job->msg_len_to_cipher_in_bytes = item.bytes;
    job->hash_start_src_offset_in_bytes = 0;
    job->msg_len_to_hash_in_bytes = clear + item.bytes + (key.esn() ? sizeof(std::uint32_t) : 0);
    job->iv = item.esp + sizeof(wire::EspHeader);
    job->iv_len_in_bytes = facts.layout.iv_bytes;
    job->key_len_in_bytes = facts.cipher_key_bytes;
    job->enc_keys = secrets.encryption;
    job->dec_keys = secrets.decryption;
    job->auth_tag_output = icv.computed;
    job->auth_tag_output_len_in_bytes = facts.layout.icv_bytes;
    if (facts.integrity_key_bytes == 32) {
      job->u.HMAC._hashed_auth_key_xor_ipad = reinterpret_cast<const std::uint8_t*>(secrets.of256.inner.h);
      job->u.HMAC._hashed_auth_key_xor_opad = reinterpret_cast<const std::uint8_t*>(secrets.of256.outer.h);
    } else {
      job->u.HMAC._hashed_auth_key_xor_ipad = reinterpret_cast<const std::uint8_t*>(secrets.of512.inner.h);
      job->u.HMAC._hashed_auth_key_xor_opad = reinterpret_cast<const std::uint8_t*>(secrets.of512.outer.h);
    }
    job->user_data = &item;
    job->user_data2 = &icv;
    // Every field comes from us, none from the packet: the checking variant would find nothing.
    for (IMB_JOB* done = IMB_SUBMIT_JOB_NOCHECK(lanes_.manager); done != nullptr;
         done = IMB_GET_COMPLETED_JOB(lanes_.manager)) {
      collect(*done);
    }
  }
  void drain() noexcept {
    for (IMB_JOB* done = IMB_FLUSH_JOB(lanes_.manager); done != nullptr; done = IMB_FLUSH_JOB(lanes_.manager)) {
      collect(*done);
    }
  }

 private:
  void collect(const IMB_JOB& job) noexcept {
    auto& item = *static_cast<EspBatch::Item*>(job.user_data);
    const auto& icv = *static_cast<const EspBatch::Lanes::Icv*>(job.user_data2);
    SIMPLON_CHECK(job.status == IMB_STATUS_COMPLETED);
    const EspLayout& layout = item.key->layout();
    if (work_ == LaneWork::kOpen) {
      item.authentic = equal_in_constant_time(icv.received, icv.computed, layout.icv_bytes);
    } else {
      std::memcpy(item.esp + sizeof(wire::EspHeader) + layout.iv_bytes + item.bytes, icv.computed, layout.icv_bytes);
    }
  }

  EspBatch::Lanes& lanes_;
  LaneWork work_;
};

}  // namespace

void expand_for_lanes(std::span<const std::uint8_t> cipher_key, EtmSecrets& secrets) noexcept {
  const IMB_MGR* manager = imb_dispatch();
  const auto expand = cipher_key.size() == 16   ? manager->keyexp_128
                      : cipher_key.size() == 24 ? manager->keyexp_192
                                                : manager->keyexp_256;
  expand(cipher_key.data(), secrets.encryption, secrets.decryption);
}

EspBatch::Lanes* make_lanes() { return imb_dispatch() == nullptr ? nullptr : new EspBatch::Lanes; }
void destroy_lanes(EspBatch::Lanes* lanes) { delete lanes; }

void run_lanes(EspBatch::Lanes& lanes, std::span<EspBatch::Item> items, LaneWork work) noexcept {
  Run run(lanes, work);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!items[i].key->is_aead()) run.submit(items[i], lanes.icvs[i]);
  }
  run.drain();
}

}  // namespace simplon::crypto

#else

namespace simplon::crypto {

struct EspBatch::Lanes {};

void expand_for_lanes(std::span<const std::uint8_t>, EtmSecrets&) noexcept {}
EspBatch::Lanes* make_lanes() { return nullptr; }
void destroy_lanes(EspBatch::Lanes* lanes) { delete lanes; }
void run_lanes(EspBatch::Lanes&, std::span<EspBatch::Item>, LaneWork) noexcept {}

}  // namespace simplon::crypto

#endif
