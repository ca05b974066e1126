// SPDX-License-Identifier: GPL-2.0-or-later
//
// Each uplink has its own instance of the XDP program, because a receive queue number means something else on each
// interface (the XSKMAP is per instance); the sets of our addresses are shared. The program is attached through a bpf_link,
// which is a descriptor: whatever ends the process also detaches the program, and the kernel gets all packets again. Unless
// the link was handed over: then the next process loads its own program and maps and replaces the former one in the link.
#include "platform/xdp/uplink_program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "platform/xdp/flow_table.h"
#include "platform/xdp/kernel_grace.h"
#include "platform/xdp/steering_keys.h"
#include "platform/xdp/too_big_ring.h"
#include "uplink.skel.h"

namespace simplon::xdp {
namespace {

struct simplon_xdp_address key_of(const IpAddress& address) {
  struct simplon_xdp_address key {};
  auto* bytes = reinterpret_cast<std::uint8_t*>(key.words);
  if (address.is_v4()) {
    bytes[10] = bytes[11] = 0xff;
    std::memcpy(bytes + 12, address.bytes().data(), 4);
  } else {
    std::memcpy(bytes, address.bytes().data(), 16);
  }
  return key;
}

struct simplon_xdp_vtep key_of(const VtepKey& vtep) {
  struct simplon_xdp_vtep key {};
  key.address = key_of(vtep.address);
  auto* port = reinterpret_cast<std::uint8_t*>(&key.port);
  port[0] = static_cast<std::uint8_t>(vtep.port >> 8);
  port[1] = static_cast<std::uint8_t>(vtep.port);
  return key;
}

struct simplon_xdp_circuit key_of(const CircuitKey& circuit) {
  return {circuit.interface_index, circuit.outer_vlan, circuit.vlan};
}

template <class Key>
Result<void> make_equal(int map, std::set<Key>& present, const std::set<Key>& wanted) {
  const std::uint8_t one = 1;
  for (auto it = present.begin(); it != present.end();) {
    if (wanted.count(*it) != 0) {
      ++it;
      continue;
    }
    const auto key = key_of(*it);
    if (bpf_map_delete_elem(map, &key) != 0 && errno != ENOENT) return fail_errno("cannot delete from a BPF map", errno);
    it = present.erase(it);
  }
  for (const auto& entry : wanted) {
    if (present.count(entry) != 0) continue;
    const auto key = key_of(entry);
    if (bpf_map_update_elem(map, &key, &one, BPF_ANY) != 0) {
      const int error = errno;
      if (error == E2BIG) {
        return fail(ErrorCode::kExhausted, "more than " + std::to_string(SIMPLON_XDP_MAX_ADDRESSES) +
                                               " addresses for one XDP program");
      }
      return fail_errno("cannot write to a BPF map", error);
    }
    present.insert(entry);
  }
  return {};
}

int make_map(const char* name, std::uint32_t key_size) {
  struct bpf_map_create_opts options {};
  options.sz = sizeof options;
  options.map_flags = BPF_F_NO_PREALLOC;
  return bpf_map_create(BPF_MAP_TYPE_HASH, name, key_size, 1, SIMPLON_XDP_MAX_ADDRESSES, &options);
}

int quiet(enum libbpf_print_level, const char*, va_list) { return 0; }

}  // namespace

std::string_view to_string(AttachMode mode) noexcept { return mode == AttachMode::kNative ? "native" : "generic"; }

Result<std::unique_ptr<Steering>> Steering::create() {
  // Errors are returned with their errno; libbpf's own lines would be said twice.
  libbpf_set_print(quiet);
  // Kernels before 5.11 charge BPF memory to RLIMIT_MEMLOCK.
  const struct rlimit unlimited {RLIM_INFINITY, RLIM_INFINITY};
  static_cast<void>(::setrlimit(RLIMIT_MEMLOCK, &unlimited));
  std::unique_ptr<Steering> steering(new Steering());
  steering->vteps_fd_ = make_map("vteps", sizeof(struct simplon_xdp_vtep));
  if (steering->vteps_fd_ >= 0) {
    steering->ipsec_fd_ = make_map("ipsec_addresses", sizeof(struct simplon_xdp_address));
  }
  if (steering->ipsec_fd_ >= 0) steering->circuits_fd_ = make_map("circuits", sizeof(struct simplon_xdp_circuit));
  if (steering->vteps_fd_ < 0 || steering->ipsec_fd_ < 0 || steering->circuits_fd_ < 0) {
    const int error = errno;
    return fail_errno("cannot create a BPF map", error,
                      error == EPERM ? "run as root or with CAP_BPF and CAP_NET_ADMIN"
                                     : "the kernel needs CONFIG_BPF_SYSCALL");
  }
  return steering;
}

Steering::~Steering() {
  if (vteps_fd_ >= 0) ::close(vteps_fd_);
  if (ipsec_fd_ >= 0) ::close(ipsec_fd_);
  if (circuits_fd_ >= 0) ::close(circuits_fd_);
}

Result<void> Steering::set_vteps(const std::set<VtepKey>& wanted) { return make_equal(vteps_fd_, vteps_, wanted); }

Result<void> Steering::set_ipsec_addresses(const std::set<IpAddress>& wanted) {
  return make_equal(ipsec_fd_, ipsec_, wanted);
}

Result<void> Steering::set_circuits(const std::set<CircuitKey>& wanted) {
  std::set<CircuitKey> keys;
  for (CircuitKey circuit : wanted) {
    if (circuit.outer_vlan != 0) circuit.vlan = 0;
    keys.insert(circuit);
  }
  return make_equal(circuits_fd_, circuits_, keys);
}

struct UplinkProgram::Impl {
  uplink_bpf* skeleton = nullptr;
  sys::UniqueFd link;
  /// Of a prepared one.
  std::uint32_t interface = 0;
  std::string without_flows;

  /// With the maps of `steering`; to be loaded once.
  [[nodiscard]] static Result<std::unique_ptr<Impl>> open(const Steering& steering, bool multi_buffer);
  /// 0, or an error number below 0.
  [[nodiscard]] int load_with_flows(const Steering& steering, std::uint32_t interface_index);
  [[nodiscard]] Result<void> load_without_flows();

  [[nodiscard]] int program() const { return bpf_program__fd(skeleton->progs.simplon_uplink); }
  ~Impl() {
    link.reset();
    uplink_bpf__destroy(skeleton);
  }

 private:
  [[nodiscard]] bool share_maps(const Steering& steering);
};

UplinkProgram::UplinkProgram(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UplinkProgram::~UplinkProgram() = default;

Result<std::unique_ptr<UplinkProgram::Impl>> UplinkProgram::Impl::open(const Steering& steering, bool multi_buffer) {
  auto impl = std::make_unique<Impl>();
  impl->skeleton = uplink_bpf__open();
  if (impl->skeleton == nullptr) return fail_errno("cannot open the XDP program", errno);
  if (!impl->share_maps(steering)) return fail_errno("cannot share the maps of the XDP program", errno);
  if (multi_buffer) {
    impl->skeleton->rodata->multi_buffer = 1;
    bpf_program__set_flags(impl->skeleton->progs.simplon_uplink, BPF_F_XDP_HAS_FRAGS);
  }
  return impl;
}

/// False with errno.
bool UplinkProgram::Impl::share_maps(const Steering& steering) {
  auto& maps = skeleton->maps;
  if (bpf_map__reuse_fd(maps.vteps, steering.vteps_fd_) != 0 ||
      bpf_map__reuse_fd(maps.ipsec_addresses, steering.ipsec_fd_) != 0 ||
      bpf_map__reuse_fd(maps.circuits, steering.circuits_fd_) != 0) {
    return false;
  }
  if (steering.too_big_ == nullptr) {
    // Then nobody reads it.
    bpf_map__set_max_entries(maps.too_big, static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE)));
    return true;
  }
  return bpf_map__reuse_fd(maps.too_big, steering.too_big_->ring_fd()) == 0 &&
         bpf_map__reuse_fd(maps.too_big_overrun, steering.too_big_->overrun_fd()) == 0;
}

int UplinkProgram::Impl::load_with_flows(const Steering& steering, std::uint32_t interface_index) {
  const FlowTable::Fds fds = steering.flows_->fds(skeleton->rodata->multi_buffer != 0);
  skeleton->rodata->flows_in_use = 1;
  skeleton->rodata->flow_seed = steering.flows_->seed_;
  skeleton->rodata->uplink = interface_index;
  skeleton->rodata->sample_gap = steering.sample_gap_;
  auto& maps = skeleton->maps;
  for (const auto& [map, fd] : {std::pair{maps.generations, fds.generations},
                                {maps.buckets, fds.buckets},
                                {maps.flows, fds.flows},
                                {maps.addresses6, fds.addresses6},
                                {maps.spreads, fds.spreads},
                                {maps.lanes, fds.lanes},
                                {maps.egresses, fds.egresses},
                                {maps.samples, fds.samples}}) {
    if (const int error = bpf_map__reuse_fd(map, fd); error != 0) return error;
  }
  return uplink_bpf__load(skeleton);
}

Result<void> UplinkProgram::Impl::load_without_flows() {
  // What forwards flows is dead code then; its maps need not cost anything.
  auto& maps = skeleton->maps;
  for (struct bpf_map* map : {maps.generations, maps.buckets, maps.flows, maps.addresses6, maps.spreads, maps.lanes, maps.egresses}) {
    bpf_map__set_max_entries(map, 1);
  }
  bpf_map__set_max_entries(maps.samples, static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE)));
  if (const int error = uplink_bpf__load(skeleton); error != 0) {
    return fail_errno("the kernel refuses the XDP program", -error, "Linux 5.15 or newer is needed");
  }
  return {};
}

Result<std::unique_ptr<UplinkProgram::Impl>> UplinkProgram::load(const Steering& steering,
                                                                 std::uint32_t interface_index, bool multi_buffer) {
  std::string without_flows;
  if (steering.flows_ != nullptr) {
    auto impl = Impl::open(steering, multi_buffer);
    if (!impl) return impl;
    const int error = (*impl)->load_with_flows(steering, interface_index);
    if (error == 0) return impl;
    without_flows = "the kernel refuses its program (" + std::string(std::strerror(-error)) + ")";
  }
  auto impl = Impl::open(steering, multi_buffer);
  if (!impl) return impl;
  if (auto ok = (*impl)->load_without_flows(); !ok) return Unexpected(ok.error());
  (*impl)->without_flows = std::move(without_flows);
  return impl;
}

Result<std::unique_ptr<UplinkProgram>> UplinkProgram::load_only(const Steering& steering, std::uint32_t uplink,
                                                                bool multi_buffer) {
  auto impl = load(steering, uplink, multi_buffer);
  if (!impl) return Unexpected(impl.error());
  return std::unique_ptr<UplinkProgram>(new UplinkProgram(*std::move(impl)));
}

Result<UplinkProgram::Ran> UplinkProgram::run(std::vector<std::uint8_t>& frame) const {
  std::array<std::uint8_t, 16384> out;
  struct bpf_test_run_opts options {};
  options.sz = sizeof options;
  options.data_in = frame.data();
  options.data_size_in = static_cast<std::uint32_t>(frame.size());
  options.data_out = out.data();
  options.data_size_out = out.size();
  options.repeat = 1;
  if (bpf_prog_test_run_opts(impl_->program(), &options) != 0) return fail_errno("cannot run the XDP program", errno);
  frame.assign(out.begin(), out.begin() + options.data_size_out);
  if (options.retval == XDP_PASS) return Ran::kPassed;
  if (options.retval != XDP_REDIRECT) {
    return fail(ErrorCode::kBug, "the XDP program says " + std::to_string(options.retval));
  }
  return Ran::kForwarded;
}

const std::string& UplinkProgram::without_flows() const noexcept { return impl_->without_flows; }

Result<std::unique_ptr<UplinkProgram>> UplinkProgram::attach(const Steering& steering, const std::string& interface,
                                                             std::uint32_t interface_index, bool multi_buffer,
                                                             AttachMode best) {
  auto loaded = load(steering, interface_index, multi_buffer);
  if (!loaded) return Unexpected(loaded.error());
  auto impl = *std::move(loaded);
  AttachMode mode = AttachMode::kNative;
  int error = 0;
  for (const auto& [flags, candidate] :
       {std::pair{XDP_FLAGS_DRV_MODE, AttachMode::kNative}, std::pair{XDP_FLAGS_SKB_MODE, AttachMode::kGeneric}}) {
    if (best == AttachMode::kGeneric && candidate == AttachMode::kNative) continue;
    struct bpf_link_create_opts options {};
    options.sz = sizeof options;
    options.flags = static_cast<std::uint32_t>(flags);
    impl->link.reset(bpf_link_create(impl->program(), static_cast<int>(interface_index), BPF_XDP, &options));
    mode = candidate;
    if (impl->link.valid()) break;
    error = errno;
    if (error == EBUSY || error == EEXIST) {
      return fail(ErrorCode::kConflict, "another XDP program is attached to " + interface,
                  "remove it: ip link set " + interface + " xdp off, or stop the program that owns it");
    }
  }
  if (!impl->link.valid()) {
    return fail_errno("cannot attach the XDP program to " + interface, error,
                      "neither in the driver nor in generic mode: `simplon doctor` looks at MTU and offloads");
  }
  std::unique_ptr<UplinkProgram> attached(new UplinkProgram(std::move(impl)));
  attached->mode_ = mode;
  return attached;
}

Result<std::unique_ptr<UplinkProgram>> UplinkProgram::prepare(const Steering& steering, std::uint32_t interface_index,
                                                              AttachMode mode, bool multi_buffer) {
  auto impl = load(steering, interface_index, multi_buffer);
  if (!impl) return Unexpected(impl.error());
  (*impl)->interface = interface_index;
  std::unique_ptr<UplinkProgram> prepared(new UplinkProgram(*std::move(impl)));
  prepared->mode_ = mode;
  return prepared;
}

Result<void> UplinkProgram::adopt(sys::UniqueFd link) {
  struct bpf_link_info info {};
  std::uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(link.get(), &info, &size) != 0) {
    return fail_errno("the link of an XDP program that was handed over is none", errno);
  }
  if (info.type != BPF_LINK_TYPE_XDP || info.xdp.ifindex != impl_->interface) {
    return fail(ErrorCode::kPeer, "the link of an XDP program that was handed over belongs to interface " +
                                      std::to_string(info.type == BPF_LINK_TYPE_XDP ? info.xdp.ifindex : 0) + ", not " +
                                      std::to_string(impl_->interface));
  }
  impl_->link = std::move(link);
  return {};
}

Result<void> UplinkProgram::take_over() {
  if (bpf_link_update(impl_->link.get(), impl_->program(), nullptr) != 0) {
    return fail_errno("cannot replace the XDP program", errno);
  }
  return {};
}

Result<void> UplinkProgram::divert(std::uint32_t interface_index) {
  const std::uint32_t first = 0;
  if (bpf_map_update_elem(bpf_map__fd(impl_->skeleton->maps.backlog), &first, &interface_index, BPF_ANY) != 0) {
    return fail_errno("cannot redirect to interface " + std::to_string(interface_index), errno);
  }
  for (const struct bpf_map* map : {impl_->skeleton->maps.control_sockets, impl_->skeleton->maps.sockets}) {
    for (std::uint32_t queue = 0; queue < SIMPLON_XDP_MAX_QUEUES; ++queue) {
      static_cast<void>(bpf_map_delete_elem(bpf_map__fd(map), &queue));  // most have none
    }
  }
  // Where the kernel does not offer it (nohz_full) a packet may come later that was on its way.
  static_cast<void>(wait_for_programs());
  return {};
}

int UplinkProgram::link_fd() const noexcept { return impl_->link.get(); }

Result<void> UplinkProgram::set_socket(std::uint32_t queue, int socket_fd, int control_fd) {
  if (queue >= SIMPLON_XDP_MAX_QUEUES) {
    return fail(ErrorCode::kExhausted, "receive queue " + std::to_string(queue) + " is over the limit of " +
                                           std::to_string(SIMPLON_XDP_MAX_QUEUES));
  }
  if (bpf_map_update_elem(bpf_map__fd(impl_->skeleton->maps.sockets), &queue, &socket_fd, BPF_ANY) != 0) {
    return fail_errno("cannot direct queue " + std::to_string(queue) + " to its AF_XDP socket", errno);
  }
  if (control_fd >= 0 &&
      bpf_map_update_elem(bpf_map__fd(impl_->skeleton->maps.control_sockets), &queue, &control_fd, BPF_ANY) != 0) {
    return fail_errno("cannot direct control traffic of queue " + std::to_string(queue) + " to its AF_XDP socket", errno);
  }
  return {};
}

}  // namespace simplon::xdp
