// SPDX-License-Identifier: GPL-2.0-or-later
//
// Four rings between us and the kernel:
//
//     fill ->  (kernel receives into the frame)  -> rx          transmit: tx -> (kernel sends) -> completion
//
// A frame is ours until it is put into fill or tx, and again once it comes out of rx or completion. In between it may be in
// a ring or inside the kernel, which cannot be asked; so a bitmap records what was handed over, and when the
// socket is closed `owned` lists exactly those frames. What the kernel reports is checked against the bitmap: a frame it
// does not hold is a broken invariant.
#include "platform/xdp/xsk_socket.h"

#include <linux/if_xdp.h>
#include <sys/socket.h>
#include <xdp/xsk.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

namespace simplon::xdp {
namespace {

// Chosen by us: a closed socket is released within an RCU grace period, some tens of milliseconds.
constexpr int kBusyRetries = 20;
constexpr auto kBusyPause = std::chrono::milliseconds(50);

}  // namespace

struct XskSocket::Impl {
  Options options;
  xsk_umem* umem = nullptr;
  xsk_socket* socket = nullptr;
  xsk_ring_prod fill{};
  xsk_ring_cons completion{};
  xsk_ring_cons rx{};
  xsk_ring_prod tx{};
  bool zero_copy = false;
  std::size_t in_flight = 0;
  bool tx_pending = false;
  std::vector<std::uint64_t> owned;

  ~Impl() { close(); }

  void close() {
    if (socket != nullptr) xsk_socket__delete(socket);
    socket = nullptr;
    if (umem != nullptr) xsk_umem__delete(umem);
    umem = nullptr;
  }

  /// 0 or a positive errno.
  int open_with(std::uint16_t copy_flag) {
    struct xsk_umem_config umem_config {};
    // Room for every frame in flight: a completion ring as large as the tx ring is never full.
    umem_config.fill_size = options.rx_ring;
    umem_config.comp_size = options.tx_ring;
    umem_config.frame_size = options.frame_bytes;
    umem_config.frame_headroom = options.headroom_bytes;
    int error = -xsk_umem__create(&umem, options.memory.data(), options.memory.size(), &fill, &completion, &umem_config);
    if (error != 0) {
      umem = nullptr;
      return error;
    }
    struct xsk_socket_config config {};
    config.rx_size = options.rx_ring;
    config.tx_size = options.tx_ring;
    config.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD;
    config.bind_flags = static_cast<std::uint16_t>(copy_flag | XDP_USE_NEED_WAKEUP);
    error = -xsk_socket__create(&socket, options.interface.c_str(), options.queue, umem, &rx, &tx, &config);
    if (error != 0) {
      socket = nullptr;
      close();
      return error;
    }
    zero_copy = copy_flag == XDP_ZEROCOPY;
    return 0;
  }

  [[nodiscard]] std::size_t frame_of(std::uint64_t offset) const {
    return static_cast<std::size_t>(offset / options.frame_bytes);
  }
  void give(std::uint64_t offset) {
    const std::size_t frame = frame_of(offset);
    SIMPLON_ASSERT((owned[frame / 64] >> (frame % 64) & 1) == 0);
    owned[frame / 64] |= std::uint64_t{1} << (frame % 64);
  }
  void take(std::uint64_t offset) {
    const std::size_t frame = frame_of(offset);
    SIMPLON_CHECK(frame / 64 < owned.size() && (owned[frame / 64] >> (frame % 64) & 1) == 1);
    owned[frame / 64] &= ~(std::uint64_t{1} << (frame % 64));
  }
};

XskSocket::XskSocket(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
XskSocket::~XskSocket() = default;

Result<std::unique_ptr<XskSocket>> XskSocket::open(const Options& options) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->owned.resize(options.memory.size() / options.frame_bytes / 64 + 1);
  int error = EOPNOTSUPP;
  for (int attempt = 0; attempt < kBusyRetries; ++attempt) {
    if (options.try_zero_copy) error = impl->open_with(XDP_ZEROCOPY);
    // Whatever zero-copy failed with, copy mode decides.
    if (error != 0 && error != EBUSY) error = impl->open_with(XDP_COPY);
    if (error != EBUSY) break;
    std::this_thread::sleep_for(kBusyPause);
  }
  if (error != 0) {
    std::string hint;
    if (error == EBUSY) hint = "another program has an AF_XDP socket on this queue";
    if (error == EAFNOSUPPORT) hint = "the kernel needs CONFIG_XDP_SOCKETS";
    if (error == EPERM) hint = "run as root or with CAP_NET_RAW";
    if (error == ENOBUFS || error == ENOMEM) hint = "raise RLIMIT_MEMLOCK or give CAP_IPC_LOCK";
    return fail_errno("cannot open an AF_XDP socket on " + options.interface + " queue " + std::to_string(options.queue),
                      error, hint);
  }
  return std::unique_ptr<XskSocket>(new XskSocket(std::move(impl)));
}

int XskSocket::fd() const noexcept { return xsk_socket__fd(impl_->socket); }
bool XskSocket::zero_copy() const noexcept { return impl_->zero_copy; }
std::size_t XskSocket::in_flight() const noexcept { return impl_->in_flight; }

std::size_t XskSocket::receive(std::span<FrameRef> out) noexcept {
  std::uint32_t index = 0;
  const auto count = xsk_ring_cons__peek(&impl_->rx, static_cast<std::uint32_t>(out.size()), &index);
  for (std::uint32_t i = 0; i < count; ++i) {
    const struct xdp_desc* descriptor = xsk_ring_cons__rx_desc(&impl_->rx, index + i);
    out[i] = {descriptor->addr, descriptor->len};
    impl_->take(descriptor->addr);
  }
  if (count > 0) xsk_ring_cons__release(&impl_->rx, count);
  return count;
}

std::size_t XskSocket::fill_space() noexcept {
  return std::min<std::size_t>(xsk_prod_nb_free(&impl_->fill, impl_->options.rx_ring), impl_->options.rx_ring);
}

std::size_t XskSocket::fill(std::span<const std::uint64_t> offsets) noexcept {
  const auto count = static_cast<std::uint32_t>(std::min(offsets.size(), fill_space()));
  std::uint32_t index = 0;
  if (count == 0 || xsk_ring_prod__reserve(&impl_->fill, count, &index) != count) return 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t start = offsets[i] / impl_->options.frame_bytes * impl_->options.frame_bytes;
    impl_->give(start);
    *xsk_ring_prod__fill_addr(&impl_->fill, index + i) = start;
  }
  xsk_ring_prod__submit(&impl_->fill, count);
  return count;
}

std::size_t XskSocket::transmit(std::span<const FrameRef> frames) noexcept {
  const std::size_t space = std::min<std::size_t>(xsk_prod_nb_free(&impl_->tx, impl_->options.tx_ring), impl_->options.tx_ring);
  const auto count = static_cast<std::uint32_t>(std::min(frames.size(), space));
  std::uint32_t index = 0;
  if (count == 0 || xsk_ring_prod__reserve(&impl_->tx, count, &index) != count) return 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    struct xdp_desc* descriptor = xsk_ring_prod__tx_desc(&impl_->tx, index + i);
    impl_->give(frames[i].offset);
    *descriptor = {frames[i].offset, frames[i].length, 0};
  }
  xsk_ring_prod__submit(&impl_->tx, count);
  impl_->in_flight += count;
  impl_->tx_pending = true;
  return count;
}

std::size_t XskSocket::complete(std::span<std::uint64_t> out) noexcept {
  std::uint32_t index = 0;
  const auto count = xsk_ring_cons__peek(&impl_->completion, static_cast<std::uint32_t>(out.size()), &index);
  for (std::uint32_t i = 0; i < count; ++i) {
    out[i] = *xsk_ring_cons__comp_addr(&impl_->completion, index + i);
    impl_->take(out[i]);
  }
  if (count > 0) xsk_ring_cons__release(&impl_->completion, count);
  impl_->in_flight -= count;
  if (impl_->in_flight == 0) impl_->tx_pending = false;
  return count;
}

void XskSocket::wake() noexcept {
  // Errors (EAGAIN, EBUSY, ENETDOWN) mean "later" or "the link is down"; packets stay in the ring, and `transmit` refuses
  // when it is full.
  if (impl_->tx_pending && xsk_ring_prod__needs_wakeup(&impl_->tx) != 0) {
    static_cast<void>(::sendto(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0));
  }
  if (xsk_ring_prod__needs_wakeup(&impl_->fill) != 0) {
    static_cast<void>(::recvfrom(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr));
  }
}

std::vector<std::uint64_t> XskSocket::owned() const {
  std::vector<std::uint64_t> offsets;
  for (std::size_t word = 0; word < impl_->owned.size(); ++word) {
    for (std::uint64_t bits = impl_->owned[word]; bits != 0; bits &= bits - 1) {
      const auto frame = word * 64 + static_cast<std::size_t>(__builtin_ctzll(bits));
      offsets.push_back(frame * impl_->options.frame_bytes);
    }
  }
  return offsets;
}

Result<XskStatistics> XskSocket::statistics() const {
  struct xdp_statistics raw {};
  socklen_t size = sizeof raw;
  if (::getsockopt(fd(), SOL_XDP, XDP_STATISTICS, &raw, &size) != 0) {
    return fail_errno("cannot read the statistics of an AF_XDP socket", errno);
  }
  return XskStatistics{raw.rx_dropped, raw.rx_invalid_descs, raw.tx_invalid_descs, raw.rx_ring_full,
                       raw.rx_fill_ring_empty_descs};
}

}  // namespace simplon::xdp
