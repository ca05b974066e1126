// SPDX-License-Identifier: GPL-2.0-or-later
#include "platform/xdp/flow_table.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <random>
#include <string>
#include <utility>

#include "platform/sys/unique_fd.h"

namespace simplon::xdp {

static_assert(sizeof(simplon_xdp_flow) == 128 && offsetof(simplon_xdp_flow, vtep) == 64);
static_assert(sizeof(simplon_xdp_addresses6) == 64);
static_assert(SIMPLON_XDP_MEMBERS << SIMPLON_XDP_INGRESS_MEMBER < 1U << SIMPLON_XDP_INGRESS_KIND);

namespace {

/// A BPF array that programs read and we write.
template <class T>
class SharedArray {
 public:
  SharedArray() = default;
  SharedArray(const SharedArray&) = delete;
  SharedArray& operator=(const SharedArray&) = delete;
  ~SharedArray() {
    if (data_ != nullptr) ::munmap(data_, bytes_);
  }
  bool create(const char* name, std::uint32_t entries) {
    struct bpf_map_create_opts options {};
    options.sz = sizeof options;
    options.map_flags = BPF_F_MMAPABLE;
    fd_.reset(bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(std::uint32_t), sizeof(T), entries, &options));
    if (!fd_.valid()) return false;
    bytes_ = entries * sizeof(T);
    void* area = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    if (area == MAP_FAILED) return false;
    data_ = static_cast<T*>(area);
    return true;
  }
  [[nodiscard]] T& operator[](std::size_t i) const noexcept { return data_[i]; }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  sys::UniqueFd fd_;
  T* data_ = nullptr;
  std::size_t bytes_ = 0;
};

void store(std::uint64_t& word, std::uint64_t value) noexcept {
  std::atomic_ref<std::uint64_t>(word).store(value, std::memory_order_release);
}

[[nodiscard]] std::uint32_t generation_slot(std::uint32_t ingress) noexcept { return simplon_xdp_slot(ingress); }

}  // namespace

struct FlowTable::Maps {
  SharedArray<std::uint64_t> generations;
  SharedArray<std::uint64_t> buckets;
  SharedArray<simplon_xdp_flow> flows;
  SharedArray<simplon_xdp_addresses6> addresses6;
  SharedArray<simplon_xdp_spread> spreads;
  sys::UniqueFd lanes;
  /// By whether a program takes frames in pieces: the kernel lets no map of devices be used by programs that do and that do not.
  std::array<sys::UniqueFd, 2> egresses;
  sys::UniqueFd samples;
  struct ring_buffer* ring = nullptr;
  const std::function<void(const simplon_xdp_sample&)>* visit = nullptr;
  std::size_t most = 0;
  mutable std::vector<simplon_xdp_lane> of_cpus;

  ~Maps() { ring_buffer__free(ring); }

  static int on_sample(void* context, void* data, std::size_t size) {
    auto& maps = *static_cast<Maps*>(context);
    simplon_xdp_sample sample;
    if (size < sizeof sample || maps.most == 0) return 0;
    std::memcpy(&sample, data, sizeof sample);
    --maps.most;
    (*maps.visit)(sample);
    return 0;
  }
};

FlowTable::FlowTable(Grace& grace, std::unique_ptr<Maps> maps)
    : grace_(grace), maps_(std::move(maps)), ways_(SIMPLON_XDP_FLOWS, Way::kFree) {
  std::random_device random;
  seed_ = (std::uint64_t{random()} << 32) | random();
}

FlowTable::~FlowTable() = default;

Result<std::unique_ptr<FlowTable>> FlowTable::create(Grace& grace) {
  const auto refused = [](const char* what) {
    return fail_errno(std::string("cannot create the BPF map ") + what, errno);
  };
  auto maps = std::make_unique<Maps>();
  if (!maps->generations.create("generations", SIMPLON_XDP_GENERATIONS)) return refused("generations");
  if (!maps->buckets.create("buckets", SIMPLON_XDP_BUCKETS)) return refused("buckets");
  if (!maps->flows.create("flows", SIMPLON_XDP_FLOWS)) return refused("flows");
  if (!maps->addresses6.create("addresses6", SIMPLON_XDP_FLOWS)) return refused("addresses6");
  if (!maps->spreads.create("spreads", SIMPLON_XDP_SPREADS)) return refused("spreads");
  const auto create = [](sys::UniqueFd& fd, enum bpf_map_type type, const char* name, std::uint32_t key,
                         std::uint32_t value, std::uint32_t entries) {
    fd.reset(bpf_map_create(type, name, key, value, entries, nullptr));
    return fd.valid();
  };
  if (!create(maps->lanes, BPF_MAP_TYPE_PERCPU_ARRAY, "lanes", 4, sizeof(simplon_xdp_lane), SIMPLON_XDP_LANES)) {
    return refused("lanes");
  }
  for (sys::UniqueFd& egresses : maps->egresses) {
    if (!create(egresses, BPF_MAP_TYPE_DEVMAP, "egresses", 4, 4, SIMPLON_XDP_EGRESSES)) return refused("egresses");
  }
  if (!create(maps->samples, BPF_MAP_TYPE_RINGBUF, "samples", 0, 0, SIMPLON_XDP_SAMPLE_RING)) return refused("samples");
  maps->ring = ring_buffer__new(maps->samples.get(), &Maps::on_sample, maps.get(), nullptr);
  if (maps->ring == nullptr) return refused("samples");
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 1) return fail_errno("cannot count the CPUs", -cpus);
  maps->of_cpus.resize(static_cast<std::size_t>(cpus));
  return std::unique_ptr<FlowTable>(new FlowTable(grace, std::move(maps)));
}

bool FlowTable::good(const simplon_xdp_flow& flow) const noexcept {
  return maps_->generations[generation_slot(flow.key.ingress)] == flow.generation;
}

void FlowTable::clear(std::uint32_t place) {
  std::uint64_t& tags = maps_->buckets[place / SIMPLON_XDP_WAYS];
  store(tags, tags & ~(std::uint64_t{0xffff} << (16 * (place % SIMPLON_XDP_WAYS))));
  ways_[place] = Way::kLeaving;
}

bool FlowTable::put(const simplon_xdp_flow& flow, const simplon_xdp_addresses6& addresses) {
  const std::uint64_t hash = simplon_xdp_hash(seed_, &flow.key);
  const auto first = static_cast<std::uint32_t>(hash & (SIMPLON_XDP_BUCKETS - 1)) * SIMPLON_XDP_WAYS;
  const std::size_t leaving_before = leaving_.size();
  std::uint32_t free_place = SIMPLON_XDP_FLOWS;
  bool present = false;
  for (std::uint32_t place = first; place < first + SIMPLON_XDP_WAYS; ++place) {
    const simplon_xdp_flow& there = maps_->flows[place];
    if (ways_[place] == Way::kFree) {
      if (free_place == SIMPLON_XDP_FLOWS) free_place = place;
    } else if (ways_[place] == Way::kLive && !good(there)) {
      clear(place);
      leaving_.push_back({0, place});
    } else if (ways_[place] != Way::kLeaving && good(there) &&
               std::memcmp(&there.key, &flow.key, sizeof flow.key) == 0) {
      present = true;
    }
  }
  if (!present && free_place == SIMPLON_XDP_FLOWS && leaving_.size() == leaving_before) {
    const std::uint32_t victim = first + next_victim_++ % SIMPLON_XDP_WAYS;
    if (ways_[victim] == Way::kLive) {
      clear(victim);
      leaving_.push_back({0, victim});
    }
  }
  const bool stored = !present && free_place != SIMPLON_XDP_FLOWS;
  if (stored) {
    std::uint64_t& generation = maps_->generations[generation_slot(flow.key.ingress)];
    if (generation == 0) {
      store(generation, ++last_generation_);
      any_generation_ = true;
    }
    simplon_xdp_flow& place = maps_->flows[free_place];
    place = flow;
    place.generation = generation;
    maps_->addresses6[free_place] = addresses;
    ways_[free_place] = Way::kPending;
    arriving_.push_back({0, free_place});
  }
  return stored;
}

const simplon_xdp_flow* FlowTable::find(const simplon_xdp_flow_key& key) const noexcept {
  const auto bucket = static_cast<std::uint32_t>(simplon_xdp_hash(seed_, &key) & (SIMPLON_XDP_BUCKETS - 1));
  for (std::uint32_t place = bucket * SIMPLON_XDP_WAYS; place < (bucket + 1) * SIMPLON_XDP_WAYS; ++place) {
    const simplon_xdp_flow& flow = maps_->flows[place];
    if (ways_[place] == Way::kLive && good(flow) && std::memcmp(&flow.key, &key, sizeof key) == 0) return &flow;
  }
  return nullptr;
}

const simplon_xdp_flow* FlowTable::find(const simplon_xdp_flow_key& key, std::uint8_t bucket) const noexcept {
  const simplon_xdp_flow* flow = find(key);
  if (flow == nullptr || flow->action != SIMPLON_XDP_SPREAD) return flow;
  const std::uint32_t member = maps_->spreads[flow->lane].members[bucket];
  if (member == 0) return nullptr;
  simplon_xdp_flow_key of_member = key;
  of_member.ingress |= member << SIMPLON_XDP_INGRESS_MEMBER;
  return find(of_member);
}

void FlowTable::set_spread(std::uint32_t number, const std::array<std::uint8_t, 256>& members) {
  std::memcpy(maps_->spreads[number].members, members.data(), members.size());
}

bool FlowTable::invalidate(std::uint32_t ingress) {
  std::uint64_t& generation = maps_->generations[generation_slot(ingress)];
  if (generation == 0) return false;
  store(generation, 0);
  return true;
}

bool FlowTable::invalidate_all() {
  if (!std::exchange(any_generation_, false)) return false;
  for (std::uint32_t slot = 0; slot < SIMPLON_XDP_GENERATIONS; ++slot) store(maps_->generations[slot], 0);
  return true;
}

void FlowTable::advance() {
  // Those without a ticket were put or cleared since the last call: one period for all of them.
  const auto not_begun = [](const Pending& pending) { return pending.ticket == 0; };
  if (std::any_of(arriving_.begin(), arriving_.end(), not_begun) ||
      std::any_of(leaving_.begin(), leaving_.end(), not_begun)) {
    const Grace::Ticket ticket = grace_.begin();
    for (auto* list : {&arriving_, &leaving_}) {
      for (Pending& pending : *list) {
        if (pending.ticket == 0) pending.ticket = ticket;
      }
    }
  }
  const auto take_passed = [this](std::vector<Pending>& list, auto&& use) {
    auto kept = list.begin();
    for (; kept != list.end() && grace_.passed(kept->ticket); ++kept) use(kept->place);
    list.erase(list.begin(), kept);
  };
  take_passed(arriving_, [this](std::uint32_t place) {
    const simplon_xdp_flow& flow = maps_->flows[place];
    if (!good(flow)) {
      ways_[place] = Way::kFree;  // nobody ever saw it
      return;
    }
    std::uint64_t& tags = maps_->buckets[place / SIMPLON_XDP_WAYS];
    store(tags, tags | simplon_xdp_tag(simplon_xdp_hash(seed_, &flow.key)) << (16 * (place % SIMPLON_XDP_WAYS)));
    ways_[place] = Way::kLive;
  });
  take_passed(leaving_, [this](std::uint32_t place) { ways_[place] = Way::kFree; });
}

Grace::Ticket FlowTable::begin_settling() { return grace_.begin(); }

Result<void> FlowTable::set_egress(std::uint16_t egress, std::uint32_t interface_index) {
  const std::uint32_t key = egress;
  if (key >= SIMPLON_XDP_EGRESSES) {
    return fail(ErrorCode::kExhausted, "more than " + std::to_string(SIMPLON_XDP_EGRESSES) + " uplinks");
  }
  for (const sys::UniqueFd& egresses : maps_->egresses) {
    // First: if the interface is gone, its number must not lead to the one before it.
    if (bpf_map_delete_elem(egresses.get(), &key) != 0 && errno != ENOENT) {
      return fail_errno("cannot take an interface out of a BPF map", errno);
    }
    if (interface_index != 0 && bpf_map_update_elem(egresses.get(), &key, &interface_index, BPF_ANY) != 0) {
      return fail_errno("cannot put an interface into a BPF map", errno);
    }
  }
  return {};
}

simplon_xdp_lane FlowTable::lane(std::uint32_t lane) const {
  simplon_xdp_lane sum{};
  if (bpf_map_lookup_elem(maps_->lanes.get(), &lane, maps_->of_cpus.data()) != 0) return sum;
  for (const simplon_xdp_lane& part : maps_->of_cpus) {
    sum.packets += part.packets;
    sum.inner_bytes += part.inner_bytes;
    sum.frame_bytes += part.frame_bytes;
  }
  return sum;
}

std::size_t FlowTable::take_samples(std::size_t most, const std::function<void(const simplon_xdp_sample&)>& visit) {
  maps_->visit = &visit;
  maps_->most = most;
  ring_buffer__consume(maps_->ring);
  maps_->visit = nullptr;
  return most - std::exchange(maps_->most, 0);
}

int FlowTable::sample_fd() const noexcept { return ring_buffer__epoll_fd(maps_->ring); }

FlowTable::Fds FlowTable::fds(bool multi_buffer) const noexcept {
  return {maps_->generations.fd(), maps_->buckets.fd(), maps_->flows.fd(), maps_->addresses6.fd(),
          maps_->spreads.fd(), maps_->lanes.get(), maps_->egresses[multi_buffer ? 1 : 0].get(), maps_->samples.get()};
}

}  // namespace simplon::xdp
