// SPDX-License-Identifier: GPL-2.0-or-later
#include <memory>
#include <string>
#include <vector>

#include "gateway/cli/src/change.h"
#include "gateway/cli/src/commands.h"
#include "gateway/cli/src/edit.h"
#include "gateway/cli/src/json_view.h"
#include "gateway/config/validate.h"

namespace simplon::cli {
namespace {

struct Options {
  std::string name;
  bool ike = false;
  TunnelOptions tunnel;
  ChangeOptions change;
};
using Shared = std::shared_ptr<Options>;

int show_tunnels(const Session& session, const std::string& name) {
  return session.show_objects({"/v1/tunnels", "tunnels", "tunnel"}, name, render_tunnels, render_tunnel);
}

int act(const Session& session, const Options& options, const std::string& verb, const std::string& done) {
  if (!config::is_valid_name(options.name)) {
    // Such a name does not even fit into the path of a request.
    const auto reply = session.get("/v1/tunnels");
    if (const auto code = session.failed(reply, "simplon")) return *code;
    std::vector<std::string> known;
    for (const auto& tunnel : list(*reply, "tunnels")) known.push_back(text(tunnel, "name"));
    return session.report(config::no_such("tunnel", options.name, known).value(), kExitFailed);
  }
  if (verb == "down" && !session.agreed("Close tunnel " + options.name + "? Its traffic stops.")) return kExitFailed;
  nlohmann::json request = nlohmann::json::object();
  if (options.ike) request["ike"] = true;
  auto reply = session.post("/v1/tunnels/" + options.name + "/" + verb, request);
  if (const auto code = session.failed(reply)) return *code;
  return session.print(*reply, {"tunnel " + options.name + " " + done + "\n", false});
}

void declare_add(Commands& commands, CLI::App& noun, const Shared& options) {
  CLI::App* add = commands.command(noun, "add", "add a tunnel to the document",
                                   "simplon tunnel add paris --domain prod --local 203.0.113.1 --remote 198.51.100.7 \\\n"
                                   "      --psk-file /etc/simplon/paris.psk --inside 169.254.10.1/30");
  TunnelOptions& tunnel = options->tunnel;
  add->add_option("NAME", tunnel.name, "of the new tunnel")->required();
  commands.values(add->add_option("--domain", tunnel.domain, "routing domain")->required()->type_name("NAME"),
                  Values::kDomains);
  add->add_option("--local", tunnel.local, "our outer address")->required()->type_name("ADDRESS");
  add->add_option("--remote", tunnel.remote, "the peer's; absent: any peer that authenticates")->type_name("ADDRESS");
  add->add_option("--local-id", tunnel.local_id, "default: --local")->type_name("ID");
  add->add_option("--remote-id", tunnel.remote_id, "default: --remote")->type_name("ID");
  commands.values(
      add->add_option("--psk-file", tunnel.psk_file, "pre-shared key, mode 0600")->required()->type_name("PATH"),
      Values::kFiles);
  add->add_option("--inside", tunnel.inside, "our address inside, with its length")
      ->type_name("ADDRESS/LENGTH")
      ->allow_extra_args(false);
  add->add_option("--ike-proposal", tunnel.ike_proposals, "like aes256gcm16-prfsha384-ecp384")
      ->type_name("PROPOSAL")
      ->allow_extra_args(false);
  add->add_option("--esp-proposal", tunnel.esp_proposals, "like aes256gcm16-ecp384 or aes256-sha256-modp2048")
      ->type_name("PROPOSAL")
      ->allow_extra_args(false);
  add->add_flag("--allow-weak", tunnel.allow_weak, "permit null, 3des, modp1024 and modp1536 in proposals");
  commands.words(add->add_option("--encapsulation", tunnel.encapsulation, "how ESP travels: auto or udp")->type_name("WORD"),
                 {"auto", "udp"});
  add->add_option("--mtu", tunnel.mtu, "upper bound of the inner MTU")->type_name("BYTES");
  add->add_flag("--wait-for-peer", tunnel.wait_for_peer, "do not initiate");
  add_change_options(commands, add, options->change);
  commands.on(add, [&session = commands.session(), options] {
    return edit_document(session, options->change, "tunnel add " + options->tunnel.name,
                         [&](GatewayConfig& config) { return add_tunnel(config, options->tunnel); });
  });
}

CLI::App* declare_verb(Commands& commands, CLI::App& noun, const Shared& options, const char* verb,
                       const char* sentence, const char* done) {
  CLI::App* created = commands.command(noun, verb, sentence, std::string("simplon tunnel ") + verb + " paris");
  commands.values(created->add_option("NAME", options->name, "a tunnel")->required(), Values::kTunnels);
  commands.on(created, [&session = commands.session(), options, verb, done] {
    return act(session, *options, verb, done);
  });
  return created;
}

}  // namespace

void declare_tunnel(Commands& commands) {
  Session& session = commands.session();
  const auto options = std::make_shared<Options>();
  CLI::App* tunnel =
      commands.noun("tunnel", "IPsec tunnels: configured, observed, programmed", "simplon tunnel show paris");
  CLI::App* show = commands.command(*tunnel, "show", "all tunnels, or one in full",
                                    "simplon tunnel show\nsimplon tunnel show paris");
  commands.values(show->add_option("NAME", options->name, "a tunnel"), Values::kTunnels);
  for (CLI::App* one : {tunnel, show}) {
    commands.on(one, [&session, options] { return show_tunnels(session, options->name); });
  }
  declare_add(commands, *tunnel, options);
  CLI::App* remove =
      commands.command(*tunnel, "remove", "remove a tunnel from the document", "simplon tunnel remove paris");
  commands.values(remove->add_option("NAME", options->name, "a tunnel")->required(), Values::kTunnels);
  add_change_options(commands, remove, options->change);
  commands.on(remove, [&session, options] {
    return edit_document(
        session, options->change, "tunnel remove " + options->name,
        [&](GatewayConfig& config) { return remove_tunnel(config, options->name); },
        "Remove tunnel " + options->name + "?");
  });
  declare_verb(commands, *tunnel, options, "up", "negotiate now", "is being negotiated: simplon tunnel show");
  declare_verb(commands, *tunnel, options, "down",
               "close its SAs, until `up`, a change of it, or a restart of simplond",
               "is closed until `up`, a change of it, or a restart of simplond");
  declare_verb(commands, *tunnel, options, "rekey", "new keys now, make before break", "is being rekeyed")
      ->add_flag("--ike", options->ike, "the IKE SA instead of the CHILD SA");
}

}  // namespace simplon::cli
