// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/predecessor.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <utility>

#include "platform/sys/descriptor_bundle.h"
#include "platform/sys/service_notify.h"
#include "platform/sys/unix_socket.h"

namespace simplon::forwarder {
namespace {

constexpr const char* kStoreName = "simplon-handover";
// Chosen by us: to write down millions of objects takes some seconds.
constexpr struct timeval kPatience {60, 0};

class Stored final : public Predecessor {
 public:
  Stored(Taken<HandedTables> tables, sys::UniqueFd traffic) : Predecessor(std::move(tables)), traffic_(std::move(traffic)) {}
  Result<Taken<HandedTraffic>> take_traffic() override { return unpack_traffic(std::exchange(traffic_, {}).get()); }
  bool has_ended() const noexcept override { return true; }

 private:
  sys::UniqueFd traffic_;
};

class Running final : public Predecessor {
 public:
  Running(Taken<HandedTables> tables, sys::UniqueFd socket, std::function<Result<void>()> before_end)
      : Predecessor(std::move(tables)), socket_(std::move(socket)), before_end_(std::move(before_end)) {}

  Result<Taken<HandedTraffic>> take_traffic() override {
    if (auto ok = before_end_(); !ok) return Unexpected(ok.error());
    ended_ = true;
    const char go = 0;
    if (::send(socket_.get(), &go, sizeof go, MSG_NOSIGNAL) < 0) return fail_errno("cannot ask the forwarder to end", errno);
    const auto packed = sys::receive_descriptor(socket_.get());
    if (!packed) return Unexpected(packed.error());
    return unpack_traffic(packed->get());
  }
  bool has_ended() const noexcept override { return ended_; }

 private:
  sys::UniqueFd socket_;
  std::function<Result<void>()> before_end_;
  bool ended_ = false;
};

}  // namespace

std::string succession_path(const std::string& run_dir) { return run_dir + "/succession.sock"; }

Result<std::unique_ptr<Predecessor>> Predecessor::stored() {
  sys::UniqueFd bundle;
  for (auto& [name, fd] : sys::take_passed_descriptors()) {
    if (name == kStoreName) bundle = std::move(fd);
  }
  if (!bundle.valid()) return std::unique_ptr<Predecessor>();
  sys::forget_stored_descriptors(kStoreName);
  auto parts = sys::unbundle_descriptors(bundle.get());
  if (!parts) return Unexpected(parts.error());
  if (parts->size() != 2) return fail(ErrorCode::kPeer, std::to_string(parts->size()) + " parts were handed over instead of 2");
  auto tables = unpack_tables(parts->front().get());
  if (!tables) return Unexpected(tables.error());
  return std::make_unique<Stored>(*std::move(tables), std::move(parts->back()));
}

Result<std::unique_ptr<Predecessor>> Predecessor::running(const std::string& run_dir, std::function<Result<void>()> before_end) {
  auto socket = sys::connect_unix(succession_path(run_dir), SOCK_SEQPACKET, false);
  if (!socket) {
    return fail(ErrorCode::kUnavailable, "no forwarder in " + run_dir + " waits for a successor: " + socket.error().what,
                "start one without --succeed; one of an older version: systemctl restart simplon-forwarder");
  }
  static_cast<void>(::setsockopt(socket->get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience));
  const auto packed = sys::receive_descriptor(socket->get());
  if (!packed) return Unexpected(packed.error());
  auto tables = unpack_tables(packed->get());
  if (!tables) return Unexpected(tables.error());
  return std::make_unique<Running>(*std::move(tables), *std::move(socket), std::move(before_end));
}

Result<void> leave_handover(const sys::UniqueFd& tables, const sys::UniqueFd& traffic) {
  const auto bundle = sys::bundle_descriptors(std::array{tables.get(), traffic.get()});
  if (!bundle) return Unexpected(bundle.error());
  return sys::store_descriptor(kStoreName, bundle->get());
}

}  // namespace simplon::forwarder
