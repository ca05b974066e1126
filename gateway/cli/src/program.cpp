// SPDX-License-Identifier: GPL-2.0-or-later
#include "gateway/cli/src/program.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

#include "gateway/cli/src/api_client.h"
#include "gateway/cli/src/edit.h"
#include "gateway/cli/src/json_view.h"
#include "gateway/cli/src/render.h"
#include "gateway/cli/src/table.h"
#include "gateway/config/document.h"
#include "gateway/config/json.h"
#include "gateway/config/validate.h"
#include "gateway/ipc/api.h"

// Nouns show, verbs change. A verb that edits fetches the current document with its version, changes it with the config
// library, and posts the whole document back with that version as base: simplond refuses it if somebody else was
// faster. So there is one way in for every change, and one validation.
//
// CLI11 parses; only the "did you mean" for nouns and verbs is ours, before it, because CLI11 takes an unknown noun
// for a stray argument.

namespace simplon::cli {
namespace {

using nlohmann::json;

const std::map<std::string, std::vector<std::string>>& verbs_of_nouns() {
  static const std::map<std::string, std::vector<std::string>> kVerbs = {
      {"status", {}},
      {"apply", {}},
      {"confirm", {}},
      {"config", {"show", "diff", "history", "undo", "check", "apply", "confirm"}},
      {"tunnel", {"show", "add", "remove", "up", "down", "rekey"}},
      {"vpc", {"show", "add", "remove"}},
      {"endpoint", {"show", "add", "remove"}},
      {"route", {"show"}},
      {"bgp", {"show"}},
      {"drop", {"show"}},
  };
  return kVerbs;
}

struct ChangeOptions {
  bool dry_run = false;
  std::optional<std::uint64_t> confirm_seconds;
  std::string comment;
};

class Program {
 public:
  Program(std::ostream& out, std::ostream& err, bool color) : out_(out), err_(err), style_{color} {}

  int run(int argc, const char* const* argv) {
    std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    if (const int refused = check_words(words); refused != kExitDone) return refused;
    CLI::App app("simplon asks and changes a Simplon gateway.\n\nNouns show, verbs change. Every noun takes --json.",
                 "simplon");
    declare(app);
    try {
      std::reverse(words.begin(), words.end());
      app.parse(words);
    } catch (const CLI::CallForHelp&) {
      return help(app);
    } catch (const CLI::ParseError& error) {
      err_ << "simplon: " << error.what() << "\n  hint: " << invocation(app) << " --help\n";
      return kExitUsage;
    }
    if (!action_) return help(app), kExitUsage;
    return action_();
  }

 private:
  // Usage.

  /// The command as far as it was understood: "simplon tunnel add".
  static std::string invocation(const CLI::App& app) {
    std::string words = app.get_name();
    for (const auto* command : app.get_subcommands()) words += " " + invocation(*command);
    return words;
  }

  int help(const CLI::App& app) {
    std::string before;
    const CLI::App* last = &app;
    while (!last->get_subcommands().empty()) {
      before += (before.empty() ? "" : " ") + last->get_name();
      last = last->get_subcommands().front();
    }
    // CLI11 fills its columns with spaces, also where nothing follows.
    std::istringstream lines(last->help(before));
    for (std::string line; std::getline(lines, line);) out_ << line.substr(0, line.find_last_not_of(' ') + 1) << "\n";
    return kExitDone;
  }

  int check_words(const std::vector<std::string>& words) {
    std::vector<std::string> plain;
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (words[i] == "--socket") {
        ++i;
      } else if (!words[i].starts_with('-')) {
        plain.push_back(words[i]);
      }
    }
    if (plain.empty()) return kExitDone;
    std::vector<std::string> nouns;
    for (const auto& [noun, verbs] : verbs_of_nouns()) nouns.push_back(noun);
    const auto noun = verbs_of_nouns().find(plain[0]);
    if (noun == verbs_of_nouns().end()) return unknown("noun", plain[0], nouns, "simplon --help");
    if (noun->second.empty() || plain.size() < 2) return kExitDone;
    if (std::find(noun->second.begin(), noun->second.end(), plain[1]) != noun->second.end()) return kExitDone;
    return unknown("verb", plain[1], noun->second, "simplon " + plain[0] + " --help");
  }

  int unknown(const std::string& what, const std::string& word, const std::vector<std::string>& known,
              const std::string& command) {
    err_ << "simplon: there is no " << what << " '" << word << "'\n  hint: ";
    if (const std::string guess = config::closest_match(word, known); !guess.empty()) {
      err_ << "did you mean '" << guess << "'?\n";
    } else {
      std::string list;
      for (const auto& one : known) list += (list.empty() ? "" : ", ") + one;
      err_ << "known are " << list << "; see " << command << "\n";
    }
    return kExitUsage;
  }

  CLI::App* command(CLI::App& parent, const std::string& name, const std::string& sentence,
                    const std::string& example) {
    CLI::App* created = parent.add_subcommand(name, sentence);
    created->footer("Example:\n  " + example);
    created->fallthrough();
    return created;
  }

  void on(CLI::App* app, std::function<int()> action) {
    app->callback([this, app, action = std::move(action)] {
      // The innermost command decides; callbacks of its parents run afterwards.
      if (app->get_subcommands().empty()) action_ = action;
    });
  }

  void change_options(CLI::App* app) {
    app->add_flag("--dry-run", change_.dry_run, "show what would change, change nothing");
    app->add_option("--confirm", change_.confirm_seconds, "undo after SECONDS unless `simplon confirm` follows")
        ->type_name("SECONDS")
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{86400}));
    app->add_option("--comment", change_.comment, "for the history")->type_name("TEXT");
  }

  void declare(CLI::App& app) {
    const char* from_environment = std::getenv("SIMPLON_SOCKET");
    socket_ = from_environment != nullptr && *from_environment != '\0' ? from_environment : ipc::kApiDefaultSocket;
    app.add_option("--socket", socket_, "where simplond listens; also $SIMPLON_SOCKET")->type_name("PATH");
    app.add_flag("--json", json_, "print the reply of the local API instead of a page");
    app.footer(
        "Example:\n  simplon status\n\nExit codes: 0 done, 1 failed, 2 bad usage, 3 simplond not reachable, 4 valid "
        "but degraded.");

    on(command(app, "status", "the verdict, what is wrong and what to do", "simplon status"),
       [this] { return show("/v1/status", render_status); });
    declare_config(app);
    declare_tunnel(app);
    declare_vpc(app);
    declare_endpoint(app);

    CLI::App* route = command(app, "route", "where each prefix goes, and why", "simplon route show --domain prod");
    CLI::App* route_show =
        command(*route, "show", "all routes, or those of a domain", "simplon route show --domain prod");
    for (CLI::App* one : {route, route_show}) {
      one->add_option("--domain", domain_, "only this domain")->type_name("NAME");
      on(one, [this] { return show_routes(); });
    }
    CLI::App* bgp = command(app, "bgp", "BGP sessions and prefixes of each domain", "simplon bgp show");
    on(bgp, [this] { return show("/v1/bgp", render_bgp); });
    on(command(*bgp, "show", "all sessions", "simplon bgp show"), [this] { return show("/v1/bgp", render_bgp); });
    CLI::App* drop = command(app, "drop", "every packet that was not forwarded has a name", "simplon drop show");
    CLI::App* drop_show = command(*drop, "show", "reasons that dropped packets", "simplon drop show --all");
    for (CLI::App* one : {drop, drop_show}) {
      one->add_flag("--all", all_, "also reasons that dropped nothing");
      on(one, [this] {
        return show("/v1/drops", [this](const json& reply, Style style) { return render_drops(reply, all_, style); });
      });
    }
  }

  void declare_apply(CLI::App& parent, const std::string& example) {
    CLI::App* apply = command(parent, "apply", "make the gateway what the document says", example);
    apply->add_option("FILE", file_, "YAML document; - reads standard input")->required();
    change_options(apply);
    on(apply, [this] { return apply_file(); });
  }

  void declare_config(CLI::App& app) {
    declare_apply(app, "simplon apply gateway.yaml --confirm 60");
    on(command(app, "confirm", "keep what was applied with --confirm", "simplon confirm"),
       [this] { return confirm(); });
    CLI::App* config =
        command(app, "config", "the configuration, its versions and their differences", "simplon config show");
    on(config, [this] { return show_config(); });
    CLI::App* show_it = command(*config, "show", "the document", "simplon config show --version 3 > old.yaml");
    show_it->add_option("--version", version_, "an older one, see `simplon config history`")->type_name("VERSION");
    on(show_it, [this] { return show_config(); });
    CLI::App* diff = command(*config, "diff", "what differs: the last change, two versions, or a file",
                             "simplon config diff new.yaml");
    diff->add_option("FROM", from_, "a version, or a file to compare the current configuration with");
    diff->add_option("TO", to_, "a version; default: the current one");
    on(diff, [this] { return show_diff(); });
    on(command(*config, "history", "who changed what when", "simplon config history"),
       [this] { return show("/v1/config/history", render_history); });
    CLI::App* undo =
        command(*config, "undo", "go back to the version before, or to another one", "simplon config undo --to 3");
    undo->add_option("--to", version_, "see `simplon config history`")->type_name("VERSION");
    on(undo, [this] { return undo_change(); });
    CLI::App* check = command(*config, "check", "all errors of a document at once, or what applying it would do",
                              "simplon config check gateway.yaml");
    check->add_option("FILE", file_, "YAML document; - reads standard input")->required();
    on(check, [this] { return check_file(); });
    declare_apply(*config, "simplon config apply gateway.yaml --dry-run");
    on(command(*config, "confirm", "keep what was applied with --confirm", "simplon config confirm"),
       [this] { return confirm(); });
  }

  void declare_tunnel(CLI::App& app) {
    CLI::App* tunnel =
        command(app, "tunnel", "IPsec tunnels: configured, observed, programmed", "simplon tunnel show paris");
    on(tunnel, [this] { return show_tunnels(); });
    CLI::App* show_it = command(*tunnel, "show", "all tunnels, or one in full", "simplon tunnel show paris");
    show_it->add_option("NAME", name_, "a tunnel");
    on(show_it, [this] { return show_tunnels(); });

    CLI::App* add = command(*tunnel, "add", "add a tunnel to the document",
                            "simplon tunnel add paris --domain prod --local 203.0.113.1 --remote 198.51.100.7 \\\n"
                            "      --psk-file /etc/simplon/paris.psk --inside 169.254.10.1/30");
    add->add_option("NAME", tunnel_.name)->required();
    add->add_option("--domain", tunnel_.domain, "routing domain")->required()->type_name("NAME");
    add->add_option("--local", tunnel_.local, "our outer address")->required()->type_name("ADDRESS");
    add->add_option("--remote", tunnel_.remote, "the peer's; absent: any peer that authenticates")
        ->type_name("ADDRESS");
    add->add_option("--local-id", tunnel_.local_id, "default: --local")->type_name("ID");
    add->add_option("--remote-id", tunnel_.remote_id, "default: --remote")->type_name("ID");
    add->add_option("--psk-file", tunnel_.psk_file, "pre-shared key, mode 0600")->required()->type_name("PATH");
    add->add_option("--inside", tunnel_.inside, "our address inside, with its length")->type_name("ADDRESS/LENGTH");
    add->add_option("--ike-proposal", tunnel_.ike_proposals, "like aes256gcm16-prfsha384-ecp384")
        ->type_name("PROPOSAL");
    add->add_option("--esp-proposal", tunnel_.esp_proposals, "like aes256gcm16-ecp384")->type_name("PROPOSAL");
    add->add_option("--encapsulation", tunnel_.encapsulation, "auto or udp")->type_name("WORD");
    add->add_option("--mtu", tunnel_.mtu, "upper bound of the inner MTU")->type_name("BYTES");
    add->add_flag("--wait-for-peer", tunnel_.wait_for_peer, "do not initiate");
    change_options(add);
    on(add, [this] {
      return edit("tunnel add " + tunnel_.name, [this](GatewayConfig& config) { return add_tunnel(config, tunnel_); });
    });
    CLI::App* remove = command(*tunnel, "remove", "remove a tunnel from the document", "simplon tunnel remove paris");
    remove->add_option("NAME", name_)->required();
    change_options(remove);
    on(remove, [this] {
      return edit("tunnel remove " + name_, [this](GatewayConfig& config) { return remove_tunnel(config, name_); });
    });
    const auto verb = [&](const char* name, const char* sentence, const char* done) {
      CLI::App* created = command(*tunnel, name, sentence, std::string("simplon tunnel ") + name + " paris");
      created->add_option("NAME", name_)->required();
      on(created, [this, name, done] { return tunnel_action(name, done); });
      return created;
    };
    verb("up", "negotiate now", "is being negotiated: simplon tunnel show");
    verb("down", "close IKE and CHILD SAs, until the next `up` or apply", "is closed");
    verb("rekey", "new keys now, make before break", "is being rekeyed")
        ->add_flag("--ike", ike_, "the IKE SA instead of the CHILD SA");
  }

  void declare_vpc(CLI::App& app) {
    CLI::App* vpc = command(app, "vpc", "VPCs, their tunnel IDs (VNI) and endpoints", "simplon vpc show red");
    on(vpc, [this] { return show_vpcs(); });
    CLI::App* show_it = command(*vpc, "show", "all VPCs, or one in full", "simplon vpc show red");
    show_it->add_option("NAME", name_, "a VPC");
    on(show_it, [this] { return show_vpcs(); });
    CLI::App* add = command(*vpc, "add", "add a VPC to the document",
                            "simplon vpc add red --domain prod --vni 100 --prefix 10.20.0.0/16 --gateway 10.20.0.1/16");
    add->add_option("NAME", vpc_.name)->required();
    add->add_option("--domain", vpc_.domain, "routing domain")->required()->type_name("NAME");
    add->add_flag("--new-domain", vpc_.new_domain, "add the domain if there is none of this name");
    add->add_option("--vni", vpc_.vni, "VXLAN network identifier")->required()->type_name("VNI");
    add->add_option("--prefix", vpc_.prefixes, "network of the VPC")->required()->type_name("PREFIX");
    add->add_option("--gateway", vpc_.gateway, "our address in it")->type_name("ADDRESS/LENGTH");
    add->add_option("--gateway-mac", vpc_.gateway_mac)->type_name("MAC");
    add->add_option("--mtu", vpc_.mtu, "inner IP bytes")->type_name("BYTES");
    change_options(add);
    on(add, [this] {
      return edit("vpc add " + vpc_.name, [this](GatewayConfig& config) { return add_vpc(config, vpc_); });
    });
    CLI::App* remove =
        command(*vpc, "remove", "remove a VPC and its endpoints from the document", "simplon vpc remove red");
    remove->add_option("NAME", name_)->required();
    change_options(remove);
    on(remove, [this] {
      return edit("vpc remove " + name_, [this](GatewayConfig& config) { return remove_vpc(config, name_); });
    });
  }

  void declare_endpoint(CLI::App& app) {
    CLI::App* endpoint =
        command(app, "endpoint", "VMs: inner address, MAC, and the VTEP they are behind", "simplon endpoint show red");
    on(endpoint, [this] { return show_endpoints(); });
    CLI::App* show_it = command(*endpoint, "show", "all endpoints, or those of a VPC", "simplon endpoint show red");
    show_it->add_option("VPC", name_, "a VPC");
    on(show_it, [this] { return show_endpoints(); });
    CLI::App* add = command(*endpoint, "add", "add an endpoint to a VPC",
                            "simplon endpoint add red 10.20.0.5 --mac 02:00:00:00:00:05 --vtep 192.0.2.11");
    add->add_option("VPC", endpoint_.vpc)->required();
    add->add_option("ADDRESS", endpoint_.address)->required();
    add->add_option("--mac", endpoint_.mac, "of the VM")->required()->type_name("MAC");
    add->add_option("--vtep", endpoint_.vtep, "of its compute host")->required()->type_name("ADDRESS");
    change_options(add);
    on(add, [this] {
      return edit("endpoint add " + endpoint_.vpc + " " + endpoint_.address,
                  [this](GatewayConfig& config) { return add_endpoint(config, endpoint_); });
    });
    CLI::App* remove =
        command(*endpoint, "remove", "remove an endpoint from a VPC", "simplon endpoint remove red 10.20.0.5");
    remove->add_option("VPC", endpoint_.vpc)->required();
    remove->add_option("ADDRESS", endpoint_.address)->required();
    change_options(remove);
    on(remove, [this] {
      return edit("endpoint remove " + endpoint_.vpc + " " + endpoint_.address,
                  [this](GatewayConfig& config) { return remove_endpoint(config, endpoint_.vpc, endpoint_.address); });
    });
  }

  // Replies.

  static std::vector<std::string> names_of(const json& objects) {
    std::vector<std::string> names;
    for (const auto& object : objects) names.push_back(text(object, "name"));
    return names;
  }

  int report(const Error& error, int code) {
    if (json_) {
      out_ << json{{"api", ipc::kApiVersion},
                   {"errors",
                    {{{"code", std::string(to_string(error.code))},
                      {"path", ""},
                      {"value", ""},
                      {"what", error.what},
                      {"hint", error.hint}}}}}
                  .dump(2, ' ', false, json::error_handler_t::replace)
           << "\n";
    } else {
      err_ << paragraph("simplon: " + error.what, 0, 2);
      if (!error.hint.empty()) err_ << paragraph("hint: " + error.hint, 2, 8);
    }
    return code;
  }

  /// Exchange failed, or simplond refused: says so and returns the exit code; otherwise nothing.
  std::optional<int> failed(const Result<json>& reply, const std::string& verdict = "refused") {
    if (!reply)
      return report(reply.error(), reply.error().code == ErrorCode::kUnavailable ? kExitUnreachable : kExitFailed);
    if (!reply->contains("errors")) return std::nullopt;
    if (json_) {
      print_json(*reply);
    } else {
      err_ << render_errors(*reply, verdict, {});
    }
    return kExitFailed;
  }

  void print_json(const json& reply) { out_ << reply.dump(2, ' ', false, json::error_handler_t::replace) << "\n"; }

  int print(const json& reply, const Page& page) {
    if (json_) {
      print_json(reply);
      return kExitDone;
    }
    out_ << page.text;
    return page.degraded ? kExitDegraded : kExitDone;
  }

  ApiClient client() const { return ApiClient(socket_); }

  template <class Render>
  int show(const std::string& target, Render render) {
    const auto reply = client().get(target);
    if (const auto code = failed(reply, "simplon")) return *code;
    return print(*reply, render(*reply, style_));
  }

  /// Keeps of `reply[key]` the object called `name_`; all if no name was given. The error says what there is.
  Result<void> select(json& reply, const char* key, const char* kind) const {
    if (name_.empty()) return {};
    for (auto& object : reply[key]) {
      if (text(object, "name") != name_) continue;
      json only = json::array({std::move(object)});
      reply[key] = std::move(only);
      return {};
    }
    return no_such(kind, name_, names_of(list(reply, key)));
  }

  /// Shows a list of objects, or the one called `name_` in full.
  template <class RenderAll, class RenderOne>
  int show_objects(const std::string& target, const char* key, const char* kind, RenderAll render_all,
                   RenderOne render_one) {
    auto reply = client().get(target);
    if (const auto code = failed(reply, "simplon")) return *code;
    if (auto ok = select(*reply, key, kind); !ok) return report(ok.error(), kExitFailed);
    return print(*reply, name_.empty() ? render_all(*reply, style_) : render_one(list(*reply, key).front(), style_));
  }

  int show_tunnels() { return show_objects("/v1/tunnels", "tunnels", "tunnel", render_tunnels, render_tunnel); }
  int show_vpcs() { return show_objects("/v1/vpcs", "vpcs", "VPC", render_vpcs, render_vpc); }

  int show_endpoints() {
    auto reply = client().get("/v1/vpcs");
    if (const auto code = failed(reply, "simplon")) return *code;
    if (auto ok = select(*reply, "vpcs", "VPC"); !ok) return report(ok.error(), kExitFailed);
    return print(*reply, render_endpoints(*reply, style_));
  }

  int show_routes() {
    auto reply = client().get("/v1/routes");
    if (const auto code = failed(reply, "simplon")) return *code;
    name_ = domain_;
    if (auto ok = select(*reply, "domains", "domain"); !ok) return report(ok.error(), kExitFailed);
    return print(*reply, render_routes(*reply, style_));
  }

  int show_config() {
    return show("/v1/config" + (version_ ? "?version=" + std::to_string(*version_) : ""), render_config);
  }

  // Changes.

  Result<std::string> read_file() const {
    if (file_ == "-") return config::load_text("/dev/stdin");
    return config::load_text(file_);
  }

  static std::optional<std::uint64_t> as_version(const std::string& text) {
    if (text.empty() || text.size() > 12 ||
        !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return std::nullopt;
    return std::stoull(text);
  }

  int show_diff() {
    const auto from = as_version(from_);
    if (!from_.empty() && !from) {
      if (!to_.empty())
        return report({ErrorCode::kInvalidConfig, "'" + from_ + "' is not a version",
                       "to compare with a file: simplon config diff FILE"},
                      kExitUsage);
      file_ = from_;
      return check_file();
    }
    std::uint64_t start = from.value_or(0);
    if (!from) {  // the last change
      const auto history = client().get("/v1/config/history");
      if (const auto code = failed(history, "simplon")) return *code;
      const std::uint64_t current = number(*history, "current");
      if (current == 0)
        return report({ErrorCode::kConflict, "nothing was ever applied", "simplon apply FILE"}, kExitFailed);
      start = current - 1;
    }
    std::string target = "/v1/config/diff?from=" + std::to_string(start);
    if (!to_.empty()) {
      const auto to = as_version(to_);
      if (!to)
        return report(
            {ErrorCode::kInvalidConfig, "'" + to_ + "' is not a version", "simplon config history lists them"},
            kExitUsage);
      target += "&to=" + std::to_string(*to);
    }
    return show(target, [](const json& reply, Style style) {
      return Page{"version " + std::to_string(number(reply, "from")) + " to " + std::to_string(number(reply, "to")) +
                      ": " + text(reply, "summary") + "\n" + render_changes(reply, style),
                  false};
    });
  }

  int check_file() {
    const auto document = read_file();
    if (!document) return report(document.error(), kExitFailed);
    const auto reply = client().post("/v1/config/check", {{"document", *document}});
    if (!reply && reply.error().code == ErrorCode::kUnavailable) return check_alone(*document, reply.error());
    if (const auto code = failed(reply, "not valid")) return *code;
    return print(*reply, {"valid: " + text(*reply, "summary") + "\n" + render_changes(*reply, style_) +
                              render_warnings(*reply, style_),
                          false});
  }

  /// Without simplond a document can still be judged, only not compared.
  int check_alone(const std::string& text_of_document, const Error& why) {
    if (!json_) err_ << paragraph("note: " + why.what + "; checked here, and not compared with what is running", 0, 2);
    const config::Document document = config::read_document(text_of_document);
    json reply = {{"api", ipc::kApiVersion}};
    if (!document.ok()) {
      reply["errors"] = config::to_json(document.issues, config::Severity::kError);
      return *failed(reply, "not valid");
    }
    reply["valid"] = true;
    reply["warnings"] = config::to_json(document.issues, config::Severity::kWarning);
    return print(reply, {"valid\n" + render_warnings(reply, style_), false});
  }

  int apply_file() {
    const auto document = read_file();
    if (!document) return report(document.error(), kExitFailed);
    return post_document({{"document", *document}}, "");
  }

  int post_document(json request, const std::string& comment) {
    if (change_.dry_run) request["dry_run"] = true;
    if (change_.confirm_seconds) request["confirm_seconds"] = *change_.confirm_seconds;
    request["comment"] = change_.comment.empty() ? comment : change_.comment;
    const auto reply = client().post("/v1/config/apply", request);
    if (const auto code = failed(reply)) return *code;
    std::string page;
    if (!flag(*reply, "applied")) {
      page = "dry run, nothing was changed: " + text(*reply, "summary") + "\n";
    } else {
      page = "applied as version " + std::to_string(number(*reply, "version")) + ": " + text(*reply, "summary") + "\n";
    }
    page += render_changes(*reply, style_) + render_warnings(*reply, style_) +
            render_pending(at(*reply, "pending"), style_);
    return print(*reply, {page, false});
  }

  int edit(const std::string& comment, const std::function<Result<void>(GatewayConfig&)>& change) {
    const auto current = client().get("/v1/config");
    if (const auto code = failed(current, "simplon")) return *code;
    GatewayConfig config;
    if (const std::string yaml = text(*current, "document"); !yaml.empty()) {
      config::Document document = config::parse_document(yaml);
      if (!document.ok()) return report(config::to_error(document.issues), kExitFailed);
      config = std::move(document.config);
    } else {
      config.name = "gateway";
    }
    if (auto ok = change(config); !ok) {
      return report(ok.error(), ok.error().code == ErrorCode::kInvalidConfig ? kExitUsage : kExitFailed);
    }
    return post_document({{"document", config::emit_document(config)}, {"base_version", number(*current, "version")}},
                         comment);
  }

  int confirm() {
    const auto reply = client().post("/v1/config/confirm", json::object());
    if (const auto code = failed(reply)) return *code;
    return print(*reply, {"version " + std::to_string(number(*reply, "version")) + " stays\n", false});
  }

  int undo_change() {
    json request = json::object();
    if (version_) request["to"] = *version_;
    const auto reply = client().post("/v1/config/undo", request);
    if (const auto code = failed(reply)) return *code;
    const std::uint64_t restored = number(*reply, "restored");
    const std::string what = restored == 0 ? "the empty configuration" : "version " + std::to_string(restored);
    return print(*reply, {what + " is back, as version " + std::to_string(number(*reply, "version")) + ": " +
                              text(*reply, "summary") + "\n" + render_changes(*reply, style_),
                          false});
  }

  int tunnel_action(const std::string& verb, const std::string& done) {
    if (!config::is_valid_name(name_)) {
      return report(no_such("tunnel", name_, {}).value(), kExitFailed);
    }
    json request = json::object();
    if (ike_) request["ike"] = true;
    const auto reply = client().post("/v1/tunnels/" + name_ + "/" + verb, request);
    if (const auto code = failed(reply)) return *code;
    return print(*reply, {"tunnel " + name_ + " " + done + "\n", false});
  }

  std::ostream& out_;
  std::ostream& err_;
  Style style_;
  std::function<int()> action_;

  std::string socket_;
  bool json_ = false;
  bool all_ = false;
  bool ike_ = false;
  std::string name_, domain_, file_, from_, to_;
  std::optional<std::uint64_t> version_;
  ChangeOptions change_;
  TunnelOptions tunnel_;
  VpcOptions vpc_;
  EndpointOptions endpoint_;
};

}  // namespace

int run_program(int argc, const char* const* argv, std::ostream& out, std::ostream& err, bool color) {
  return Program(out, err, color).run(argc, argv);
}

}  // namespace simplon::cli
