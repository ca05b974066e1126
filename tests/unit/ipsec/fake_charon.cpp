// SPDX-License-Identifier: GPL-2.0-or-later
#include <utility>

#include "tests/unit/ipsec/fake_charon.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <unistd.h>

#include <algorithm>
#include <deque>

namespace simplon::ipsec {
namespace {

namespace asio = boost::asio;
using asio::local::stream_protocol;
using vici::Operation;
using vici::Packet;
using vici::Section;

Section success() { return Section{}.set("success", "yes"); }
Section failure(const std::string& why) { return Section{}.set("success", "no").set("errmsg", why); }

}  // namespace

struct FakeCharon::Impl : std::enable_shared_from_this<Impl> {
  struct Client {
    explicit Client(stream_protocol::socket accepted) : socket(std::move(accepted)) {}
    stream_protocol::socket socket;
    std::set<std::string> events;
    bool hangs = false;
  };

  Impl(asio::io_context& context, std::string where, FakeCharon& fake)
      : io(context), path(std::move(where)), charon(&fake), acceptor(context) {}

  void listen() {
    ::unlink(path.c_str());
    acceptor = stream_protocol::acceptor(io, stream_protocol::endpoint(path));
    asio::co_spawn(io, accept_loop(shared_from_this()), asio::detached);
  }

  void close() {
    boost::system::error_code ignored;
    acceptor.close(ignored);
    ::unlink(path.c_str());
    for (const auto& client : clients) client->socket.close(ignored);
    clients.clear();
  }

  static asio::awaitable<void> accept_loop(std::shared_ptr<Impl> self) {
    for (;;) {
      boost::system::error_code error;
      stream_protocol::socket socket =
          co_await self->acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return;
      auto client = std::make_shared<Client>(std::move(socket));
      self->clients.push_back(client);
      asio::co_spawn(self->io, serve(self, client), asio::detached);
    }
  }

  static asio::awaitable<void> serve(std::shared_ptr<Impl> self, std::shared_ptr<Client> client) {
    for (;;) {
      std::array<std::uint8_t, 4> prefix{};
      boost::system::error_code error;
      co_await asio::async_read(client->socket, asio::buffer(prefix), asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return;
      std::size_t length = 0;
      for (const std::uint8_t byte : prefix) length = length << 8 | byte;
      vici::Bytes body(length);
      co_await asio::async_read(client->socket, asio::buffer(body), asio::redirect_error(asio::use_awaitable, error));
      if (error || self->charon == nullptr) co_return;
      const auto packet = vici::parse_packet(body);
      if (!packet) co_return;
      if (self->charon->pace.count() != 0) {
        asio::steady_timer rest(self->io, self->charon->pace);
        co_await rest.async_wait(asio::redirect_error(asio::use_awaitable, error));
        if (self->charon == nullptr) co_return;
      }
      self->answer(*client, *packet);
    }
  }

  /// Small messages on a local socket: written at once.
  void send(Client& client, const Packet& packet) {
    const auto bytes = vici::encode_packet(packet);
    boost::system::error_code ignored;
    asio::write(client.socket, asio::buffer(*bytes), ignored);
  }

  void raise(const std::string& event, const Section& message) {
    for (const auto& client : clients) {
      if (client->events.contains(event)) send(*client, {Operation::kEvent, event, message});
    }
  }

  void answer(Client& client, const Packet& packet) {
    if (packet.operation == Operation::kRegister) {
      client.events.insert(packet.name);
      send(client, {Operation::kConfirm, "", {}});
      return;
    }
    const Section& message = packet.message;
    std::string subject(message.text("ike"));
    if (subject.empty()) subject = message.text("ike-id");
    if (subject.empty()) subject = message.text("name");
    if (subject.empty()) subject = message.text("id");
    if (packet.name == "load-conn" && !message.entries().empty()) subject = message.entries().front().name;
    if (packet.name != "list-sas") seen.push_back(packet.name + (subject.empty() ? "" : " " + subject));
    // charon serves the requests of a connection one after the other.
    client.hangs = client.hangs || charon->hangs.contains(packet.name);
    if (client.hangs) return;
    if (const auto hook = charon->on_command) hook(packet.name);  // a copy: it may replace itself

    if (packet.name == "list-sas") {
      const std::string wanted(message.text("ike"));
      for (const Sa& sa : charon->sas) {
        if (wanted.empty() || sa.name == wanted) send(client, {Operation::kEvent, "list-sa", described(sa)});
      }
      send(client, {Operation::kResponse, "", {}});
    } else if (packet.name == "list-conns") {
      for (const auto& [name, connection] : charon->connections) {
        Section children;
        for (const vici::Entry& child : connection.section("children")->entries()) children.set(child.name, Section{});
        send(client, {Operation::kEvent, "list-conn", Section{}.set(name, Section{}.set("children", children))});
      }
      send(client, {Operation::kResponse, "", {}});
    } else {
      send(client, {Operation::kResponse, "", execute(packet.name, message)});
    }
  }

  Section execute(const std::string& command, const Section& message) {
    if (command == "load-shared") {
      charon->secrets[std::string(message.text("id"))] = message.text("data");
      if (const auto* owners = message.list("owners")) charon->owners[std::string(message.text("id"))] = *owners;
      return success();
    }
    if (command == "unload-shared") {
      charon->secrets.erase(std::string(message.text("id")));
      return success();
    }
    if (command == "get-shared") {
      Section::List keys;
      for (const auto& [id, key] : charon->secrets) keys.push_back(id);
      return Section{}.set("keys", keys);
    }
    if (command == "load-conn")
      return load(message.entries().front().name, *message.section(message.entries().front().name));
    if (command == "unload-conn") {
      return charon->connections.erase(std::string(message.text("name"))) == 1 ? success()
                                                                               : failure("unload: not found");
    }
    if (command == "initiate") return initiate(std::string(message.text("ike")), std::string(message.text("child")));
    if (command == "terminate") return terminate(message);
    if (command == "rekey") return success();
    return failure("unknown to the fake");
  }

  Section load(const std::string& name, const Section& connection) {
    for (const vici::Entry& child : connection.section("children")->entries()) {
      const auto* inner = std::get_if<Section>(&child.value);
      for (const std::string& proposal : *inner->list("esp_proposals")) {
        if (proposal == "nonsense") return failure("invalid value for: esp_proposals, config discarded");
      }
    }
    charon->connections[name] = connection;
    return success();
  }

  Section initiate(const std::string& name, const std::string& child) {
    const auto connection = charon->connections.find(name);
    if (connection == charon->connections.end()) return failure("CHILD_SA config '" + child + "' not found");
    Sa sa;
    sa.unique_id = ++last_id;
    sa.name = name;
    sa.local = connection->second.list("local_addrs")->front();
    sa.remote = connection->second.list("remote_addrs")->front();
    charon->log(sa.unique_id, name,
                "initiating IKE_SA " + name + "[" + std::to_string(sa.unique_id) + "] to " + sa.remote);
    switch (charon->peers[name]) {
      case Peer::kAccepts:
        sa.state = "ESTABLISHED";
        sa.child = child;
        sa.spi_in = 0xc0000000 + last_id;
        charon->sas.push_back(sa);
        raise("ike-updown", described(sa, true));
        raise("child-updown", described(sa, true));
        break;
      case Peer::kRefusesAuth:
        charon->log(sa.unique_id, name, "parsed IKE_AUTH response 1 [ N(AUTH_FAILED) ]");
        charon->log(sa.unique_id, name, "received AUTHENTICATION_FAILED notify error");
        break;
      case Peer::kRefusesChild:
        sa.state = "ESTABLISHED";
        charon->sas.push_back(sa);
        raise("ike-updown", described(sa, true));
        charon->log(sa.unique_id, name, "received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built");
        break;
      case Peer::kSilent:
        sa.state = "CONNECTING";
        charon->sas.push_back(sa);
        charon->log(sa.unique_id, name, "retransmit 1 of request with message ID 0");
        break;
    }
    return success();
  }

  Section terminate(const Section& message) {
    const std::string name(message.text("ike"));
    const auto unique_id = static_cast<std::uint32_t>(message.number("ike-id"));
    const auto is_meant = [&](const Sa& sa) { return sa.name == name || sa.unique_id == unique_id; };
    if (charon->peer_answers_no_deletion) {
      std::size_t found = 0;
      for (Sa& sa : charon->sas) {
        if (!is_meant(sa)) continue;
        ++found;
        if (sa.state == "DELETING") ++charon->destroyed_without_notice;
        sa.state = "DELETING";
      }
      return found == 0 ? failure("no matching SAs to terminate found") : success();
    }
    const std::size_t gone = remove_if(is_meant);
    return gone == 0 ? failure("no matching SAs to terminate found") : success();
  }

  template <class Predicate>
  std::size_t remove_if(Predicate predicate) {
    std::vector<Sa> gone;
    for (const Sa& sa : charon->sas) {
      if (predicate(sa)) gone.push_back(sa);
    }
    std::erase_if(charon->sas, predicate);
    for (const Sa& sa : gone) {
      if (!sa.child.empty()) raise("child-updown", described(sa));
      raise("ike-updown", described(sa));
    }
    return gone.size();
  }

  static Section described(const Sa& sa, bool up = false) {
    Section children;
    if (!sa.child.empty()) {
      Section child;
      child.set("name", sa.child).set("uniqueid", "1").set("state", sa.child_state).set("if-id-in", "00000003");
      char spi[9];
      std::snprintf(spi, sizeof(spi), "%08x", sa.spi_in);
      child.set("spi-in", spi).set("spi-out", "bd42495f").set("encr-alg", "AES_GCM_16").set("encr-keysize", "256");
      children.set(sa.child + "-1", child);
    }
    Section ike;
    ike.set("uniqueid", std::to_string(sa.unique_id)).set("state", sa.state).set("local-host", sa.local);
    ike.set("remote-host", sa.remote).set("child-sas", children);
    if (sa.state == "ESTABLISHED") ike.set("established", "5");
    Section message;
    if (up) message.set("up", "yes");
    message.set(sa.name, ike);
    return message;
  }

  asio::io_context& io;
  std::string path;
  FakeCharon* charon;
  stream_protocol::acceptor acceptor;
  std::vector<std::shared_ptr<Client>> clients;
  std::vector<std::string> seen;
  std::uint32_t last_id = 0;
};

FakeCharon::FakeCharon(asio::io_context& io, std::string path)
    : impl_(std::make_shared<Impl>(io, std::move(path), *this)) {}

FakeCharon::~FakeCharon() {
  impl_->charon = nullptr;
  impl_->close();
}

void FakeCharon::die() {
  impl_->close();
  connections.clear();
  secrets.clear();
  sas.clear();
}

void FakeCharon::hang_up() { impl_->close(); }

void FakeCharon::listen() { impl_->listen(); }

std::vector<std::string> FakeCharon::commands() const { return impl_->seen; }

void FakeCharon::forget_commands() { impl_->seen.clear(); }

std::size_t FakeCharon::count(const std::string& command) const {
  return static_cast<std::size_t>(std::count(impl_->seen.begin(), impl_->seen.end(), command));
}

void FakeCharon::peer_terminates(const std::string& name) {
  impl_->remove_if([&](const Sa& sa) { return sa.name == name; });
}

void FakeCharon::peer_deletes_child(const std::string& name) {
  for (Sa& sa : sas) {
    if (sa.name != name) continue;
    impl_->raise("child-updown", Impl::described(sa));
    sa.child.clear();
  }
}

void FakeCharon::begins_to_delete(const std::string& name) {
  for (Sa& sa : sas) {
    if (sa.name != name) continue;
    sa.state = "DELETING";
    impl_->raise("ike-updown", Impl::described(sa));
  }
}

std::uint32_t FakeCharon::peer_initiates(const std::string& name, const std::string& child) {
  Sa sa;
  sa.unique_id = ++impl_->last_id;
  sa.name = name;
  sa.state = "ESTABLISHED";
  sa.local = connections[name].list("local_addrs")->front();
  sa.remote = "192.0.2.2";
  sa.child = child;
  sa.spi_in = 0xc0000000 + impl_->last_id;
  sas.push_back(sa);
  impl_->raise("ike-updown", Impl::described(sa, true));
  impl_->raise("child-updown", Impl::described(sa, true));
  return sa.unique_id;
}

void FakeCharon::log(std::uint32_t unique_id, const std::string& name, const std::string& line) {
  Section event;
  event.set("group", "IKE").set("level", "1").set("thread", "4").set("ikesa-name", name);
  event.set("ikesa-uniqueid", std::to_string(unique_id)).set("msg", line);
  impl_->raise("log", event);
}

}  // namespace simplon::ipsec
