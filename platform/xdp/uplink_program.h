// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/result.h"
#include "platform/net/ip_address.h"
#include "platform/sys/unique_fd.h"

namespace simplon::xdp {

struct VtepKey {
  IpAddress address;
  std::uint16_t port = 0;
  friend auto operator<=>(const VtepKey&, const VtepKey&) = default;
};

class FlowTable;
class TooBigRing;

/// VLAN tags of a circuit on an interface; outer 0: one tag.
struct CircuitKey {
  std::uint32_t interface_index = 0;
  std::uint16_t outer_vlan = 0;
  std::uint16_t vlan = 0;
  friend auto operator<=>(const CircuitKey&, const CircuitKey&) = default;
};

/// Which packets are ours: BPF maps that the programs of all uplinks share. Threads: one.
class Steering {
 public:
  /// Errors: kUnavailable without CAP_BPF or CAP_SYS_ADMIN, or in a kernel without BPF.
  [[nodiscard]] static Result<std::unique_ptr<Steering>> create();
  ~Steering();
  Steering(const Steering&) = delete;
  Steering& operator=(const Steering&) = delete;

  /// Makes the maps hold exactly these; what is already there is not touched. Errors: kExhausted over 4096 entries.
  [[nodiscard]] Result<void> set_vteps(const std::set<VtepKey>& wanted);
  [[nodiscard]] Result<void> set_ipsec_addresses(const std::set<IpAddress>& wanted);
  /// All of an outer VLAN is ours if one VLAN in it is.
  [[nodiscard]] Result<void> set_circuits(const std::set<CircuitKey>& wanted);
  /// Programs loaded from now on forward the flows in `flows` (which outlives them) by themselves. One in `sample_gap`
  /// packets that have none is reported. nullptr: they forward none.
  void use_flows(const FlowTable* flows, std::uint32_t sample_gap = 32) {
    flows_ = flows;
    sample_gap_ = sample_gap;
  }
  /// Programs loaded from now on copy what routers say about path MTUs to `ring`, which has to be there while one is
  /// loaded. nullptr: nobody reads what they copy.
  void use_too_big(const TooBigRing* ring) { too_big_ = ring; }

 private:
  friend class UplinkProgram;
  Steering() = default;
  const FlowTable* flows_ = nullptr;
  std::uint32_t sample_gap_ = 0;
  const TooBigRing* too_big_ = nullptr;
  int vteps_fd_ = -1;
  int ipsec_fd_ = -1;
  int circuits_fd_ = -1;
  std::set<VtepKey> vteps_;
  std::set<IpAddress> ipsec_;
  std::set<CircuitKey> circuits_;
};

enum class AttachMode : std::uint8_t { kNative, kGeneric };

[[nodiscard]] std::string_view to_string(AttachMode mode) noexcept;

/// The XDP program on one interface. Detached when the last descriptor of its link is closed: by its destruction,
/// and by the kernel when the process dies.
class UplinkProgram {
 public:
  /// Native first, then generic (SKB) mode. `multi_buffer`: frames may come in several pieces (Linux 5.18; a driver may take no
  /// larger MTU without); they go to the worker. `best`: kGeneric tries
  /// nothing native. Errors: kConflict if another XDP program is attached; kUnavailable otherwise.
  [[nodiscard]] static Result<std::unique_ptr<UplinkProgram>> attach(const Steering& steering, const std::string& interface,
                                                                     std::uint32_t interface_index, bool multi_buffer = false,
                                                                     AttachMode best = AttachMode::kNative);
  /// Loaded, to take the place of the program that a former process has attached in that mode. Errors: kUnavailable.
  [[nodiscard]] static Result<std::unique_ptr<UplinkProgram>> prepare(const Steering& steering, std::uint32_t interface_index,
                                                                      AttachMode mode, bool multi_buffer = false);
  /// After `prepare`: the bpf_link of that program, which goes on until `take_over`. Errors: kPeer if it does not belong to the interface.
  [[nodiscard]] Result<void> adopt(sys::UniqueFd link);
  ~UplinkProgram();
  UplinkProgram(const UplinkProgram&) = delete;
  UplinkProgram& operator=(const UplinkProgram&) = delete;

  /// Attached nowhere: `run` gives it packets. For tests. `uplink`: what attached ones have as the index of their
  /// interface.
  [[nodiscard]] static Result<std::unique_ptr<UplinkProgram>> load_only(const Steering& steering, std::uint32_t uplink,
                                                                        bool multi_buffer = false);
  enum class Ran : std::uint8_t { kForwarded, kPassed };
  /// What the program does with a frame, which is what it made of it afterwards. It has no sockets, so what is for the
  /// worker passes as what is for the kernel. Errors: kUnavailable.
  [[nodiscard]] Result<Ran> run(std::vector<std::uint8_t>& frame) const;

  [[nodiscard]] AttachMode mode() const noexcept { return mode_; }
  /// Empty if it forwards flows by itself; else why not, unless nobody asked for it.
  [[nodiscard]] const std::string& without_flows() const noexcept;
  /// Sends what is ours and arrives on `queue` to the AF_XDP socket; what keeps routing alive to `control_fd`, unless that is -1.
  [[nodiscard]] Result<void> set_socket(std::uint32_t queue, int socket_fd, int control_fd = -1);
  /// What is for the sockets waits in that device from now on, whose driver takes redirected frames; the sockets
  /// get nothing any more after this has returned. Takes some 10 ms.
  [[nodiscard]] Result<void> divert(std::uint32_t interface_index);
  /// After `adopt`: packets meet this program from now on, without one that meets none.
  [[nodiscard]] Result<void> take_over();
  /// What keeps the program attached.
  [[nodiscard]] int link_fd() const noexcept;

 private:
  struct Impl;
  [[nodiscard]] static Result<std::unique_ptr<Impl>> load(const Steering& steering, std::uint32_t interface_index,
                                                          bool multi_buffer);
  explicit UplinkProgram(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
  AttachMode mode_ = AttachMode::kNative;
};

}  // namespace simplon::xdp
