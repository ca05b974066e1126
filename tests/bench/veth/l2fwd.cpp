// SPDX-License-Identifier: GPL-2.0-or-later
//
// The bare AF_XDP layer 2 forwarder: the least that a program can do with a frame. It is the rival of simplon-forwarder
// in the veth benchmark: what the forwarder costs above it is ours.
//
//     bench-l2fwd --in u0 --out u1 --source-mac 02:.. --destination-mac 02:..
//
// One UMEM is shared by a receiving socket on queue 0 of --in and a sending socket on queue 0 of --out, both native copy
// mode with need_wakeup, so that user space copies nothing. It goes to sleep in poll() when there is nothing to do.
// "ready" is printed when frames are forwarded; at SIGTERM or SIGINT one line of JSON with the CPU nanoseconds of the
// thread per frame, system calls and their softirqs included.

#include <net/if.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <string>

#include <linux/if_link.h>
#include <linux/if_xdp.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <xdp/xsk.h>

#include "l2fwd.skel.h"

namespace {

constexpr std::uint32_t kBatch = 64;
constexpr std::uint32_t kRing = 2048;
constexpr std::uint32_t kFrames = 4096;
constexpr std::uint32_t kFrameBytes = 4096;
constexpr std::uint32_t kHeadroom = 128;  // what simplon-forwarder reserves too

volatile std::sig_atomic_t stopped = 0;

[[noreturn]] void die(const std::string& what, int error) {
  std::fprintf(stderr, "bench-l2fwd: %s: %s\n", what.c_str(), std::strerror(error));
  std::exit(1);
}

using Mac = std::array<std::uint8_t, 6>;

Mac parse_mac(const std::string& text) {
  Mac mac{};
  std::array<unsigned, 6> part{};
  if (std::sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x", &part[0], &part[1], &part[2], &part[3], &part[4], &part[5]) != 6) {
    die("'" + text + "' is not a MAC address", EINVAL);
  }
  for (std::size_t i = 0; i < mac.size(); ++i) mac[i] = static_cast<std::uint8_t>(part[i]);
  return mac;
}

std::uint64_t thread_cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

struct Forwarder {
  xsk_umem* umem = nullptr;
  void* memory = nullptr;
  xsk_socket* in = nullptr;
  xsk_socket* out = nullptr;
  xsk_ring_prod fill{}, fill_out{}, tx{};
  xsk_ring_cons completed_in{}, completed{}, rx{};
  std::array<std::uint8_t, 12> macs{};
  std::uint32_t under_way = 0;
  bool refused = false;  // by the last sendto
  std::uint64_t frames = 0, sends = 0, sleeps = 0;

  void open(const std::string& in_name, const std::string& out_name);
  void kick();
  void recycle();
  bool forward_batch();
};

void Forwarder::open(const std::string& in_name, const std::string& out_name) {
  const std::size_t bytes = std::size_t{kFrames} * kFrameBytes;
  memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) die("mmap", errno);
  xsk_umem_config umem_config{};
  umem_config.fill_size = kRing;
  umem_config.comp_size = kRing;
  umem_config.frame_size = kFrameBytes;
  umem_config.frame_headroom = kHeadroom;
  int error = xsk_umem__create(&umem, memory, bytes, &fill, &completed_in, &umem_config);
  if (error != 0) die("UMEM", -error);

  xsk_socket_config config{};
  config.rx_size = kRing;
  config.tx_size = kRing;
  config.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD;
  config.xdp_flags = XDP_FLAGS_DRV_MODE;
  config.bind_flags = XDP_COPY | XDP_USE_NEED_WAKEUP;
  error = xsk_socket__create_shared(&in, in_name.c_str(), 0, umem, &rx, nullptr, &fill, &completed_in, &config);
  if (error != 0) die("socket on " + in_name, -error);
  error = xsk_socket__create_shared(&out, out_name.c_str(), 0, umem, nullptr, &tx, &fill_out, &completed, &config);
  if (error != 0) die("socket on " + out_name, -error);

  std::uint32_t at = 0;
  if (xsk_ring_prod__reserve(&fill, kRing, &at) != kRing) die("fill ring", ENOSPC);
  for (std::uint32_t i = 0; i < kRing; ++i) {
    *xsk_ring_prod__fill_addr(&fill, at + i) = std::uint64_t{i} * kFrameBytes;
  }
  xsk_ring_prod__submit(&fill, kRing);
}

// The kernel sends 32 frames for each call in copy mode and says EAGAIN while there are more.
void Forwarder::kick() {
  while (true) {
    ++sends;
    refused = sendto(xsk_socket__fd(out), nullptr, 0, MSG_DONTWAIT, nullptr, 0) < 0;
    if (!refused) return;
    if (errno == EAGAIN) {
      recycle();
      continue;
    }
    if (errno == EBUSY || errno == ENOBUFS) return;
    die("sendto", errno);
  }
}

void Forwarder::recycle() {
  std::uint32_t done_at = 0;
  const std::uint32_t done = xsk_ring_cons__peek(&completed, kRing, &done_at);
  if (done == 0) return;
  std::uint32_t fill_at = 0;
  // Never short: the ring has a place for every frame that is not in it.
  if (xsk_ring_prod__reserve(&fill, done, &fill_at) != done) die("fill ring", ENOSPC);
  for (std::uint32_t i = 0; i < done; ++i) {
    *xsk_ring_prod__fill_addr(&fill, fill_at + i) =
        *xsk_ring_cons__comp_addr(&completed, done_at + i) & ~std::uint64_t{kFrameBytes - 1};
  }
  xsk_ring_prod__submit(&fill, done);
  xsk_ring_cons__release(&completed, done);
  under_way -= done;
}

bool Forwarder::forward_batch() {
  std::uint32_t rx_at = 0;
  const std::uint32_t count = xsk_ring_cons__peek(&rx, kBatch, &rx_at);
  if (count == 0) return false;
  std::uint32_t tx_at = 0;
  // Never short: as many frames exist as the ring has places.
  if (xsk_ring_prod__reserve(&tx, count, &tx_at) != count) die("tx ring", ENOSPC);
  for (std::uint32_t i = 0; i < count; ++i) {
    const xdp_desc* received = xsk_ring_cons__rx_desc(&rx, rx_at + i);
    std::memcpy(xsk_umem__get_data(memory, received->addr), macs.data(), macs.size());
    xdp_desc* sent = xsk_ring_prod__tx_desc(&tx, tx_at + i);
    sent->addr = received->addr;
    sent->len = received->len;
    sent->options = 0;
  }
  xsk_ring_prod__submit(&tx, count);
  xsk_ring_cons__release(&rx, count);
  under_way += count;
  frames += count;
  kick();
  recycle();
  return true;
}

l2fwd* attach(const std::string& interface, int socket) {
  l2fwd* program = l2fwd__open_and_load();
  if (program == nullptr) die("loading the XDP program", errno);
  const std::uint32_t queue = 0;
  if (bpf_map_update_elem(bpf_map__fd(program->maps.sockets), &queue, &socket, BPF_ANY) != 0) die("XSKMAP", errno);
  bpf_link_create_opts options{};
  options.sz = sizeof(options);
  options.flags = XDP_FLAGS_DRV_MODE;
  const int index = static_cast<int>(if_nametoindex(interface.c_str()));
  if (bpf_link_create(bpf_program__fd(program->progs.to_socket), index, BPF_XDP, &options) < 0) {
    die("native XDP on " + interface, errno);
  }
  return program;
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> option;
  for (int i = 1; i + 1 < argc; i += 2) option[argv[i]] = argv[i + 1];
  for (const char* needed : {"--in", "--out", "--source-mac", "--destination-mac"}) {
    if (!option.contains(needed)) {
      std::fprintf(stderr, "bench-l2fwd: %s is missing\n", needed);
      return 2;
    }
  }
  struct sigaction action {};
  action.sa_handler = [](int) { stopped = 1; };
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);

  static Forwarder forwarder;
  const Mac to = parse_mac(option["--destination-mac"]);
  const Mac from = parse_mac(option["--source-mac"]);
  std::memcpy(forwarder.macs.data(), to.data(), 6);
  std::memcpy(forwarder.macs.data() + 6, from.data(), 6);
  forwarder.open(option["--in"], option["--out"]);
  l2fwd* program = attach(option["--in"], xsk_socket__fd(forwarder.in));
  std::puts("ready");
  std::fflush(stdout);

  const std::uint64_t before = thread_cpu_ns();
  pollfd ready{xsk_socket__fd(forwarder.in), POLLIN, 0};
  while (stopped == 0) {
    if (forwarder.forward_batch()) continue;
    // With all frames in the ring that the kernel refused to send, nothing else would ever wake us.
    if (forwarder.refused) forwarder.kick();
    if (forwarder.under_way > 0) forwarder.recycle();
    ++forwarder.sleeps;
    poll(&ready, 1, forwarder.refused ? 1 : 1000);
  }
  const std::uint64_t cpu = thread_cpu_ns() - before;
  std::printf("{\"frames\": %llu, \"cpu_ns\": %llu, \"ns_per_frame\": %.1f, \"sends\": %llu, \"sleeps\": %llu}\n",
              static_cast<unsigned long long>(forwarder.frames), static_cast<unsigned long long>(cpu),
              forwarder.frames == 0 ? 0.0 : static_cast<double>(cpu) / static_cast<double>(forwarder.frames),
              static_cast<unsigned long long>(forwarder.sends), static_cast<unsigned long long>(forwarder.sleeps));
  l2fwd__destroy(program);
  xsk_socket__delete(forwarder.out);
  xsk_socket__delete(forwarder.in);
  xsk_umem__delete(forwarder.umem);
  return 0;
}
