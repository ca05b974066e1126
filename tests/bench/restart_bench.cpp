// SPDX-License-Identifier: GPL-2.0-or-later
//
// R3 with full tables: what the exchange of a forwarder for another does with them.
//
//     restart_bench [ENDPOINTS [ROUTES [VPCS]]]
//
// Tables of target P9 (10,000 VPCs of 100 routes, a million routes in one domain, a million endpoints) are written down and made again from
// that, as two processes do: side by side while the former one forwards (`systemctl reload`, a package upgrade), or one after the other
// (`systemctl restart`). The product's code, without devices. Prints the lowest and the median of kRuns, and that both have the same in them.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gateway/forwarder/takeover.h"

namespace simplon::forwarder {
namespace {

constexpr int kRuns = 5;
constexpr std::size_t kRoutesOfVpc = 100;

class NoPorts final : public PortControl {
 public:
  void renounce_sas(TunnelId) override {}
  void upsert_uplink(const std::string&) override {}
  void remove_uplink(const std::string&) override {}
  Result<void> upsert_host_port(const ipc::HostPort&) override { return {}; }
  void remove_host_port(const ipc::AttachmentRef&) override {}
  void upsert_circuit(const ipc::Circuit&) override {}
  void remove_circuit(CircuitId) override {}
  void set_local_addresses(const std::set<LocalVtep>&, const std::set<IpAddress>&) override {}
};

struct Forwarding {
  forward::Tables tables;
  NoPorts ports;
  TableApplier applier{tables, ports};
};

IpAddress v4(std::size_t value) { return IpAddress::v4(static_cast<std::uint32_t>(value)); }

bool fill(Forwarding& forwarding, std::size_t endpoints, std::size_t routes, std::size_t vpcs) {
  ipc::Update update;
  bool good = true;
  const auto flush = [&] {
    good = good && forwarding.applier.apply(update).empty();
    update.operations.clear();
  };
  const auto add = [&](ipc::Object object) {
    update.operations.emplace_back(ipc::Operation::upsert(std::move(object)));
    if (update.operations.size() == ipc::kMaxOperationsPerUpdate) flush();
  };
  const auto domain_of = [](std::size_t vpc) { return DomainId(static_cast<std::uint32_t>(vpc + 2)); };
  const auto vni_of = [](std::size_t vpc) { return Vni(static_cast<std::uint32_t>(1000 + vpc)); };
  add(ipc::Domain{DomainId(1), {}});
  for (std::size_t v = 0; v < vpcs; ++v) {
    add(ipc::Domain{domain_of(v), {}});
    add(ipc::Vpc{vni_of(v), "v", domain_of(v), v4(0x0aff0001), 4789, MacAddress{{2, 0, 0, 0, 0, 1}}, {IpPrefix(v4(0x0a000000), 16)}, {}, 1450});
  }
  std::mt19937_64 random(1);
  for (std::size_t v = 0; v < vpcs; ++v) {
    for (std::size_t r = 0; r < kRoutesOfVpc; ++r) {
      add(ipc::Route{domain_of(v), IpPrefix(v4(0xac100000 + (random() % 4096 << 8)), 24), ipc::RouteAction::kForward, {{ipc::AttachmentRef::vpc(vni_of(v))}}});
    }
  }
  for (std::size_t r = 0; r < routes; ++r) {
    const unsigned length = random() % 3 != 0 ? 24 : 16 + static_cast<unsigned>(random() % 8);
    const std::uint32_t network = static_cast<std::uint32_t>(random() % 0xdf000000) & ~std::uint32_t{0} << (32 - length);
    add(ipc::Route{DomainId(1), IpPrefix(v4(network), static_cast<std::uint8_t>(length)), ipc::RouteAction::kForward,
                   {{ipc::AttachmentRef::vpc(vni_of(random() % vpcs))}}});
  }
  for (std::size_t e = 0; e < endpoints; ++e) {
    add(ipc::Endpoint{vni_of(e % vpcs), v4(0x0a000002 + e / vpcs), MacAddress{{2, 0, 0, 1, 2, 3}}, v4(0x0aff0100 + e % 200)});
  }
  flush();
  return good;
}

double milliseconds(const std::function<void()>& action) {
  const auto begun = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count();
}

void print(const char* what, std::vector<double> taken) {
  std::sort(taken.begin(), taken.end());
  std::printf("  %-66s %8.0f ms (median %.0f)\n", what, taken.front(), taken[taken.size() / 2]);
}

int run(std::size_t endpoints, std::size_t routes, std::size_t vpcs) {
  auto former = std::make_unique<Forwarding>();
  if (!fill(*former, endpoints, routes, vpcs)) {
    std::fprintf(stderr, "restart_bench: the tables refuse something\n");
    return 1;
  }
  std::vector<double> written;
  std::vector<double> sent;
  std::vector<double> received;
  std::vector<double> made;
  std::vector<std::uint8_t> stream;
  for (int i = 0; i < kRuns; ++i) {
    written.push_back(milliseconds([&] { stream = former->applier.encode(); }));
    HandedTables handed;
    handed.frames = 1;
    handed.tables = stream;
    SecretBytes sealed;
    Result<HandedTables> read = fail(ErrorCode::kBug, "not tried");
    sent.push_back(milliseconds([&] { sealed = encode_handover(handed); }));
    received.push_back(milliseconds([&] { read = decode_tables(sealed); }));
    auto successor = std::make_unique<Forwarding>();
    Result<void> replayed;
    made.push_back(milliseconds([&] { replayed = replay_tables(stream, successor->applier); }));
    if (!replayed || successor->applier.encode().size() != stream.size()) {
      std::printf("FAILED: the successor has other tables\n");
      return 1;
    }
  }
  std::printf("R3: tables in a planned restart: %zu endpoints, %zu routes and %zu x %zu, %.0f MiB as messages\n", endpoints, routes, vpcs,
              kRoutesOfVpc, static_cast<double>(stream.size()) / (1 << 20));
  print("written down (the workers forward meanwhile)", written);
  print("put into the state (the workers forward meanwhile)", sent);
  print("taken out of it (in a restart packets wait meanwhile)", received);
  print("made again (in a restart packets wait meanwhile)", made);
  return 0;
}

}  // namespace
}  // namespace simplon::forwarder

int main(int argc, char** argv) {
  const auto number = [&](int at, std::size_t otherwise) {
    return argc > at ? static_cast<std::size_t>(std::strtoul(argv[at], nullptr, 10)) : otherwise;
  };
  return simplon::forwarder::run(number(1, 1'000'000), number(2, 1'000'000), number(3, 10'000));
}
