// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/ipc/api_request.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>
#include <vector>

#include "gateway/ipc/api.h"
#include "platform/base/byte_order_mark.h"

// A table names the paths, a second one the members of each call's body and query. The body is read with nlohmann's SAX
// parser into at most a handful of scalars: a nested value ends the parse, so depth and size of a hostile body cost
// nothing beyond its bytes.

namespace simplon::ipc {
namespace {

struct Path {
  std::string_view method;
  std::string_view path;
  ApiCall call;
};

constexpr std::array<Path, 23> kPaths = {{
    {"GET", "/v1/status", ApiCall::kStatus},
    {"GET", "/v1/config", ApiCall::kConfig},
    {"GET", "/v1/config/history", ApiCall::kHistory},
    {"GET", "/v1/config/diff", ApiCall::kDiff},
    {"POST", "/v1/config/check", ApiCall::kCheck},
    {"POST", "/v1/config/apply", ApiCall::kApply},
    {"POST", "/v1/config/confirm", ApiCall::kConfirm},
    {"POST", "/v1/config/undo", ApiCall::kUndo},
    {"GET", "/v1/tunnels", ApiCall::kTunnels},
    {"GET", "/v1/vpcs", ApiCall::kVpcs},
    {"GET", "/v1/circuits", ApiCall::kCircuits},
    {"GET", "/v1/routes", ApiCall::kRoutes},
    {"GET", "/v1/bgp", ApiCall::kBgp},
    {"GET", "/v1/drops", ApiCall::kDrops},
    {"GET", "/v1/acls", ApiCall::kAcls},
    {"GET", "/v1/nat", ApiCall::kNat},
    {"GET", "/v1/connections", ApiCall::kConnections},
    {"GET", "/v1/config/export", ApiCall::kExport},
    {"POST", "/v1/config/import", ApiCall::kImport},
    {"GET", "/v1/audit", ApiCall::kAudit},
    {"GET", "/v1/trace", ApiCall::kTrace},
    {"POST", "/v1/trace/live", ApiCall::kTraceLive},
    {"POST", "/v1/capture", ApiCall::kCapture},
}};
constexpr std::string_view kTunnelPrefix = "/v1/tunnels/";
constexpr std::size_t kMaxNameBytes = 31;
constexpr std::size_t kMaxCommentBytes = 500;
constexpr std::uint64_t kMaxConfirmSeconds = 86400;
constexpr std::size_t kMaxGatesBytes = 4000;
constexpr std::uint64_t kMaxAuditLines = 10000;
constexpr std::uint64_t kMaxWaitSeconds = 60;
constexpr std::uint64_t kMaxCaptureSeconds = 86400;
// Members of the longest call, and room for more.
constexpr std::size_t kMaxMembers = 32;

using Value = std::variant<std::string, std::uint64_t, bool>;
using Members = std::map<std::string, Value, std::less<>>;

tl::unexpected<ApiRefusal> refuse(unsigned status, std::string what, std::string hint = {}) {
  return tl::unexpected(ApiRefusal{status, {ErrorCode::kInvalidConfig, std::move(what), std::move(hint)}});
}

std::string shown(std::string_view text) { return "'" + std::string(text.substr(0, 80)) + "'"; }

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Collects the members of one flat object; `problem` says why it stopped.
class FlatObject final : public nlohmann::json_sax<nlohmann::json> {
 public:
  Members members;
  std::string problem;

  bool null() override { return stop("null is not expected"); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t) override { return stop("a number is negative"); }
  bool number_unsigned(number_unsigned_t value) override { return put(std::uint64_t{value}); }
  bool number_float(number_float_t, const string_t&) override { return stop("a number is not whole"); }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t&) override { return stop("binary data is not expected"); }
  bool start_object(std::size_t) override {
    if (open_) return stop("an object is not expected");
    open_ = true;
    return true;
  }
  bool key(string_t& value) override {
    key_ = std::move(value);
    if (members.size() >= kMaxMembers) return stop("too many members");
    return true;
  }
  bool end_object() override {
    closed_ = true;
    return true;
  }
  bool start_array(std::size_t) override { return stop("a list is not expected"); }
  bool end_array() override { return true; }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return stop("it is not JSON, at byte " + std::to_string(position));
  }

  [[nodiscard]] bool complete() const { return closed_ && problem.empty(); }

 private:
  bool stop(std::string why) {
    problem = key_.empty() ? std::move(why) : "member " + shown(key_) + ": " + why;
    return false;
  }
  bool put(Value value) {
    if (!open_) return stop("it is not an object");
    if (!members.emplace(key_, std::move(value)).second) return stop("it is given twice");
    return true;
  }

  std::string key_;
  bool open_ = false;
  bool closed_ = false;
};

/// Moves known members out; what stays is unknown.
class MemberReader {
 public:
  MemberReader(Members members, bool from_query) : members_(std::move(members)), from_query_(from_query) {}

  template <class T>
  void read(std::string_view key, T& ret) {
    const auto found = members_.find(key);
    if (found == members_.end()) return;
    if constexpr (std::is_same_v<T, std::optional<std::uint64_t>>) {
      assign<std::uint64_t>(found, ret);
    } else if constexpr (std::is_same_v<T, std::string>) {
      // A text of digits in a query was taken for a number.
      if (from_query_ && std::holds_alternative<std::uint64_t>(found->second)) {
        found->second = std::to_string(std::get<std::uint64_t>(found->second));
      }
      assign<T>(found, ret);
    } else if constexpr (std::is_same_v<T, bool>) {
      if (from_query_ && std::holds_alternative<std::uint64_t>(found->second)) {
        found->second = std::get<std::uint64_t>(found->second) != 0;
      }
      assign<T>(found, ret);
    } else {
      assign<T>(found, ret);
    }
  }

  [[nodiscard]] std::string problem() const {
    if (!problem_.empty()) return problem_;
    if (!members_.empty()) return "member " + shown(members_.begin()->first) + " is not known here";
    return {};
  }

 private:
  template <class T, class Target>
  void assign(Members::iterator found, Target& ret) {
    if (T* value = std::get_if<T>(&found->second)) {
      ret = std::move(*value);
    } else if (problem_.empty()) {
      problem_ = "member " + shown(found->first) + " has the wrong type";
    }
    members_.erase(found);
  }

  Members members_;
  bool from_query_;
  std::string problem_;
};

/// What a change may say besides the document.
void read_change(MemberReader& reader, ApiRequest& request) {
  reader.read("base_version", request.base_version);
  reader.read("comment", request.comment);
  reader.read("confirm_seconds", request.confirm_seconds);
  reader.read("gates", request.gates);
  reader.read("gate_seconds", request.gate_seconds);
  reader.read("dry_run", request.dry_run);
}

/// The words that a trace and a capture share.
void read_flow(MemberReader& reader, PacketQuery& packet) {
  reader.read("from", packet.from);
  reader.read("source", packet.source);
  reader.read("destination", packet.destination);
  reader.read("protocol", packet.protocol);
  reader.read("source_port", packet.source_port);
  reader.read("destination_port", packet.destination_port);
}

void read_description(MemberReader& reader, PacketQuery& packet) {
  read_flow(reader, packet);
  reader.read("flags", packet.flags);
  reader.read("vtep", packet.vtep);
  reader.read("size", packet.size);
  reader.read("ttl", packet.ttl);
  reader.read("tos", packet.tos);
  reader.read("df", packet.df);
  reader.read("from_kernel", packet.from_kernel);
}

void read_capture(MemberReader& reader, PacketQuery& packet) {
  read_flow(reader, packet);
  reader.read("host", packet.host);
  reader.read("port", packet.port);
  reader.read("seconds", packet.seconds);
  reader.read("count", packet.count);
  reader.read("snaplen", packet.snaplen);
  reader.read("before_crypto", packet.before_crypto);
  reader.read("after_crypto", packet.after_crypto);
  reader.read("kernel", packet.kernel);
  reader.read("drops", packet.drops);
  reader.read("reason", packet.reason);
}

tl::expected<ApiRequest, ApiRefusal> route(std::string_view method, std::string_view path) {
  ApiRequest request;
  if (path.starts_with(kTunnelPrefix)) {
    const std::string_view rest = path.substr(kTunnelPrefix.size());
    const auto slash = rest.find('/');
    const std::string_view name = rest.substr(0, slash);
    const std::string_view verb = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash + 1);
    const bool clean = !name.empty() && name.size() <= kMaxNameBytes &&
                       std::all_of(name.begin(), name.end(),
                                   [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
    if (!clean || (verb != "up" && verb != "down" && verb != "rekey")) {
      return refuse(404, "there is no " + shown(path), "/v1/tunnels/NAME/up, /down or /rekey");
    }
    if (method != "POST") return refuse(405, shown(path) + " takes POST, not " + shown(method));
    request.call = verb == "up" ? ApiCall::kTunnelUp : verb == "down" ? ApiCall::kTunnelDown : ApiCall::kTunnelRekey;
    request.name = name;
    return request;
  }
  const auto found = std::find_if(kPaths.begin(), kPaths.end(), [&](const Path& known) { return known.path == path; });
  if (found == kPaths.end()) return refuse(404, "there is no " + shown(path), "gateway/ipc/api.h lists the paths");
  if (found->method != method) {
    return refuse(405, shown(path) + " takes " + std::string(found->method) + ", not " + shown(method));
  }
  request.call = found->call;
  return request;
}

/// "a=1&b=x" for GET: numbers where they are numbers.
tl::expected<Members, ApiRefusal> parse_query(std::string_view query) {
  Members members;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    const auto equals = pair.find('=');
    if (equals == std::string_view::npos || equals == 0)
      return refuse(400, "the query part " + shown(pair) + " is not KEY=VALUE");
    const std::string_view text = pair.substr(equals + 1);
    if (text.empty()) return refuse(400, "the query part " + shown(pair) + " has no value", "give one, or leave it out");
    const auto number = parse_number(text);
    Value value = number ? Value(*number) : Value(std::string(text));
    if (members.size() >= kMaxMembers || !members.emplace(pair.substr(0, equals), std::move(value)).second) {
      return refuse(400, "the query part " + shown(pair) + " is one too many");
    }
  }
  return members;
}

}  // namespace

Result<IpPrefix> parse_route_prefix(std::string_view text) {
  if (text.find('/') != std::string_view::npos) return IpPrefix::parse(text);
  if (const auto address = IpAddress::parse(text)) return IpPrefix::host(*address);
  return fail(ErrorCode::kInvalidConfig, shown(text) + " is neither a prefix nor an address",
              "10.1.0.0/16, 10.1.2.3, 2001:db8::/32");
}

unsigned http_status_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInvalidConfig:
      return 422;
    case ErrorCode::kConflict:
      return 409;
    case ErrorCode::kPeer:
      return 502;
    case ErrorCode::kUnavailable:
      return 503;
    case ErrorCode::kExhausted:
      return 507;
    case ErrorCode::kBug:
      return 500;
  }
  return 500;
}

tl::expected<ApiRequest, ApiRefusal> parse_api_request(std::string_view method, std::string_view target,
                                                       std::string_view body) {
  const auto question = target.find('?');
  auto routed = route(method, target.substr(0, question));
  if (!routed) return routed;
  ApiRequest request = std::move(*routed);

  Members members;
  if (method == "GET") {
    auto query = parse_query(question == std::string_view::npos ? std::string_view{} : target.substr(question + 1));
    if (!query) return tl::unexpected(query.error());
    members = std::move(*query);
  } else {
    if (question != std::string_view::npos)
      return refuse(400, "a POST takes its parameters in the body, not in the query");
    const bool blank = body.find_first_not_of(" \t\r\n") == std::string_view::npos;
    if (!blank) {
      FlatObject object;
      const bool parsed = nlohmann::json::sax_parse(body, &object);
      if (!parsed || !object.complete()) {
        return refuse(400, "the body is refused: " + (object.problem.empty() ? "it is not an object" : object.problem));
      }
      members = std::move(object.members);
    }
  }

  const bool has_document = members.contains("document");
  const bool has_archive = members.contains("archive");
  const bool has_from = members.contains("from");
  MemberReader reader(std::move(members), method == "GET");
  switch (request.call) {
    case ApiCall::kConfig:
      reader.read("version", request.version);
      break;
    case ApiCall::kDiff:
      reader.read("from", request.from);
      reader.read("to", request.to);
      if (!has_from) return refuse(400, "'from' is missing", "/v1/config/diff?from=VERSION");
      break;
    case ApiCall::kImport:
      read_change(reader, request);
      reader.read("archive", request.archive);
      if (!has_archive) return refuse(400, "'archive' is missing");
      break;
    case ApiCall::kExport: {
      std::optional<std::uint64_t> history;
      reader.read("history", history);
      request.history = history.value_or(0) != 0;
      break;
    }
    case ApiCall::kAudit:
      reader.read("last", request.last);
      if (request.last && *request.last > kMaxAuditLines) return refuse(400, "'last' is larger than 10000");
      break;
    case ApiCall::kApply:
      read_change(reader, request);
      [[fallthrough]];
    case ApiCall::kCheck:
      reader.read("document", request.document);
      drop_byte_order_mark(request.document);
      if (!has_document) return refuse(400, "'document' is missing");
      break;
    case ApiCall::kUndo:
      read_change(reader, request);
      reader.read("to", request.to);
      break;
    case ApiCall::kConfirm:
      reader.read("version", request.version);
      break;
    case ApiCall::kTunnelRekey:
      reader.read("ike", request.ike);
      break;
    case ApiCall::kRoutes: {
      std::string prefix;
      reader.read("domain", request.domain);
      reader.read("prefix", prefix);
      reader.read("limit", request.limit);
      if (!prefix.empty()) {
        auto parsed = parse_route_prefix(prefix);
        if (!parsed) return tl::unexpected(ApiRefusal{400, std::move(parsed.error())});
        request.prefix = *parsed;
      }
      if (request.limit && (*request.limit == 0 || *request.limit > kApiMostRoutes)) {
        return refuse(400, "limit is " + std::to_string(*request.limit), "1 to " + std::to_string(kApiMostRoutes));
      }
      break;
    }
    case ApiCall::kTrace:
      read_description(reader, request.packet);
      break;
    case ApiCall::kTraceLive:
      read_flow(reader, request.packet);
      reader.read("host", request.packet.host);
      reader.read("port", request.packet.port);
      reader.read("seconds", request.packet.seconds);
      if (request.packet.seconds && (*request.packet.seconds == 0 || *request.packet.seconds > kMaxWaitSeconds)) {
        return refuse(400, "seconds is " + std::to_string(*request.packet.seconds), "1 to 60");
      }
      break;
    case ApiCall::kCapture:
      read_capture(reader, request.packet);
      if (request.packet.seconds && (*request.packet.seconds == 0 || *request.packet.seconds > kMaxCaptureSeconds)) {
        return refuse(400, "seconds is " + std::to_string(*request.packet.seconds), "1 to 86400");
      }
      break;
    case ApiCall::kStatus:
    case ApiCall::kHistory:
    case ApiCall::kTunnels:
    case ApiCall::kTunnelUp:
    case ApiCall::kTunnelDown:
    case ApiCall::kVpcs:
    case ApiCall::kCircuits:
    case ApiCall::kBgp:
    case ApiCall::kDrops:
    case ApiCall::kAcls:
    case ApiCall::kNat:
    case ApiCall::kConnections:
      break;
  }
  if (const std::string problem = reader.problem(); !problem.empty()) return refuse(400, problem);
  if (request.comment.size() > kMaxCommentBytes) return refuse(400, "the comment is longer than 500 bytes");
  if (request.gates.size() > kMaxGatesBytes) return refuse(400, "'gates' is longer than 4000 bytes");
  if (request.gate_seconds && (*request.gate_seconds == 0 || *request.gate_seconds > kMaxConfirmSeconds)) {
    return refuse(400, "gate_seconds is " + std::to_string(*request.gate_seconds), "1 to 86400");
  }
  if (request.gate_seconds && request.gates.empty()) {
    return refuse(400, "'gate_seconds' is of 'gates'", "to go back unless confirmed: confirm_seconds");
  }
  if (request.confirm_seconds && (*request.confirm_seconds == 0 || *request.confirm_seconds > kMaxConfirmSeconds)) {
    return refuse(400, "confirm_seconds is " + std::to_string(*request.confirm_seconds), "1 to 86400");
  }
  return request;
}

}  // namespace simplon::ipc
