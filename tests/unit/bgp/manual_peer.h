// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "platform/sys/netns.h"

namespace simplon::bgp {

/// A router in AS 65001 (RFC 4271, with graceful restart) that waits for connections and announces what the test says, when it
/// says so. It ends no session by itself, and a new connection replaces the old one.
class ManualPeer {
 public:
  ManualPeer(boost::asio::io_context& io, const std::string& netns, const char* address) : acceptor_(io), connection_(io) {
    auto fd = sys::open_socket_in_netns(netns, AF_INET, SOCK_STREAM);
    EXPECT_TRUE(fd);
    const int on = 1;
    ::setsockopt(fd->get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(179);
    EXPECT_EQ(::inet_pton(AF_INET, address, &where.sin_addr), 1);
    EXPECT_EQ(::bind(fd->get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
    EXPECT_EQ(::listen(fd->get(), 4), 0);
    acceptor_.assign(boost::asio::ip::tcp::v4(), fd->release());
    next_hop_.resize(4);
    ::inet_pton(AF_INET, address, next_hop_.data());
    accept();
  }

  /// So many came to be Established.
  [[nodiscard]] int sessions() const noexcept { return sessions_; }

  /// 10.NUMBER.0.0/16 (RFC 4271 section 4.3).
  void announce(std::uint8_t number) {
    Bytes update = {0, 0, 0, 20,
                    0x40, 1, 1, 0,                          // ORIGIN IGP
                    0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9,     // AS_PATH 65001
                    0x40, 3, 4};                            // NEXT_HOP
    update.insert(update.end(), next_hop_.begin(), next_hop_.end());
    update.insert(update.end(), {16, 10, number});
    send(kUpdate, update);
  }
  /// RFC 4724 section 2.
  void end_of_rib() { send(kUpdate, {0, 0, 0, 0}); }

 private:
  using Bytes = std::vector<std::uint8_t>;
  static constexpr std::uint8_t kOpen = 1;
  static constexpr std::uint8_t kUpdate = 2;
  static constexpr std::uint8_t kKeepalive = 4;
  static constexpr std::size_t kHeader = 19;

  void send(std::uint8_t type, const Bytes& body) {
    Bytes message(16, 0xff);
    const auto length = kHeader + body.size();
    message.insert(message.end(), {static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length), type});
    message.insert(message.end(), body.begin(), body.end());
    boost::system::error_code ignored;
    boost::asio::write(connection_, boost::asio::buffer(message), ignored);
  }

  void accept() {
    acceptor_.async_accept([this](const boost::system::error_code& error, boost::asio::ip::tcp::socket socket) {
      if (error) return;
      connection_ = std::move(socket);
      received_.clear();
      established_ = false;
      read();
      accept();
    });
  }

  void read() {
    connection_.async_read_some(boost::asio::buffer(buffer_), [this](const boost::system::error_code& error, std::size_t got) {
      if (error) return;
      received_.insert(received_.end(), buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(got));
      while (received_.size() >= kHeader) {
        const std::size_t length = received_[16] * 256U + received_[17];
        if (length < kHeader || received_.size() < length) break;
        answer(received_[18]);
        received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(length));
      }
      read();
    });
  }

  void answer(std::uint8_t type) {
    if (type == kOpen) {
      send(kOpen, {4, 0xfd, 0xe9, 0, 30, 10, 255, 0, 1, 22, 2, 20,
                   1, 4, 0, 1, 0, 1,              // IPv4 unicast (RFC 4760 section 8)
                   65, 4, 0, 0, 0xfd, 0xe9,       // AS numbers of four octets (RFC 6793)
                   64, 6, 0, 120, 0, 1, 1, 0});   // graceful restart (RFC 4724 section 3)
    }
    if (type != kOpen && type != kKeepalive) return;
    send(kKeepalive, {});
    if (type != kKeepalive || established_) return;
    established_ = true;
    ++sessions_;
  }

  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::ip::tcp::socket connection_;
  std::array<std::uint8_t, 4096> buffer_{};
  Bytes received_;
  Bytes next_hop_;
  bool established_ = false;
  int sessions_ = 0;
};

}  // namespace simplon::bgp
