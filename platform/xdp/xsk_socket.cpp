// SPDX-License-Identifier: GPL-2.0-or-later
//
// Four rings between us and the kernel:
//
//     fill ->  (kernel receives into the frame)  -> rx          transmit: tx -> (kernel sends) -> completion
//
// A frame is ours until it is put into fill or tx, and again once it comes out of rx or completion. In between it may be in
// a ring or inside the kernel, which cannot be asked; so a bitmap records what was handed over, and when the
// socket is closed `owned` lists exactly those frames. What the kernel reports is checked against the bitmap: a frame it
// does not hold is a broken invariant. There is a bitmap for each direction, because receiving and sending may be two threads'.
//
// A control ring is a second socket bound to the same queue with XDP_SHARED_UMEM: it has a receive ring of its own, and fill and
// completion ring in common with the first. It never sends. A packet for which a receive ring has no room costs no frame: the
// kernel keeps it and uses it for the next packet. So as long as more frames are in the fill ring than the first socket's
// receive ring has places, some are left for the control ring.
//
// A packet longer than a frame is several descriptors, all but the last with XDP_PKT_CONTD. The kernel puts them into the receive
// ring together and sends only whole packets, and so do we.
//
// The rings are the kernel's and live as long as the socket, whoever has its descriptor: `adopt` maps them again in another
// process. All state is in their shared indices and in the bitmap; a process that has stopped between two bursts has nothing
// else. libxdp gives us the ring operations only, because it can open a socket but not take one over.
#include "platform/xdp/xsk_socket.h"

#include <linux/if_xdp.h>
#include <net/if.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <xdp/xsk.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <thread>

namespace simplon::xdp {
namespace {

// Given by the kernel's if_xdp.h of 6.6, which Debian 12 does not have.
constexpr std::uint16_t kUseSg = 1 << 4;
constexpr std::uint32_t kPacketContinues = 1 << 0;

// Chosen by us: a closed socket is released within an RCU grace period, some tens of milliseconds.
constexpr int kBusyRetries = 200;
constexpr auto kBusyPause = std::chrono::milliseconds(5);

/// A part of the kernel's memory of a socket, mapped.
class Mapping {
 public:
  Mapping() noexcept = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { unmap(); }
  void unmap() noexcept {
    if (base_ != nullptr) ::munmap(base_, bytes_);
    base_ = nullptr;
  }
  /// 0 or a positive errno: EINVAL when the kernel's ring is smaller.
  [[nodiscard]] int map(int fd, std::size_t bytes, std::uint64_t page) {
    void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, static_cast<off_t>(page));
    if (base == MAP_FAILED) return errno;
    base_ = static_cast<std::uint8_t*>(base);
    bytes_ = bytes;
    return 0;
  }
  template <class T>
  [[nodiscard]] T* at(std::uint64_t offset) const noexcept {
    return reinterpret_cast<T*>(base_ + offset);
  }

 private:
  std::uint8_t* base_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace

struct XskSocket::Impl {
  Options options;
  xsk_ring_prod fill{};
  xsk_ring_cons completion{};
  xsk_ring_cons rx{};
  xsk_ring_cons control_rx{};
  xsk_ring_prod tx{};
  Mapping fill_area, completion_area, rx_area, tx_area, control_area;
  sys::UniqueFd fd;
  sys::UniqueFd control;
  bool zero_copy = false;
  /// How many frames may be in the fill ring.
  std::uint32_t stock = 0;
  std::vector<std::uint64_t> receiving;
  alignas(64) std::size_t in_flight = 0;
  bool tx_pending = false;
  std::vector<std::uint64_t> sending;

  explicit Impl(const Options& given) : options(given) {
    stock = options.rx_ring + options.control_ring;
    receiving.resize(options.memory.size() / options.frame_bytes / 64 + 1);
    sending.resize(receiving.size());
  }

  /// 0 or a positive errno.
  [[nodiscard]] static int set(const sys::UniqueFd& socket, int option, const void* value, std::size_t size) {
    return ::setsockopt(socket.get(), SOL_XDP, option, value, static_cast<socklen_t>(size)) == 0 ? 0 : errno;
  }
  [[nodiscard]] std::uint32_t fill_ring() const { return std::bit_ceil(stock); }

  /// 0 or a positive errno.
  [[nodiscard]] int open_with(std::uint16_t copy_flag) {
    fd.reset(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
    if (!fd.valid()) return errno;
    struct xdp_umem_reg memory {};
    memory.addr = reinterpret_cast<std::uintptr_t>(options.memory.data());
    memory.len = options.memory.size();
    memory.chunk_size = options.frame_bytes;
    memory.headroom = options.headroom_bytes;
    const std::uint32_t rx_size = options.rx_ring;
    const std::uint32_t tx_size = options.tx_ring;
    const std::uint32_t fill_size = fill_ring();
    int error = set(fd, XDP_UMEM_REG, &memory, sizeof memory);
    // Room for every frame in flight: a completion ring as large as the tx ring is never full.
    if (error == 0) error = set(fd, XDP_UMEM_FILL_RING, &fill_size, sizeof fill_size);
    if (error == 0) error = set(fd, XDP_UMEM_COMPLETION_RING, &tx_size, sizeof tx_size);
    if (error == 0) error = set(fd, XDP_RX_RING, &rx_size, sizeof rx_size);
    if (error == 0) error = set(fd, XDP_TX_RING, &tx_size, sizeof tx_size);
    if (error == 0) error = map_rings();
    if (error != 0) return error;
    struct sockaddr_xdp address {};
    address.sxdp_family = AF_XDP;
    address.sxdp_flags = static_cast<std::uint16_t>(copy_flag | XDP_USE_NEED_WAKEUP | (options.multi_buffer ? kUseSg : 0));
    address.sxdp_ifindex = ::if_nametoindex(options.interface.c_str());
    address.sxdp_queue_id = options.queue;
    if (::bind(fd.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) != 0) return errno;
    zero_copy = copy_flag == XDP_ZEROCOPY;
    if (options.control_ring != 0) open_control(address);
    return 0;
  }

  /// Behind the first socket, which is bound. What the kernel refuses is done without.
  void open_control(struct sockaddr_xdp address) {
    control.reset(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
    const std::uint32_t size = options.control_ring;
    address.sxdp_flags = XDP_SHARED_UMEM;
    address.sxdp_shared_umem_fd = static_cast<std::uint32_t>(fd.get());
    if (control.valid() && set(control, XDP_RX_RING, &size, sizeof size) == 0 && map_control() == 0 &&
        ::bind(control.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) == 0) {
      return;
    }
    control.reset();
  }

  [[nodiscard]] static int offsets_of(const sys::UniqueFd& socket, struct xdp_mmap_offsets& offsets) {
    socklen_t size = sizeof offsets;
    if (::getsockopt(socket.get(), SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size) != 0) return errno;
    return size == sizeof offsets ? 0 : EPROTO;
  }

  /// Starts from where its shared indices are. 0 or a positive errno.
  template <class Ring>
  [[nodiscard]] static int map_ring(const sys::UniqueFd& socket, Mapping& area, Ring& ring, const struct xdp_ring_offset& at,
                                    std::uint32_t entries, std::size_t entry_bytes, std::uint64_t page) {
    if (const int error = area.map(socket.get(), at.desc + entries * entry_bytes, page); error != 0) return error;
    ring.mask = entries - 1;
    ring.size = entries;
    ring.producer = area.at<std::uint32_t>(at.producer);
    ring.consumer = area.at<std::uint32_t>(at.consumer);
    ring.flags = area.at<std::uint32_t>(at.flags);
    ring.ring = area.at<void>(at.desc);
    ring.cached_prod = __atomic_load_n(ring.producer, __ATOMIC_ACQUIRE);
    ring.cached_cons = __atomic_load_n(ring.consumer, __ATOMIC_ACQUIRE);
    return 0;
  }

  /// 0 or a positive errno.
  [[nodiscard]] int map_control() {
    struct xdp_mmap_offsets offsets {};
    if (const int error = offsets_of(control, offsets); error != 0) return error;
    return map_ring(control, control_area, control_rx, offsets.rx, options.control_ring, sizeof(struct xdp_desc),
                    XDP_PGOFF_RX_RING);
  }

  /// Maps the four rings and starts from where their shared indices are: 0 in a new socket. 0 or a positive errno.
  [[nodiscard]] int map_rings() {
    struct xdp_mmap_offsets offsets {};
    int error = offsets_of(fd, offsets);
    if (error == 0) {
      error = map_ring(fd, fill_area, fill, offsets.fr, fill_ring(), sizeof(std::uint64_t), XDP_UMEM_PGOFF_FILL_RING);
    }
    if (error == 0) {
      error = map_ring(fd, completion_area, completion, offsets.cr, options.tx_ring, sizeof(std::uint64_t),
                       XDP_UMEM_PGOFF_COMPLETION_RING);
    }
    if (error == 0) {
      error = map_ring(fd, rx_area, rx, offsets.rx, options.rx_ring, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING);
    }
    if (error == 0) {
      error = map_ring(fd, tx_area, tx, offsets.tx, options.tx_ring, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING);
    }
    // Producers compare with what is free (xsk.h): the consumer's index a ring ahead.
    fill.cached_cons += fill.size;
    tx.cached_cons += tx.size;
    return error;
  }

  [[nodiscard]] std::size_t frame_of(std::uint64_t offset) const {
    return static_cast<std::size_t>(offset / options.frame_bytes);
  }
  void give(std::vector<std::uint64_t>& owned, std::uint64_t offset) const {
    const std::size_t frame = frame_of(offset);
    SIMPLON_ASSERT((owned[frame / 64] >> (frame % 64) & 1) == 0);
    owned[frame / 64] |= std::uint64_t{1} << (frame % 64);
  }
  void take(std::vector<std::uint64_t>& owned, std::uint64_t offset) const {
    const std::size_t frame = frame_of(offset);
    SIMPLON_CHECK(frame / 64 < owned.size() && (owned[frame / 64] >> (frame % 64) & 1) == 1);
    owned[frame / 64] &= ~(std::uint64_t{1} << (frame % 64));
  }
  [[nodiscard]] std::size_t receive(xsk_ring_cons& ring, std::span<FrameRef> out, std::size_t packets) noexcept {
    if (options.multi_buffer) return receive_pieces(ring, out, packets);
    std::uint32_t index = 0;
    const auto count = xsk_ring_cons__peek(&ring, static_cast<std::uint32_t>(std::min(out.size(), packets)), &index);
    for (std::uint32_t i = 0; i < count; ++i) {
      const struct xdp_desc* descriptor = xsk_ring_cons__rx_desc(&ring, index + i);
      out[i] = {descriptor->addr, descriptor->len};
      take(receiving, descriptor->addr);
    }
    if (count > 0) xsk_ring_cons__release(&ring, count);
    return count;
  }
  [[nodiscard]] std::size_t receive_pieces(xsk_ring_cons& ring, std::span<FrameRef> out, std::size_t packets) noexcept {
    std::uint32_t index = 0;
    const auto there = xsk_ring_cons__peek(&ring, static_cast<std::uint32_t>(out.size()), &index);
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < there && packets > 0; ++i) {
      const struct xdp_desc* descriptor = xsk_ring_cons__rx_desc(&ring, index + i);
      const bool more = (descriptor->options & kPacketContinues) != 0;
      out[i] = {descriptor->addr, descriptor->len, more};
      if (more) continue;
      count = i + 1;
      --packets;
    }
    for (std::uint32_t i = 0; i < count; ++i) take(receiving, out[i].offset);
    xsk_ring_cons__cancel(&ring, there - count);
    if (count > 0) xsk_ring_cons__release(&ring, count);
    return count;
  }
};

namespace {

std::size_t ones(std::span<const std::uint64_t> words) {
  std::size_t count = 0;
  for (const std::uint64_t word : words) count += static_cast<std::size_t>(std::popcount(word));
  return count;
}

}  // namespace

XskSocket::XskSocket(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
XskSocket::~XskSocket() = default;

Result<std::unique_ptr<XskSocket>> XskSocket::open(const Options& options) {
  const auto fresh = [&options] { return std::make_unique<Impl>(options); };
  std::unique_ptr<Impl> impl;
  int error = EOPNOTSUPP;
  for (int attempt = 0; attempt < kBusyRetries; ++attempt) {
    impl = fresh();
    if (options.try_zero_copy) error = impl->open_with(XDP_ZEROCOPY);
    // Whatever zero-copy failed with, copy mode decides.
    if (error != 0 && error != EBUSY) {
      impl = fresh();
      error = impl->open_with(XDP_COPY);
    }
    if (error != EBUSY) break;
    std::this_thread::sleep_for(kBusyPause);
  }
  if (error != 0) {
    std::string hint;
    if (error == EBUSY) hint = "another program has an AF_XDP socket on this queue";
    if (error == EAFNOSUPPORT) hint = "the kernel needs CONFIG_XDP_SOCKETS";
    if (error == EINVAL && options.multi_buffer) hint = "packets of several frames need Linux 6.6";
    if (error == EPERM) hint = "run as root or with CAP_NET_RAW";
    if (error == ENOBUFS || error == ENOMEM) hint = "raise RLIMIT_MEMLOCK or give CAP_IPC_LOCK";
    Unexpected failed = fail_errno("cannot open an AF_XDP socket on " + options.interface + " queue " + std::to_string(options.queue),
                                   error, hint);
    if (error == EINVAL) failed.value().code = ErrorCode::kInvalidConfig;
    return failed;
  }
  return std::unique_ptr<XskSocket>(new XskSocket(std::move(impl)));
}

bool XskSocket::kernel_has_multi_buffer() {
  // Flags are looked at before the interface, which is none.
  const sys::UniqueFd fd(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  struct sockaddr_xdp address {};
  address.sxdp_family = AF_XDP;
  address.sxdp_flags = XDP_COPY | kUseSg;
  return fd.valid() && ::bind(fd.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) != 0 && errno == ENODEV;
}

Result<std::unique_ptr<XskSocket>> XskSocket::adopt(const Options& options, Handed handed) {
  const std::string name = "the AF_XDP socket on " + options.interface + " queue " + std::to_string(options.queue);
  const auto is_socket = [](const sys::UniqueFd& fd) {
    int domain = 0;
    socklen_t size = sizeof domain;
    return ::getsockopt(fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_XDP;
  };
  if (!is_socket(handed.fd) || (handed.control.valid() && !is_socket(handed.control))) {
    return fail(ErrorCode::kPeer, name + " that was handed over is none");
  }
  if (!std::has_single_bit(options.rx_ring) || !std::has_single_bit(options.tx_ring) ||
      (options.control_ring != 0 && !std::has_single_bit(options.control_ring))) {
    return fail(ErrorCode::kPeer, name + " was handed over with rings of " + std::to_string(options.rx_ring) + ", " +
                                      std::to_string(options.tx_ring) + " and " + std::to_string(options.control_ring) +
                                      " entries");
  }
  auto impl = std::make_unique<Impl>(options);
  impl->fd = std::move(handed.fd);
  impl->control = std::move(handed.control);
  impl->zero_copy = handed.zero_copy;
  impl->receiving = std::move(handed.receiving);
  impl->sending = std::move(handed.sending);
  const std::size_t frames = options.memory.size() / options.frame_bytes;
  impl->receiving.resize(frames / 64 + 1);
  impl->sending.resize(frames / 64 + 1);
  int error = impl->map_rings();
  if (error == 0 && impl->control.valid()) error = impl->map_control();
  if (error != 0) {
    return fail_errno("cannot map the rings of " + name, error,
                      error == EBUSY ? "kernels before 6.4 cannot do that with a bound socket" : "");
  }
  // Indices only grow, so their differences say how many frames the kernel's side holds.
  const std::uint32_t receiving = impl->fill.cached_prod - impl->rx.cached_cons - impl->control_rx.cached_cons;
  const std::uint32_t sending = impl->tx.cached_prod - impl->completion.cached_cons;
  const std::size_t owned_receiving = ones(impl->receiving);
  const std::size_t owned_sending = ones(impl->sending);
  if (owned_receiving != receiving || owned_sending != sending || sending > options.tx_ring) {
    return fail(ErrorCode::kPeer, name + " was handed over with " + std::to_string(owned_receiving) + " frames to receive and " +
                                      std::to_string(owned_sending) + " to send, but it holds " + std::to_string(receiving) +
                                      " and " + std::to_string(sending));
  }
  impl->in_flight = sending;
  impl->tx_pending = sending != 0;
  return std::unique_ptr<XskSocket>(new XskSocket(std::move(impl)));
}

void XskSocket::close() noexcept {
  // A mapping holds its socket.
  for (Mapping* area : {&impl_->fill_area, &impl_->completion_area, &impl_->rx_area, &impl_->tx_area, &impl_->control_area}) area->unmap();
  impl_->control.reset();
  impl_->fd.reset();
}

int XskSocket::fd() const noexcept { return impl_->fd.get(); }
int XskSocket::control_fd() const noexcept { return impl_->control.get(); }
bool XskSocket::zero_copy() const noexcept { return impl_->zero_copy; }
bool XskSocket::multi_buffer() const noexcept { return impl_->options.multi_buffer; }
std::size_t XskSocket::in_flight() const noexcept { return impl_->in_flight; }

std::size_t XskSocket::receive(std::span<FrameRef> out, std::size_t packets) noexcept {
  return impl_->receive(impl_->rx, out, packets);
}

std::size_t XskSocket::receive_control(std::span<FrameRef> out, std::size_t packets) noexcept {
  return impl_->control.valid() ? impl_->receive(impl_->control_rx, out, packets) : 0;
}

std::uint32_t XskSocket::waiting() const noexcept {
  return __atomic_load_n(impl_->rx.producer, __ATOMIC_RELAXED) - impl_->rx.cached_cons;
}

bool XskSocket::can_be_handed_over() const {
  Mapping again;
  return again.map(fd(), static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), XDP_PGOFF_RX_RING) == 0;
}

bool XskSocket::received_all() const noexcept {
  const auto empty = [](const xsk_ring_cons& ring) {
    return __atomic_load_n(ring.producer, __ATOMIC_ACQUIRE) == __atomic_load_n(ring.consumer, __ATOMIC_ACQUIRE);
  };
  return empty(impl_->rx) && (!impl_->control.valid() || empty(impl_->control_rx));
}

std::uint32_t XskSocket::rx_ring() const noexcept { return impl_->options.rx_ring; }

std::size_t XskSocket::fill_space() noexcept {
  const std::uint32_t size = impl_->fill.size;
  const std::uint32_t there = size - std::min(xsk_prod_nb_free(&impl_->fill, size), size);
  return impl_->stock - std::min(there, impl_->stock);
}

std::size_t XskSocket::fill(std::span<const std::uint64_t> offsets) noexcept {
  const auto count = static_cast<std::uint32_t>(std::min(offsets.size(), fill_space()));
  std::uint32_t index = 0;
  if (count == 0 || xsk_ring_prod__reserve(&impl_->fill, count, &index) != count) return 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t start = offsets[i] / impl_->options.frame_bytes * impl_->options.frame_bytes;
    impl_->give(impl_->receiving, start);
    *xsk_ring_prod__fill_addr(&impl_->fill, index + i) = start;
  }
  xsk_ring_prod__submit(&impl_->fill, count);
  return count;
}

std::size_t XskSocket::transmit(std::span<const FrameRef> frames, std::uint32_t spared) noexcept {
  const std::uint32_t free = std::min(xsk_prod_nb_free(&impl_->tx, impl_->options.tx_ring), impl_->options.tx_ring);
  const std::size_t space = free - std::min(free, spared);
  auto count = static_cast<std::uint32_t>(std::min(frames.size(), space));
  while (count > 0 && frames[count - 1].more) --count;
  std::uint32_t index = 0;
  if (count == 0 || xsk_ring_prod__reserve(&impl_->tx, count, &index) != count) return 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    struct xdp_desc* descriptor = xsk_ring_prod__tx_desc(&impl_->tx, index + i);
    impl_->give(impl_->sending, frames[i].offset);
    *descriptor = {frames[i].offset, frames[i].length, frames[i].more ? kPacketContinues : 0};
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
    impl_->take(impl_->sending, out[i]);
  }
  if (count > 0) xsk_ring_cons__release(&impl_->completion, count);
  impl_->in_flight -= count;
  if (impl_->in_flight == 0) impl_->tx_pending = false;
  return count;
}

// Errors of both (EAGAIN, EBUSY, ENETDOWN) mean "later" or "the link is down"; packets stay in the ring, and `transmit` refuses
// when it is full.
void XskSocket::wake_sender() noexcept {
  if (impl_->tx_pending && xsk_ring_prod__needs_wakeup(&impl_->tx) != 0) {
    static_cast<void>(::sendto(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0));
  }
}

void XskSocket::wake_receiver() noexcept {
  if (xsk_ring_prod__needs_wakeup(&impl_->fill) != 0) {
    static_cast<void>(::recvfrom(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr));
  }
}

std::vector<std::uint64_t> XskSocket::owned() const {
  std::vector<std::uint64_t> offsets;
  for (std::size_t word = 0; word < impl_->receiving.size(); ++word) {
    for (std::uint64_t bits = impl_->receiving[word] | impl_->sending[word]; bits != 0; bits &= bits - 1) {
      const auto frame = word * 64 + static_cast<std::size_t>(__builtin_ctzll(bits));
      offsets.push_back(frame * impl_->options.frame_bytes);
    }
  }
  return offsets;
}

XskSocket::Owned XskSocket::owned_bits() const noexcept { return {impl_->receiving, impl_->sending}; }

Result<XskStatistics> XskSocket::statistics() const {
  struct xdp_statistics raw {};
  struct xdp_statistics control {};
  socklen_t size = sizeof raw;
  bool read = ::getsockopt(fd(), SOL_XDP, XDP_STATISTICS, &raw, &size) == 0;
  size = sizeof control;
  if (read && impl_->control.valid()) read = ::getsockopt(control_fd(), SOL_XDP, XDP_STATISTICS, &control, &size) == 0;
  if (!read) return fail_errno("cannot read the statistics of an AF_XDP socket", errno);
  // The fill ring is common to both, and each tells of all of it. With both receive rings full it is empty, so a control packet
  // more is one without a frame.
  return XskStatistics{raw.rx_ring_full, control.rx_ring_full + control.rx_dropped, raw.rx_fill_ring_empty_descs};
}

}  // namespace simplon::xdp
