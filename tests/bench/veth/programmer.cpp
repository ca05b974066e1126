// SPDX-License-Identifier: GPL-2.0-or-later
//
// Programs a simplon-forwarder from a text, without simplond and charon: for the veth benchmark.
//
//     bench-programmer program RUN_DIR < TEXT     a full sync of the tables, then the SAs
//     bench-programmer stats RUN_DIR              the forwarder's counters as JSON
//
// The text has one object per line, fields apart by spaces, lists by commas:
//
//     domain ID NAME
//     uplink INTERFACE
//     vpc VNI NAME DOMAIN VTEP UDP_PORT GATEWAY_MAC MTU PREFIXES ACCEPTED_VTEPS
//     endpoint VNI ADDRESS MAC VTEP
//     tunnel ID NAME DOMAIN LOCAL MTU
//     circuit ID NAME DOMAIN INTERFACE VLAN
//     circuit-port CIRCUIT INTERFACE NETNS ADDRESS LENGTH
//     route DOMAIN PREFIX vpc|tunnel ID
//     route DOMAIN PREFIX circuit ID GATEWAY
//     outbound-sa TUNNEL SPI SOURCE DESTINATION KEY_AND_SALT_HEX      AES-256-GCM, ESN, raw ESP, any selectors

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "gateway/ipc/sa_protocol.h"
#include "gateway/ipc/table_protocol.h"
#include "platform/sys/unix_socket.h"
#include "tests/unit/ipc/sa_wire.h"

namespace {

using namespace simplon;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "bench-programmer: %s\n", what.c_str());
  std::exit(1);
}

template <class T>
T must(Result<T> result) {
  if (!result) die(result.error().message());
  return std::move(*result);
}

struct OutboundSa {
  std::uint32_t tunnel = 0, spi = 0;
  IpAddress source, destination;
  std::vector<std::uint8_t> key;
};

struct Program {
  std::vector<ipc::Operation> operations;
  std::vector<OutboundSa> sas;
};

template <class Parse>
auto parse_list(const std::string& text, Parse parse) {
  std::vector<decltype(parse(text))> values;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) values.push_back(parse(part));
  return values;
}

IpAddress address(const std::string& text) { return must(IpAddress::parse(text)); }
IpPrefix prefix(const std::string& text) { return must(IpPrefix::parse(text)); }
MacAddress mac(const std::string& text) { return must(MacAddress::parse(text)); }

std::vector<std::uint8_t> key_bytes(const std::string& hex) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  }
  if (bytes.size() != 36) die("an AES-256-GCM key with its salt has 36 bytes");
  return bytes;
}

/// One line into `program`; false if it is malformed.
bool parse_line(const std::string& line, Program& program) {
  std::istringstream in(line);
  std::string what, name, a, b, c, d;
  std::uint32_t id = 0, domain = 0;
  std::uint16_t port = 0, mtu = 0;
  in >> what;
  auto upsert = [&](ipc::Object object) {
    program.operations.push_back(ipc::Operation::upsert(std::move(object)));
    return true;
  };
  if (what == "domain" && in >> id >> name) return upsert(ipc::Domain{DomainId(id), name});
  if (what == "uplink" && in >> name) return upsert(ipc::Uplink{name});
  if (what == "vpc" && in >> id >> name >> domain >> a >> port >> b >> mtu >> c >> d) {
    return upsert(ipc::Vpc{Vni(id), name, DomainId(domain), address(a), port, mac(b), parse_list(c, prefix),
                           parse_list(d, address), mtu});
  }
  if (what == "endpoint" && in >> id >> a >> b >> c) {
    return upsert(ipc::Endpoint{Vni(id), address(a), mac(b), address(c)});
  }
  if (what == "tunnel" && in >> id >> name >> domain >> a >> mtu) {
    return upsert(ipc::Tunnel{TunnelId(id), name, DomainId(domain), address(a), mtu, true});
  }
  std::uint16_t vlan = 0;
  if (what == "circuit" && in >> id >> name >> domain >> a >> vlan) {
    ipc::Circuit circuit{CircuitId(id), name, DomainId(domain), a};
    circuit.vlan = vlan;
    return upsert(circuit);
  }
  std::uint16_t length = 0;
  if (what == "circuit-port" && in >> id >> name >> a >> b >> length) {
    ipc::HostPort port;
    port.attachment = ipc::AttachmentRef::circuit(CircuitId(id));
    port.interface = name;
    port.netns = a;
    port.addresses = {{address(b), static_cast<std::uint8_t>(length)}};
    port.mtu = 1500;
    return upsert(port);
  }
  if (what == "route" && in >> domain >> a >> b >> id) {
    if (b == "circuit") {
      ipc::NextHop hop{ipc::AttachmentRef::circuit(CircuitId(id)), 1};
      if (in >> c) hop.gateway = address(c);
      return upsert(ipc::Route{DomainId(domain), prefix(a), ipc::RouteAction::kForward, {hop}});
    }
    const auto to = b == "vpc" ? ipc::AttachmentRef::vpc(Vni(id)) : ipc::AttachmentRef::tunnel(TunnelId(id));
    return upsert(ipc::Route{DomainId(domain), prefix(a), ipc::RouteAction::kForward, {ipc::NextHop{to, 1}}});
  }
  std::uint32_t spi = 0;
  if (what == "outbound-sa" && in >> id >> spi >> a >> b >> c) {
    program.sas.push_back({id, spi, address(a), address(b), key_bytes(c)});
    return true;
  }
  return false;
}

/// The programmer's end of the table socket, blocking.
class TableSocket {
 public:
  TableSocket(const std::string& run_dir, bool observer)
      : socket_(must(sys::connect_unix(run_dir + "/forwarder.sock", SOCK_STREAM, false))) {
    timeval limit{15, 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    send(ipc::encode_table_message(
        ipc::Hello{ipc::kTableProtocolVersion, "bench-programmer", std::random_device{}(), observer}));
    (void)receive<ipc::Hello>();
  }

  void send(const std::vector<std::uint8_t>& frame) {
    std::size_t done = 0;
    while (done < frame.size()) {
      const ssize_t wrote = ::send(socket_.get(), frame.data() + done, frame.size() - done, MSG_NOSIGNAL);
      if (wrote < 0) die(std::string("writing to the table socket: ") + std::strerror(errno));
      done += static_cast<std::size_t>(wrote);
    }
  }

  /// The next message, which must be an M.
  template <class M>
  M receive() {
    while (true) {
      if (auto envelope = must(framer_.next())) {
        auto message = must(ipc::decode_table_message(*envelope));
        if (auto* wanted = std::get_if<M>(&message)) return std::move(*wanted);
        die("the forwarder answered with another message than expected");
      }
      std::uint8_t buffer[65536];
      const ssize_t got = ::recv(socket_.get(), buffer, sizeof(buffer), 0);
      if (got <= 0) die(std::string("the table socket: ") + (got == 0 ? "closed" : std::strerror(errno)));
      framer_.append({buffer, static_cast<std::size_t>(got)});
    }
  }

  void expect_ack(const std::vector<ipc::Operation>& operations) {
    const auto ack = receive<ipc::Ack>();
    for (const auto& error : ack.errors) {
      std::fprintf(stderr, "bench-programmer: refused: %s: %s\n",
                   error.index < operations.size() ? ipc::key_of(operations[error.index].object).c_str() : "?",
                   error.what.c_str());
    }
    if (!ack.errors.empty()) std::exit(1);
  }

 private:
  sys::UniqueFd socket_;
  ipc::TableFramer framer_;
};

void program_tables(const std::string& run_dir, const std::vector<ipc::Operation>& operations) {
  TableSocket socket(run_dir, false);
  const Epoch epoch(std::random_device{}());
  std::uint64_t generation = 0;
  socket.send(ipc::encode_table_message(ipc::SyncBegin{epoch}));
  for (std::size_t at = 0; at < operations.size(); at += ipc::kMaxOperationsPerUpdate) {
    const std::size_t count = std::min(ipc::kMaxOperationsPerUpdate, operations.size() - at);
    const std::vector<ipc::Operation> part(operations.begin() + static_cast<std::ptrdiff_t>(at),
                                           operations.begin() + static_cast<std::ptrdiff_t>(at + count));
    socket.send(ipc::encode_update(Generation(++generation), part));
    socket.expect_ack(part);
  }
  socket.send(ipc::encode_table_message(ipc::SyncEnd{epoch, Generation(++generation)}));
  socket.expect_ack({});
}

/// The plugin's end of the SA socket, one request at a time.
class SaSocket {
 public:
  explicit SaSocket(const std::string& run_dir)
      : socket_(must(sys::connect_unix(run_dir + "/sa.sock", SOCK_SEQPACKET, false))) {
    timeval limit{15, 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  }

  template <class Body>
  void request(simplon_sa_type type, const Body& body, const char* what) {
    const auto message = test::sa_message(static_cast<std::uint16_t>(type), ++sequence_, body);
    if (::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(message.size())) {
      die(std::string("writing to the SA socket: ") + std::strerror(errno));
    }
    struct {
      simplon_sa_header header;
      simplon_sa_reply reply;
      std::uint8_t more[SIMPLON_SA_MAX_MESSAGE];
    } answer{};
    do {  // events have sequence 0
      const ssize_t got = ::recv(socket_.get(), &answer, sizeof(answer), 0);
      if (got < static_cast<ssize_t>(sizeof(answer.header))) die(std::string(what) + ": no answer on the SA socket");
    } while (answer.header.sequence != sequence_);
    if (answer.header.type != SIMPLON_SA_REPLY || answer.reply.status != SIMPLON_SA_OK) {
      die(std::string(what) + ": the forwarder answered with status " + std::to_string(answer.reply.status));
    }
  }

 private:
  sys::UniqueFd socket_;
  std::uint32_t sequence_ = 0;
};

void install_sas(const std::string& run_dir, const std::vector<OutboundSa>& sas) {
  SaSocket socket(run_dir);
  simplon_sa_hello hello{};
  hello.session = std::random_device{}();
  std::strcpy(hello.software, "bench-programmer");
  socket.request(SIMPLON_SA_HELLO, hello, "hello");
  for (const OutboundSa& sa : sas) {
    simplon_sa_add add{};
    add.id = {test::sa_address(sa.destination), sa.spi, 50, {}};
    add.source = test::sa_address(sa.source);
    add.if_id = add.reqid = sa.tunnel;
    add.encryption = 20;    // ENCR_AES_GCM_16
    add.integrity = 1024;   // none: AEAD
    add.encryption_key_length = static_cast<std::uint16_t>(sa.key.size());
    std::memcpy(add.encryption_key, sa.key.data(), sa.key.size());
    add.mode = 2;
    add.esn = 1;
    add.source_selectors = add.destination_selectors = 1;
    add.source_selector[0] = add.destination_selector[0] = test::sa_any_ipv4();
    socket.request(SIMPLON_SA_ADD, add, "adding the SA");

    simplon_sa_policy policy{};
    policy.direction = SIMPLON_SA_OUT;
    policy.if_id = policy.reqid = sa.tunnel;
    policy.priority = 1;
    policy.spi = sa.spi;
    policy.source = policy.destination = test::sa_any_ipv4();
    socket.request(SIMPLON_SA_ADD_POLICY, policy, "adding the policy");
  }
}

int program(const std::string& run_dir) {
  Program wanted;
  std::string line;
  while (std::getline(std::cin, line)) {
    if (!line.empty() && !parse_line(line, wanted)) die("not understood: " + line.substr(0, line.find(' ')) + " ...");
  }
  program_tables(run_dir, wanted.operations);
  if (!wanted.sas.empty()) install_sas(run_dir, wanted.sas);
  return 0;
}

int print_stats(const std::string& run_dir) {
  TableSocket socket(run_dir, true);
  socket.send(ipc::encode_table_message(ipc::StatsRequest{1}));
  const auto stats = socket.receive<ipc::Stats>();
  nlohmann::json out;
  out["accounting"] = {{"received", stats.accounting.received},
                       {"originated", stats.accounting.originated},
                       {"sent", stats.accounting.sent},
                       {"punted", stats.accounting.punted},
                       {"dropped", stats.accounting.dropped}};
  out["drops"] = out["uplinks"] = nlohmann::json::array();
  for (const auto& drop : stats.drops) out["drops"].push_back({{"name", drop.name}, {"packets", drop.packets}});
  for (const auto& uplink : stats.uplinks) {
    out["uplinks"].push_back({{"interface", uplink.interface},
                              {"mode", uplink.mode},
                              {"up", uplink.up},
                              {"error", uplink.error},
                              {"rx_packets", uplink.rx_packets},
                              {"tx_packets", uplink.tx_packets},
                              {"xdp_forwarding", uplink.xdp_forwarding},
                              {"xdp_packets", uplink.xdp_packets}});
  }
  std::cout << out.dump(1) << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc == 3 ? argv[1] : "";
  if (mode == "program") return program(argv[2]);
  if (mode == "stats") return print_stats(argv[2]);
  std::fprintf(stderr, "usage: bench-programmer program|stats RUN_DIR\n");
  return 2;
}
