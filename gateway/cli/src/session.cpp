// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/session.h"

#include <istream>
#include <ostream>
#include <utility>

#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/table.h"
#include "gateway/config/validate.h"
#include "gateway/ipc/api.h"

namespace simplon::cli {

namespace {

/// Erases the line the cursor is in.
constexpr const char* kEraseLine = "\r\033[K";

std::string dump(const nlohmann::json& reply) {
  return reply.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

/// Keeps of `reply[key]` the object called `name`; all if it is empty.
Result<void> select(nlohmann::json& reply, const char* key, const char* kind, const std::string& name) {
  if (name.empty()) return {};
  std::vector<std::string> known;
  for (const auto& object : list(reply, key)) {
    known.push_back(text(object, "name"));
    if (known.back() != name) continue;
    nlohmann::json only = nlohmann::json::array({object});
    reply[key] = std::move(only);
    return {};
  }
  return config::no_such(kind, name, known);
}

}  // namespace

Session::Session(const Streams& streams, const Terminal& terminal)
    : socket(ipc::kApiDefaultSocket), streams_(streams), terminal_(terminal) {
  if (!terminal.socket.empty()) socket = terminal.socket;
}

bool Session::colored_output() const { return color == "always" || (color == "auto" && terminal_.color); }

ApiClient Session::client() const {
  ApiClient client(socket);
  if (interactive()) {
    client.on_wait([this](std::chrono::seconds waited) {
      progress(waited.count() == 0 ? "" : "waiting for simplond: " + std::to_string(waited.count()) + " s");
    });
  }
  return client;
}

Result<nlohmann::json> Session::get(const std::string& target) const { return client().get(target); }

Result<nlohmann::json> Session::post(const std::string& target, const nlohmann::json& body) const {
  return client().post(target, body);
}

Result<nlohmann::json> Session::stream(const std::string& target, const nlohmann::json& body,
                                       const ApiClient::OnBytes& on_bytes, const std::function<bool()>& stop) const {
  return ApiClient(socket).stream(target, body, on_bytes, stop);
}

void Session::progress(const std::string& line) const {
  // One line also of a small terminal: a longer one could not be erased.
  constexpr std::size_t kWidth = 79;
  if (!interactive() || terminal_.dumb) return;
  streams_.err << kEraseLine;
  if (const auto lines = wrap(line, kWidth); !lines.empty()) streams_.err << lines.front();
  streams_.err.flush();
}

bool Session::agreed(const std::string& question) const {
  if (!asks()) return true;
  streams_.err << question << " [y/N] " << std::flush;
  std::string answer;
  std::getline(streams_.in, answer);
  const bool agreed = answer == "y" || answer == "Y" || answer == "yes";
  if (!agreed) streams_.err << "nothing was changed\n";
  return agreed;
}

int Session::report(const Error& error, int code) const {
  if (json) {
    nlohmann::json shown = {{"code", std::string(to_string(error.code))},
                            {"path", ""},
                            {"value", ""},
                            {"what", error.what},
                            {"hint", error.hint}};
    nlohmann::json reply = {{"api", ipc::kApiVersion}};
    reply["errors"].push_back(std::move(shown));
    streams_.out << dump(reply);
  } else {
    streams_.err << paragraph("simplon: " + error.what, 0, 2);
    if (!error.hint.empty()) streams_.err << paragraph("hint: " + error.hint, 2, 8);
  }
  return code;
}

std::optional<int> Session::failed(const Result<nlohmann::json>& reply, const std::string& verdict) const {
  if (!reply)
    return report(reply.error(), reply.error().code == ErrorCode::kUnavailable ? kExitUnreachable : kExitFailed);
  if (!reply->contains("errors")) return std::nullopt;
  if (json) {
    print_json(*reply);
  } else {
    streams_.err << render_errors(*reply, verdict, {});
  }
  return kExitFailed;
}

void Session::print_json(const nlohmann::json& reply) const { streams_.out << dump(reply); }

int Session::print(const nlohmann::json& reply, const Page& page) const {
  if (json) {
    print_json(reply);
    return kExitDone;
  }
  streams_.out << page.text;
  return page.degraded ? kExitDegraded : kExitDone;
}

int Session::show(const std::string& target, const RenderReply& render) const {
  const auto reply = get(target);
  if (const auto code = failed(reply, "simplon")) return *code;
  return print(*reply, render(*reply, style()));
}

int Session::show_objects(const Objects& objects, const std::string& name, const RenderReply& render) const {
  auto reply = get(objects.target);
  if (const auto code = failed(reply, "simplon")) return *code;
  if (auto ok = select(*reply, objects.key, objects.kind, name); !ok) return report(ok.error(), kExitFailed);
  return print(*reply, render(*reply, style()));
}

int Session::show_objects(const Objects& objects, const std::string& name, const RenderReply& render_all,
                          const RenderReply& render_one) const {
  return show_objects(objects, name, [&](const nlohmann::json& reply, Style style) {
    return name.empty() ? render_all(reply, style) : render_one(list(reply, objects.key).front(), style);
  });
}

}  // namespace simplon::cli
