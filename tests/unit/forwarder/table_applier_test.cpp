// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/forwarder/table_applier.h"

#include <gmock/gmock.h>

namespace simplon::forwarder {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr DomainId kDomain{1};

class FakePorts final : public PortControl {
 public:
  void renounce_sas(TunnelId tunnel) override { renounced.push_back(tunnel.value()); }
  std::vector<std::uint32_t> renounced;

  void upsert_uplink(const std::string& interface) override { log.push_back("+uplink " + interface); }
  void remove_uplink(const std::string& interface) override { log.push_back("-uplink " + interface); }
  Result<void> upsert_host_port(const ipc::HostPort& port) override {
    if (port.netns == "missing") return fail(ErrorCode::kUnavailable, "network namespace 'missing' does not exist");
    log.push_back("+host " + port.interface);
    return {};
  }
  void remove_host_port(const ipc::AttachmentRef& attachment) override {
    log.push_back("-host " + std::to_string(attachment.id));
  }
  void upsert_circuit(const ipc::Circuit& circuit) override { log.push_back("+circuit " + circuit.name); }
  void remove_circuit(CircuitId id) override { log.push_back("-circuit " + std::to_string(id.value())); }
  void set_local_addresses(const std::set<LocalVtep>& wanted_vteps, const std::set<IpAddress>& wanted_ipsec) override {
    log.push_back("addresses");
    vteps = wanted_vteps;
    ipsec = wanted_ipsec;
  }

  std::vector<std::string> log;
  std::set<LocalVtep> vteps;
  std::set<IpAddress> ipsec;
};

class TableApplierTest : public ::testing::Test {
 protected:
  forward::Tables tables_;
  FakePorts ports_;
  TableApplier applier_{tables_, ports_};
  std::uint64_t generation_ = 0;

  std::vector<ipc::OperationError> apply(std::vector<ipc::Operation> operations) {
    ipc::Update update;
    update.generation = Generation(++generation_);
    for (auto& operation : operations) update.operations.emplace_back(std::move(operation));
    return applier_.apply(update);
  }
  std::vector<ipc::OperationError> upsert(const std::vector<ipc::Object>& objects) {
    std::vector<ipc::Operation> operations;
    for (const auto& object : objects) operations.push_back(ipc::Operation::upsert(object));
    return apply(std::move(operations));
  }

  static ipc::Vpc vpc(std::uint32_t vni) {
    return {Vni(vni), "v", kDomain, IpAddress::v4(0x0a000001), 4789, MacAddress{{2, 0, 0, 0, 0, 1}},
            {IpPrefix(IpAddress::v4(0x0a010000), 16)}, {IpAddress::v4(0x0a000002)}, 1450};
  }
  static ipc::Tunnel tunnel(std::uint32_t id) { return {TunnelId(id), "t", kDomain, IpAddress::v4(0xc0000201), 0, true}; }
  static ipc::Route route(std::uint32_t network, std::uint32_t via = 5) {
    return {kDomain, IpPrefix(IpAddress::v4(network), 24), ipc::RouteAction::kForward,
            {{ipc::AttachmentRef::tunnel(TunnelId(via)), 1}}};
  }
  static ipc::Endpoint endpoint(std::uint32_t address) {
    return {Vni(100), IpAddress::v4(address), MacAddress{{2, 0, 0, 0, 0, 9}}, IpAddress::v4(0x0a000002)};
  }
  static ipc::HostPort host_port(std::uint32_t id, const char* netns = "d") {
    return {ipc::AttachmentRef::tunnel(TunnelId(id)), "tun" + std::to_string(id), netns, {}, 1400};
  }
  static ipc::Circuit circuit(std::uint32_t id, std::uint16_t vlan = 100) {
    return {CircuitId(id), "c" + std::to_string(id), kDomain, "u0", vlan, 0, 0x88a8, 1500, true};
  }
  static std::vector<ipc::Object> everything() {
    return {ipc::Domain{kDomain, "d"}, ipc::Uplink{"u0"},     vpc(100),          tunnel(5),        host_port(5),
            endpoint(0x0a010005),      endpoint(0x0a010006), route(0xc0a80100), route(0xc0a80200)};
  }
};

TEST_F(TableApplierTest, SasOfAnotherNegotiationAreRenounced) {
  ipc::Tunnel wanted = tunnel(5);
  const auto after = [&](std::uint64_t negotiation) {
    wanted.negotiation = negotiation;
    EXPECT_THAT(upsert({ipc::Domain{kDomain, "d"}, wanted}), IsEmpty());
    return std::exchange(ports_.renounced, {}).size();
  };
  EXPECT_EQ(after(0), 0U) << "a simplond of before";
  EXPECT_EQ(after(7), 0U) << "nobody knows what it was";
  EXPECT_EQ(after(7), 0U);
  wanted.mtu = 1300;
  EXPECT_EQ(after(7), 0U);
  EXPECT_EQ(after(8), 1U);
  EXPECT_EQ(after(0), 0U) << "a simplond of before, after a downgrade";
  EXPECT_EQ(after(8), 0U);
  wanted.closed = true;
  EXPECT_EQ(after(8), 1U);
  EXPECT_EQ(after(8), 0U);
  wanted.closed = false;
  EXPECT_EQ(after(8), 0U) << "the next negotiation may be over before we hear of it";
  EXPECT_THAT(apply({ipc::Operation::remove(wanted)}), IsEmpty());
  EXPECT_THAT(ports_.renounced, ElementsAre(5U));
}

TEST_F(TableApplierTest, AppliesEverything) {
  EXPECT_THAT(upsert(everything()), IsEmpty());
  const auto counts = tables_.counts();
  EXPECT_EQ(counts.domains, 1U);
  EXPECT_EQ(counts.vpcs, 1U);
  EXPECT_EQ(counts.tunnels, 1U);
  EXPECT_EQ(counts.endpoints, 2U);
  EXPECT_EQ(counts.routes, 2U);
  EXPECT_THAT(ports_.vteps, ::testing::ElementsAre(LocalVtep{IpAddress::v4(0x0a000001), 4789}));
  EXPECT_THAT(ports_.ipsec, ::testing::ElementsAre(IpAddress::v4(0xc0000201)));
  EXPECT_EQ(applier_.generation(), Generation(1));
}

TEST_F(TableApplierTest, ASyncOfTheSameTouchesNothing) {
  ASSERT_THAT(upsert(everything()), IsEmpty());
  ports_.log.clear();
  const auto waiting = tables_.quiescence().waiting();
  applier_.sync_begin(Epoch(9));
  EXPECT_THAT(upsert(everything()), IsEmpty());
  EXPECT_THAT(applier_.sync_end(Epoch(9)), IsEmpty());
  EXPECT_THAT(ports_.log, IsEmpty());
  EXPECT_EQ(tables_.counts().routes, 2U);
  // No table object was replaced: none waits for its grace period.
  EXPECT_EQ(tables_.quiescence().waiting(), waiting);
}

TEST_F(TableApplierTest, ASyncSweepsWhatWasNotNamed) {
  ASSERT_THAT(upsert(everything()), IsEmpty());
  ports_.log.clear();
  applier_.sync_begin(Epoch(9));
  EXPECT_THAT(upsert({ipc::Domain{kDomain, "d"}, vpc(100), endpoint(0x0a010006), route(0xc0a80200)}), IsEmpty());
  EXPECT_EQ(tables_.counts().routes, 2U) << "nothing is removed before the end of the sync";
  EXPECT_THAT(applier_.sync_end(Epoch(9)), IsEmpty());
  const auto counts = tables_.counts();
  EXPECT_EQ(counts.routes, 1U);
  EXPECT_EQ(counts.endpoints, 1U);
  EXPECT_EQ(counts.tunnels, 0U);
  EXPECT_EQ(counts.vpcs, 1U);
  EXPECT_THAT(ports_.log, ::testing::ElementsAre("-host 5", "-uplink u0", "addresses"));
  EXPECT_THAT(ports_.ipsec, IsEmpty());
}

TEST_F(TableApplierTest, CircuitsGoToThePortsOnceAndAreSwept) {
  ASSERT_THAT(upsert({ipc::Domain{kDomain, "d"}, circuit(3), circuit(4, 101)}), IsEmpty());
  EXPECT_THAT(upsert({circuit(3), circuit(4, 102)}), IsEmpty());
  EXPECT_THAT(ports_.log, ::testing::ElementsAre("+circuit c3", "+circuit c4", "+circuit c4"));
  EXPECT_THAT(applier_.attachments(),
              ::testing::ElementsAre(ipc::AttachmentRef::circuit(CircuitId(3)), ipc::AttachmentRef::circuit(CircuitId(4))));
  ports_.log.clear();
  applier_.sync_begin(Epoch(9));
  EXPECT_THAT(upsert({circuit(3)}), IsEmpty());
  EXPECT_THAT(applier_.sync_end(Epoch(9)), IsEmpty());
  EXPECT_THAT(ports_.log, ::testing::ElementsAre("-circuit 4"));
}

TEST_F(TableApplierTest, WhatIsHandedOverHasCircuitsAndGateways) {
  const IpAddress gateway = IpAddress::v4(0xc0a80f02);
  auto via = route(0xc0a80100);
  via.nexthops = {{ipc::AttachmentRef::circuit(CircuitId(3)), 1, gateway}};
  ASSERT_THAT(upsert({ipc::Domain{kDomain, "d"}, circuit(3), via}), IsEmpty());
  ipc::TableFramer framer;
  framer.append(applier_.encode());
  std::vector<ipc::Object> objects;
  for (;;) {
    const auto envelope = framer.next();
    ASSERT_TRUE(envelope);
    if (!envelope->has_value()) break;
    const auto message = ipc::decode_table_message(**envelope);
    ASSERT_TRUE(message);
    for (const auto& operation : std::get<ipc::Update>(*message).operations) objects.push_back(operation->object);
  }
  EXPECT_THAT(objects, ::testing::ElementsAre(ipc::Domain{kDomain, ""}, circuit(3), via));
}

TEST_F(TableApplierTest, ASyncThatWasNotBegunRemovesNothing) {
  ASSERT_THAT(upsert(everything()), IsEmpty());
  EXPECT_EQ(applier_.sync_end(Epoch(9)).size(), 1U);
  applier_.sync_begin(Epoch(10));
  EXPECT_EQ(applier_.sync_end(Epoch(9)).size(), 1U);
  EXPECT_EQ(tables_.counts().routes, 2U);
}

TEST_F(TableApplierTest, RefusedOperationsAreNamedAndTheOthersApply) {
  ipc::Update update;
  update.generation = Generation(1);
  update.operations.emplace_back(ipc::Operation::upsert(ipc::Domain{kDomain, "d"}));
  update.operations.emplace_back(fail(ErrorCode::kInvalidConfig, "vpc 0: VNI 0 is not within 1 to 16777215"));
  update.operations.emplace_back(ipc::Operation::upsert(host_port(5, "missing")));
  auto no_hops = route(0xc0a80100);
  no_hops.nexthops.clear();
  update.operations.emplace_back(ipc::Operation::upsert(no_hops));
  update.operations.emplace_back(ipc::Operation::upsert(route(0xc0a80200)));
  const auto errors = applier_.apply(update);
  ASSERT_EQ(errors.size(), 3U);
  EXPECT_EQ(errors[0].index, 1U);
  EXPECT_EQ(errors[1].index, 2U);
  EXPECT_THAT(errors[1].what, HasSubstr("missing"));
  EXPECT_EQ(errors[2].index, 3U);
  EXPECT_THAT(errors[2].what, HasSubstr("route 192.168.1.0/24 in domain 1"));
  EXPECT_EQ(tables_.counts().routes, 1U);
}

TEST_F(TableApplierTest, ARefusedUpsertKeepsTheFormerObjectThroughTheSweep) {
  ASSERT_THAT(upsert({ipc::Domain{kDomain, "d"}, route(0xc0a80100)}), IsEmpty());
  applier_.sync_begin(Epoch(9));
  auto broken = route(0xc0a80100);
  broken.nexthops.clear();
  EXPECT_EQ(upsert({ipc::Domain{kDomain, "d"}, broken}).size(), 1U);
  EXPECT_THAT(applier_.sync_end(Epoch(9)), IsEmpty());
  EXPECT_EQ(tables_.counts().routes, 1U);
}

TEST_F(TableApplierTest, ReferencesMayComeFirst) {
  EXPECT_THAT(upsert({endpoint(0x0a010005), route(0xc0a80100, 77), host_port(5), tunnel(5), vpc(100),
                      ipc::Domain{kDomain, "d"}}),
              IsEmpty());
  EXPECT_EQ(tables_.counts().endpoints, 1U);
}

TEST_F(TableApplierTest, DeletionsAreIdempotentAndNeedTheKeyOnly) {
  ASSERT_THAT(upsert(everything()), IsEmpty());
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(apply({ipc::Operation::remove(ipc::Route{kDomain, IpPrefix(IpAddress::v4(0xc0a80100), 24), {}, {}}),
                       ipc::Operation::remove(ipc::Endpoint{Vni(100), IpAddress::v4(0x0a010005), {}, {}}),
                       ipc::Operation::remove(ipc::Tunnel{TunnelId(5), {}, {}, {}, 0, true})}),
                IsEmpty());
    EXPECT_EQ(tables_.counts().routes, 1U);
    EXPECT_EQ(tables_.counts().endpoints, 1U);
    EXPECT_EQ(tables_.counts().tunnels, 0U);
  }
}

TEST_F(TableApplierTest, WhatItEncodesMakesTheSameTables) {
  auto objects = everything();
  auto ecmp = route(0xc0a80300);
  ecmp.nexthops = {{ipc::AttachmentRef::tunnel(TunnelId(5)), 3},
                   {ipc::AttachmentRef::vpc(Vni(100)), 1},
                   {ipc::AttachmentRef::tunnel(TunnelId(6)), 1, {}, true}};
  objects.push_back(ecmp);
  objects.push_back(ipc::Route{kDomain, IpPrefix(IpAddress::v4(0xc0a80400), 24), ipc::RouteAction::kUnreachable, {}});
  objects.push_back(ipc::Route{kDomain, IpPrefix(IpAddress::v4(0), 0), ipc::RouteAction::kLocal,
                               {{ipc::AttachmentRef::vpc(Vni(100)), 1}}});
  ASSERT_THAT(upsert(objects), IsEmpty());

  forward::Tables tables;
  FakePorts ports;
  TableApplier other(tables, ports);
  ipc::TableFramer framer;
  framer.append(applier_.encode());
  for (auto envelope = framer.next(); envelope && *envelope; envelope = framer.next()) {
    const auto message = ipc::decode_table_message(**envelope);
    ASSERT_TRUE(message);
    ASSERT_THAT(other.apply(std::get<ipc::Update>(*message)), IsEmpty());
  }
  EXPECT_EQ(other.generation(), applier_.generation());
  EXPECT_EQ(ports.vteps, ports_.vteps);
  EXPECT_EQ(ports.ipsec, ports_.ipsec);
  EXPECT_EQ(tables.counts().routes, 5U);
  EXPECT_EQ(tables.counts().endpoints, 2U);
  const auto hops = [&](const ipc::Route& of) { return tables.route(of.domain, of.prefix).value().nexthops; };
  EXPECT_EQ(hops(ecmp), tables_.route(ecmp.domain, ecmp.prefix).value().nexthops);
  EXPECT_EQ(hops(ecmp).size(), 3U);
  EXPECT_EQ(tables.endpoint(Vni(100), IpAddress::v4(0x0a010005)).value().mac, (MacAddress{{2, 0, 0, 0, 0, 9}}));
  // As after a sync: the same objects again change nothing.
  ports.log.clear();
  other.sync_begin(Epoch(1));
  ipc::Update update;
  for (const auto& object : objects) update.operations.emplace_back(ipc::Operation::upsert(object));
  EXPECT_THAT(other.apply(update), IsEmpty());
  EXPECT_THAT(other.sync_end(Epoch(1)), IsEmpty());
  EXPECT_THAT(ports.log, ::testing::Each(::testing::Eq("addresses")));
}

}  // namespace
}  // namespace simplon::forwarder
