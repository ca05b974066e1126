// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/cli/src/api_client.h"
#include "gateway/ipc/api_request.h"
#include "platform/sys/unix_socket.h"
#include "tests/unit/config/fake_backend.h"

namespace simplon {
namespace {

using daemon::ApiServer;
using daemon::ServedBackend;
using ipc::ApiCall;
using ipc::parse_api_request;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Requests.

TEST(ApiRequest, EveryPathIsUnderstood) {
  const std::vector<std::tuple<const char*, const char*, ApiCall>> kPaths = {
      {"GET", "/v1/status", ApiCall::kStatus},
      {"GET", "/v1/config", ApiCall::kConfig},
      {"GET", "/v1/config/history", ApiCall::kHistory},
      {"GET", "/v1/config/diff?from=1", ApiCall::kDiff},
      {"POST", "/v1/config/confirm", ApiCall::kConfirm},
      {"POST", "/v1/config/undo", ApiCall::kUndo},
      {"GET", "/v1/tunnels", ApiCall::kTunnels},
      {"POST", "/v1/tunnels/paris/up", ApiCall::kTunnelUp},
      {"POST", "/v1/tunnels/paris/down", ApiCall::kTunnelDown},
      {"POST", "/v1/tunnels/paris/rekey", ApiCall::kTunnelRekey},
      {"GET", "/v1/vpcs", ApiCall::kVpcs},
      {"GET", "/v1/circuits", ApiCall::kCircuits},
      {"GET", "/v1/routes", ApiCall::kRoutes},
      {"GET", "/v1/bgp", ApiCall::kBgp},
      {"GET", "/v1/drops", ApiCall::kDrops},
      {"GET", "/v1/trace", ApiCall::kTrace},
      {"POST", "/v1/trace/live", ApiCall::kTraceLive},
      {"POST", "/v1/capture", ApiCall::kCapture},
      {"GET", "/v1/acls", ApiCall::kAcls},
      {"GET", "/v1/nat", ApiCall::kNat},
      {"GET", "/v1/connections", ApiCall::kConnections}};
  for (const auto& [method, target, call] : kPaths) {
    const auto request = parse_api_request(method, target, "");
    ASSERT_TRUE(request) << target << request.error().error.message();
    EXPECT_EQ(request->call, call) << target;
  }
}

TEST(ApiRequest, ParametersArriveWhereTheyBelong) {
  auto request =
      parse_api_request("POST", "/v1/config/apply",
                        R"({"document":"d","base_version":7,"comment":"c","confirm_seconds":60,"dry_run":true})");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->document, "d");
  EXPECT_EQ(request->base_version, 7U);
  EXPECT_EQ(request->comment, "c");
  EXPECT_EQ(request->confirm_seconds, 60U);
  EXPECT_TRUE(request->dry_run);
  request = parse_api_request("POST", "/v1/config/undo", R"({"to":3,"base_version":7,"gates":"tunnel:a","gate_seconds":9,"dry_run":true})");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->to, 3U);
  EXPECT_EQ(request->base_version, 7U);
  EXPECT_EQ(request->gates, "tunnel:a");
  EXPECT_EQ(request->gate_seconds, 9U);
  EXPECT_TRUE(request->dry_run);
  request = parse_api_request("GET", "/v1/config/diff?from=3&to=5", "");
  EXPECT_EQ(request->from, 3U);
  EXPECT_EQ(request->to, 5U);
  request = parse_api_request("POST", "/v1/tunnels/paris/rekey", R"({"ike":true})");
  EXPECT_EQ(request->name, "paris");
  EXPECT_TRUE(request->ike);
  request = parse_api_request("GET", "/v1/routes?domain=prod&prefix=fd00::/8&limit=7", "");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->domain, "prod");
  EXPECT_EQ(request->prefix, IpPrefix::parse("fd00::/8").value());
  EXPECT_EQ(request->limit, 7U);
  EXPECT_EQ(parse_api_request("GET", "/v1/routes?prefix=10.1.2.3", "")->prefix, IpPrefix::parse("10.1.2.3/32").value());
  const auto host_bits = parse_api_request("GET", "/v1/routes?prefix=10.1.2.3/16", "");
  ASSERT_FALSE(host_bits);
  EXPECT_EQ(host_bits.error().error.what, "'10.1.2.3/16' has host bits set");
  EXPECT_EQ(host_bits.error().error.hint, "the network is 10.1.0.0/16");
  for (const char* wrong : {"prefix=10.1.2.3/8", "prefix=ten", "limit=0", "limit=100001", "limit=all"}) {
    EXPECT_FALSE(parse_api_request("GET", std::string("/v1/routes?") + wrong, "")) << wrong;
  }
  EXPECT_EQ(parse_api_request("GET", "/v1/config?version=4", "")->version, 4U);
}

TEST(ApiRequest, AByteOrderMarkIsNoPartOfTheDocument) {
  const auto request = parse_api_request("POST", "/v1/config/apply", "{\"document\":\"\xef\xbb\xbf# version 3\\n\"}");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->document, "# version 3\n");
}

TEST(ApiRequest, PacketsArriveInTheWordsOfTheOperator) {
  using ipc::PacketQuery;
  auto request = parse_api_request(
      "GET", "/v1/trace?from=vpc:red&source=fd00::5&destination=fd01::9&protocol=6&destination_port=443&size=1400&df=1&ttl=3&flags=syn", "");
  ASSERT_TRUE(request) << request.error().error.message();
  PacketQuery packet;
  packet.from = "vpc:red";
  packet.source = "fd00::5";
  packet.destination = "fd01::9";
  packet.protocol = "6";
  packet.destination_port = 443;
  packet.size = 1400;
  packet.df = true;
  packet.ttl = 3;
  packet.flags = "syn";
  EXPECT_EQ(request->packet, packet);
  request = parse_api_request("POST", "/v1/capture",
                              R"({"from":"uplink:eth1","drops":true,"reason":"no_route","count":5,"seconds":9,"snaplen":96,
                                  "before_crypto":true,"after_crypto":true,"kernel":true,"host":"10.0.0.0/8","port":53})");
  ASSERT_TRUE(request) << request.error().error.message();
  EXPECT_TRUE(request->packet.drops && request->packet.before_crypto && request->packet.after_crypto && request->packet.kernel);
  EXPECT_EQ(request->packet.reason, "no_route");
  EXPECT_EQ(request->packet.count, 5U);
  EXPECT_EQ(request->packet.seconds, 9U);
  EXPECT_EQ(request->packet.snaplen, 96U);
  EXPECT_EQ(request->packet.port, 53U);
  EXPECT_EQ(parse_api_request("POST", "/v1/trace/live", R"({"from":"vpc:red","seconds":61})").error().error.hint, "1 to 60");
  EXPECT_FALSE(parse_api_request("POST", "/v1/trace/live", R"({"from":"vpc:red","size":100})"));
  EXPECT_FALSE(parse_api_request("GET", "/v1/trace?host=10.0.0.1", ""));
  EXPECT_FALSE(parse_api_request("POST", "/v1/capture", R"({"protocol":6})")) << "a body has types";
}

TEST(ApiRequest, EverythingElseIsRefused) {
  const std::vector<std::tuple<const char*, const char*, std::string, unsigned, const char*>> kBad = {
      {"GET", "/", "", 404, "no '/'"},
      {"GET", "", "", 404, "no"},
      {"GET", "/v2/status", "", 404, "/v2/status"},
      {"POST", "/v1/status", "", 405, "takes GET"},
      {"GET", "/v1/config/apply", "", 405, "takes POST"},
      {"DELETE", "/v1/config", "", 405, "'DELETE'"},
      {"POST", "/v1/tunnels/paris/explode", "", 404, "rekey"},
      {"POST", "/v1/tunnels//up", "", 404, "no"},
      {"POST", "/v1/tunnels/../up", "", 404, "no"},
      {"POST", "/v1/tunnels/%70aris/up", "", 404, "no"},
      {"GET", "/v1/tunnels/paris/up", "", 405, "POST"},
      {"GET", "/v1/config?version=x", "", 400, "wrong type"},
      {"GET", "/v1/config?version", "", 400, "KEY=VALUE"},
      {"GET", "/v1/routes?prefix=", "", 400, "'prefix=' has no value"},
      {"GET", "/v1/routes?domain=&limit=3", "", 400, "'domain=' has no value"},
      {"GET", "/v1/routes?prefix=10.0.0.0/33", "", 400, "'10.0.0.0/33' has a bad prefix length"},
      {"GET", "/v1/routes?prefix=ten", "", 400, "'ten' is neither a prefix nor an address"},
      {"GET", "/v1/config?what=1", "", 400, "'what' is not known"},
      {"GET", "/v1/config?version=1&version=2", "", 400, "one too many"},
      {"GET", "/v1/config?version=99999999999999999999", "", 400, "wrong type"},
      {"GET", "/v1/config/diff", "", 400, "'from' is missing"},
      {"POST", "/v1/config/apply", "", 400, "'document' is missing"},
      {"POST", "/v1/config/apply?x=1", "{}", 400, "body"},
      {"POST", "/v1/config/apply", "hello", 400, "not JSON"},
      {"POST", "/v1/config/apply", "[]", 400, "list"},
      {"POST", "/v1/config/apply", "7", 400, "not an object"},
      {"POST", "/v1/config/apply", "null", 400, "null"},
      {"POST", "/v1/config/apply", "{", 400, "not JSON"},
      {"POST", "/v1/config/apply", R"({"document":"d"} x)", 400, "not JSON"},
      {"POST", "/v1/config/apply", R"({"document":7})", 400, "wrong type"},
      {"POST", "/v1/config/apply", R"({"document":"d","document":"e"})", 400, "twice"},
      {"POST", "/v1/config/apply", R"({"document":{"a":1}})", 400, "object is not expected"},
      {"POST", "/v1/config/apply", R"({"document":["d"]})", 400, "list is not expected"},
      {"POST", "/v1/config/apply", R"({"document":"d","base_version":-1})", 400, "negative"},
      {"POST", "/v1/config/apply", R"({"document":"d","base_version":1.5})", 400, "whole"},
      {"POST", "/v1/config/apply", R"({"document":"d","x":1})", 400, "'x' is not known"},
      {"POST", "/v1/config/undo", R"({"document":"d"})", 400, "'document' is not known"},
      {"POST", "/v1/config/apply", R"({"document":"d","confirm_seconds":0})", 400, "1 to 86400"},
      {"POST", "/v1/config/apply", R"({"document":"d","gate_seconds":60})", 400, "'gate_seconds' is of 'gates'"},
      {"POST", "/v1/config/apply", R"({"document":"d","dry_run":"yes"})", 400, "wrong type"},
      {"POST", "/v1/config/check", "{\"document\":" + std::string(100'000, '['), 400, "list"},
      {"POST", "/v1/config/check", "{\"document\":\"\xff\"}", 400, "not JSON"}};
  for (const auto& [method, target, body, status, word] : kBad) {
    const auto request = parse_api_request(method, target, body);
    ASSERT_FALSE(request) << method << " " << target << " " << body.substr(0, 80);
    EXPECT_EQ(request.error().http_status, status) << target << " " << body.substr(0, 80);
    EXPECT_THAT(request.error().error.message(), HasSubstr(word)) << target;
  }
}

// The server, through a socket.

/// Sends bytes as they are; what comes back until the server closes, or until `until` is in it.
std::string talk(const std::string& socket, const std::string& bytes, const std::string& until = {},
                 bool finish = false) {
  auto connected = sys::connect_unix(socket, SOCK_STREAM, true);
  if (!connected) return "no connection";
  const int fd = connected->get();
  std::string_view rest = bytes;
  std::string answer;
  char chunk[4096];
  bool finished = !finish;
  for (;;) {
    if (rest.empty() && !finished) {
      ::shutdown(fd, SHUT_WR);
      finished = true;
    }
    pollfd item{fd, static_cast<short>(rest.empty() ? POLLIN : POLLIN | POLLOUT), 0};
    if (::poll(&item, 1, 20'000) <= 0) return answer + "<no end>";
    if (!rest.empty() && (item.revents & POLLOUT) != 0) {
      const ssize_t sent = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent > 0) {
        rest.remove_prefix(static_cast<std::size_t>(sent));
      } else if (errno != EAGAIN) {
        rest = {};
      }
    }
    if ((item.revents & (POLLIN | POLLHUP)) != 0) {
      const ssize_t got = ::recv(fd, chunk, sizeof chunk, 0);
      if (got < 0 && errno == EAGAIN) continue;
      if (got <= 0) return answer;
      answer.append(chunk, static_cast<std::size_t>(got));
      if (!until.empty() && answer.find(until) != std::string::npos) return answer;
    }
  }
}

TEST(ApiServer, AnswersAndSaysItsVersion) {
  ServedBackend served;
  const cli::ApiClient client(served.socket());
  const auto reply = client.get("/v1/status");
  ASSERT_TRUE(reply) << reply.error().message();
  EXPECT_EQ((*reply)["api"], 1);
  EXPECT_EQ((*reply)["gateway"], "gw");
}

TEST(ApiServer, KeepsAConnectionForTheNextRequest) {
  ServedBackend served;
  const std::string twice =
      talk(served.socket(),
           "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/bgp HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(twice, HasSubstr("\"gateway\""));
  EXPECT_THAT(twice, HasSubstr("paris-router"));
}

TEST(ApiServer, StatusCodesFollowTheErrors) {
  ServedBackend served;
  const auto status_line = [&](const std::string& request) {
    return talk(served.socket(), request + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").substr(0, 12);
  };
  EXPECT_EQ(status_line("GET /v1/status"), "HTTP/1.1 200");
  EXPECT_EQ(status_line("GET /v1/nothing"), "HTTP/1.1 404");
  EXPECT_EQ(status_line("GET /v1/config/apply"), "HTTP/1.1 405");
  EXPECT_EQ(status_line("GET /v1/config?version=77"), "HTTP/1.1 422");
  EXPECT_EQ(status_line("GET /v1/drops"), "HTTP/1.1 503");
  EXPECT_EQ(status_line("GET /v1/config?version=99"), "HTTP/1.1 500");  // the backend throws
  EXPECT_EQ(status_line("GET /v1/status"), "HTTP/1.1 200");             // and the server lives on
}

TEST(ApiServer, ARefusedDocumentComesBackWithAllItsErrors) {
  ServedBackend served;
  const cli::ApiClient client(served.socket());
  const auto reply = client.post("/v1/config/apply", {{"document", "gateway: {name: GW}\nuplink: []\n"}});
  ASSERT_TRUE(reply);
  ASSERT_EQ((*reply)["errors"].size(), 2U);
  EXPECT_EQ((*reply)["errors"][0]["path"], "gateway.name");
  EXPECT_EQ((*reply)["errors"][0]["code"], "invalid-config");
  EXPECT_EQ((*reply)["errors"][1]["line"], 2);
}

TEST(ApiServer, WhoMayOnlyLookCannotChange) {
  ApiServer::Options options;
  options.every_peer_is_admin = false;
  ServedBackend served(options);
  const cli::ApiClient client(served.socket());
  EXPECT_TRUE((*client.get("/v1/status")).contains("gateway"));
  const auto refused = client.post("/v1/config/apply", {{"document", std::string(1'000'000, 'x')}});
  ASSERT_TRUE(refused) << refused.error().message();
  ASSERT_TRUE(refused->contains("errors")) << *refused;
  EXPECT_THAT((*refused)["errors"][0]["what"].get<std::string>(), HasSubstr("you may look"));
  EXPECT_EQ(served.backend.version, 12U);
}

TEST(ApiServer, OnlyAnAdministratorSeesVeryManyRoutesAtOnce) {
  for (const bool admin : {false, true}) {
    ApiServer::Options options;
    options.every_peer_is_admin = admin;
    ServedBackend served(options);
    const cli::ApiClient client(served.socket());
    EXPECT_TRUE((*client.get("/v1/routes?limit=10000")).contains("domains"));
    EXPECT_EQ(served.backend.routes_asked.limit, 10000U);
    EXPECT_EQ((*client.get("/v1/routes?limit=10001")).contains("domains"), admin);
    EXPECT_EQ(served.backend.denials.size(), admin ? 0U : 1U);
    EXPECT_TRUE((*client.get("/v1/routes")).contains("domains"));
    EXPECT_EQ(served.backend.routes_asked.limit, ipc::kApiRoutes);
  }
}

TEST(ApiServer, OurOwnUserIsAdministrator) {
  ServedBackend served;
  const cli::ApiClient client(served.socket());
  EXPECT_TRUE((*client.post("/v1/config/confirm", json::object())).contains("confirmed"));
  EXPECT_FALSE(served.backend.confirmed_by.empty());
}

TEST(ApiServer, NonsenseIsAnsweredOrClosed) {
  ServedBackend served;
  const auto say = [&](const std::string& bytes) { return talk(served.socket(), bytes, {}, true); };
  EXPECT_THAT(say("hello\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(say(std::string(100, '\0')), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(say("GET /v1/status HTTP/9.9\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(say("GET /v1/status HTTP/1.1\r\nContent-Length: -5\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(say("GET /v1/status HTTP/1.1\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(say("POST /v1/config/apply HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"), StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(say("POST /v1/config/apply HTTP/1.1\r\nContent-Length: 4\r\n\r\nnope"), StartsWith("HTTP/1.1 400"));
  EXPECT_EQ(say("POST /v1/config/apply HTTP/1.1\r\nContent-Length: 50\r\n\r\nhalf"), "");
  EXPECT_EQ(say(""), "");
  EXPECT_THAT(say("POST /v1/config/apply HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
              StartsWith("HTTP/1.1 400"));
  EXPECT_TRUE(cli::ApiClient(served.socket()).get("/v1/status"));
}

TEST(ApiServer, ALimitedBodyIsRefusedWhateverItsFraming) {
  ApiServer::Options options;
  options.max_body = 1000;
  ServedBackend served(options);
  EXPECT_THAT(talk(served.socket(), "POST /v1/config/check HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" +
                                        std::string(2000, 'x') + "\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 413"));
}

TEST(ApiServer, ALookHasNoBodyToSpeakOf) {
  for (const bool admin : {false, true}) {
    ApiServer::Options options;
    options.every_peer_is_admin = admin;
    ServedBackend served(options);
    // Refused at the header: nothing of the body is sent.
    EXPECT_THAT(talk(served.socket(), "GET /v1/status HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n"), StartsWith("HTTP/1.1 413"));
    EXPECT_THAT(talk(served.socket(), "GET /v1/status HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n"),
                StartsWith("HTTP/1.1 413"));
    EXPECT_THAT(talk(served.socket(), "GET /v1/status HTTP/1.1\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"),
                StartsWith("HTTP/1.1 200"));
  }
}

TEST(ApiServer, AllVersionsAtOnceAreForAdministrators) {
  ApiServer::Options options;
  options.every_peer_is_admin = false;
  const ServedBackend served(options);
  const cli::ApiClient client(served.socket());
  EXPECT_TRUE((*client.get("/v1/config/export")).contains("archive"));
  EXPECT_TRUE((*client.get("/v1/config/export?history=0")).contains("archive"));
  EXPECT_THAT(client.get("/v1/config/export?history=1")->dump(), HasSubstr("no administrator"));
  EXPECT_EQ(served.backend.denials.size(), 1U);
  const ServedBackend ours;
  EXPECT_TRUE((*cli::ApiClient(ours.socket()).get("/v1/config/export?history=1")).contains("archive"));
}

TEST(ApiServer, ASlowClientIsClosed) {
  ApiServer::Options options;
  options.read_timeout = std::chrono::seconds(1);
  options.idle_timeout = std::chrono::seconds(1);
  ServedBackend served(options);
  EXPECT_EQ(talk(served.socket(), "GET /v1/st"), "");
  EXPECT_EQ(talk(served.socket(), "POST /v1/config/check HTTP/1.1\r\nContent-Length: 10\r\n\r\nx"), "");
}

TEST(ApiServer, ConnectionsAreBoundedAndComeFreeAgain) {
  ApiServer::Options options;
  options.max_connections = 2;
  ServedBackend served(options);
  {
    auto one = sys::connect_unix(served.socket(), SOCK_STREAM, true);
    auto two = sys::connect_unix(served.socket(), SOCK_STREAM, true);
    ASSERT_TRUE(one && two);
    EXPECT_THAT(talk(served.socket(), "GET /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n"),
                StartsWith("HTTP/1.1 503"));
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::string answer;
  do {
    answer = talk(served.socket(), "GET /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n");
  } while (!answer.starts_with("HTTP/1.1 200") && std::chrono::steady_clock::now() < deadline);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
}

TEST(ApiServer, WhoMayOnlyLookLeavesPlacesForOthers) {
  constexpr const char* kLook = "GET /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n";
  ApiServer::Options options;
  options.every_peer_is_admin = false;
  options.max_of_one_looker = 1;
  const ServedBackend looked_at(options);
  const auto one = sys::connect_unix(looked_at.socket(), SOCK_STREAM, true);
  ASSERT_TRUE(one);
  EXPECT_THAT(talk(looked_at.socket(), kLook), StartsWith("HTTP/1.1 503"));

  options.max_of_one_looker = 5;
  options.max_lookers = 0;
  const ServedBackend full(options);
  EXPECT_THAT(talk(full.socket(), kLook), StartsWith("HTTP/1.1 503"));
  options.every_peer_is_admin = true;
  const ServedBackend ours(options);
  EXPECT_THAT(talk(ours.socket(), kLook), StartsWith("HTTP/1.1 200"));
}

TEST(ApiServer, ASocketThatIsServedIsNotTakenAway) {
  ServedBackend served;
  boost::asio::io_context io;
  daemon::FakeBackend backend;
  ApiServer::Options options;
  options.socket = served.socket();
  const auto second = ApiServer::start(io, backend, options);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  EXPECT_TRUE(cli::ApiClient(served.socket()).get("/v1/status"));
}

TEST(ApiServer, ACaptureIsAChunkedStream) {
  const ServedBackend served;
  const std::string body = R"({"from":"vpc:red"})";
  const std::string answer =
      talk(served.socket(), "POST /v1/capture HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("application/x-pcapng"));
  EXPECT_THAT(answer, ::testing::EndsWith("0\r\n\r\n"));
}

TEST(ApiServer, ACaptureEndsWhenItsClientLeaves) {
  const ServedBackend served;
  const std::string body = R"({"from":"vpc:red","count":7})";
  {
    auto client = sys::connect_unix(served.socket(), SOCK_STREAM, false);
    ASSERT_TRUE(client);
    const std::string request =
        "POST /v1/capture HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    ASSERT_EQ(::send(client->get(), request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    char chunk[64];
    ASSERT_GT(::recv(client->get(), chunk, sizeof chunk, 0), 0);
    EXPECT_EQ(served.backend.streams, 1);
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (served.backend.streams != 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(served.backend.streams, 0);
}

TEST(ApiServer, OnlyAdministratorsSeePackets) {
  ApiServer::Options options;
  options.every_peer_is_admin = false;
  const ServedBackend served(options);
  const cli::ApiClient client(served.socket());
  EXPECT_THAT(client.post("/v1/capture", json::object())->dump(), HasSubstr("no administrator"));
  EXPECT_THAT(client.post("/v1/trace/live", json::object())->dump(), HasSubstr("no administrator"));
  EXPECT_EQ(served.backend.denials.size(), 2U);
  EXPECT_EQ((*client.get("/v1/trace?from=vpc:red"))["verdict"], "dropped") << "a described packet shows nothing of anybody";
}

TEST(ApiServer, TheSocketGoesWithTheServer) {
  std::string path;
  {
    ServedBackend served;
    path = served.socket();
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

// The client against something that is not simplond.

class OddServer {
 public:
  explicit OddServer(std::string answer) : path_((folder_.path() / "odd.sock").string()) {
    auto listener = sys::listen_unix(path_, SOCK_STREAM, 0600);
    if (!listener) throw std::runtime_error(listener.error().message());
    listener_ = std::move(*listener);
    thread_ = std::thread([this, answer = std::move(answer)] {
      pollfd item{listener_.get(), POLLIN, 0};
      if (::poll(&item, 1, 20'000) <= 0) return;
      const sys::UniqueFd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      char chunk[4096];
      static_cast<void>(::recv(peer.get(), chunk, sizeof chunk, 0));
      static_cast<void>(::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL));
    });
  }
  ~OddServer() { thread_.join(); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  config::TemporaryFolder folder_;
  std::string path_;
  sys::UniqueFd listener_;
  std::thread thread_;
};

TEST(ApiClient, ThingsThatAreNotSimplondAreToldApart) {
  const std::vector<std::tuple<std::string, ErrorCode, const char*>> kOdd = {
      {"", ErrorCode::kUnavailable, "closed the connection"},
      {"SSH-2.0-OpenSSH\r\n", ErrorCode::kPeer, "not simplond"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", ErrorCode::kPeer, "no API reply"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", ErrorCode::kUnavailable, "before it had answered"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"api\":2}", ErrorCode::kPeer, "version 2"}};
  for (const auto& [answer, code, word] : kOdd) {
    const OddServer server(answer);
    const auto reply = cli::ApiClient(server.path()).get("/v1/status");
    ASSERT_FALSE(reply) << answer;
    EXPECT_EQ(reply.error().code, code) << answer;
    EXPECT_THAT(reply.error().message(), HasSubstr(word)) << answer;
  }
}

TEST(ApiClient, AChangeWithoutAnAnswerMayStillHappen) {
  const auto hint = [](const std::string& target) {
    const OddServer server("");
    return cli::ApiClient(server.path()).post(target, {{"document", "d"}}).error().hint;
  };
  EXPECT_THAT(hint("/v1/config/apply"), ::testing::StartsWith("it may still happen: simplon config history; systemctl status"));
  EXPECT_THAT(hint("/v1/config/check"), ::testing::StartsWith("systemctl status"));
  const auto unsent = cli::ApiClient("/nonexistent/api.sock").post("/v1/config/apply", {{"document", "d"}});
  EXPECT_THAT(unsent.error().hint, ::testing::StartsWith("systemctl status"));
}

TEST(ApiClient, NobodyThereIsUnavailable) {
  const auto reply = cli::ApiClient("/nonexistent/api.sock").get("/v1/status");
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace simplon
