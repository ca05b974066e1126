// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "gateway/forward/counters.h"
#include "gateway/forward/replay_window.h"
#include "gateway/forward/table_memory.h"
#include "platform/base/ids.h"
#include "platform/base/result.h"
#include "platform/crypto/esp_key.h"
#include "platform/crypto/secret.h"
#include "platform/net/ip_address.h"

namespace simplon::forward {

struct CompiledSaPath;

enum class SaDirection : std::uint8_t { kInbound = 1, kOutbound = 2 };

/// A range of inner packets (RFC 7296 section 3.13.1). Protocol 0 is any.
struct Selector {
  IpAddress from;
  IpAddress to;
  std::uint8_t protocol = 0;
  std::uint16_t port_from = 0;
  std::uint16_t port_to = 65535;
};

/// Outer addresses and encapsulation; changes with the peer's NAT, while the SA goes on.
struct SaPath {
  IpAddress source;
  IpAddress destination;
  /// ESP in UDP (RFC 3948); the ports are of use only then.
  bool encap = false;
  std::uint16_t source_port = 4500;
  std::uint16_t destination_port = 4500;
  friend bool operator==(const SaPath&, const SaPath&) = default;
};

struct SaSpec {
  SaDirection direction = SaDirection::kInbound;
  Spi spi;
  TunnelId tunnel;
  SaPath path;
  crypto::EspSuite suite = crypto::EspSuite::kAes256Gcm16;
  /// The cipher's key and, behind that of an AEAD, the 4-byte salt (RFC 4106 section 8.1). Empty without encryption.
  crypto::SecretKey key;
  /// Of HMAC; empty for AEADs.
  crypto::SecretKey integrity_key;
  bool esn = true;
  /// Packets; 0: no anti-replay service.
  std::uint32_t replay_window = 4096;
  /// Inner source and destination as seen in the packet. Empty: any.
  std::vector<Selector> source_selectors;
  std::vector<Selector> destination_selectors;
  /// Copy the inner DSCP to the outer header (outbound).
  bool copy_dscp = true;
};

/// Read at one moment by the control thread.
struct SaUsage {
  std::uint64_t packets = 0;
  /// Inner IP bytes.
  std::uint64_t bytes = 0;
  /// Outbound: the last number used. Inbound: the highest authenticated one.
  std::uint64_t sequence = 0;
  std::uint64_t replayed = 0;
  /// Packets that did not authenticate.
  std::uint64_t failed = 0;
  /// Seconds of the monotonic clock; 0: never.
  std::uint64_t last_use = 0;
};

/// The source from which authentic packets come now (RFC 7296 section 2.23).
struct SaMapping {
  IpAddress source;
  std::uint16_t port = 0;
  friend bool operator==(const SaMapping&, const SaMapping&) = default;
};

/// What an Sa did so far, for another process that goes on with it after this one sends nothing any more.
struct SaProgress {
  SaUsage usage;
  std::uint64_t window_top = 0;
  std::vector<std::uint64_t> window;
};

/// One security association for as long as its key lives: what was negotiated, and the runtime that must never start
/// again (a repeated sequence number repeats an AES-GCM nonce). Address changes replace the path, not the Sa.
///
/// Threads: made and installed by the table writer; the runtime is the workers'; `usage` and `take_mapping` are the
/// writer's to call at any time.
class alignas(64) Sa : public InTableMemory {
 public:
  /// Errors: kInvalidConfig naming what is wrong with `spec`, never a key byte.
  [[nodiscard]] static Result<std::shared_ptr<Sa>> create(SaSpec spec);
  ~Sa();
  Sa(const Sa&) = delete;
  Sa& operator=(const Sa&) = delete;

  [[nodiscard]] SaDirection direction() const noexcept { return direction_; }
  [[nodiscard]] Spi spi() const noexcept { return spi_; }
  [[nodiscard]] TunnelId tunnel() const noexcept { return tunnel_; }
  [[nodiscard]] bool esn() const noexcept { return key_.esn(); }
  [[nodiscard]] crypto::EspSuite suite() const noexcept { return key_.suite(); }
  /// The path last given to `Tables`. Writer thread only.
  [[nodiscard]] const SaPath& path() const noexcept { return path_; }
  [[nodiscard]] SaUsage usage() const noexcept;
  /// When the workers have ended.
  [[nodiscard]] SaProgress progress() const;
  /// Before it is installed. False if the replay window does not fit.
  [[nodiscard]] bool resume(const SaProgress& progress);
  /// The same SA as far as a packet can tell, for one that is only described (trace.h): with a key made of zeros, and a
  /// runtime of its own that begins where this one stands. Writer thread. Errors: those of `create`.
  [[nodiscard]] Result<std::shared_ptr<Sa>> stand_in() const;
  /// Reports each change once: inbound ESP-in-UDP came authenticated from another source than `path()` has.
  [[nodiscard]] std::optional<SaMapping> take_mapping() noexcept;

  // What follows is for the stages and for Tables.

  /// Of a mapping, from the workers to the writer.
  enum class Mailbox : std::uint8_t { kEmpty, kFilling, kFull };

  /// The workers'; how several of them share it is in src/workers/sa_sharing.h.
  struct Runtime {
    Counter packets;
    Counter bytes;
    Counter replayed;
    Counter failed;
    std::atomic<std::uint64_t> sequence{0};
    std::atomic<std::uint64_t> last_use{0};
    /// Of who changes the window, if there are several workers.
    std::atomic<bool> window_taken{false};
    // A mailbox of one: a worker fills it when it is empty, the writer empties it.
    std::atomic<Mailbox> mailbox{Mailbox::kEmpty};
    ReplayWindow window;
    SaMapping mapping;
    explicit Runtime(std::uint32_t window_size) noexcept : window(window_size) {}
  };

  [[nodiscard]] Runtime& runtime() const noexcept { return runtime_; }
  [[nodiscard]] const crypto::EspKey& key() const noexcept { return key_; }
  [[nodiscard]] bool copy_dscp() const noexcept { return copy_dscp_; }
  /// No selector narrows this SA for packets of the family (4 or 6).
  [[nodiscard]] bool any_to_any(unsigned family) const noexcept { return family == 4 ? any_v4_ : any_v6_; }
  /// The tunnel's attachment; 0 before the SA is installed.
  [[nodiscard]] std::uint32_t tunnel_slot() const noexcept { return tunnel_slot_; }
  /// `ports`: false for fragments and protocols without ports; they match only selectors with any port
  /// (RFC 4301 section 4.4.1.1).
  [[nodiscard]] bool selects(const IpAddress& source, const IpAddress& destination, std::uint8_t protocol, bool ports,
                             std::uint16_t source_port, std::uint16_t destination_port) const noexcept;
  [[nodiscard]] const CompiledSaPath* compiled() const noexcept { return compiled_.load(std::memory_order_acquire); }

 private:
  friend class Tables;
  Sa(SaSpec spec, crypto::EspKey key);

  // One cache line that every packet reads.
  std::atomic<const CompiledSaPath*> compiled_{nullptr};
  crypto::EspKey key_;
  Spi spi_;
  TunnelId tunnel_;
  SaDirection direction_;
  bool copy_dscp_;
  bool any_v4_;
  bool any_v6_;
  std::uint32_t tunnel_slot_ = 0;
  alignas(64) mutable Runtime runtime_;
  std::vector<Selector> source_selectors_;
  std::vector<Selector> destination_selectors_;
  SaPath path_;
};

}  // namespace simplon::forward
