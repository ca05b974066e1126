// SPDX-License-Identifier: GPL-2.0-or-later
#include <memory>

#include "gateway/cli/src/change.h"
#include "gateway/cli/src/commands.h"
#include "gateway/cli/src/edit.h"

namespace simplon::cli {
namespace {

struct Options {
  std::string name;
  CircuitOptions circuit;
  ChangeOptions change;
};
using Shared = std::shared_ptr<Options>;

void declare_add(Commands& commands, CLI::App& noun, const Shared& options) {
  CLI::App* add = commands.command(
      noun, "add", "add a circuit to the document",
      "simplon circuit add dallas --domain prod --uplink eth1 --vlan 100 --address 192.168.15.1/30\n"
      "simplon circuit add line2 --domain prod --uplink eth2 --vlan 7 --secondary --address 192.0.2.5/30");
  CircuitOptions& circuit = options->circuit;
  add->add_option("NAME", circuit.name, "of the new circuit")->required();
  commands.values(add->add_option("--domain", circuit.domain, "routing domain")->required()->type_name("NAME"),
                  Values::kDomains);
  commands.values(add->add_option("--uplink", circuit.uplink, "interface it is on")->required()->type_name("INTERFACE"),
                  Values::kUplinks);
  add->add_option("--vlan", circuit.vlan, "VLAN, the inner one of two")->required()->type_name("VLAN");
  add->add_option("--outer-vlan", circuit.outer_vlan, "VLAN of the tag in front (QinQ)")->type_name("VLAN");
  commands.words(add->add_option("--outer-type", circuit.outer_type, "of the tag in front: 802.1ad (default) or 802.1q")
                     ->type_name("TYPE"),
                 {"802.1ad", "802.1q"});
  add->add_option("--address", circuit.addresses, "ours on the circuit, one per IP version")
      ->required()
      ->type_name("ADDRESS/LENGTH")
      ->allow_extra_args(false);
  add->add_option("--mtu", circuit.mtu, "IP bytes; default: 1500")->type_name("BYTES");
  add->add_option("--service-key", circuit.service_key, "what the provider calls the line, the same for both of its paths")
      ->type_name("KEY");
  add->add_flag("--secondary", circuit.secondary, "it is the secondary path of its line");
  add_change_options(commands, add, options->change);
  commands.on(add, [&session = commands.session(), options] {
    return edit_document(session, options->change, "circuit add " + options->circuit.name,
                         [&](GatewayConfig& config) { return add_circuit(config, options->circuit); });
  });
}

}  // namespace

void declare_circuit(Commands& commands) {
  Session& session = commands.session();
  const auto options = std::make_shared<Options>();
  CLI::App* circuit = commands.noun("circuit", "private lines: VLANs on uplinks, and who is at the other end",
                                    "simplon circuit show dallas");
  CLI::App* show = commands.command(*circuit, "show", "all circuits, or one in full",
                                    "simplon circuit show\nsimplon circuit show dallas");
  commands.values(show->add_option("NAME", options->name, "a circuit"), Values::kCircuits);
  for (CLI::App* one : {circuit, show}) {
    commands.on(one, [&session, options] {
      return session.show_objects({"/v1/circuits", "circuits", "circuit"}, options->name, render_circuits, render_circuit);
    });
  }
  declare_add(commands, *circuit, options);
  CLI::App* remove =
      commands.command(*circuit, "remove", "remove a circuit from the document", "simplon circuit remove dallas");
  commands.values(remove->add_option("NAME", options->name, "a circuit")->required(), Values::kCircuits);
  add_change_options(commands, remove, options->change);
  commands.on(remove, [&session, options] {
    return edit_document(
        session, options->change, "circuit remove " + options->name,
        [&](GatewayConfig& config) { return remove_circuit(config, options->name); },
        "Remove circuit " + options->name + "?");
  });
}

}  // namespace simplon::cli
